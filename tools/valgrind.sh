#!/bin/sh
# The main commands under valgrind: no invalid access, no leak. Usage: tools/valgrind.sh KEYHOLE_BINARY
keyhole=$(realpath "$1") || exit 1
cd "$(dirname "$0")/.." || exit 1
image=tests/data/golden/images/rgb_444.jpg
model=tests/data/golden/test_vit
out=$(mktemp -d) || exit 1
trap 'rm -rf "$out"' EXIT
bad=0

# Usage: check EXIT_STATUS COMMAND...
check() {
    want=$1
    shift
    valgrind -q --suppressions=tools/valgrind.supp --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect "$keyhole" "$@" >"$out/stdout" 2>"$out/stderr" </dev/null
    code=$?
    if [ "$code" = "$want" ]; then
        echo "clean: keyhole $*"
    else
        echo "exit status $code, expected $want: keyhole $*"
        tail -n 40 "$out/stderr"
        bad=1
    fi
}
check 0 --version
check 0 align --help
check 2 align
check 2 align "$model" --topk many
check 0 info "$model"
check 0 info "$model" --json
check 0 verify "$model" "$model/golden.safetensors"
check 0 classify "$model" "$image" tests/data/golden/images/rgba8.png tests/data/golden/images/lossy.webp
check 0 align "$model" --out "$out/align" --draws 3
check 0 look "$model" "$image" --out "$out/look"
check 1 classify "$model" README.md
check 1 classify "$model" no-such.jpg
check 1 info no-such-folder
check 1 look "$model" "$image" --class "no such class" --out "$out/none"
[ "$bad" = 0 ] && echo "valgrind: every run clean"
exit "$bad"
