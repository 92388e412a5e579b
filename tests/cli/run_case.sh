#!/bin/sh
# Runs one command-line case: a script beside what it should print.
# Usage: run_case.sh KEYHOLE_BINARY cases/NAME.sh WORK_FOLDER
#
# The script runs in a fresh folder ($WORK) with `keyhole` on its PATH, $DATA at tests/data and nothing
# on standard input. Then its output is compared with NAME.stdout and NAME.stderr (not compared when
# the file is missing) and its exit status with NAME.exit (0 when missing). In expected output
#     ~ REGEX     matches one line (extended regular expression, whole line)
#     ...         matches any number of lines, also none
# and the paths of $DATA and $WORK are written as $DATA and $WORK. A script that exits with 77 says on
# standard error why it cannot run here; the test then counts as skipped.
binary=$1
script=$(realpath "$2") || exit 1
WORK=$3
DATA=$(realpath "$(dirname "$script")/../../data") || exit 1
name=${script%.sh}

rm -rf "$WORK" && mkdir -p "$WORK/bin" "$WORK/cwd" || exit 1
WORK=$(realpath "$WORK")
cat >"$WORK/bin/keyhole" <<END
#!/bin/sh
exec ${KH_WRAPPER:-} "$(realpath "$binary")" "\$@"
END
chmod +x "$WORK/bin/keyhole"
PATH=$WORK/bin:$PATH
KH_CASES=$(dirname "$script")
results=$WORK
WORK=$WORK/cwd
HOME=$WORK
LC_ALL=C
export PATH WORK DATA HOME LC_ALL KH_CASES
unset HF_TOKEN HF_ENDPOINT XDG_CACHE_HOME KEYHOLE_CACHE

(cd "$WORK" && sh "$script") >"$results/stdout" 2>"$results/stderr" </dev/null
code=$?
want=0
[ -e "$name.exit" ] && want=$(cat "$name.exit")
if [ "$code" = 77 ] && [ "$want" != 77 ]; then
    cat "$results/stderr"
    exit 77
fi

bad=0
if [ "$code" != "$want" ]; then
    echo "exit status $code, expected $want"
    bad=1
fi
for stream in stdout stderr; do
    got=$results/$stream.shown
    sed -e "s|$WORK|\$WORK|g" -e "s|$DATA|\$DATA|g" "$results/$stream" >"$got"
    [ -e "$name.$stream" ] || continue
    awk -f "$(dirname "$0")/match.awk" "$name.$stream" "$got" && continue
    echo "--- $stream differs from $(basename "$name").$stream:"
    diff -u "$name.$stream" "$got"
    bad=1
done
if [ "$bad" != 0 ] && [ ! -e "$name.stderr" ]; then
    echo "--- stderr was:"
    head -n 20 "$results/stderr.shown"
fi
exit "$bad"
