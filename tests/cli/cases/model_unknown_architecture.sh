mkdir other && cp "$DATA/golden/test_vit/model.safetensors" other
echo "{\"architecture\": \"vit_imaginary_patch16_224\", \"num_classes\": 10}" >other/config.json
keyhole info other
