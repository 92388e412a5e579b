#!/bin/sh
# Every relative link and every picture in the Markdown of the tree leads to a file.
cd "$KH_SOURCE" || exit 1
bad=0
for page in $(find . -path ./build -prune -o -path ./out -prune -o -path ./.git -prune -o -name '*.md' -print); do
    for target in $(sed -e 's/`[^`]*`//g' "$page" | grep -o '](\([^)#]*\)[)#]' |
        sed -e 's/^](//' -e 's/[)#]$//'); do
        case "$target" in http:* | https:* | mailto:*) continue ;; esac
        [ -e "$(dirname "$page")/$target" ] || {
            echo "$page: no file '$target'"
            bad=1
        }
    done
done
exit "$bad"
