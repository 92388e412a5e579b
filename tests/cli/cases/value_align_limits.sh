# more value vectors than a block has, or endless draws: refused with the limit, nothing cut silently, no folder made
keyhole align random:test_vit -k 100000 --draws 0 --out results; [ $? = 2 ] || echo "takes -k 100000"
keyhole align random:test_vit --draws 10001 --out results; [ $? = 2 ] || echo "takes --draws 10001"
[ -e results ] && echo "a folder without results"
units=$(keyhole info random:test_vit --json | grep -m 1 -o '"neurons": [0-9]*' | grep -o '[0-9]*')
keyhole align random:test_vit -k "$units" --draws 0 -q >/dev/null && echo "takes all of a block"
keyhole align random:test_vit -k $((units + 1)) --draws 0; [ $? = 2 ] || echo "takes one more"
keyhole align random:test_vit -k $((units + 1)) --source attention --draws 0 2>/dev/null; [ $? = 2 ] || echo "takes one more"
