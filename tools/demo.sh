#!/bin/sh
# The main job on the demo world, without a network: scenes, classes, value vectors, heatmaps, truth, dreams, an atlas, claims.
# Usage: tools/demo.sh KEYHOLE_BINARY OUT_FOLDER
set -e
keyhole=$1
out=$2
rm -rf "$out" && mkdir -p "$out"
export XDG_CACHE_HOME="$out/cache" # demo:images are rendered here and leave with the folder

exec 3>&1
# shows the command, then runs it; what it prints may go elsewhere
run() {
    printf '\n$ keyhole %s\n' "$*" >&3
    "$keyhole" "$@"
}

echo "The demo world is drawn by keyhole itself: scenes of one object each, 25 classes, with the truth of
every pixel. The model \"demo\" is a small ViT trained on such scenes and on nothing else."

run diorama --sheet "$out/world.png" --sheet-scenes 2 --quiet
run info demo
run classify demo demo:images/poodle --truth
run classify demo demo:images --truth --quiet >"$out/classify.txt"
tail -n 1 "$out/classify.txt"
run align demo --out "$out/align" --quiet
run look demo demo:images/fish demo:images/poodle demo:images/rocket --truth --no-blocks --out "$out/look" --quiet >"$out/look.txt"
cat "$out/look.txt" | sed -n '1,16p' && echo "... (12 scenes; all of it is in $out/look.txt)"
run look demo demo:images/car --truth --out "$out/car" --quiet >"$out/car.txt"
run truth demo --scenes 10 --out "$out/truth" --quiet >"$out/truth.txt"
sed -n '/^mean over classes/,/^$/p' "$out/truth.txt" && echo "(all of it is in $out/truth.txt)"
run dream demo --class sailboat,snail,guitar,umbrella,chair,lamp --steps 100 --snapshots 10,25,50 --out "$out/dream" --quiet
run diorama --count 250 --seed 2 --out "$out/scenes" --quiet
run atlas demo "$out/scenes" --truth "$out/scenes" --out "$out/atlas" --quiet >"$out/atlas.txt"
run status "$out/atlas"
run reproduce demo "$out/scenes" --truth "$out/scenes" --draws 10 --atlas "$out/atlas" --out "$out/claims" --quiet >"$out/claims.txt"
sed -n '/^C[0-9]/s/^\(.\{100\}\).*/\1 .../p; /^C[0-9].\{0,97\}$/p' "$out/claims.txt"

echo
echo "Worth opening:"
echo "  $out/world.png         every class, and below it the truth"
echo "  $out/look/look.png     where the five neurons most aligned with a class fire in four of its scenes each"
echo "  $out/car/blocks_*.png  block by block, on scenes of cars"
echo "  $out/dream/sheet_s0100_01.png  what the key neurons of six classes want to see; strips/ move"
echo "  $out/align/fig3.png    in which blocks the best neurons of the classes are"
echo "  $out/truth/*.png       do they fire on the object? Measured against the truth, with random neurons beside them"
echo "  $out/claims/index.html what a report about a ViT-B/16 claims, tested on this model: verdicts, numbers, figures"
echo "  $out/atlas/figures/*.png  one pass over 250 scenes, every key neuron; the tables are in run.sqlite (docs/run-directory.md)"
echo "Numbers are in the .csv and .npy files beside them; manifest.json says from what they were made."
