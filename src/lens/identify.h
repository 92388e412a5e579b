/* lens/identify.h: the tables of the lens "identify". */
#ifndef KH_LENS_IDENTIFY_H
#define KH_LENS_IDENTIFY_H

#include "lens/lens.h"

/* Its counters; shapes as in lens_identify.c. */
typedef struct kh_identify_view {
    const kh_model_info *info;
    uint64_t labelled;
    const uint32_t *rank;
    const uint64_t *with_one, *rises, *same, *votes, *match;
    const uint64_t *own_votes, *rises_input, *voted, *agree;
} kh_identify_view;

void kh_identify_write(const kh_identify_view *view, const kh_lens_out *out);

#endif
