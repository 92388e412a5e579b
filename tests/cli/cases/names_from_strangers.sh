# bytes that are no UTF-8, and one that a terminal would obey
odd=$(printf 'odd\377.jpg') && escape=$(printf 'esc\033[31m.jpg')
cp "$DATA/golden/images/rgb_444.jpg" "$odd" && cp "$odd" "$escape" || exit 77
keyhole classify random:test_vit "$odd" "$escape" -q | grep jpg
keyhole classify random:test_vit "$odd" "$escape" -q --json | grep jpg
keyhole look random:test_vit "$odd" -q --json --no-blocks | grep jpg
