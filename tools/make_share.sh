#!/bin/sh
# Manual pages and completions, written by the program itself. Usage: tools/make_share.sh KEYHOLE FOLDER
set -e
keyhole=$1
out=$2
mkdir -p "$out/man/man1" "$out/completion"
"$keyhole" help --man >"$out/man/man1/keyhole.1"
commands=$("$keyhole" help | sed -n '/^Commands$/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
if [ -z "$commands" ]; then
    echo "make_share.sh: '$keyhole help' lists no commands" >&2
    exit 1
fi
for command in $commands; do
    "$keyhole" help --man "$command" >"$out/man/man1/keyhole-$command.1"
done
"$keyhole" help --completion bash >"$out/completion/keyhole.bash"
"$keyhole" help --completion zsh >"$out/completion/_keyhole"
"$keyhole" help --completion fish >"$out/completion/keyhole.fish"
: >"$out/made"
