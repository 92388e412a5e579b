# The page of verdicts: what is tested, that it is well formed, and that a second run uses the atlas that is there.
# Four classes: too few for an interval over classes, so only the claims about the model's ten are judged
cp -r "$DATA/atlas/truth" maps && echo torn > maps/images/object/class_8/0.png # as if there were none
set -- "$DATA/golden/vit_base" "$DATA/atlas/pictures" --truth maps --draws 3 --per-class 3 --out claims -q
keyhole reproduce "$@" >first.txt || exit 1
cut -c1-21 first.txt | grep '^[CG][0-9]' | grep -v reproduced | grep -v mixed
grep -c 'reproduced \|mixed ' first.txt
awk -f "$KH_CASES/../well_formed.awk" claims/index.html && echo "well formed"
grep -o '<section class="c c[0-3]" id="C[0-9]*"' claims/index.html | wc -l
grep -o '<figure id="[a-z0-9]*"' claims/index.html
grep -c '<script\|http' claims/index.html
head -n 2 claims/claims.csv | cut -d, -f1-3
cut -d, -f1 claims/claims.csv | sort -u | wc -l
head -n 1 claims/goldens.csv
keyhole reproduce "$@" >again.txt
keyhole reproduce "$@" --overwrite >again.txt && cmp first.txt again.txt && echo "the same again"
grep -o 'claims/atlas (was complete)' claims/index.html
# one class: an interval over it has no width
mkdir one && cp -r "$DATA/atlas/pictures/class_8" one/
keyhole reproduce "$DATA/golden/vit_base" one --truth maps --draws 1 --no-ablation --per-class 2 --out single -q | grep -A2 '^C\(4\|9\|17\) ' | grep 'cannot\|needs' | cut -c1-75
