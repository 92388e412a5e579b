keyhole align random:test_vit --mode louder
