# broken images are recorded with their reasons wherever a program reads results
command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
cp "$DATA/golden/images/rgb_444.jpg" a.jpg && echo no >b.jpg && : >"$(printf 'esc\033.png')"
keyhole classify random:test_vit . --json >classify.json 2>/dev/null || echo "status $?"
echo missing.jpg >list
keyhole look random:test_vit . @list --no-blocks --out look --json >look.json 2>/dev/null || echo "status $?"
keyhole look random:test_vit a.jpg --no-blocks --out whole --json >whole.json 2>/dev/null || echo "status $?"
# of labelled sets too, and all go on with the others
mkdir -p set/class_1 && cp "$DATA/atlas/pictures/class_1/0.png" set/class_1 && echo no >set/class_1/b.png
model=$DATA/golden/vit_base
keyhole atlas $model set --lenses images --out atlas --json >atlas.json 2>/dev/null || echo "status $?"
keyhole perturb $model set --steps 0 --no-relevance --out perturb --json >perturb.json 2>/dev/null || echo "status $?"
keyhole ablate $model set --designs causal --keys 1 --random-keys 0 --resamples 5 --block 0 --out ablate --json >ablate.json 2>/dev/null ||
    echo "status $?"
for file in classify.json look.json look/manifest.json whole.json whole/manifest.json \
    atlas.json perturb.json perturb/manifest.json ablate.json ablate/manifest.json; do
    python3 -c 'import json, sys
for row in json.load(open(sys.argv[1]))["failed"] or ["none"]: print(sys.argv[1], row)' $file
done
