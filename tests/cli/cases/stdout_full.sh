[ -c /dev/full ] || { echo "no /dev/full" >&2; exit 77; }
keyhole classify random:test_vit "$DATA/golden/images/rgb_444.jpg" >/dev/full
