# a folder of pictures is no checkpoint
keyhole info "$DATA/golden/images"
