# Ctrl-C while align works: the program ends at once, no half file passes for a result, and the same
# command may run again
timeout --preserve-status -s INT 1 keyhole align random:vit_tiny_patch16_224 --draws 2000 --out results >out 2>err
echo "status $?"
[ -e results/manifest.json ] && echo "a manifest although nothing is finished"
keyhole align random:test_vit --draws 0 --out results >/dev/null 2>&1 && [ -e results/manifest.json ] && echo "runs again"
