# A direction from a file: read, noticed when its numbers change, refused when it does not fit.
npy() { # COUNT: a first float of $2, then zeros
    header="{'descr': '<f4', 'fortran_order': False, 'shape': ($1,), }"
    printf '\223NUMPY\001\000v\000%-117s\n' "$header"
    printf "$2"
    head -c $((4 * ($1 - 1))) /dev/zero
}
dream() { keyhole dream random:test_vit --model-size 32 --steps 2 -q --out d --direction "$@"; }
npy 64 '\000\000\200\077' >one.npy
npy 40 '\000\000\200\077' >short.npy
dream one.npy && ls d/images
dream one.npy || echo cannot go on
npy 64 '\000\000\200\277' >one.npy
dream one.npy && echo not noticed
dream short.npy && echo read
dream missing.npy && echo found
npy 64 '\000\000\000\000' >one.npy
dream one.npy
[ $? = 2 ] && echo nothing to go along
