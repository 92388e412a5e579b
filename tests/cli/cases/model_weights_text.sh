cp -r "$DATA/golden/test_vit" m && echo "this is no safetensors file" >m/model.safetensors
keyhole info m
