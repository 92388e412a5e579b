/* atlas/team.h: one run on several ranks: what rank 0 says to all, how far everybody is, one state
 * at the end. Every function is a no-op for a team of one (or NULL). */
#ifndef KH_ATLAS_TEAM_H
#define KH_ATLAS_TEAM_H

#include "atlas/job.h"

bool kh_team_is_many(const kh_team *team);

/* Rank 0's bytes to everyone. */
kh_status kh_team_share(const kh_team *team, void *bytes, size_t count, kh_error *err);
/* Rank 0's ranges to everyone, whose own are empty. */
kh_status kh_team_share_ranges(const kh_team *team, kh_ranges *ranges, kh_error *err);
/* KH_E_ARG, with what differs, on a rank whose facts are not those of rank 0. */
kh_status kh_team_same_run(const kh_team *team, const json_t *fingerprint, kh_error *err);

/* While everybody works: rank 0 hears of all images, and everyone hears when one has failed. */
typedef struct kh_watch {
    const kh_team *team;
    uint64_t *done;  /* [size] images, at rank 0; [rank] alone elsewhere */
    bool *has_ended; /* [size] at rank 0 */
    bool is_stopped; /* somebody failed, or was asked to stop */
    bool has_heard;  /* rank 0's one word to this rank */
    double told;     /* when, in seconds */
} kh_watch;

/* Pair: kh_watch_clear. */
kh_status kh_watch_begin(kh_watch *watch, const kh_team *team, kh_error *err);
/* This rank has done so many images. *all: those of all ranks, as far as this one knows. False: it
 * should stop. Never waits. */
bool kh_watch_tell(kh_watch *watch, uint64_t done, uint64_t *all);
/* This rank stops: the others hear it before it has saved its state. */
void kh_watch_stop(kh_watch *watch);
/* This rank is through, well or not. Waits for the others; rank 0 calls waiting(user, all)
 * meanwhile, and false from it stops them. */
typedef bool (*kh_waiting_fn)(void *user, uint64_t all);
kh_status kh_watch_end(kh_watch *watch, bool has_failed, kh_waiting_fn waiting, void *user,
                       uint64_t *all, kh_error *err);

void kh_watch_clear(kh_watch *watch);

/* The states of all ranks into rank 0's, up a tree: integer sums, extremes and lists, so the order
 * does not matter. */
kh_status kh_team_merge(const kh_team *team, kh_atlas_job *job, kh_error *err);

#endif
