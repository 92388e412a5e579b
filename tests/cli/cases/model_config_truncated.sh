cp -r "$DATA/golden/test_vit" m && head -c 100 "$DATA/golden/test_vit/config.json" >m/config.json
keyhole info m
