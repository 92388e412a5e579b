# no guessing: --top is not --topk
keyhole align random:test_vit --top 3
