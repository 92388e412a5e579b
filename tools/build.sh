#!/bin/sh
# Configures and builds one preset of CMakePresets.json, or only some targets of it.
# Usage: tools/build.sh release|dev|asan|tsan|fuzz [TARGET...]
cd "$(dirname "$0")/.." || exit 1
preset=$1
shift
# A build tree remembers where it was made; a moved or copied checkout needs a fresh one.
cache=build/$preset/CMakeCache.txt
if [ -e "$cache" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$cache"; then
    rm -rf "build/$preset"
fi
log=build/$preset.configure.log
mkdir -p build
if ! cmake --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    echo "The build could not be configured. 'make setup' installs what it needs." >&2
    exit 1
fi
# the fuzz preset is for the fuzz targets; its clang is not asked to build every test
[ "$preset" = fuzz ] && [ $# = 0 ] && set -- fuzz_targets
[ $# -gt 0 ] && set -- --target "$@"
exec cmake --build --preset "$preset" "$@"
