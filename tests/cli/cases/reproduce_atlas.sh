# A run of keyhole atlas is used as it is; one of other images or weights is refused with what differs. Without
# labels and masks the claims that need them say so.
model=$DATA/golden/vit_base
mkdir flat && cp "$DATA"/atlas/pictures/class_8/[0-3].png flat/
keyhole atlas "$model" flat --out run -q --no-figures >/dev/null && keyhole status run --digest >before
keyhole reproduce "$model" flat --atlas run --draws 2 --out claims -q | grep -A1 '^C\(9\|12\|14\) '
keyhole status run --digest | cmp before - && echo "the run is as it was"
[ -e claims/atlas ] || echo "no second atlas"
keyhole reproduce "$model" "$DATA/atlas/pictures" --atlas run --draws 2 --out other -q
echo "exit $?"
keyhole reproduce random:test_vit flat --atlas run --draws 2 --out other -q
echo "exit $?"
# class means of other images or tokens: what needs the usual ones is not tested, the others say what they are of; they are settings
set -- "$model" "$DATA/atlas/pictures" --out called -q
keyhole atlas "$@" --no-figures --class-by predicted --class-reduction cls >/dev/null
keyhole reproduce "$model" "$DATA/atlas/pictures" --atlas called --draws 1 --no-ablation --out third -q | grep -A1 '^C[4-6] '
keyhole pairs "$model" --weights called --blocks 0 -q | sed -n 2p
grep -o 'every key neuron, [a-z ,]* calls class 6' third/figures/atlas/figures.json
keyhole atlas "$@" --class-by predicted; echo "exit $?"
# without labels they need the model's answers alone
keyhole atlas "$model" flat --out named --class-by predicted -q >/dev/null; ls named/figures | grep 'fig4.*png'
keyhole atlas "$model" flat --out some --class-by correct --lenses accuracy -q; echo "exit $?"
# and so are results of keyhole ablate
keyhole ablate "$model" "$DATA/atlas/pictures/class_8" --per-class 1 --resamples 5 --sets 2 --keys 1 --designs causal --out ablated -q >/dev/null
keyhole reproduce "$model" "$DATA/atlas/pictures" --ablate ablated --draws 2 --out other -q
echo "exit $?"
keyhole reproduce random:test_vit "$DATA/atlas/pictures/class_8" --ablate ablated --draws 2 --out other -q
echo "exit $?"
