#!/bin/sh
# Every command answers --help, -h and `help COMMAND` alike, on standard output, within 100 columns.
keyhole=$1
commands=$("$keyhole" help | sed -n '/^Commands$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
[ "$(echo "$commands" | wc -l)" -ge 8 ] || { echo "too few commands: $commands"; exit 1; }
bad=0
say() { echo "$1" && bad=1; }
for command in $commands; do
    "$keyhole" "$command" --help >long.txt 2>err.txt || say "$command --help fails"
    "$keyhole" "$command" -h >short.txt || say "$command -h fails"
    "$keyhole" help "$command" >help.txt || say "help $command fails"
    cmp -s long.txt short.txt && cmp -s long.txt help.txt || say "$command: three different helps"
    [ -s err.txt ] && say "$command --help writes to standard error"
    grep -q "^Usage: keyhole $command " long.txt || say "$command: no usage line"
    awk -v c="$command" 'length($0) > 100 || / $/ { print c ": long line or blanks at its end: " $0; bad = 1 } END { exit bad }' \
        long.txt || bad=1
    grep -q 'count from 0' long.txt || say "$command: does not say that indices count from 0"
    sed -n 's/^  \(-., \|    \)--\([a-z0-9-]*\).*/\2/p' long.txt | sort | uniq -d >twice.txt
    [ -s twice.txt ] && say "$command: options twice: $(cat twice.txt)"
done
exit "$bad"
