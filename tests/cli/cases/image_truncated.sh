head -c 700 "$DATA/golden/images/rgb_444.jpg" >cut.jpg
keyhole classify random:test_vit cut.jpg
