/* atlas/state.h: what a shard has seen, as a file.
 *
 *     "KHSTATE1" | header bytes (u64) | header (JSON) | pieces, as they lie in memory | sha256
 * (hex)
 *
 * Little-endian. The header says whose state it is (fingerprint), which images it covers, which of
 * them were broken, and lists the pieces. The digest is over everything before it. */
#ifndef KH_ATLAS_STATE_H
#define KH_ATLAS_STATE_H

#include "atlas/ranges.h"
#include "base/json.h"
#include "lens/stream.h"

typedef struct kh_broken {
    uint64_t id;
    char *reason;
} kh_broken;

typedef struct kh_state_head {
    json_t *fingerprint; /* owned */
    kh_ranges covered;
    kh_broken *broken; /* in order of id once sorted */
    size_t broken_count;
    kh_broken *broken_maps; /* images whose label maps could not be read */
    size_t broken_maps_count;
} kh_state_head;

void kh_state_head_clear(kh_state_head *head);
/* Remembers a broken image, or one whose label maps are; reason is copied. */
kh_status kh_state_add_broken(kh_state_head *head, uint64_t id, const char *reason, kh_error *err);
kh_status kh_state_add_broken_maps(kh_state_head *head, uint64_t id, const char *reason,
                                   kh_error *err);
/* Both lists in order of id. */
void kh_state_sort_broken(kh_state_head *head);
/* As if the broken images had not been looked at yet: they are in no lens. Not so their label maps:
 * those images are. */
kh_status kh_state_forget_broken(kh_state_head *head, kh_error *err);
/* Takes over ranges and broken images of another state. Errors: KH_E_ARG they overlap. */
kh_status kh_state_join(kh_state_head *head, const kh_state_head *other, kh_error *err);

kh_status kh_state_write(const char *path, const kh_state_head *head, const kh_piece *pieces,
                         size_t count, kh_error *err);
/* The header as text, for a state that goes another way than through a file: free(); NULL when out
 * of memory. And back; `from` names it in messages. */
char *kh_state_describe(const kh_state_head *head, const kh_piece *pieces, size_t count);
kh_status kh_state_understand(const char *text, size_t count, const char *from, kh_state_head *out,
                              kh_error *err);
/* The header alone. Errors: KH_E_NOT_FOUND; KH_E_FORMAT not a state, or cut off. */
kh_status kh_state_read_head(const char *path, kh_state_head *out, kh_error *err);
/* Is the file what was written? Reads all of it. Errors: KH_E_FORMAT damaged. */
kh_status kh_state_verify(const char *path, kh_error *err);
/* Merges the pieces of a file into ours, which must have the same names and sizes. Errors:
 * KH_E_FORMAT damaged (ours are then of no more use), KH_E_ARG other pieces. */
kh_status kh_state_absorb(const char *path, const kh_piece *pieces, size_t count, kh_error *err);

#endif
