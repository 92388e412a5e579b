#!/bin/sh
# Every header compiles alone: the public ones as C11 and as C++11, those of the rooms as C11.
cd "$KH_SOURCE" || exit 1
cairo=$(pkg-config --cflags cairo jansson)
strict="-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Werror -fsyntax-only"
bad=0
for header in include/keyhole.h include/keyhole/*.h; do
    echo "#include \"${header#include/}\"" |
        ${CC:-cc} -std=c11 $strict -Iinclude -x c - || bad=1
    command -v g++ >/dev/null || continue
    echo "#include \"${header#include/}\"" |
        g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude -x c++ - || bad=1
done
for header in $(find src -name '*.h' | sort); do
    # bodies that are compiled once per instruction set, with its flags
    case "$header" in src/compute/cpu/vec_* | src/compute/cpu/kernels_*) continue ;; esac
    # shellcheck disable=SC2086
    echo "#include \"${header#src/}\"" |
        ${CC:-cc} -std=c11 $strict -Iinclude -Isrc $cairo -x c - || { echo "in $header"; bad=1; }
done
exit "$bad"
