#include "atlas/ranges.h"

#include "base/alloc.h"

#include <string.h>

kh_status kh_ranges_add(kh_ranges *r, uint64_t first, uint64_t end, kh_error *err) {
    if (first >= end) return KH_OK;
    size_t at = 0;
    while (at < r->count && r->items[at].end < first)
        at++;
    /* items[at], if any, is the first that ends at or behind `first` */
    size_t next = at;
    if (next < r->count && r->items[next].end == first) next++;
    if (next < r->count && r->items[next].first < end)
        return kh_fail(
            err, KH_E_ARG, "images %llu to %llu are covered twice: by %llu-%llu and by %llu-%llu",
            (unsigned long long)(r->items[next].first > first ? r->items[next].first : first),
            (unsigned long long)((r->items[next].end < end ? r->items[next].end : end) - 1),
            (unsigned long long)r->items[next].first, (unsigned long long)(r->items[next].end - 1),
            (unsigned long long)first, (unsigned long long)(end - 1));
    const bool joins_left = next > at, joins_right = next < r->count && r->items[next].first == end;
    if (joins_left) {
        r->items[at].end = joins_right ? r->items[next].end : end;
        if (joins_right) {
            memmove(r->items + next, r->items + next + 1, (r->count - next - 1) * sizeof *r->items);
            r->count--;
        }
        return KH_OK;
    }
    if (joins_right) {
        r->items[next].first = first;
        return KH_OK;
    }
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 16;
        kh_range_ids *grown = kh_realloc(r->items, capacity, sizeof *grown);
        if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for ranges of images");
        r->items = grown;
        r->capacity = capacity;
    }
    memmove(r->items + at + 1, r->items + at, (r->count - at) * sizeof *r->items);
    r->items[at] = (kh_range_ids){first, end};
    r->count++;
    return KH_OK;
}

void kh_ranges_clear(kh_ranges *r) {
    kh_free(r->items);
    *r = (kh_ranges){0};
}

uint64_t kh_ranges_total(const kh_ranges *r) {
    uint64_t total = 0;
    for (size_t i = 0; i < r->count; i++)
        total += r->items[i].end - r->items[i].first;
    return total;
}

bool kh_ranges_gap(const kh_ranges *r, uint64_t first, uint64_t end, kh_range_ids *gap) {
    for (size_t i = 0; i < r->count && first < end; i++) {
        if (r->items[i].end <= first) continue;
        if (r->items[i].first > first) {
            *gap = (kh_range_ids){first, r->items[i].first < end ? r->items[i].first : end};
            return true;
        }
        first = r->items[i].end;
    }
    *gap = (kh_range_ids){first, end};
    return first < end;
}
