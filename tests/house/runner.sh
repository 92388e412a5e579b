#!/bin/sh
# The runner of tests/cli must be able to fail: cases with a wrong answer are cases that fail.
run=$KH_SOURCE/tests/cli/run_case.sh
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/tests/cli/cases" "$tree/tests/data"
case=$tree/tests/cli/cases/case
# Usage: expect pass|fail|skip SCRIPT STDOUT STDERR EXIT ("-" leaves a file out)
expect() {
    rm -f "$case".*
    printf '%s\n' "$2" >"$case.sh"
    [ "$3" = - ] || printf "$3" >"$case.stdout"
    [ "$4" = - ] || printf "$4" >"$case.stderr"
    [ "$5" = - ] || printf '%s\n' "$5" >"$case.exit"
    "$run" /bin/true "$case.sh" "$tree/work" >"$tree/log" 2>&1
    code=$?
    case "$1:$code" in
    pass:0 | fail:1 | skip:77) return ;;
    esac
    echo "expected to $1, got $code: $2 | $3 | $4 | $5"
    cat "$tree/log"
    exit 1
}
expect pass 'echo a' 'a\n' - -
expect fail 'echo a' 'b\n' - -
expect fail 'echo a' '' - -
expect fail 'true' 'a\n' - -
expect pass 'echo a; exit 3' 'a\n' - 3
expect fail 'exit 3' - - -
expect fail 'exit 0' - - 3
expect fail 'echo oops >&2' - '' -
expect pass 'echo oops >&2' - 'oops\n' -
expect pass 'seq 5' '1\n...\n5\n' - -
expect pass 'seq 5' '...\n5\n...\n' - -
expect fail 'seq 5' '1\n...\n6\n' - -
expect fail 'seq 5' '1\n...\n4\n' - -
expect pass 'echo took 12 ms' '~ took [0-9]+ ms\n' - -
expect fail 'echo it took 12 ms' '~ took [0-9]+ ms\n' - -
expect pass 'echo "$WORK/x $DATA/y"' '$WORK/x $DATA/y\n' - -
expect pass 'keyhole && pwd' '$WORK\n' - -
expect skip 'echo no tmpfs >&2; exit 77' 'a\n' - -
