# One table and one figure: every view, baselines, another judge, natural images.
mkdir -p natural/n01440764 natural/n01443537 # the first two, each with an image twice
for copy in a b; do
    cp "$DATA/golden/images/even_420.jpg" natural/n01440764/$copy.jpg
    cp "$DATA/golden/images/cmyk.jpg" natural/n01443537/$copy.jpg
done
dream() {
    keyhole dream random:test_vit --model-size 32 --class 0,1 --steps 2 --snapshots 1 --baselines --out d \
        --quiet --threads 1 --evaluate "$@"
}
dream --judge demo
[ $? = 2 ] && [ ! -e d ] && echo refused # other classes
dream --judge random:test_vit@1 --natural natural || exit 1
# again, with one that cannot be read; MaCo's magnitudes leave it out as well
echo torn >natural/n01443537/torn.jpg
dream --judge random:test_vit@1 --natural natural --json | grep -c torn.jpg
grep -c torn.jpg d/manifest.json
keyhole dream random:test_vit --model-size 32 --preset maco --size 16 --steps 2 --neuron b3n7 --magnitudes natural --out maco &&
    grep -c torn.jpg maco/manifest.json
head -n 2 d/evaluation.csv
for table in evaluation answers natural; do
    echo "$table: $(($(wc -l <d/$table.csv))) lines"
done
for file in evaluation.png evaluation.svg ranking.png sheet_s0002_01.png sheet_next_s0001_01.png \
    sheet_random_s0002_01.png; do
    [ -s d/$file ] || echo "no $file"
done
# an image that is there twice has a nearest one at no distance
cut -d, -f3,12 d/natural.csv
# rows of the table are counts of the answers
awk -F, '$1 == "self" && $2 == "best" && $3 == 2 && $4 == "squash" && $5 == "model" { n++; rank += $10 }
    END { print n, rank / n }' d/answers.csv >counted.txt
awk -F, '$1 == "self" && $2 == "best" && $3 == 2 && $4 == "squash" && $5 == "model" { print $6, $12 + 0 }' \
    d/evaluation.csv | cmp - counted.txt && echo counted
