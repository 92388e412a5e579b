# a run that fails over old results leaves no manifest that speaks of other numbers
cp "$DATA/golden/images/rgb_444.jpg" a.jpg
keyhole look random:test_vit a.jpg -q --no-blocks --block 3 -c 7 --exif-rotate --out look >/dev/null || exit 1
grep -o '"\(block\|class\|exif_rotate\|gray16_scale\)": [^,]*' look/manifest.json
rm look/map.npy && mkdir -p look/map.npy/full
keyhole look random:test_vit a.jpg -q --no-blocks --mode cos --out look --overwrite >/dev/null 2>&1 && echo passed
ls look | grep -x manifest.json || echo "no manifest"
keyhole align random:test_vit -q --draws 0 --out align >/dev/null || exit 1
grep -o '"head": [^,]*' align/manifest.json
rm align/fig3.csv && mkdir -p align/fig3.csv/full
keyhole align random:test_vit -q --draws 0 --mode cos --out align --overwrite >/dev/null 2>&1 && echo passed
ls align | grep -x manifest.json || echo "no manifest"
