# the good ones are answered; of the bad ones the first few are named with the reason, all are counted
cp "$DATA/golden/images/rgb_444.jpg" a.jpg && echo no >b.jpg && cp "$DATA/golden/images/rgb8.png" c.png
keyhole classify random:test_vit a.jpg b.jpg c.png -k 1
echo "status $?"
for n in 1 2 3 4 5 6 7; do : >empty$n.png; done
keyhole classify random:test_vit a.jpg empty*.png -k 1 >/dev/null
echo "status $?"
keyhole classify random:test_vit a.jpg empty*.png -k 1 -q >/dev/null
echo "status $?"
keyhole classify random:test_vit empty*.png -k 1 -q
echo "status $?"
