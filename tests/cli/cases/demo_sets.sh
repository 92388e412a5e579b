# sets of scenes mean their pictures for every command; a stopped or damaged one is not taken for whole
export KEYHOLE_CACHE=$WORK/cache
keyhole atlas random:test_vit demo:images/fish --out first --lenses images --no-figures --quiet | grep -c '^complete'
keyhole diorama --count 3 --start 6 --size 32 --out set
keyhole atlas random:test_vit set --out second --lenses images --no-figures --quiet | head -n 1
rm -r cache/diorama/demo-images/images/scenes/fish cache/diorama/demo-images/manifest.json # killed, without a mark
keyhole classify random:test_vit demo:images/fish -k 1 --quiet | tail -n 1 | grep -c .
rm set/images/scenes/fish/000006.png
keyhole diorama --count 3 --start 6 --size 32 --out set
keyhole diorama --count 3 --start 6 --size 32 --out set
touch set/unfinished && rm set/manifest.json
keyhole classify random:test_vit set
echo status $?
echo none >bad.png
keyhole atlas random:test_vit bad.png --out third --lenses images --no-figures --json 2>/dev/null |
    grep -c '"reason": "not a JPEG'
# done already, and still failed
keyhole atlas random:test_vit bad.png --out third --lenses images --no-figures >/dev/null
echo status $?
keyhole status third
cp "$DATA/golden/images/rgb_444.jpg" bad.png # and put right
keyhole atlas random:test_vit bad.png --out third --lenses images --no-figures -q | sed 's/ (.*//; s/digest .*/digest/'
