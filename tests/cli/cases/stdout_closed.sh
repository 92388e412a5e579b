keyhole info random:test_vit >&-
