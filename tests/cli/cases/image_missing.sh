keyhole classify random:test_vit no-such.jpg
