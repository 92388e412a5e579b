#!/bin/sh
# Reads the #include lines of src/ and says which ones point up the stairs (see the table below).
# Usage: tools/check_layers.sh [source folder]; exit 1 when a room includes what it may not.
cd "${1:-$(dirname "$0")/..}" || exit 2

allowed() {
    case "$1" in
    base) echo "base" ;;
    store) echo "store base vit" ;; # vit: public record types only
    io | compute | figure) echo "$1 base" ;;
    diorama) echo "diorama io base" ;;
    vit) echo "vit compute io base" ;;
    lens | dream) echo "$1 vit compute io base" ;;
    annotate) echo "annotate lens vit compute io base" ;;
    atlas) echo "atlas lens store vit compute io base" ;;
    web) echo "web base keyhole" ;;
    cli) echo "cli web base keyhole" ;;
    *) echo "" ;;
    esac
}

# A public header belongs to the room of its name; io.h may be included where io may.
bad=0
for file in $(find src -name '*.[ch]' -o -name '*.inc' | sort); do
    room=${file#src/}
    room=${room%%/*}
    may=$(allowed "$room")
    if [ -z "$may" ]; then
        echo "$file: unknown room '$room'"
        bad=1
        continue
    fi
    for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]\([a-z_]*\/[a-z0-9_\/.]*\|keyhole\.h\)[>"].*/\1/p' "$file"); do
        case "$header" in
        keyhole.h) target=keyhole ;;
        keyhole/*) target=${header#keyhole/}; target=${target%.h}
            [ -d "src/$target" ] || target=base ;;
        sys/* | sanitizer/* | arpa/* | netinet/* | webp/* | openssl/* | curl/* | cairo/*) continue ;;
        *) target=${header%%/*} ;;
        esac
        case " $may " in
        *" $target "*) ;;
        *) case "$header" in
           keyhole/*) case " $may " in *" keyhole "*) continue ;; esac ;;
           esac
           echo "$file: includes <$header> of '$target'; room '$room' may use: $may"
           bad=1 ;;
        esac
    done
done
[ "$bad" = 0 ] && echo "layers: every include points down"
exit "$bad"
