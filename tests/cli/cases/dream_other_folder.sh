dream() { keyhole dream random:vit_tiny_patch16_224 --model-size 32 --steps 2 -q --out here "$@"; }
dream --neuron b3n7 && dream --neuron b3n7 && dream --neuron 4:1 --overwrite && dream --neuron b3n7
