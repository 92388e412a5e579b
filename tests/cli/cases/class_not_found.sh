keyhole align random:test_vit --draws 0 --classes "purple unicorn"
