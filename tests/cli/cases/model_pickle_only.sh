mkdir old && cp "$DATA/golden/test_vit/config.json" old && echo weights >old/pytorch_model.bin
keyhole info old
