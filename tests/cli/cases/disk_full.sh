# a disk of 64 KiB; what does not fit must be said, and nothing half-written may stay
mkdir disk && mount -t tmpfs -o size=64k none disk 2>/dev/null ||
    { echo "cannot mount a small disk here" >&2; exit 77; }
keyhole align random:test_vit --draws 0 --out disk/results
code=$?
find disk -name "*.partial" -o -name manifest.json
umount disk
exit $code
