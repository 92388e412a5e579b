keyhole align random:test_vit random:test_vit2
