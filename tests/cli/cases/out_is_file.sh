echo keep >results && keyhole align random:test_vit --draws 0 --out results
code=$?
cat results
exit $code
