keyhole align random:test_vit --draws 0 --out results >/dev/null 2>&1 &&
    keyhole align random:test_vit --draws 0 --out results --overwrite >/dev/null 2>&1 && ls results
