# 1, 2 and 3 ranks, a rank that is killed, and one that disagrees; only in builds with MPI
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # containers
OMPI_MCA_rmaps_base_oversubscribe=1                       # more ranks than cores
OMPI_MCA_btl=self,vader OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_plm=isolated
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_rmaps_base_oversubscribe
export OMPI_MCA_btl OMPI_MCA_btl_vader_single_copy_mechanism OMPI_MCA_plm
images="$DATA/golden/images"
printf '%s\n' "$images"/rgb_4*.jpg "$images"/gray*.png "$images"/restart.jpg > list
keyhole atlas random:test_vit @list --out whole -q --no-figures >/dev/null
digest=$(keyhole status whole --digest)
for n in 1 2 3; do
    mpirun -n $n keyhole atlas random:test_vit @list --out ranks$n -q --no-figures | sed 's/ (.*images.s)//; s/digest .*/digest/'
    [ "$(keyhole status ranks$n --digest)" = "$digest" ] && echo "$n: the same digest"
    [ -e ranks$n/shards ] && echo "states are left"
done
# kill -9 a rank wherever it is by now; then another number of ranks goes on
wait=$(awk 'BEGIN { srand(); print 0.4 + 0.5 * rand() }')
cat > one_rank <<'END'
echo $$ > pid.$OMPI_COMM_WORLD_RANK
exec keyhole atlas random:test_vit @list --out killed -q --batch 1 --checkpoint 0
END
mpirun -n 2 sh one_rank >/dev/null 2>&1 &
job=$!
sleep "$wait"
[ -s pid.1 ] && kill -9 "$(cat pid.1)" 2>/dev/null
wait $job
mpirun -n 3 keyhole atlas random:test_vit @list --out killed -q --no-figures >/dev/null
[ "$(keyhole status killed --digest)" = "$digest" ] && echo "killed and resumed: the same digest"
# a rank that wants something else says so, alone, and ends all
mpirun -n 1 keyhole atlas random:test_vit @list --out other -q : \
    -n 2 keyhole atlas random:test_vit @list --out other -q --exemplars 3 >said 2>&1
echo "status $?"
grep -c '^keyhole atlas' said
sed -n 's/^\(keyhole atlas: .* other settings\).*/\1/p' said
# so does a mistake that all make
echo none >torn.png
mpirun -n 3 keyhole atlas random:test_vit torn.png --out other -q 2>&1 | grep '^keyhole'
cp "$images/rgb_444.jpg" torn.png # put right: the states that say so are no work done
mpirun -n 3 keyhole atlas random:test_vit torn.png --out other -q --no-figures | sed 's/ (.*images.s)//; s/digest .*/digest/'
# other commands do not wake MPI, and one process merges
mpirun -n 2 keyhole --version | sort -u | wc -l
mpirun -n 2 keyhole merge random:test_vit @list --out killed -q | tail -n 1 | sed 's/digest .*/digest/'
