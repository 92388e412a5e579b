keyhole align random:test_vit --json=yes
