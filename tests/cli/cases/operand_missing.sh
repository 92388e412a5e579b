keyhole classify random:test_vit
