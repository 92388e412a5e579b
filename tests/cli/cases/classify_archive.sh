# an archive is a set of images like any other
cd "$DATA/golden/images" && tar cf "$WORK/set.tar" gray8.png even_420.jpg && cd "$WORK" || exit 1
keyhole classify random:test_vit set.tar -k 1 | grep -v '%'
