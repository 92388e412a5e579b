/* lens/clones.h: plain loops compiled once more for AVX2, chosen when the program starts.
 * Contraction is off everywhere, so both give the same bits. */
#ifndef KH_LENS_CLONES_H
#define KH_LENS_CLONES_H

#include <stddef.h> /* so that the file is not empty where clones are not */

/* Sanitizers run before the loader can choose. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) &&   \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KH_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define KH_CLONES
#endif

#endif
