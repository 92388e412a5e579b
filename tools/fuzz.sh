#!/bin/sh
# Runs every fuzz target for a while. Usage: tools/fuzz.sh BUILD_FOLDER [SECONDS EACH] [AT ONCE]
# Readers that others of the targets run too (JSON in configs, the index in safetensors), and those of files that
# only an option names, have a third of the time.
# New inputs are kept in BUILD_FOLDER/corpus/NAME, findings in BUILD_FOLDER/findings; tests/fuzz/corpus/NAME
# is where each target starts from.
cd "$(dirname "$0")/.." || exit 1
build=$1
seconds=${2:-60}
jobs=${3:-2}
targets=$(find "$build/tests/fuzz" -type f -perm -u+x -name 'fuzz_*' 2>/dev/null | sort)
[ -n "$targets" ] || { echo "no fuzz targets in $build" >&2; exit 1; }
mkdir -p "$build/findings" "$build/logs"

one='
target=$1; build=$2; seconds=$3
name=$(basename "$target")
short=${name#fuzz_}
case $short in json|index|wordnet) seconds=$(((seconds + 2) / 3));; esac
mkdir -p "$build/corpus/$short"
seeds=
for folder in "tests/fuzz/corpus/$short" "tests/data/reject/$short" "tests/data/accept/$short"; do
    [ -d "$folder" ] && seeds="$seeds $folder"
done
dict=
[ -e "tests/fuzz/$short.dict" ] && dict="-dict=tests/fuzz/$short.dict"
if "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3072 -print_final_stats=1 $dict \
    -artifact_prefix="$build/findings/$short-" "$build/corpus/$short" $seeds >"$build/logs/$short.log" 2>&1
then
    runs=$(sed -n "s/^stat::number_of_executed_units: *//p" "$build/logs/$short.log")
    echo "$name: clean, $runs runs in $seconds s"
else
    echo "$name: FAILED, see $build/logs/$short.log"
    tail -n 40 "$build/logs/$short.log"
    exit 1
fi
'
# xargs ends with 123 when one of them failed
echo "$targets" | xargs -P "$jobs" -I '{}' sh -c "$one" fuzz '{}' "$build" "$seconds" || exit 1
echo "fuzz: $(echo "$targets" | wc -l) targets clean"
