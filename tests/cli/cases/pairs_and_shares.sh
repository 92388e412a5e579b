# pairs and share: the same bytes on one and two threads, every file listed; sums; misuse says what was expected
model=random:test_vit
for t in 1 2; do
    keyhole pairs $model -q -t $t --out pairs$t >pairs$t.txt 2>/dev/null || exit 1
    printf '0-9\tfirst ten\n# a comment\n\ngoldfinch, bird\n' >groups.txt
    keyhole share $model -q -t $t --bases 5 --superclasses groups.txt --out share$t >share$t.txt 2>/dev/null || exit 1
done
cmp pairs1.txt pairs2.txt && diff -r pairs1 pairs2 && cmp share1.txt share2.txt && diff -r share1 share2 && echo "threads do not matter"
head -1 pairs1/pairs.csv
awk -F, 'NR > 1 && ($6 < -1e-4 && $5 > 0 || $7 < -1e-4 || $3 >= $4) { print "odd", $0 }' pairs1/pairs.csv | head -3
awk -F, 'NR > 1 { sum += $3 } END { print "classes served:", sum }' share1/shared.csv
grep -c . share1/classes.csv
keyhole share $model -q -k 3 --bases 5 --overwrite --out share1 >/dev/null 2>&1
awk -F, 'NR > 1 { sum += $3 } END { print "and with three ranks:", sum }' share1/shared.csv
for folder in pairs1 share2; do
    for file in $(ls $folder | grep -v manifest.json); do
        grep -q "\"$file\"" $folder/manifest.json || echo "$folder/manifest.json lacks $file"
    done
done
keyhole pairs $model -q --blocks 0,7-8; echo $?
keyhole share $model -q --bases 5000 ; echo $?
printf '0-9 first\n5 again\n' >twice.txt
keyhole share $model -q --superclasses twice.txt; echo $?
printf 'alone\n' >alone.txt
keyhole share $model -q --superclasses alone.txt; echo $?
# WordNet: what groups of classes are kinds of; a file that is none
mkdir nouns
{
    echo '  1 This software and database'
    line() { echo "$1 05 n 01 $2 0 00$(($# - 2))$(shift 2; for h; do printf ' @ %s n 0000' "$h"; done) | a gloss"; }
    line 00001740 entity
    line 00015388 animal 00001740
    line 00021939 artifact 00001740
    line 02084071 dog 00015388
    line 02099601 golden_retriever 02084071
    line 02099712 Labrador_retriever 02084071
    line 02121620 cat 00015388
    line 02123045 tabby 02121620
    line 03345487 fire_engine 00021939
} >nouns/data.noun
printf '207-208\tretriever\n281\tcat\n' >kinds.txt
keyhole share $model -q --bases 5 --superclasses kinds.txt --wordnet nouns --out shared >shared.txt 2>/dev/null
grep -o 'WordNet.*all pairs, [0-9]*' shared.txt
# what is ranked and what is factorised are aligned in different ways
grep -o 'classes, mode [a-z]*' shared.txt; grep -o 'bases of block [0-9]*, mode [a-z]*' shared.txt
grep -o '"[a-z_]*mode": "[a-z]*"' shared/manifest.json
head -1 shared/shared.csv; head -1 shared/class_pairs.csv
grep -E '^(method|superclasses)' shared/wordnet.csv
awk -F, 'NR > 1 && ($7 != "nan" && !($7 > 0 && $7 <= 1) || !($3 > 0))' shared/class_pairs.csv | head -3
for file in wordnet.csv class_pairs.csv; do grep -q "\"$file\"" shared/manifest.json || echo "not listed: $file"; done
keyhole share $model -q --wordnet nowhere; echo $?
echo 'once upon a time' >data.noun; keyhole share $model -q --wordnet .; echo $?
sed -i '/03345487/!d; s/00021939/00001740/; p; s/03345487/03345488/' nouns/data.noun
keyhole share $model -q --wordnet nouns; echo $?
# coefficients of other weights are refused, also where they have the same shape; a complete run covers its images
keyhole atlas $model "$DATA/golden/images/rgb_444.jpg" --out run -q --no-figures >/dev/null
keyhole pairs $model -q --blocks 0 --weights run >/dev/null; echo $?
keyhole pairs $model@2 -q --blocks 0 --weights run; echo $?
keyhole status run --json | tr -d ' \n'; echo
keyhole status pairs1; echo $?
rm run/arrays/class_mean.npy
keyhole status run; echo $?
printf '{"a": 1' >run/manifest.json
keyhole status run; echo $?
