# an output folder that cannot be is refused before the work, and what lies on the way stays as it was
image=$DATA/golden/images/rgb_444.jpg
echo keep >file && mkdir locked && chmod 555 locked && . "$KH_CASES/../as_nobody.inc"
for out in file file/look "" locked "locked/$(printf 'a\033')/b"; do
    as_nobody keyhole look random:test_vit "$image" --out "$out" && echo "takes $out"
done
cat file && ls locked
