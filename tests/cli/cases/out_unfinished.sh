# a run that did not come to its end leaves a mark: the same command goes over its leftovers, another one does not
image=$DATA/golden/images/rgb_444.jpg
look() { keyhole look random:test_vit "$image" -q --no-blocks --out look "$@" >/dev/null; }
look || exit 1
rm look/map.npy && mkdir look/map.npy && touch look/map.npy/full
look --overwrite 2>/dev/null && echo passed
ls look
rm -r look/map.npy
keyhole align random:test_vit --draws 0 --out look --overwrite; echo "status $?"
look && ls look
# killed before a word of the mark was written
mkdir early && touch early/unfinished
keyhole align random:test_vit -q --draws 0 --out early >/dev/null 2>&1; echo "status $?"
ls early | grep -c unfinished
# an unfinished atlas is no place for others; its states may have been brought there from another machine
set -- random:test_vit "$image" -q --no-figures --lenses accuracy
keyhole atlas "$@" --out run --keep-state >/dev/null
mkdir brought && cp -r run/shards brought/
keyhole share random:test_vit --out brought; echo "status $?"
keyhole merge "$@" --out brought | sed 's/digest .*/digest/'
rm run/manifest.json
keyhole share random:test_vit --out run --overwrite; echo "status $?"
keyhole atlas "$@" --out run | sed 's/digest .*/digest/'
[ "$(keyhole status run --digest)" = "$(keyhole status brought --digest)" ] && echo "the same run"
