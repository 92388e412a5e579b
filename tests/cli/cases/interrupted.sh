# Ctrl-C while align works: the program ends at once, no half file passes for a result, no empty folder
# stays, and the same command may run again
timeout --preserve-status -s INT 1 keyhole align random:vit_tiny_patch16_224 --draws 2000 --out results >out 2>err
echo "status $?"
[ -e results ] && echo "a folder although nothing is finished"
keyhole align random:test_vit --draws 0 --out results >/dev/null 2>&1 && [ -e results/manifest.json ] && echo "runs again"
# the same while look reads its images; a pipe that nobody fills holds it there
mkfifo slow.jpg
timeout --preserve-status -s INT 1 keyhole look random:test_vit slow.jpg --out deep/look
echo "status $?"
[ -e deep ] && echo "a folder although nothing is finished"
keyhole look random:test_vit "$DATA/golden/images/rgb_444.jpg" -q --no-blocks --out deep/look/ >/dev/null && ls deep/look
