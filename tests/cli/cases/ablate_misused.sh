MODEL=$DATA/golden/vit_base
IMAGES=$DATA/atlas/pictures
for options in "--rank-by luck" "--op mean,boom" "--op mean,mean" "--op ," "--k 3,1" "--k 0,1" "--k 1,x" "--sweep-k 5,5" \
    "--designs own,all" "--block 0 --global" "--block last" "--tokens some" "--tokens mask" "--truth x" "--patches corner" "--resume --overwrite" "--batch 0" "--resamples 0" "--swap-k 0" "--sets 5000"; do
    keyhole ablate $MODEL $IMAGES $options
    echo status $?
done
keyhole ablate $MODEL $IMAGES --block 2
echo status $?
mkdir flat && cp $IMAGES/class_1/0.png flat
keyhole ablate $MODEL flat
echo status $?
mkdir -p torn/class_1 && echo torn >torn/class_1/0.png
keyhole ablate $MODEL torn
echo status $?
keyhole ablate $MODEL
echo status $?
ls
