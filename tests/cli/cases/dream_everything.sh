# Every kind of goal and every preset once, very small.
dream() {
    out=d$((n = n + 1))
    keyhole dream random:vit_tiny_patch16_224 --model-size 32 --steps 2 -q --out $out "$@" || exit 1
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
dream --class 7 --tokens cell --cell 3 --gate warm
dream --neuron b0n0 --photo "$DATA/golden/images/$(ls "$DATA/golden/images" | grep -m 1 png)"
dream --goal value --neuron b8n70
