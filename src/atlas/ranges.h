/* atlas/ranges.h: which images are done: sorted ranges that neither touch nor overlap. */
#ifndef KH_ATLAS_RANGES_H
#define KH_ATLAS_RANGES_H

#include "base/status.h"

typedef struct kh_range_ids {
    uint64_t first, end;
} kh_range_ids;

typedef struct kh_ranges {
    kh_range_ids *items;
    size_t count, capacity;
} kh_ranges;

/* Errors: KH_E_ARG the range shares an image with those that are there; KH_E_MEMORY. */
kh_status kh_ranges_add(kh_ranges *ranges, uint64_t first, uint64_t end, kh_error *err);
void kh_ranges_clear(kh_ranges *ranges);
uint64_t kh_ranges_total(const kh_ranges *ranges);
/* The first image of [first, end) that is not covered and the end of that gap; false: none is. */
bool kh_ranges_gap(const kh_ranges *ranges, uint64_t first, uint64_t end, kh_range_ids *gap);

#endif
