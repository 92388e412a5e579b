# broken images are recorded with their reasons wherever a program reads results
command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
cp "$DATA/golden/images/rgb_444.jpg" a.jpg && echo no >b.jpg && : >"$(printf 'esc\033.png')"
keyhole classify random:test_vit . --json >classify.json 2>/dev/null || echo "status $?"
keyhole look random:test_vit . missing.jpg --no-blocks --out look --json >look.json 2>/dev/null || echo "status $?"
keyhole look random:test_vit a.jpg --no-blocks --out whole --json >whole.json 2>/dev/null || echo "status $?"
for file in classify.json look.json look/manifest.json whole.json whole/manifest.json; do
    python3 -c 'import json, sys
for row in json.load(open(sys.argv[1]))["failed"] or ["none"]: print(sys.argv[1], row)' $file
done
