# a run in one piece and a run in three shards have one digest; a run that is there is not done again
images="$DATA/golden/images"
printf '%s\n' "$images"/rgb_4*.jpg "$images"/gray*.png "$images"/restart.jpg > list
keyhole atlas random:test_vit @list --out whole -q | sed 's/ (.*images.s)//; s/digest .*/digest/'
part() { keyhole atlas random:test_vit @list --out parts --shard "$@" -q --threads 1; }
part 2/3 >/dev/null
part 2/3 --batch 3 --overwrite | head -n 1 | sed 's/ (.*images.s)//' # nobody else's work is there
for i in 0 1; do part $i/3 --batch $((i + 1)) >/dev/null; done
part 2/3 --overwrite; echo "status $?"
keyhole status parts
keyhole status parts --digest; echo "status $?"
keyhole merge random:test_vit @list --out parts -q --no-figures | sed 's/ (.*images.s)//; s/digest .*/digest/'
[ "$(keyhole status whole --digest)" = "$(keyhole status parts --digest)" ] && echo "one digest"
keyhole atlas random:test_vit @list --out parts -q | head -n 1
keyhole status parts
part 1/3 --overwrite; echo "status $?" # the tables are of all parts
keyhole atlas random:test_vit@2 @list --out parts -q; echo "status $?"
keyhole atlas random:test_vit @list --out other --shard 3/3; echo "status $?"
keyhole atlas random:test_vit @list -q; echo "status $?"
# what no atlas can have is misuse, and leaves nothing
for odd in "-b 0" "-b 99999999999" "--exemplars 0" "--quantile 1.5" "--lenses nosuch" "--lenses ," "--compare 3" "--compare 5,5" "--compare crane,0" "--class-by guess" "--class-reduction sum"; do
    keyhole atlas random:test_vit @list --out odd -q $odd; echo "status $?"
done
keyhole merge random:test_vit @list --out odd -q --from parts,nowhere; echo "status $?"
# label maps: of some images, of none; lenses that want them are those of the second pass
keyhole atlas random:test_vit "$DATA/atlas/pictures" "$DATA/golden/images/rgb_444.jpg" --truth "$DATA/atlas/truth" --out odd --lenses all --dry-run >/dev/null
keyhole atlas random:test_vit @list --truth "$DATA/atlas/truth" --out odd; echo "status $?"
ls odd 2>/dev/null
ls whole
