M=demo
try() {
    keyhole dream $M "$@"
    echo "exit $?"
}
try --class 1
try --out d
try --out d --class 1 --preset fancy
try --out d --class zebrra
try --out d --class 1 --steps 0
try --out d --class 1 -b 0
try --out d --class 1 --seed 18446744073709551615
try --out d --class 1 --steps 10 --snapshots 5,11
try --out d --class 1 --diversity 1
try --out d --neuron b12n0
try --out d --neuron b1n0+b2n900
try --out d --class 1,2,3 --interpolate --images 4
try --out d --neuron b1n1,1:1
try --out d --neuron b1n1 --set paint=oil
try --out d --neuron b1n1 --set oil=1,tv=1
try --out d --neuron b1n1 --set tv=-1
try --out d --neuron b1n1 --lr -1
try --out d --neuron b1n1 --lr=0
try --out d --neuron b1n1 --set views=1.5
try --out d --neuron b1n1 --set tie-phases=yes
try --out d --neuron b1n1 --baselines
try --out d --direction north
try --out d --direction class:zebrra
try --out d --direction value:b1n512
try --out d --direction class:7 --block 12
try --out d --direction class:car --minus class:12
try --out d --direction class:7 --power 0
try --out d --neuron b1n1 --images 65
try --out d --neuron b1n1 --tokens cell --cell 196
ls d 2>/dev/null
exit 0
