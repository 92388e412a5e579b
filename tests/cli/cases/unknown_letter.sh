keyhole align random:test_vit -z
