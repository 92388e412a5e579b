keyhole align random:test_vit --loud
