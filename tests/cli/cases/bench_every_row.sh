# A row for every token in the last block too costs more work; --dream has no such choice.
keyhole bench random:test_vit --dream --every-row
echo "exit $?" >&2
work() { keyhole bench random:test_vit -b 1 --rounds 1 --seconds 0.01 --json "$@" | sed -n 's/.*"gflop_per_image": \([0-9.e-]*\),*/\1/p'; }
shortened=$(work) every=$(work --every-row)
awk -v a="$shortened" -v b="$every" 'BEGIN { exit !(a > 0 && b > a) }' && echo "every row is more work"
