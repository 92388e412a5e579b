# neither threads nor batch size may change a byte
MODEL=$DATA/golden/vit_base
few="--resamples 20 --sets 2 --k 1,3,10 --keys 2 --random-keys 2 --op mean,resample --json"
keyhole ablate $MODEL $DATA/atlas/pictures $few --threads 1 --batch 1 --out one >one.json
keyhole ablate $MODEL $DATA/atlas/pictures $few --threads 3 --batch 9 --out three >three.json
diff -r one three && ls one | wc -l
sed 's/"three"/"one"/' three.json | diff one.json - && echo same
