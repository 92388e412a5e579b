#!/bin/sh
# Compares the C sources with .clang-format, or rewrites them. Usage: tools/format.sh [--fix]
# Versions of clang-format differ in details; 14 (Debian 12, Ubuntu 22.04) is the one that counts here.
cd "$(dirname "$0")/.." || exit 1
tool=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then tool=$name && break; fi
done
if [ -z "$tool" ]; then
    echo "format: skipped, clang-format 14 is not here ('tools/setup.sh format' on Debian 12)"
    exit 0
fi
set -- "${1:-}" $(git ls-files '*.c' '*.h' 2>/dev/null || find bench examples include src tests tools -name '*.[ch]')
fix=$1
shift
# generated tables and foreign text carry "clang-format off" themselves
if [ "$fix" = --fix ]; then exec "$tool" -i "$@"; fi
bad=0
for file in "$@"; do
    [ -e "$file" ] || continue
    if ! "$tool" --dry-run -Werror "$file" >/dev/null 2>&1; then
        echo "$file: not as .clang-format says"
        bad=$((bad + 1))
    fi
done
if [ "$bad" != 0 ]; then
    echo "format: $bad files differ; 'make format' rewrites them"
    exit 1
fi
echo "format: $# files are as .clang-format says"
