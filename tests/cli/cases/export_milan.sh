# exemplars of a run in MILAN's layout; another image set, a unit that is not there and a folder in use are refused
images="$DATA/golden/images"
printf '%s\n' "$images"/rgb_4*.jpg "$images"/gray*.png > list
keyhole atlas random:test_vit @list --out run --lenses units,exemplars --exemplars 3 -q --no-figures | sed 's/ (.*images.s)//; s/digest .*/digest/'
keyhole export run random:test_vit @list --dry-run --units 0:4 --topk 3 --out x
keyhole export run random:test_vit @list --blocks 1 --units 0:4 --out x -q | sed 's/from [0-9]* images/from some images/'
ls x x/blocks.1.mlp.act; head -n 1 x/blocks.1.mlp.act/ids.csv | tr -cd ',' ; echo
head -c 8 x/blocks.1.mlp.act/masks.npy | od -An -tx1
keyhole export run random:test_vit @list --blocks 1 --out x -q; echo "status $?"
head -n 3 list > few
keyhole export run random:test_vit @few --out y -q; echo "status $?"
keyhole export run random:test_vit @list --neurons b1n3,b9n0 --out y -q; echo "status $?"
keyhole export run random:test_vit @list --units 4:4 --out y -q; echo "status $?"
keyhole export run random:test_vit @list --units 5:3 --out y -q; echo "status $?"
keyhole export run random:test_vit @list -b 0 --out y -q; echo "status $?"
keyhole export run random:test_vit @few --blocks 1 --out x --overwrite -q 2>/dev/null; echo "status $?"
ls x
keyhole export run random:test_vit @list --format foo --out y -q; echo "status $?"
keyhole export run random:test_vit @list --of channels --out y -q; echo "status $?"
keyhole export run random:test_vit @list -q; echo "status $?"
ls
