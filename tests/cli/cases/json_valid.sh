command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
image=$DATA/golden/images/rgb_444.jpg
for line in "info random:test_vit" "classify random:test_vit $image" "align random:test_vit --draws 2 --classes 3" \
    "look random:test_vit $image --out look" "verify $DATA/golden/test_vit $DATA/golden/test_vit/golden.safetensors"; do
    keyhole $line --json >answer 2>/dev/null || echo "fails: $line"
    python3 -m json.tool answer >/dev/null || echo "no JSON: $line"
done
