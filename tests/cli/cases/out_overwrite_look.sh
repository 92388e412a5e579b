# three pictures first, then one: nothing of the first run stays, somebody's own file does
keyhole look random:test_vit "$DATA"/golden/images/rgb_4*.jpg --out results >/dev/null 2>&1 &&
    touch results/mine.txt &&
    keyhole look random:test_vit "$DATA"/golden/images/rgb_444.jpg --out results --overwrite >/dev/null 2>&1 &&
    ls results
