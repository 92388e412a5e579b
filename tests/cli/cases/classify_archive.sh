# an archive is a set of images like any other
cd "$DATA/golden/images" && tar cf "$WORK/set.tar" gray8.png even_420.jpg && cd "$WORK" || exit 1
keyhole classify random:test_vit set.tar -k 1 | grep -v '%'
# labels are for its members, at the root too; a file that labels none of them says how the names differ
printf 'gray8.png 1\nset.tar:even_420.jpg 2\n' >labels && printf 'grey8.png 1\n' >others
keyhole classify random:test_vit set.tar --label-file labels -k 1 | grep -o 'true: [0-9]*\|of 2 .*'
keyhole classify random:test_vit set.tar --label-file others
echo "status $?"
keyhole classify random:test_vit set.tar --truth -k 1 | tail -n 1
