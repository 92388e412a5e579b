# Two classes called crane: the picture says which. Both lists name class 5 alike and class 9 is never drawn.
cp "$DATA/golden/images/rgb_444.jpg" photo.jpg
seq 0 999 | sed 's/^/thing /; s/^thing 5$/crane, bird/' >one.txt
sed 's/^thing 9$/crane/' one.txt >two.txt
for list in one two; do
    keyhole look random:test_vit photo.jpg --class 5 -k 1 --no-blocks --labels $list.txt --out $list | grep -c "thing 9$"
done
cmp -s one/look.csv two/look.csv && ! cmp -s one/look.svg two/look.svg && echo told apart
