for n in nan inf -inf 1,5 ""; do
    keyhole align random:test_vit --value-bias "$n"
    [ $? = 2 ] || echo "takes $n"
done
exit 2
