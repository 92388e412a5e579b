# neither threads nor batch size may change a byte
. "$KH_CASES/truth_model.inc"
keyhole truth random:model --scenes 3 --draws 3 --threads 1 --batch 1 --out one >/dev/null
keyhole truth random:model --scenes 3 --draws 3 --threads 3 --batch 8 --out three >/dev/null
diff -r one three && ls one | wc -l
# a model's own order of classes: each class still meets its own scenes
order=reversed
. "$KH_CASES/truth_model.inc"
keyhole truth random:model --scenes 1 --draws 3 --out reversed >/dev/null
sed -n '2p; 26p' reversed/truth_classes.csv | cut -d, -f 1-3
awk -F, 'NR > 1 { print $1 + $2 }' reversed/truth_images.csv | sort -u
