keyhole align random:test_vit --topk 0
