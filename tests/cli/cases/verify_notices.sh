# one weight set to 1
cp -r "$DATA/golden/test_vit" m
size=$(wc -c <m/model.safetensors)
printf "\000\000\200\077" | dd of=m/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
keyhole verify m "$DATA/golden/test_vit/golden.safetensors"
