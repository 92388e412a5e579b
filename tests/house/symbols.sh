#!/bin/sh
# The shared library exports what the public headers declare with KH_API: all of it and nothing else.
library=$1
command -v nm >/dev/null || exit 77
nm -D --defined-only "$library" | awk '$2 ~ /^[A-Z]$/ { print $3 }' | sed 's/@.*//' | sort -u >exported.txt
# A declaration runs from KH_API to the parenthesis of its arguments.
cat "$KH_SOURCE"/include/keyhole/*.h | grep -v '^#' | tr '\n' ' ' | grep -o 'KH_API[^;(]*(' |
    grep -o 'kh_[a-z0-9_]*(' | tr -d '(' | sort -u >declared.txt
[ -s declared.txt ] || { echo "no declarations found"; exit 1; }
bad=0
comm -23 declared.txt exported.txt >missing.txt
comm -13 declared.txt exported.txt >extra.txt
[ -s missing.txt ] && { echo "declared but not exported:" && cat missing.txt && bad=1; }
[ -s extra.txt ] && { echo "exported but in no public header:" && cat extra.txt && bad=1; }
exit "$bad"
