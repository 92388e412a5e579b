/* lens/exemplars.h: inside the lenses "exemplars" and "channels": images by how much a unit (a key
 * neuron, a channel) makes of them. */
#ifndef KH_LENS_EXEMPLARS_H
#define KH_LENS_EXEMPLARS_H

#include "lens/lens.h"

typedef struct kh_exemplar_lists {
    const kh_lens_setup *setup;
    size_t per_block, units; /* of a block, of all */
    size_t k;                /* kept for each unit */
    kh_top_entry *top;       /* [units, k] */
    size_t sampled;          /* images in the sample, ids ascending */
    uint64_t *sample;        /* [sampled] */
    float *sample_max;       /* [sampled, units]; -inf: not seen */
} kh_exemplar_lists;

/* False when memory ends; clear it then too. */
bool kh_exemplar_lists_init(kh_exemplar_lists *lists, const kh_lens_setup *setup, size_t per_block);
void kh_exemplar_lists_clear(kh_exemplar_lists *lists);
/* max, token [per_block] of one image and block. False when one is NaN. */
bool kh_exemplar_lists_see(kh_exemplar_lists *lists, uint64_t id, size_t block, const float *max,
                           const uint32_t *token);
/* Rows of a table "block unit level rank image patch value truth" that was begun; best [units,
 * exemplars]: what they say of level "top". */
kh_status kh_exemplar_lists_write(const kh_exemplar_lists *lists, kh_top_entry *best,
                                  const kh_lens_out *out, kh_error *err);
void kh_exemplar_lists_size(const kh_lens_setup *setup, size_t units, kh_lens_size *out);

/* The first `want` entries that are no near duplicate of a better one; returns how many there are.
 * fingerprints [images], or NULL: nothing is a duplicate. */
size_t kh_exemplars_distinct(const kh_top_entry *list, size_t count, const uint64_t *fingerprints,
                             size_t want, kh_top_entry *out);

/* Table "reads_writes": of each neuron, the classes of the images that wake it (best
 * [units, exemplars]) against what its value vector says about them.
 *
 *     agree     it reads one class, and that is among the five the vector promotes most
 *     suppress  it reads one class, and the vector's score for it is below the median
 *     other     it reads one class; the vector has nothing to do with it
 *     shared    it reads none: exemplars show several classes
 *     silent    the neuron fires nowhere (largest coefficient below 2^-13)
 *     unknown   exemplars without true classes, or of classes with fewer than three images; or all
 *               images are of one class
 *
 * A neuron reads a class with n images when at least half of its min(K, n) strongest exemplars, of
 * K, show it; if n < K, three at least. Images without a class are left out. `labelled` is how many
 * exemplars were looked at for the class, `hits` how many of them show it.
 *
 * Scores are `ln` alignments less each class's mean over the block, so that a class everything
 * speaks for does not win everywhere. */
kh_status kh_exemplars_reads_writes(const kh_lens_setup *setup, const kh_top_entry *best,
                                    const kh_lens_out *out, kh_error *err);

#endif
