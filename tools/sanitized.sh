#!/bin/sh
# Runs the tests of a sanitizer's build tree. Usage: tools/sanitized.sh asan|tsan [JOBS]
cd "$(dirname "$0")/.." || exit 1
preset=$1
ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:${ASAN_OPTIONS:-}
UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-}
TSAN_OPTIONS=halt_on_error=1:${TSAN_OPTIONS:-}
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
exec ctest --test-dir "build/$preset" --output-on-failure --no-label-summary -j "${2:-2}"
