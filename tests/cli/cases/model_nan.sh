# one NaN among the weights must be seen, not averaged away
cp -r "$DATA/golden/test_vit" m
size=$(wc -c <m/model.safetensors)
printf "\000\000\300\177" | dd of=m/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
keyhole classify m "$DATA/golden/images/rgb_444.jpg"
