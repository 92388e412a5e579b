#!/bin/sh
# A source file is one idea and at most 500 lines, an example at most 79, a test at most 750. Exceptions stand here by name.
cd "$KH_SOURCE" || exit 1
limit() {
    case "$1" in
    examples/*) echo 79 ;;
    src/io/imagenet_names.c) echo 1100 ;; # a table: the thousand classes
    # Too long. Whoever splits one deletes its line here; they may not grow.
    src/lens/look.c) echo 560 ;;
    tests/vit/reference.c) echo 900 ;; # the whole model again in float64, to compare with
    tests/*) echo 750 ;; # a test file is a list of cases
    *) echo 500 ;;
    esac
}
bad=0
for file in $(find src include bench tests tools examples -name '*.[ch]' -o -name '*.inc' -o -name '*.py' \
    -o -name '*.sh' | sort); do
    lines=$(wc -l <"$file")
    most=$(limit "$file")
    [ "$lines" -le "$most" ] || {
        echo "$file: $lines lines, at most $most"
        bad=1
    }
done
exit "$bad"
