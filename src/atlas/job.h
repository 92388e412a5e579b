/* atlas/job.h: everything one call of kh_atlas works with. */
#ifndef KH_ATLAS_JOB_H
#define KH_ATLAS_JOB_H

#include "atlas/features.h"
#include "atlas/state.h"
#include "keyhole/atlas.h"
#include "lens/distance.h"
#include "lens/lens.h"

enum { KH_ATLAS_MAX_LENSES = KH_ATLAS_LENSES, KH_ATLAS_PATH = 4096 };

typedef struct kh_atlas_job {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    const kh_source *source;
    const kh_atlas_options *options;

    kh_ranking ranking;
    bool has_ranking;
    kh_lens_setup setup;
    const kh_lens_kind *kinds[KH_ATLAS_MAX_LENSES];
    void *states[KH_ATLAS_MAX_LENSES];
    size_t lens_count;
    unsigned sites; /* wanted by any lens */
    kh_distance_choice compare;
    char compare_text[21 * KH_DISTANCE_CLASSES]; /* "0,554,207", "all"; "" without that lens */

    kh_state_head head; /* what this process has covered */
    double load_seconds, pass_seconds, lens_seconds;
} kh_atlas_job;

/* Lenses, ranking and fingerprint; states are not made yet. Pair: kh_atlas_job_clear. */
kh_status kh_atlas_job_init(kh_atlas_job *job, kh_ctx *ctx, const kh_model *model,
                            const kh_source *source, const kh_atlas_options *options,
                            kh_error *err);
void kh_atlas_job_clear(kh_atlas_job *job);
/* A fresh state for every lens (again: the old ones are freed). */
kh_status kh_atlas_begin(kh_atlas_job *job, kh_error *err);
/* All pieces of all lenses; room for KH_ATLAS_MAX_LENSES * KH_LENS_MAX_PIECES. */
size_t kh_atlas_pieces(const kh_atlas_job *job, kh_piece *out);

/* Is any lens among them to which class_by and class_reduction say something? */
bool kh_atlas_goes_by_class(const kh_atlas_job *job);

/* Which classes have labelled images (their number: seen) and which are compared. Before the setup.
 * Errors: KH_E_ARG classes that cannot be compared. */
kh_status kh_atlas_find_classes(kh_atlas_job *job, size_t *seen, kh_error *err);
/* Once the lenses are chosen: names the classes, and warns of some that nobody will see. */
kh_status kh_atlas_name_compared(kh_atlas_job *job, kh_error *err);

/* Images [first, end) through the pass into the lenses; broken ones into job->head. Calls
 * checkpoint(user, done up to here) between batches when it is time. */
typedef kh_status (*kh_checkpoint_fn)(void *user, kh_error *err);
kh_status kh_atlas_drive(kh_atlas_job *job, uint64_t first, uint64_t end,
                         kh_checkpoint_fn checkpoint, void *user, uint64_t done, uint64_t total,
                         kh_error *err);
/* The pass the lenses need, for batches of max_batch. */
kh_status kh_atlas_create_pass(const kh_atlas_job *job, size_t max_batch, kh_pass **out,
                               kh_error *err);
/* Which tap of that pass holds a site; SIZE_MAX when it is not tapped. */
size_t kh_atlas_tap_of(const kh_atlas_job *job, kh_lens_site site, size_t block);

/* Of a head that covers everything, sorted: KH_E_FORMAT when of no image the label maps could be
 * read. */
kh_status kh_atlas_check_maps(const kh_atlas_job *job, kh_error *err);

/* Tables, arrays and the manifest, from states that cover everything; fills summary->digest. */
kh_status kh_atlas_write_results(kh_atlas_job *job, kh_atlas_summary *summary, kh_error *err);

/* Removes what a run has left in a directory, complete or not, and nothing else: what its manifest
 * and figures.json list, and names that runs give. The manifest goes first. A directory without a
 * run, or none, is fine. */
kh_status kh_atlas_discard(const char *directory, kh_error *err);
/* KH_E_ARG when that would take more than the work of this part: states of others, or the tables of
 * all, of either pass. */
kh_status kh_atlas_check_discard(const char *directory, size_t shard, size_t shards, kh_error *err);
/* Removes what killed processes left of files that they were writing; those of processes that are
 * alive stay. */
kh_status kh_atlas_sweep(const char *directory, kh_error *err);

/* fingerprint.json of a run directory. Errors: KH_E_NOT_FOUND. */
kh_status kh_atlas_read_fingerprint(const char *directory, json_t **out, kh_error *err);

/* folder/name formatted; KH_E_LIMIT when too long. */
kh_status kh_atlas_path(char out[KH_ATLAS_PATH], kh_error *err, const char *folder,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
