#!/bin/sh
# tools/setup.sh: silent when everything is there, a list and status 1 where it may not install.
setup=$KH_SOURCE/tools/setup.sh
"$setup" >out.txt 2>&1 || { cat out.txt; echo "fails where keyhole was just built"; exit 1; }
[ -s out.txt ] && { cat out.txt; echo "speaks although nothing is missing"; exit 1; }

# A system with none of our tools and no apt-get: a PATH with the bare minimum.
bare=$(mktemp -d) || exit 1
trap 'rm -rf "$bare"' EXIT
for tool in sh cat find id printf head; do
    path=$(command -v "$tool")
    case "$path" in /*) ln -s "$path" "$bare/$tool" ;; esac
done
PATH=$bare "$bare/sh" "$setup" >out.txt 2>&1 && { echo "passes without a compiler"; exit 1; }
for word in build-essential cmake libcairo2-dev libjpeg-dev 'only Debian and Ubuntu'; do
    grep -q -- "$word" out.txt || { cat out.txt; echo "does not name $word"; exit 1; }
done

# The same with an apt-get but neither root nor sudo.
printf '#!/bin/sh\nexit 1\n' >"$bare/apt-get"
printf '#!/bin/sh\necho 1000\n' >"$bare/user" && rm -f "$bare/id" && mv "$bare/user" "$bare/id"
chmod +x "$bare/apt-get" "$bare/id"
PATH=$bare "$bare/sh" "$setup" >out.txt 2>&1 && { echo "passes without rights"; exit 1; }
grep -q 'sudo apt-get install build-essential cmake' out.txt ||
    { cat out.txt; echo "does not say how to install"; exit 1; }

# what is only nice to have is no reason to fail, where everything else is there
for tool in sh cat find id printf head dpkg-query pkg-config cc make cmake ninja; do
    path=$(command -v "$tool")
    case "$path" in /*) ln -sf "$path" "$bare/$tool" ;; esac
done
printf '#!/bin/sh\ncase "$3$4" in *mpi*) exit 1 ;; esac\nexec %s "$@"\n' "$(command -v dpkg-query)" >"$bare/ask"
if [ -x "$bare/dpkg-query" ]; then
    rm "$bare/dpkg-query" "$bare/id" && mv "$bare/ask" "$bare/dpkg-query" && chmod +x "$bare/dpkg-query"
    printf '#!/bin/sh\necho 1000\n' >"$bare/id" && chmod +x "$bare/id"
    PATH=$bare "$bare/sh" "$setup" mpi >out.txt 2>&1 || { cat out.txt; echo "fails without MPI"; exit 1; }
    grep -q '^Going on without libopenmpi-dev openmpi-bin' out.txt || { cat out.txt; echo "is silent"; exit 1; }
fi

"$setup" kitchen >out.txt 2>&1
[ $? = 2 ] || { cat out.txt; echo "takes any word"; exit 1; }
