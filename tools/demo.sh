#!/bin/sh
# The main job on material that is made here, without a network.
# Usage: tools/demo.sh KEYHOLE_BINARY OUT_FOLDER
set -e
keyhole=$1
out=$2
model=random:vit_tiny_patch16_224
image=$out/house.png
rm -rf "$out" && mkdir -p "$out"

# shows the command, then runs it
run() {
    echo
    echo "\$ keyhole $*"
    "$keyhole" "$@"
}

echo "keyhole has no trained demo model yet. This demo runs on RANDOM weights ($model)
and a picture drawn just now, so classes and heatmaps below mean nothing; it shows what keyhole does
and what it writes. With a trained checkpoint, put its folder where this says $model."
"$(dirname "$keyhole")/tools/demo_image" "$image"

run info "$model"
run classify "$model" "$image"
run align "$model" --out "$out/align" --quiet
run look "$model" "$image" --out "$out/look" --quiet

echo
echo "Worth opening:"
echo "  $image   the picture"
for file in "$out"/look/*.png "$out"/align/*.png; do
    [ -e "$file" ] && echo "  $file"
done
echo "  $out/look/look.csv, $out/align/topk_global.csv   the numbers; manifest.json beside them says from what"
