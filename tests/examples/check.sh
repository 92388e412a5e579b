#!/bin/sh
# Runs an example and looks at what it says. Usage: check.sh NAME PROGRAM TESTS-DATA
program=$2
image=$3/golden/images/rgb_444.jpg
fail() { echo "$said"; echo "$1"; exit 1; }
case "$1" in
top_neurons)
    said=$("$program" random:test_vit 3 2>&1) || fail "fails"
    [ "$(echo "$said" | grep -cE '^ *[0-9]+  b[0-5]n[0-9]+ +alignment +-?[0-9]+\.[0-9]+')" = 10 ] ||
        fail "not ten neurons of blocks 0 to 5"
    [ "$(echo "$said" | sed 1d | sort -k4 -rn | head -n 1)" = "$(echo "$said" | sed -n 2p)" ] ||
        fail "the first is not the best"
    said=$("$program" random:test_vit "no such class" 2>&1) && fail "finds a class that is not there"
    ;;
heatmap)
    said=$("$program" random:test_vit "$image" 2>&1) || fail "fails"
    # 160 px in patches of 16: 10 x 10, two characters each
    [ "$(echo "$said" | grep -cE '^[ .:=+*#%@-]{20}$')" = 10 ] || fail "not a 10 x 10 map"
    echo "$said" | grep -q '@@' || fail "the brightest patch is missing"
    said=$("$program" random:test_vit no-such-picture.jpg 2>&1) && fail "reads a missing picture"
    ;;
render_scene)
    said=$("$program" scene.png 6 64 2>&1) || fail "fails"
    [ "$(head -c 4 scene.png | tail -c 3)" = PNG ] || fail "no PNG"
    echo "$said" | grep -qE '^fish before [a-z]+, [0-9]+ % visible$' || fail "scene 6 is no fish"
    echo "$said" | grep -qE '^ *[0-9]+ pixels  [a-z ]*fish body$' || fail "the fish has no body"
    said=$("$program" scene.png 6 8 2>&1) && fail "renders at 8 pixels"
    said=$("$program" /no/such/folder/scene.png 2>&1) && fail "writes into a folder that is not there"
    ;;
esac
case "$said" in
"$1: "?*) ;;
*) fail "no message" ;;
esac
said=$("$program" 2>&1)
[ $? = 2 ] || fail "no usage"
