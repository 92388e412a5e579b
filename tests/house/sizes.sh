#!/bin/sh
# A source file is one idea and at most 500 lines; an example stays under 80. Tables of facts may be
# longer, and are named here.
cd "$KH_SOURCE" || exit 1
may_be_long() {
    case "$1" in
    src/io/imagenet*) ;; # the thousand classes
    *) return 1 ;;
    esac
}
bad=0
for file in $(find src include bench tests tools examples -name '*.[ch]' -o -name '*.inc' -o -name '*.py' \
    -o -name '*.sh' | sort); do
    lines=$(wc -l <"$file")
    most=500
    case "$file" in examples/*) most=79 ;; esac
    [ "$lines" -le "$most" ] || may_be_long "$file" || {
        echo "$file: $lines lines, at most $most"
        bad=1
    }
done
exit "$bad"
