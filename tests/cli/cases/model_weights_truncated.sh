cp -r "$DATA/golden/test_vit" m && head -c 20000 "$DATA/golden/test_vit/model.safetensors" >m/model.safetensors
keyhole info m
