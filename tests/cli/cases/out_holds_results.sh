keyhole align random:test_vit --draws 0 --out results >/dev/null 2>&1 || exit 3
keyhole align random:test_vit --draws 0 --out results
