# manifest.json lists every file of the folder but itself, once
command -v python3 >/dev/null || { echo "no python3 to read JSON with" >&2; exit 77; }
cp "$DATA/golden/images/rgb_444.jpg" "a b.jpg" && mkdir many &&
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cp "a b.jpg" many/$i.jpg; done
keyhole look random:test_vit "a b.jpg" -k 1 -q --out look >/dev/null || exit 1
keyhole look random:test_vit many -k 1 -q --no-blocks --out pages >/dev/null || exit 1
keyhole align random:test_vit --draws 0 -q --out align >/dev/null || exit 1
keyhole align random:test_vit --draws 0 -q --save-matrix --out matrix >/dev/null || exit 1
for folder in look pages align matrix; do
    python3 -c 'import json, os, sys
listed = [f["name"] for f in json.load(open(sys.argv[1] + "/manifest.json"))["files"]]
print(sys.argv[1], "lists all" if sorted(listed + ["manifest.json"]) == sorted(os.listdir(sys.argv[1])) else listed)
' $folder
done
ls pages/*.png
