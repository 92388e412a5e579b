# A run that is killed at any moment ends with the same bytes as one that was left alone, with
# another batch size and number of threads too.
what="dream random:vit_tiny_patch16_224 --model-size 64 --class 3,5,207 --steps 60 \
    --snapshots 10,20,30,40,50 --quiet"
keyhole $what --batch 3 --threads 2 --out whole >/dev/null || exit 1
for wait in 0.1 0.2 0.3 0.2 0.4; do
    keyhole $what --batch 2 --threads 1 --out cut >/dev/null 2>&1 & # the process itself, no subshell
    sleep "$wait"
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
done
keyhole $what --batch 1 --threads 1 --out cut
diff -r whole cut && echo same
