: >empty.png && keyhole classify random:test_vit empty.png
