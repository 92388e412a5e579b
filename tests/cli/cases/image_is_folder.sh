mkdir nothing && keyhole classify random:test_vit nothing
