# --resume wants something to go on with; --overwrite begins again and touches nothing of the user's
images="$DATA/golden/images" model="$DATA/golden/vit_base" other="$DATA/golden/vit_base_mae_ft"
printf '%s\n' "$images"/rgb_4*.jpg "$images"/gray*.png "$images"/restart.jpg > list
atlas() { keyhole atlas "$model" @list -q "$@" | sed 's/ (.*images.s)//; s/digest .*/digest/'; }
keyhole atlas "$model" @list --out run -q --resume; echo "status $?"
keyhole atlas "$model" @list --out run -q --resume --overwrite; echo "status $?"
atlas --out run --shard 1/3
keyhole status run
touch run/shards/shard-0001-of-0003.state.77.0.partial run/run.sqlite.77.partial run/fingerprint.json.77.1.partial # of kills
atlas --out run --resume
first=$(keyhole status run --digest)
atlas --out run --resume
atlas --out run
# of another model only with --overwrite
keyhole atlas "$other" @list --out run -q 2>/dev/null; echo "status $?"
[ "$(keyhole status run --digest)" = "$first" ] && echo "nothing was lost"
echo mine > run/notes.txt
echo mine > run/arrays/notes.txt
echo mine > run/arrays/mine.npy
mkdir run/shards && echo mine > run/shards/my.state
echo mine > run/figures/mine.png
touch run/arrays/class_n.npy.77.0.partial run/figures/fig4.png.77.0.partial
# a run that was killed before its manifest and in the middle of its figures has no list of what is its own
cp -r run cut && rm cut/manifest.json cut/figures/figures.json
echo "The results of keyhole figures here are not complete. Run the command again." > cut/figures/unfinished
keyhole atlas "$other" @list --out cut -q --overwrite --shard 0/18 >/dev/null; echo "status $?"
find cut -type f | sort
keyhole atlas "$other" @list --out run -q --overwrite --lenses accuracy --no-figures >/dev/null; echo "status $?"
[ "$(keyhole status run --digest)" != "$first" ] && echo "another run"
ls run run/arrays; ls run/figures | grep -c "mine\|fig4"
atlas --out run --overwrite --no-figures
[ "$(keyhole status run --digest)" = "$first" ] && echo "the first run again"
# images that could not be read are read again where a state says so: the digest of a run that could read them
few() { keyhole atlas "$model" @few --lenses images,units -q --no-figures "$@" 2>/dev/null | sed 's/ (.*images.s)//; s/digest .*/digest/'; }
for n in 0 1 2 3; do cp "$images/rgb_444.jpg" $n.jpg && echo $n.jpg; done > few
few --out seen && mkdir away && mv 0.jpg 2.jpg away
few --out gone --shard 0/2
few --out gone --shard 1/2
mv away/* . && few --out gone --shard 0/2
keyhole status gone
keyhole atlas "$model" @few --lenses images,units -q --out gone --resume; echo "status $?"
few --out gone --shard 0/2 --resume
cp -r gone late && few --out late --shard 1/2 --resume >/dev/null && few --out late
# of a complete run nothing is left that could be added to
few --out gone
keyhole status gone
few --out gone --resume
few --out gone --overwrite
cmp seen/run.sqlite gone/run.sqlite && cmp seen/run.sqlite late/run.sqlite && echo "as if they had been there"
# two at once on the same part: the second is refused, and takes nothing away; the last picture is a pipe that the first waits for
rm 3.jpg && mkfifo 3.jpg
few --out both >first 2>&1 &
for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do [ -e both/shards/shard-0000-of-0001.state.0.partial ] || sleep 0.1; done; done
few() { keyhole atlas "$model" @few --lenses images,units -q --no-figures "$@"; echo "status $?"; }
few --out both
few --out both --overwrite
timeout 60 sh -c 'cat "$1" >3.jpg' - "$images/rgb_444.jpg"
wait
cat first && cmp seen/run.sqlite both/run.sqlite && ls both
