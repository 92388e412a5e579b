# whatever the limit: done, or a sentence about memory and status 1; never a crash
[ -z "$KH_SANITIZED" ] || { echo "sanitizers need terabytes of address space" >&2; exit 77; }
failed=0
for kib in 30000 40000 50000 60000 70000 80000 100000 120000 160000 200000 300000 400000; do
    (ulimit -v $kib && keyhole classify random:vit_tiny_patch16_224 "$DATA/golden/images/rgb_444.jpg") >out 2>err
    case $? in
    0 | 127) ;; # 127: too little even for the loader
    1) failed=$((failed + 1))
        grep -q -e memory -e "cannot start thread" err || { echo "$kib KiB: no word about what is missing: $(cat err)"; } ;;
    *) echo "$kib KiB: status $?: $(cat err)" ;;
    esac
done
[ $failed -gt 0 ] && echo "failed politely"
