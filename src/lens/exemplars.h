/* lens/exemplars.h: inside the lens "exemplars". */
#ifndef KH_LENS_EXEMPLARS_H
#define KH_LENS_EXEMPLARS_H

#include "lens/lens.h"

/* The first `want` entries that are no near duplicate of a better one; returns how many there are.
 * fingerprints [images], or NULL: nothing is a duplicate. */
size_t kh_exemplars_distinct(const kh_top_entry *list, size_t count, const uint64_t *fingerprints,
                             size_t want, kh_top_entry *out);

/* Table "reads_writes": of each neuron, the classes of the images that wake it (best
 * [units, exemplars]) against what its value vector says about them.
 *
 *     agree     most exemplars show one class, and it is among the five the vector promotes most
 *     suppress  most exemplars show one class, and the vector's score for it is below the median
 *     other     most exemplars show one class; the vector has nothing to do with it
 *     shared    exemplars show several classes
 *     silent    the neuron fires nowhere (largest coefficient below 2^-13)
 *     unknown   exemplars without true classes
 *
 * "Most" is at least half of the exemplars. Scores are `ln` alignments less each class's mean over
 * the block, so that a class everything speaks for does not win everywhere. */
kh_status kh_exemplars_reads_writes(const kh_lens_setup *setup, const kh_top_entry *best,
                                    const kh_lens_out *out, kh_error *err);

#endif
