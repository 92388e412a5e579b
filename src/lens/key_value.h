/* lens/key_value.h: which neurons speak for a class, and whether those a token drives hardest do
 * (Vilas et al. 2023, key-value agreement). By `raw`, v.E_c. */
#ifndef KH_LENS_KEY_VALUE_H
#define KH_LENS_KEY_VALUE_H

#include "lens/lens.h"

enum { KH_KEY_VALUE_TOP = 5 };

typedef struct kh_key_values {
    size_t neurons;
    kh_ranking raw; /* of every class the five neurons of a block that speak most for it */
    uint32_t *own;  /* [units, 5] of every neuron the five classes it speaks most for */
} kh_key_values;

/* NULL when this model has such neurons, else why not. */
const char *kh_key_values_refuses(const kh_lens_setup *setup);
kh_status kh_key_values_init(kh_key_values *k, const kh_lens_setup *setup, kh_error *err);
void kh_key_values_clear(kh_key_values *k);

/* Is one of five neurons of a block among the class's five, and is the class among the five of one
 * of them? */
bool kh_key_values_class_has(const kh_key_values *k, size_t block, const size_t *neurons, size_t c);
bool kh_key_values_neuron_has(const kh_key_values *k, size_t block, const size_t *neurons,
                              size_t c);

/* The k (at most 8) largest values, best first, ties to the lower index. */
void kh_key_value_top(const float *values, size_t count, size_t k, size_t *top);

#endif
