# the good ones are answered, the bad one is named, and the status says that something was wrong
cp "$DATA/golden/images/rgb_444.jpg" a.jpg && echo no >b.jpg && cp "$DATA/golden/images/rgb8.png" c.png
keyhole classify random:test_vit a.jpg b.jpg c.png -k 1
