mkdir half && cp "$DATA/golden/test_vit/config.json" half && keyhole info half
