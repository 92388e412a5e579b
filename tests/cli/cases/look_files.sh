cp "$DATA/golden/images/rgb_444.jpg" photo.jpg
keyhole look random:test_vit photo.jpg --class "golden retriever" --out look && ls look
