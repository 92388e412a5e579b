# tables, maps and pictures of disturbed models; a number of steps there are no patches for, and images without classes, are refused
set="$DATA/atlas/pictures"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" "$set/class_6" --truth "$DATA/atlas/truth" --out x --steps 4 --random 2 --pictures 1 --neuron-gradients -q
ls x x/pictures; head -n 1 x/perturb.csv; cut -d, -f 1,2,7,8 x/perturb.csv | tail -n +2; head -n 1 x/removal.csv; wc -l < x/removal.csv; cat x/auc.csv | cut -d, -f 1,2,3
head -n 2 x/images.csv | cut -d, -f 1,2,4
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" --out y --steps 17 -q; echo "status $?"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" --out y -b 0 -q; echo "status $?"
keyhole perturb "$DATA/golden/siglip_gap_base" "$set/class_1" --out y -q; echo "status $?"
keyhole perturb "$DATA/golden/vit_base" "$DATA/golden/images/restart.jpg" --out y -q; echo "status $?"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" --out x -q; echo "status $?"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" -q; echo "status $?"
keyhole perturb "$DATA/golden/vit_base" "$set/class_1" "$set/class_6" --out x --overwrite --steps 0 --json -q | grep -c '"kind"'; ls x
# a label map that cannot be read counts as none, and is listed; an error when all are so
maps=maps/images/object/class_1
cp -r "$DATA/atlas/truth" maps && echo torn >$maps/1.png
torn() { keyhole perturb "$DATA/golden/vit_base" "$set/class_1" --truth maps --out torn --steps 0 --no-relevance --overwrite "$@"; }
torn | sed -n 1p
torn --json -q | sed -n '/"with_maps"/,/"kind"/p'; sed -n 's/^ *//; /"broken_maps"/p; /"failed_maps"/,/]/p' torn/manifest.json
for i in 0 1 2 3 4 5; do echo torn >$maps/$i.png; done
torn -q; echo "status $?"
