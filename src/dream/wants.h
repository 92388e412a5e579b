/* dream/wants.h: what a batch of dreams wants from a pass: how far, which sites to hand out, which
 * seeds to take. */
#ifndef KH_DREAM_WANTS_H
#define KH_DREAM_WANTS_H

#include "base/text.h"
#include "dream/job.h"

typedef struct kh_wants_block {
    bool *units;  /* [neurons] marked, NULL: none */
    size_t *list; /* the marked ones, ascending */
    size_t *at;   /* [neurons] place in list */
    size_t count;
    bool has_dense; /* all hidden units are tapped and seeded (diversity, gated models) */
    bool has_value, has_stream;
    float *rows; /* [count, dim] fc1's rows of the listed units */
    /* places among taps and seeds; SIZE_MAX: not there */
    size_t tap_pre, tap_value, tap_stream;
    size_t seed_input; /* behind LN2, what fc1 reads: a neuron's gradient is a row of fc1 there */
    size_t seed_pre, seed_value, seed_stream;
} kh_wants_block;

typedef struct kh_wants {
    const kh_model *model;
    kh_wants_block *blocks; /* [model blocks] */
    bool has_logits;
    size_t seed_logits;
    size_t top;      /* highest block */
    bool only_class; /* nobody looks at another token of a neuron: taps of neurons have one row */
    kh_tap *taps;
    size_t tap_count;
    const char **seeds;
    size_t *seed_floats; /* per image */
    size_t seed_count;
    char (*names)[48];
    kh_text signature; /* equal signatures want the same pass */
} kh_wants;

extern const size_t kh_wants_class_token; /* 0, for taps and seeds when only_class */

/* Pair: kh_wants_clear. */
kh_status kh_wants_make(const kh_model *model, kh_dream *const *dreams, size_t count, kh_wants *out,
                        kh_error *err);
/* Reads fc1's rows; needed once per pass. */
kh_status kh_wants_read_rows(kh_wants *w, kh_error *err);
void kh_wants_clear(kh_wants *w);

#endif
