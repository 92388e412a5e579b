keyhole pull timm/vit_tiny_patch16_224.x --endpoint http://127.0.0.1:9
