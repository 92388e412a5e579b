cp -r "$DATA/golden/test_vit" m && chmod 000 m/model.safetensors && . "$KH_CASES/../as_nobody.inc"
as_nobody keyhole info m
