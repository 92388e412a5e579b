keyhole look random:test_vit x.jpg --percentile 0
