# Every kind of goal and every preset once, very small.
dream() {
    out=d$((n = n + 1))
    keyhole dream random:test_vit --model-size 32 --steps 2 -q --out $out "$@" || exit 1
    [ -s $out/manifest.json ] && [ -s $out/log.csv ] && ls $out/images
}
for preset in default report-quant report-qual report-fail cluster384 thesis224 thesis-maco maco \
    standard-fourier pixel-tv vitvis; do
    dream --preset $preset --size 16 --neuron b3n7
done
dream --class 7 --goal logit
dream --class 7 --goal log-probability --negative
dream --class 7 -k 5 --weights equal
dream --class 7 --pick next
dream --class 7 --pick random
dream --class 7 --per-block
dream --class 7 --images 2 --diversity 1.5
dream --class 7,8 --images 3 --interpolate
dream --class 7 --tokens cell --cell 3 --gate warm --warm-steps 1
dream --neuron b0n0 --penalty 2 --photo "$DATA/golden/images/$(ls "$DATA/golden/images" | grep -m 1 png)"
dream --goal value --neuron b4n40
dream --class 7 --per-block -k 2 --weights equal
dream --neuron b3n7+b5n9,b3n8 --gate positive
dream --class 7 --images 2 --diversity 1.5 --diversity-kind gram
dream --direction class:7,value:b3n7 --minus class:8 --block 5
dream --neuron b3n7 --set paint=pixel,chain=roll,roll=3,tv=0.001,colour-shift=0.5,noise=0.1,optimizer=nadam
dream --class 7,8 --baselines
dream --class 7 --goal value -k 2
