# demo:images is a labelled set in the cache, rendered once, understood wherever images are taken.
printf '%s\n' hound terrier dachshund poodle spitz greyhound fish bird butterfly snail >labels.txt
export KEYHOLE_CACHE=$WORK/cache
seq 10 999 >>labels.txt
keyhole classify random:test_vit demo:images/fish demo:images/snail --truth -k 1 --labels labels.txt
keyhole look random:test_vit demo:images/bird --class fish -k 1 --no-blocks --labels labels.txt --out seen --quiet | tail -n 1
find cache -path '*scenes/*.png' | wc -l
keyhole classify random:test_vit demo:images/unicorn
echo status $?
echo x >file
KEYHOLE_CACHE=$WORK/file keyhole classify random:test_vit demo:images
echo status $?
# the folder of a set means its pictures, not its label maps
keyhole diorama --count 3 --start 6 --size 32 --out set
keyhole classify random:test_vit set --truth -k 1 --labels labels.txt | grep -v %
