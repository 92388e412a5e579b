#!/bin/sh
# Installs into a fresh prefix, then builds and runs the examples as a stranger would: with pkg-config
# (shared and static) and with CMake's find_package.
set -e
work=$(mktemp -d) # not inside the build tree, so that its paths cannot be mistaken for ours
trap 'rm -rf "$work"' EXIT
cd "$work"
prefix=$work/prefix
image=$KH_SOURCE/tests/data/golden/images/rgb_444.jpg
cmake --install "$KH_BUILD" --prefix "$prefix" >install.log || { cat install.log; exit 1; }

fail() { echo "$1"; exit 1; }
[ -x prefix/bin/keyhole ] || fail "no prefix/bin/keyhole"
[ -s prefix/share/man/man1/keyhole.1 ] || fail "no manual page"
[ -s prefix/share/man/man1/keyhole-align.1 ] || fail "no manual page of align"
[ -s prefix/share/bash-completion/completions/keyhole ] || fail "no bash completion"
[ -s prefix/share/zsh/site-functions/_keyhole ] || fail "no zsh completion"
[ -s prefix/share/fish/vendor_completions.d/keyhole.fish ] || fail "no fish completion"
grep -rlF "$KH_SOURCE" prefix --include='*.pc' --include='*.cmake' --include='*.h' &&
    fail "installed files name the source tree"
prefix/bin/keyhole --version | grep -q '^keyhole [0-9]' || fail "the installed program does not run"

if [ -e "$KH_SOURCE/demo/model/config.json" ]; then
    prefix/bin/keyhole info demo | grep -q "^source *$prefix/share/keyhole/demo/model " ||
        fail "the installed program does not find its demo model"
fi

library=$(dirname "$(find "$prefix" -name libkeyhole.a)")
PKG_CONFIG_PATH=$library/pkgconfig
LD_LIBRARY_PATH=$library
export PKG_CONFIG_PATH LD_LIBRARY_PATH
[ "$(pkg-config --modversion keyhole)" = "$(prefix/bin/keyhole --version | cut -d' ' -f2)" ] ||
    fail "pkg-config and the program disagree about the version"

# Usage: runs FOLDER: both examples there give an answer
runs() {
    "$1/top_neurons" random:test_vit 3 >top.txt || fail "$1/top_neurons fails"
    [ "$(grep -c alignment top.txt)" = 10 ] || { cat top.txt; fail "$1/top_neurons: not ten neurons"; }
    "$1/heatmap" random:test_vit "$image" >map.txt || fail "$1/heatmap fails"
    [ "$(wc -l <map.txt)" = 12 ] || { cat map.txt; fail "$1/heatmap: not a 10 x 10 map"; }
}

mkdir -p consumer/shared consumer/static
for example in top_neurons heatmap; do
    source=$KH_SOURCE/examples/$example.c
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 "$source" -o consumer/shared/$example $(pkg-config --cflags --libs keyhole)
    # shellcheck disable=SC2046
    ${CC:-cc} -std=c11 "$source" -o consumer/static/$example $(pkg-config --cflags keyhole) \
        "$library/libkeyhole.a" $(pkg-config --libs $(pkg-config --print-requires-private keyhole)) -pthread -lm
done
runs consumer/shared
runs consumer/static
ldd consumer/static/heatmap | grep -q libkeyhole && fail "the static example needs libkeyhole.so"

cp -r "$KH_SOURCE/examples" consumer/cmake
cmake -S consumer/cmake -B consumer/build -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1 &&
    cmake --build consumer/build >>cmake.log 2>&1 || { cat cmake.log; exit 1; }
runs consumer/build
sed 's/keyhole::keyhole)/keyhole::static)/' "$KH_SOURCE/examples/CMakeLists.txt" >consumer/cmake/CMakeLists.txt
sed -i 's/NOT TARGET keyhole::static/NOT TARGET keyhole::keyhole/' consumer/cmake/CMakeLists.txt
cmake -S consumer/cmake -B consumer/build-static -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1 &&
    cmake --build consumer/build-static >>cmake.log 2>&1 || { cat cmake.log; exit 1; }
runs consumer/build-static

# packagers: everything stays below DESTDIR
DESTDIR=$PWD/stage cmake --install "$KH_BUILD" --prefix /usr >install.log
[ -x stage/usr/bin/keyhole ] || fail "DESTDIR is not honoured"
grep -q '^prefix=/usr$' "$(find stage -name keyhole.pc)" || fail "keyhole.pc does not say prefix=/usr"
echo "installed, and the examples run against it four ways"
