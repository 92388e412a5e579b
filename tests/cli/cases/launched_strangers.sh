# processes that were started together but cannot find each other would each do the whole run
printf '%s\n' "$DATA/golden/images/rgb_444.jpg" > list
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm=isolated HWLOC_HIDE_ERRORS=2
SLURM_STEP_NUM_TASKS=4 keyhole atlas random:test_vit @list --out run -q; echo "status $?"
ls run 2>/dev/null
# a shard knows what it does, and one process is nobody's stranger
SLURM_STEP_NUM_TASKS=4 keyhole atlas random:test_vit @list --out run -q --no-figures --shard 0/1 | tail -n 1 | sed 's/digest .*/digest/'
SLURM_STEP_NUM_TASKS=1 keyhole status run
