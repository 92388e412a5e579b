# What reproduce refuses, and why
pictures=$DATA/atlas/pictures
try() {
    keyhole reproduce "$@" -q
    echo "exit $?"
}
try random:test_vit
try random:test_vit "$pictures" --draws 0
try random:test_vit "$pictures" --percentile 100
try random:test_vit "$pictures" --atlas run --lenses all
try random:test_vit "$pictures" --ablate run --no-ablation
try random:test_vit "$pictures" --lenses accuracy,nosuch
try random:test_vit "$pictures" --atlas nowhere
try random:test_vit "$pictures" --ablate nowhere
try random:test_vit "$pictures" --relatives none-of-them
try random:test_vit "$pictures" --truth nowhere
try random:test_vit "$pictures" --golden-image nowhere.jpg
ls
