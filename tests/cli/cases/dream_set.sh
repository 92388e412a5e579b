# What a manifest says of the settings, given to --set, paints the same picture from another preset.
dream() { keyhole dream random:test_vit --model-size 32 --neuron b3n7 --steps 3 -q "$@" >/dev/null || exit 1; }
for preset in report-quant maco standard-fourier vitvis; do
    dream --preset $preset --size 24 --tokens all --gate pre --out $preset
    set=$(sed -n 's/.*"settings": "\(.*\)",*$/\1/p' $preset/manifest.json)
    dream --preset default --set "$set" --tokens all --gate pre --seed 0 --out again_$preset
    cmp $preset/images/b3n7_s0003.png again_$preset/images/b3n7_s0003.png && echo $preset again
    dream --preset $preset --size 24 --tokens all --gate pre --out other_$preset --set lr=0.01
    cmp -s $preset/images/b3n7_s0003.png other_$preset/images/b3n7_s0003.png && echo lr is nothing
done
echo "$set"
