#!/bin/sh
# The includes of the tree point down, and the check that says so notices when they do not.
check=$KH_SOURCE/tools/check_layers.sh
"$check" || exit 1

tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
# Usage: refuses FILE INCLUDE-LINE: a tree with only this file must fail and name it
refuses() {
    rm -rf "$tree/src"
    mkdir -p "$tree/src/base" "$tree/src/io" "$tree/src/compute" "$tree/src/vit" "$tree/src/lens" \
        "$tree/$(dirname "$1")"
    echo "$2" >"$tree/$1"
    if said=$("$check" "$tree"); then
        echo "not noticed: $1 with $2"
        exit 1
    fi
    case "$said" in
    *"$1"*) ;;
    *) echo "does not name $1: $said" && exit 1 ;;
    esac
}
refuses src/base/a.c '#include "io/tensors.h"'
refuses src/io/a.c '#include "compute/backend.h"'     # neighbours
refuses src/compute/a.h '#  include "keyhole/vit.h"'
refuses src/figure/a.c '#include "keyhole/lens.h"'
refuses src/vit/family.inc '#include "lens/align.h"'
refuses src/cli/a.c '#include "vit/model.h"'          # guests use the front door
refuses src/lens/a.c '#include <keyhole.h>'
refuses src/cellar/a.c '#include <stdio.h>'           # no such room

rm -rf "$tree/src" && mkdir -p "$tree/src/vit" "$tree/src/io" "$tree/src/cli"
echo '#include "io/tensors.h"' >"$tree/src/vit/a.c"
echo '#include "keyhole.h"' >"$tree/src/cli/a.c"
"$check" "$tree" || { echo "refuses a tree that keeps the rules"; exit 1; }
