# kill -9 in the middle, then the same command: the same bytes; other settings and damage are refused
MODEL=$DATA/golden/vit_base
few="--resamples 20 --sets 2 --k 1,3,10 --keys 2 --random-keys 2 --tokens mask --truth maps"
cp -r "$DATA/atlas/pictures" set
cp -r "$DATA/atlas/truth" maps && echo torn >maps/images/object/class_8/1.png # is listed again when it goes on
ablate() { keyhole ablate $MODEL set $few -q "$@"; }
ablate --out whole | sed -n 2p
# the last picture is a pipe: the first round reads it, the second one waits for it
feed() { timeout 60 sh -c 'cat "$1" >set/class_9/5.png' - "$DATA/atlas/pictures/class_9/5.png"; }
begin() { # FOLDER: in the background, up to where it waits
    keyhole ablate $MODEL set $few --out "$1" --checkpoint 0 -q >/dev/null 2>"$1.said" &
    pid=$!
    feed
    for i in 0 1 2 3 4 5 6 7 8 9; do for j in 0 1 2 3 4 5 6 7 8 9; do
        [ -e "$1/ablate.state/second.state" ] && return
        sleep 0.1
    done; done
}
rm set/class_9/5.png && mkfifo set/class_9/5.png
exec 9>&2 2>/dev/null # the shell tells of the kill
begin out
kill -9 $pid
wait $pid
echo status $?
exec 2>&9
ls out
# a polite end, between two images
begin stopped
kill -TERM $pid
feed & # it may wait for the picture, or has ended before
feeding=$!
wait $pid
echo status $?
kill $feeding 2>/dev/null
sed 's/after [0-9]* of/after N of/' stopped.said
rm set/class_9/5.png && cp "$DATA/atlas/pictures/class_9/5.png" set/class_9
# neither other settings nor a damaged state
ablate --out out --seed 1 2>&1 | sed 's/: there.*//'
ablate --out out --tokens context 2>&1 | sed 's/: there.*//'
cp -r out damaged
printf x >>damaged/ablate.state/first.state
ablate --out damaged
echo status $?
cp -r out kept
ablate --out out --resume | sed -n '1s/, [0-9]* of/, N of/p; 3p'
diff -r whole out && echo same
# without --resume as well; with other threads and batches
ablate --out kept --threads 3 --batch 5 | sed -n 2p
diff -r whole kept && echo same
# nothing to go on with; --overwrite begins again
ablate --out out --resume
echo status $?
ablate --out damaged --overwrite --threads 2 | sed -n 2p
diff -r whole damaged && echo same
# a disk that takes tables and state but not the pictures: nothing is lost
(trap '' XFSZ; ulimit -f 430; ablate --out stopped; echo status $?) 2>&1 | sed "s/ablate_[a-z]*\.[a-z]*[^']*/PICTURE/"
ls stopped | grep -v ablate_; ls stopped/ablate.state
ablate --out stopped --resume | sed -n '1p; 3p'
diff -r whole stopped && echo same
