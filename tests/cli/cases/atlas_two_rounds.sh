# shards with --truth: the second pass needs the thresholds of all of the first, so there are two rounds of shards and merge
model=$DATA/golden/vit_base
cp -r "$DATA/atlas/truth" maps && echo torn > maps/images/object/class_8/1.png # counts as none, and is listed
args="$DATA/atlas/pictures/class_8 --lenses accuracy,units --truth maps"
keyhole atlas "$model" $args --out whole -q --no-figures >/dev/null
part() { keyhole atlas "$model" $args --out run -q --shard $1/2 | sed 's/ (.*images.s)//'; }
merge() { keyhole merge "$model" $args --out run -q --no-figures >said; code=$?; sed 's/digest .*/digest/' said; echo "status $code"; }
part 0; part 1
keyhole atlas "$model" $args --out run -q --shard 1/2 --json | grep done_
keyhole status run
merge
keyhole status run
second() { grep -A 7 second_pass; }
keyhole status run --json | second >missing; cat missing
rm -r run/dissect # its mark: the same merge again
keyhole merge "$model" $args --out run -q --no-figures --json 2>/dev/null | second | diff missing - && echo same
merge
part 1
keyhole status run
# a byte of its state is changed, and back
state=run/dissect/shards/shard-0001-of-0002.state
cp $state spare && printf x | dd of=$state bs=1 seek=5000 conv=notrunc 2>/dev/null
keyhole status run; echo "status $?"
mv spare $state
merge
part 0
merge
keyhole status run
[ "$(keyhole status run --digest)" = "$(keyhole status whole --digest)" ] && echo "one digest"
# shards of the second round from other directories
cp -r whole other && rm -r other/dissect && cp -r other third
for i in 0 1; do [ $i = 0 ] && to=other || to=third; keyhole atlas "$model" $args --out $to -q --shard $i/2 >/dev/null; done
keyhole merge "$model" $args --out other --from third -q --no-figures >/dev/null; echo "status $?"
[ "$(keyhole status other --digest)" = "$(keyhole status whole --digest)" ] && echo "one digest"
# a complete run has no states to join
keyhole merge "$model" $args --out fresh --from whole -q; echo "status $?"; rm -r fresh
# --overwrite knows that the second pass was wanted and is not there
rm -r third/dissect && merge_third() { keyhole merge "$model" $args --out third -q --no-figures; echo "status $?"; }
merge_third | sed "s|, digest .*||"
echo mine >third/dissect/mine.txt # stays
keyhole atlas "$model" $args --out third -q --no-figures --overwrite >/dev/null && ls third third/dissect
# without it nobody knows that folder: refused before the first pass
rm third/manifest.json third/dissect/manifest.json third/dissect/fingerprint.json
keyhole atlas "$model" $args --out third -q --no-figures; echo "status $?"
keyhole status third
# what is not what was written is not called complete, and no second pass takes thresholds from it
printf x | dd of=whole/arrays/thresholds.npy bs=1 seek=500 conv=notrunc 2>/dev/null
keyhole atlas "$model" $args --out whole -q --no-figures; echo "status $?"
