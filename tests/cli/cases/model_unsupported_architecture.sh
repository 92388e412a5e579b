mkdir other && cp "$DATA/golden/test_vit/model.safetensors" other
echo "{\"architecture\": \"eva02_base_patch14_448\", \"num_classes\": 10}" >other/config.json
keyhole info other
