# a truth for every pixel, in a second pass; one digest over both
[ -z "$KH_SANITIZED" ] || { echo "sanitizers see these passes in the tests of the atlas" >&2; exit 77; }
model=$DATA/../../demo/model
[ -e "$model/model.safetensors" ] || { echo "no demo model here" >&2; exit 77; }
keyhole diorama -n 25 --seed 3 --out small -q >/dev/null
keyhole atlas "$model" small/images/scenes --truth small --out run -q --no-figures | sed 's/ (.*images.s)//' >said
sed 's/digest .*/digest/' said
before=$(keyhole status run --digest)
grep -c "digest $before" said
rm -r run/dissect
[ "$(keyhole status run --digest)" != "$before" ] && echo "the digest knows the dissection"
keyhole atlas "$model" small/images/scenes --truth small --out run -q --no-figures --batch 3 --threads 1 >/dev/null
[ "$(keyhole status run --digest)" = "$before" ] && echo "and finds it again"
