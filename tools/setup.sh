#!/bin/sh
# Makes sure that what keyhole needs to build is on this machine.
# Usage: tools/setup.sh [fuzz] [valgrind] [format] [mpi]   (the words ask for more than the build needs)
#
# On Debian and Ubuntu missing packages are installed with apt-get, as root or through sudo. When nothing
# is missing nothing is touched, so this also passes offline. Elsewhere it says what to install.

# package | how to tell that it is there | what for; in brackets: nice to have, no reason to fail
needed() {
    cat <<'END'
build-essential|have cc && have make|C compiler, make
cmake|have cmake|build
ninja-build|have ninja|build
pkg-config|have pkg-config|finds the libraries below
libjansson-dev|lib jansson|JSON: configs, manifests, --json
libjpeg-dev|lib libjpeg|JPEG images
libpng-dev|lib libpng|PNG images
libwebp-dev|lib libwebp libwebpdemux|WebP images
libssl-dev|lib libcrypto|sha256 of checkpoints
libcurl4-openssl-dev|lib libcurl|keyhole pull
ca-certificates|[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ]|keyhole pull over https
libarchive-dev|lib libarchive|image sets in tar and zip archives
libsqlite3-dev|lib sqlite3|tables of a run
libcairo2-dev|lib cairo|figures
libkissfft-dev|lib kissfft-float|dream: Fourier transforms of painted images
fonts-dejavu-core|[ -n "$(find /usr/share/fonts /usr/local/share/fonts -name 'DejaVuSans.ttf' 2>/dev/null)" ]|text in figures
libcmocka-dev|lib cmocka|tests
libmicrohttpd-dev|lib libmicrohttpd|tests: a hub on loopback to download from
END
    for extra in "$@"; do
        case "$extra" in
        fuzz) echo 'clang|have clang|make fuzz: libFuzzer'
            # Debian 12 keeps clang's sanitizer runtime in a package of its own
            if apt-cache show libclang-rt-dev >/dev/null 2>&1; then
                echo 'libclang-rt-dev|false|make fuzz: the sanitizer runtime of clang'
            fi ;;
        valgrind) echo 'valgrind|have valgrind|make valgrind' ;;
        format) echo 'clang-format|have clang-format|make format, make format-check' ;;
        mpi) echo 'libopenmpi-dev|have mpicc|[mpirun keyhole atlas]'
            echo 'openmpi-bin|have mpirun|[mpirun keyhole atlas]' ;;
        *) echo "tools/setup.sh: what is '$extra'? I know fuzz, valgrind, format and mpi" >&2; exit 2 ;;
        esac
    done
}

have() { command -v "$1" >/dev/null 2>&1; }
lib() { have pkg-config && pkg-config --exists "$@" 2>/dev/null; }
installed() { have dpkg-query && [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

table=$(needed "$@") || exit 2
missing=
reasons=
status=0 # 1: there is something we cannot do without
while IFS= read -r line; do
    package=${line%%|*}
    purpose=${line##*|}
    probe=${line#*|}
    probe=${probe%|*}
    installed "$package" && continue
    eval "$probe" && continue
    missing="$missing $package"
    case "$purpose" in [[]*) ;; *) status=1 ;; esac
    reasons="$reasons$(printf '    %-22s %s' "$package" "$purpose")
"
done <<END
$table
END
[ -z "$missing" ] && exit 0

give_up() {
    if [ "$status" = 0 ]; then
        echo "Going on without$missing ($1)." >&2
        exit 0
    fi
    echo "keyhole needs these packages ($1):" >&2
    printf '%s' "$reasons" >&2
    if have apt-get; then
        echo "Install them with:  sudo apt-get install$missing" >&2
    else
        echo "The names are Debian's; other systems call them alike. Then run make again." >&2
    fi
    exit 1
}

have apt-get || give_up "and only Debian and Ubuntu are set up automatically"
if [ "$(id -u)" = 0 ]; then as_root=
elif have sudo && sudo -n true 2>/dev/null; then as_root='sudo -n'
elif have sudo && [ -t 0 ]; then as_root=sudo
else give_up "and installing them needs root or sudo"
fi

echo "Installing what is missing:"
printf '%s' "$reasons"
update() { $as_root apt-get -q update; }
install() {
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing
}
if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)" ]; then
    update || give_up "apt-get update failed"
fi
# old lists name packages that mirrors have dropped, so a failure deserves one update
install || { update && install; } || give_up "apt-get could not install them"
