# What is named and not there is refused by every command before its folder is made, with what may have been meant;
# what a list names and nobody finds is skipped.
cp "$DATA/golden/images/rgb_444.jpg" photo.jpg && mkdir -p val/fish && cp photo.jpg val/fish/a.jpg || exit 1
for path in phoot.jpg val/fihs/a.jpg nowhere/fish/a.jpg no-such.jpg set.tar; do
    keyhole classify random:test_vit photo.jpg $path
    echo "status $?"
done
for command in "look random:test_vit" "atlas random:test_vit" "merge random:test_vit" "perturb random:test_vit" \
    "ablate $DATA/golden/vit_base" "reproduce random:test_vit"; do
    keyhole $command photo.jpg vla --out out
    echo "status $?"
done
keyhole dream random:test_vit --model-size 32 --steps 2 --neuron b3n7 --natural vla --out out
echo "status $?"
ls
printf 'photo.jpg\nno-such.jpg\n' >list
keyhole classify random:test_vit @list -k 1 | grep -c jpg
