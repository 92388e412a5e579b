# an archive is a set of images like any other
cd "$DATA/golden/images" && tar cf "$WORK/set.tar" gray8.png even_420.jpg && cd "$WORK" || exit 1
keyhole classify random:test_vit set.tar -k 1 | grep -v '%'
# labels are for its members, at the root too; a file that labels none of them says how the names differ
printf 'gray8.png 1\nset.tar:even_420.jpg 2\n' >labels && printf 'grey8.png 1\n' >others
keyhole classify random:test_vit set.tar --label-file labels -k 1 | grep -o 'true: [0-9]*\|of 2 .*'
keyhole classify random:test_vit set.tar --label-file others
echo "status $?"
keyhole classify random:test_vit set.tar --truth -k 1 | tail -n 1
# webdataset: labels need not stand beside their pictures; one picture's is missing, and is told of
mkdir wd && for name in a b c; do cp "$DATA/golden/images/gray8.png" wd/$name.png; done
echo 1 >wd/a.cls && echo 2 >wd/c.cls && tar cf wd.tar -C wd c.cls b.png a.png c.png a.cls
keyhole classify random:test_vit wd.tar --truth -k 1 | grep -o 'true: [0-9]*\|of [0-9]* .*'
# so is a picture that a label file leaves out; two lines that differ are refused
printf 'gray8.png 1\n' >labels
keyhole classify random:test_vit set.tar --label-file labels -k 1 | grep -o 'of 1 .*'
printf 'gray8.png 1\n\neven_420.jpg 2\nold/gray8.png 3\n' >labels
keyhole classify random:test_vit set.tar --label-file labels -k 1
echo "status $?"
