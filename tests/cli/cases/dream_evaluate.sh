# One table and one figure: every mark and view, baselines, another judge, natural images.
keyhole diorama --count 25 --size 32 --no-labels --quiet --out scenes >/dev/null || exit 1
dream() {
    keyhole dream demo --class 0,1,2 --steps 4 --snapshots 2 --baselines --out d --quiet --threads 1 "$@"
}
dream --evaluate --judge demo,random:test_vit
[ $? = 2 ] && [ ! -e d ] && echo refused # other classes
dream --evaluate --judge demo --natural scenes || exit 1
head -n 2 d/evaluation.csv
wc -l d/evaluation.csv d/answers.csv d/natural.csv
for file in evaluation.png evaluation.svg ranking.png sheet_s0004_01.png sheet_next_s0002_01.png \
    sheet_random_s0004_01.png strips/d00000001_*next.png; do
    [ -s $file ] || [ -s d/$file ] || echo "no $file"
done
# the judge is the model itself, so its answers are the same
grep '^self,' d/answers.csv | cut -d, -f2- >self.txt
grep '^demo,' d/answers.csv | cut -d, -f2- | cmp - self.txt && echo same answers
# rows of the table are counts of the answers
awk -F, '$1 == "self" && $2 == "best" && $3 == 4 && $4 == "squash" && $5 == "model" { n++; hit += $10 == 0 }
    END { print n, hit / n }' d/answers.csv >counted.txt
awk -F, '$1 == "self" && $2 == "best" && $3 == 4 && $4 == "squash" && $5 == "model" { print $6, $7 + 0 }' \
    d/evaluation.csv | cmp - counted.txt && echo counted
