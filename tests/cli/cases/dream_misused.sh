M=random:vit_tiny_patch16_224
keyhole dream $M --class 1
keyhole dream $M --out d
keyhole dream $M --out d --class 1 --preset fancy
keyhole dream $M --out d --class 1 --steps 10 --snapshots 5,11
keyhole dream $M --out d --class 1 --diversity 1
keyhole dream $M --out d --neuron b12n0
keyhole dream $M --out d --class 1,2,3 --interpolate --images 4
keyhole dream $M --out d --neuron b1n1,1:1
ls d 2>/dev/null
exit 0
