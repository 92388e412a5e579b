# One table and one figure: every view, baselines, another judge, natural images.
keyhole diorama --count 25 --size 32 --no-labels --quiet --out scenes >/dev/null || exit 1
dream() {
    keyhole dream demo --class 0,1 --steps 2 --baselines --out d --quiet --threads 1 "$@"
}
dream --evaluate --judge demo,random:test_vit
[ $? = 2 ] && [ ! -e d ] && echo refused # other classes
dream --evaluate --judge demo --natural scenes || exit 1
head -n 2 d/evaluation.csv
for table in evaluation answers natural; do
    echo "$table: $(($(wc -l <d/$table.csv))) lines"
done
for file in evaluation.png evaluation.svg ranking.png sheet_s0002_01.png sheet_next_s0002_01.png \
    sheet_random_s0002_01.png; do
    [ -s d/$file ] || echo "no $file"
done
# the judge is the model itself, so its answers are the same
grep '^self,' d/answers.csv | cut -d, -f2- >self.txt
grep '^demo,' d/answers.csv | cut -d, -f2- | cmp - self.txt && echo same answers
# rows of the table are counts of the answers
awk -F, '$1 == "self" && $2 == "best" && $3 == 2 && $4 == "squash" && $5 == "model" { n++; hit += $10 == 0 }
    END { print n, hit / n }' d/answers.csv >counted.txt
awk -F, '$1 == "self" && $2 == "best" && $3 == 2 && $4 == "squash" && $5 == "model" { print $6, $7 + 0 }' \
    d/evaluation.csv | cmp - counted.txt && echo counted
