# A set of scenes: which files, the same on one thread and two, left alone when it is already there.
keyhole diorama --count 27 --seed 4 --size 32 --threads 1 --out one
keyhole diorama --count 27 --seed 4 --size 32 --threads 2 --out two
diff -r one two && echo the same
keyhole diorama --count 27 --seed 4 --size 32 --out one
ls one && ls one/images/scenes/hound one/images/labels/part/hound
[ "$(find one/images -name '*.png' | wc -l)" = $((27 * 6)) ] && echo 27 pictures with 5 maps
keyhole diorama --count 28 --seed 4 --size 32 --out one
echo status $?
keyhole diorama --count 2 --seed 4 --size 32 --out one --overwrite --no-labels --json
find one -type f | sort
