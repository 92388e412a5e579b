#!/bin/sh
# Manual pages without a complaint from man or mandoc; completions that their shells can read.
keyhole=$1
bad=0
say() { echo "$1" && bad=1; }
rm -rf share
"$KH_SOURCE/tools/make_share.sh" "$keyhole" share || exit 1
linters=0
for page in share/man/man1/*.1; do
    if command -v man >/dev/null && man --help 2>&1 | grep -q -- --warnings; then
        linters=1
        LC_ALL=C MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$page" >/dev/null 2>complaints.txt
        [ -s complaints.txt ] && { say "$page, man:" && cat complaints.txt; }
    fi
    if command -v mandoc >/dev/null; then
        linters=1
        # a page without a date is meant: the same source gives the same bytes
        mandoc -T lint -W warning "$page" 2>&1 | grep -v 'missing date' >complaints.txt
        [ -s complaints.txt ] && { say "$page, mandoc:" && cat complaints.txt; }
    fi
    for section in NAME SYNOPSIS 'EXIT STATUS'; do
        grep -q "^\.SH \"*$section\"*$" "$page" || say "$page: no section $section"
    done
done
[ "$linters" = 1 ] || echo "neither man nor mandoc is here; only the sections were checked"

command -v bash >/dev/null && {
    bash -n share/completion/keyhole.bash || say "bash cannot read its completion"
    # what Tab would offer behind "keyhole cl" and behind "keyhole align --mo"
    offered=$(bash -c '. share/completion/keyhole.bash
        COMP_WORDS=(keyhole cl) COMP_CWORD=1; _keyhole; echo "${COMPREPLY[*]}"
        COMP_WORDS=(keyhole align --mo) COMP_CWORD=2; _keyhole; echo "${COMPREPLY[*]}"' 2>/dev/null)
    [ "$offered" = "$(printf 'classify\n--mode')" ] || say "bash completion offers: $offered"
}
if command -v zsh >/dev/null; then
    zsh -n share/completion/_keyhole || say "zsh cannot read its completion"
fi
if command -v fish >/dev/null; then
    fish -n share/completion/keyhole.fish || say "fish cannot read its completion"
fi
exit "$bad"
