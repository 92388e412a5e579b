# a folder that may not be written is refused before any image is read, and so is another user's run
. "$KH_CASES/../as_nobody.inc"
printf '%s\n' "$DATA/golden/images/rgb_444.jpg" "$DATA/golden/images/restart.jpg" > list
mkdir -m 755 closed
as_nobody keyhole atlas random:test_vit @list --out closed -q; echo "status $?"
as_nobody keyhole atlas random:test_vit @list --out closed/run -q; echo "status $?"
keyhole atlas random:test_vit @list --out closed --shard 0/2 -q >/dev/null
as_nobody keyhole atlas random:test_vit @list --out closed -q; echo "status $?"
as_nobody keyhole atlas random:test_vit @list --out closed -q --overwrite; echo "status $?"
keyhole atlas random:test_vit @list --out closed -q --no-figures | head -n 1 | sed 's/ (.*images.s)//'
