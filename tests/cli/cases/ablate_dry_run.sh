# what a study will take, without a folder
MODEL=$DATA/golden/vit_base
keyhole ablate $MODEL $DATA/atlas/pictures --dry-run --per-class 5 --block 0 --designs own,swap
keyhole ablate $MODEL $DATA/atlas/pictures --dry-run --global --designs own,swap | sed -n 1p
keyhole ablate $MODEL $DATA/atlas/pictures --dry-run --truth "$DATA/atlas/truth" --tokens context --block 1 --designs own | sed -n 1p
keyhole ablate $MODEL $DATA/atlas/pictures --dry-run --json | sed 's/\("[a-z_]*\(pass\|passes\|seconds\|bytes\)": \).*/\1N/'
# as many variants as are run
keyhole ablate $MODEL $DATA/atlas/pictures --dry-run --resamples 5 --designs own,sweep,steer,causal --block 0 | grep -o '^[0-9]* variants'
keyhole ablate $MODEL $DATA/atlas/pictures --resamples 5 --designs own,sweep,steer,causal --block 0 --out out | sed -n 2p
mkdir flat && cp $DATA/atlas/pictures/class_1/0.png flat
keyhole ablate $MODEL flat --dry-run
echo status $?
ls
