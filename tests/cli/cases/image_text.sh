echo "not a picture at all" >notes.jpg && keyhole classify random:test_vit notes.jpg
