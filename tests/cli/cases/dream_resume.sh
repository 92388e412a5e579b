# A run that is killed at any moment, while it paints, writes or evaluates, ends with the same bytes as
# one that was left alone, with another batch size and number of threads too.
what="dream random:test_vit --model-size 64 --class 3,207 --steps 40 --baselines \
    --snapshots 10,25 --evaluate --quiet"
start=$(date +%s%N)
keyhole $what --batch 3 --threads 2 --out whole >whole.txt || exit 1
whole_ms=$((($(date +%s%N) - start) / 1000000))
cut_off() { # the process itself is killed, after $1 ms; no subshell
    keyhole $what --batch 2 --threads 1 --out cut >/dev/null 2>&1 &
    sleep "$(awk "BEGIN { print $1 / 1000 }")"
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    waits="$waits $1"
}
# at random, and nobody knows where; together they go through all of it
for n in 1 2 3 4 5; do
    draw=$(od -An -N2 -tu2 /dev/urandom)
    cut_off $((draw % (whole_ms / 3 + 10)))
done
# a run that has everything painted spends its time with sheets, strips and the evaluation
keyhole $what --batch 1 --threads 1 --out cut >/dev/null || exit 1
for part in 8 4 2; do
    cut_off $((whole_ms / part / 2))
done
keyhole $what --batch 1 --threads 1 --out cut >said.txt
sed 's/in whole;/in cut;/' whole.txt | diff - said.txt && diff -r whole cut && echo same || echo "killed after (ms):$waits"
tail -n 1 said.txt
