. "$KH_CASES/truth_model.inc"
keyhole truth random:model --scenes 2 --topk 3 --draws 4 --out truth | sed -n '/^top-1 beats/p; /^tables/p'
ls truth
for table in truth truth_random truth_blocks truth_classes truth_images fig3; do
    echo $table $(tail -n +2 truth/$table.csv | wc -l)
done
# every row as wide as its header; shares between 0 and 1
for table in truth/*.csv; do
    awk -F, 'NR == 1 { width = NF } NF != width { print FILENAME ": row " NR; exit }' $table
done
awk -F, 'NR > 1 && !($11 >= 0 && $11 <= $12 && $12 <= 1 && $16 >= 0 && $16 <= 1) { print "strange: " $0 }' truth/truth.csv
