# neither threads nor batch size may change a byte
images="$DATA/golden/images/rgb_444.jpg $DATA/golden/images/rgb8.png $DATA/golden/images/lossy.webp $DATA/golden/images/gray.jpg"
keyhole classify random:test_vit $images --json --threads 1 --batch 1 >one
keyhole classify random:test_vit $images --json --threads 3 --batch 3 >three
keyhole classify random:test_vit $images --json --threads 2 --batch 8 >eight
cmp one three && cmp one eight
keyhole align random:test_vit --draws 3 --threads 1 --out align1 >a1 2>/dev/null
keyhole align random:test_vit --draws 3 --threads 3 --out align3 >a3 2>/dev/null
diff -r align1 align3 && cmp a1 a3
keyhole look random:test_vit $images --threads 1 --batch 1 --out look1 >/dev/null 2>&1
keyhole look random:test_vit $images --threads 2 --batch 4 --out look4 >/dev/null 2>&1
diff -r look1 look4 && ls look1 | wc -l
