# only patches that show the class, or all others; images without label maps stay out
MODEL=$DATA/golden/vit_base
set="$DATA/atlas/pictures"
few="--resamples 20 --sets 2 --k 1,10 --keys 2 --random-keys 2 --block 0 --designs own,causal"
for how in "mask" "context" "mask --patches majority"; do
    keyhole ablate $MODEL "$set" --truth "$DATA/atlas/truth" --tokens $how $few --out out --overwrite | sed -n 1p
    cut -d, -f 6 out/ablate.csv | sort | uniq -c | sed 's/^ *//'
    grep -c -e '"patches": "nearest"' -e '"label_maps": "[0-9a-f]*"' out/manifest.json
    grep -o '"without_patches": [0-9]*' out/manifest.json
done
# behind the last block only the class token is read: nothing changes, to the last bit
keyhole ablate $MODEL "$set" --truth "$DATA/atlas/truth" --tokens mask $few --block 1 --designs own --out last >/dev/null
awk -F, '$11 ~ /^d_/ && $12 > 0 && ($13 != 0 || $15 != 0 || $16 != 0) { bad++ } END { print NR, bad + 0 }' last/ablate.csv
# threads and batches change nothing here either
keyhole ablate $MODEL "$set" --truth "$DATA/atlas/truth" --tokens mask $few --out again --threads 3 --batch 3 >/dev/null
keyhole ablate $MODEL "$set" --truth "$DATA/atlas/truth" --tokens mask $few --out out --overwrite >/dev/null
diff -r out again && echo same
# an image that the label maps do not know; then none that they know
mkdir -p some/class_1 && cp "$set"/class_1/[01].png some/class_1 && cp "$set/class_1/2.png" some/class_1/other.png
keyhole ablate $MODEL some --truth "$DATA/atlas/truth" --tokens mask $few --out some_out | sed -n 1p
# a label map that cannot be read counts as none, and is listed; when all are so nothing is kept
maps=maps/images/object/class_1
cp -r "$DATA/atlas/truth" maps && echo torn >$maps/0.png
some() { keyhole ablate $MODEL some --truth maps --tokens mask $few --designs own --checkpoint 0 --out torn "$@"; }
some --json | sed -n '/"without_patches"/,/"block"/p'
sed -n 's/^ *//; /"broken_maps"/p; /"failed_maps"/,/]/p' torn/manifest.json
cp $maps/1.png spare && echo torn >$maps/1.png
some --overwrite -q; echo status $?
mv spare $maps/1.png && ls torn | grep -c state; some --overwrite -q | sed -n 1p
rm some/class_1/[01].png
keyhole ablate $MODEL some --truth "$DATA/atlas/truth" --tokens mask $few --out none
echo status $?
