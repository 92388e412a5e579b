keyhole look random:test_vit x.jpg --class 3 --truth
