for n in many -1 1.5 1e3 "" " 1" 99999999999999999999999 0x10; do
    keyhole align random:test_vit --topk "$n"
    [ $? = 2 ] || echo "takes $n"
done
exit 2
