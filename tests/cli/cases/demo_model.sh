# the trained model: timm's numbers on every instruction set there is, and the right names for its world
for isa in avx512 avx2 neon plain; do
    keyhole verify demo "$DATA/golden/demo.safetensors" --isa $isa >said 2>&1 || grep -q 'isa' said || { cat said; exit 1; }
    grep -q '^all 6 agree' said && agreed=1
done
echo "agreed $agreed"
keyhole verify demo "$DATA/golden/demo.safetensors" --device reference | tail -n 1
export KEYHOLE_CACHE=$WORK/cache
keyhole classify demo demo:images --truth | tail -n 1
