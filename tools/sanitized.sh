#!/bin/sh
# Runs the tests of a sanitizer's build tree. Usage: tools/sanitized.sh asan|tsan [JOBS]
cd "$(dirname "$0")/.." || exit 1
preset=$1
# The fake stack of detect_stack_use_after_return is not aligned for AVX-512 in gcc 11 to 13 (gcc PR 110027)
ASAN_OPTIONS=detect_stack_use_after_return=0:strict_string_checks=1:${ASAN_OPTIONS:-}
# fontconfig keeps its caches until the program ends and loses track of some
LSAN_OPTIONS=suppressions=$PWD/tools/lsan.supp:print_suppressions=0:${LSAN_OPTIONS:-}
UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/tools/tsan.supp:${TSAN_OPTIONS:-}
export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
# ThreadSanitizer of gcc 11 and 12 cannot place its shadow where addresses are drawn from too wide a range
run=
if [ "$preset" = tsan ] && setarch -R true 2>/dev/null; then run="setarch -R"; fi
exec $run ctest --test-dir "build/$preset" --output-on-failure --no-label-summary --timeout 600 -j "${2:-2}"
