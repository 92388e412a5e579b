keyhole verify "$DATA/golden/test_vit" "$DATA/golden/test_vit/golden.safetensors"
