/* keyhole/atlas.h: one pass over an image set, every key neuron, every lens; results in a run
 * directory. Bounded memory; stopped, resumed, split and merged without changing a bit.
 *
 * What the files and tables mean: docs/run-directory.md. */
#ifndef KEYHOLE_ATLAS_H
#define KEYHOLE_ATLAS_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"
#include "keyhole/lens.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Several processes that do one run together, each a rank; they see one file system. The command
 * line fills this in from MPI, a program may bring its own way. Messages of a kind arrive in the
 * order in which they were sent; all calls come from the thread that called kh_atlas. */
typedef enum kh_team_kind { KH_TEAM_NEWS, KH_TEAM_DATA } kh_team_kind;
typedef struct kh_team {
    size_t rank, size;
    void *user;
    /* Both ends name the same count, at most 512 KiB. A send of NEWS (16 bytes) does not wait. */
    kh_status (*send)(void *user, size_t to, kh_team_kind kind, const void *bytes, size_t count,
                      kh_error *err);
    kh_status (*receive)(void *user, size_t from, kh_team_kind kind, void *bytes, size_t count,
                         kh_error *err);
    bool (*poll)(void *user, size_t from, kh_team_kind kind); /* receive would not wait */
} kh_team;

/* All ranks call it, each with how it fares. KH_OK when all are well. Else the first rank that is
 * not returns its own status and message, and every other one KH_E_STOPPED with an empty text, so
 * that one message is shown. team NULL: status. */
KH_API kh_status kh_team_agree(const kh_team *team, kh_status status, kh_error *err);

enum { KH_ATLAS_COMPARED = 40 };

typedef struct kh_atlas_options {
    const char *out;      /* the run directory; made when absent */
    const char *lenses;   /* NULL: the default ones; "all"; or names with commas between */
    size_t batch;         /* images per pass; 8 */
    size_t shard, shards; /* this process does images [shard n / shards, (shard+1) n / shards) */
    const kh_team *team;  /* NULL: alone. All ranks call kh_atlas, with shards 1; rank 0 writes the
                             tables, and its summary counts the images of all */
    size_t decode_threads, ahead; /* as kh_loader_options; 0: 2 and 4 batches */
    size_t exemplars;             /* shown for each neuron; 15 */
    size_t sample;                /* images in the random baseline; 128 */
    double quantile;              /* of patches below the dissection threshold; 0.995 */
    /* Distinct classes, in any order, that the lens "distance" compares: 2 to KH_ATLAS_COMPARED,
     * two or more with labelled images. NULL: of ImageNet's 1000 the report's 0, 554, 207, 162, 250
     * if two of those have some; else all of a model with at most KH_ATLAS_COMPARED; else the first
     * KH_ATLAS_COMPARED that have some. */
    const size_t *compare;
    size_t compare_count;
    /* Of the lenses "class_mean" and "class_argmax": which images count for a class, and what is
     * taken of each. KH_BY_TRUTH and KH_REDUCE_MEAN. */
    kh_class_by class_by;
    kh_class_reduction class_reduction;
    uint64_t seed;
    double checkpoint_seconds;     /* state goes to the disk this often; 600 */
    size_t checkpoint_images;      /* and after this many images; 0: never for that reason */
    bool overwrite;                /* first remove what an earlier run left in `out`; of several
                                      shards only what this one left, or KH_E_ARG */
    bool reads_broken_again;       /* images that could not be read are still to be done, where
                                      this process holds the state that says so and the run is not
                                      complete; always when a state has no others */
    bool keep_state;               /* keep shards/ after the tables are written */
    bool only_merge;               /* images missing from the shards are an error, not work */
    const char *const *other_runs; /* directories whose shards are merged too */
    size_t other_run_count;
    const char *command; /* NULL, or what the manifest says was run */
    bool maps_follow; /* another call will have label maps: lenses that want them are left to it */
    /* Pixel truth for the lens "dissect", with thresholds [blocks * neurons] of a complete run over
     * the same images (kh_atlas_thresholds). Borrowed; NULL: none. */
    const kh_label_set *label_set;
    const float *thresholds;
    const float *rotated; /* thresholds of rotated units of that run (kh_atlas_rotated), or NULL */
    const kh_decode_options *decode;
    kh_progress_fn progress; /* "images"; false stops, and the run can be resumed */
    void *progress_user;
    kh_warn_fn warn;
    void *warn_user;
} kh_atlas_options;

KH_API kh_atlas_options kh_atlas_options_default(void);

/* Are there lenses of these names, with commas between? KH_E_NOT_FOUND says which there are,
 * KH_E_ARG: no name. NULL and "all" are fine. */
KH_API kh_status kh_atlas_check_lenses(const char *names, kh_error *err);

/* What a call of kh_atlas did. */
typedef struct kh_atlas_summary {
    size_t images, done_before, done_now, broken;
    size_t broken_maps; /* images whose label maps could not be read: as if they had none */
    bool is_complete;   /* tables are written; not so when no image could be read */
    bool has_written;   /* by this call */
    double seconds;     /* of the pass over images, in which: */
    double load_seconds, pass_seconds, lens_seconds; /* waiting for images; forward; lenses */
    char digest[65]; /* when complete, at rank 0: of tables and arrays; of dissect/ too when it was
                        complete before */
} kh_atlas_summary;

/* Does what the run directory lacks: nothing when it is complete; else the images that none of its
 * shards cover (of this process's share, when shards > 1), and, once all are covered, the tables.
 * source must be opened with the model's classes.
 *
 * Results depend on model, preprocessing, images and options up to `seed` alone: not on threads,
 * batch, shards, or how often the run was killed. Different instruction sets differ in the last
 * bits and are not merged. summary may be NULL.
 *
 * Errors: KH_E_ARG the directory belongs to another model, preprocessing, image set or lenses
 * (named), or holds files or results that are no run of an atlas; shards that overlap, or gaps with
 * only_merge; KH_E_FORMAT a damaged shard, or a complete run whose tables or arrays (named) are not
 * what was written, or of label maps none that can be read; KH_E_IO;
 * KH_E_NUMERIC with the image; KH_E_STOPPED. */
KH_API kh_status kh_atlas(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                          const kh_atlas_options *options, kh_atlas_summary *summary,
                          kh_error *err);

/* arrays/thresholds.npy of a complete run: out [count], count = blocks * neurons. Errors:
 * KH_E_NOT_FOUND the run is not complete; KH_E_SHAPE another model's. */
KH_API kh_status kh_atlas_thresholds(const char *run, float *out, size_t count, kh_error *err);
/* arrays/rotated_thresholds.npy, or *out NULL when the run was made without the lens "rotated".
 * Free with free(). Errors: KH_E_SHAPE another model's; KH_E_FORMAT; KH_E_IO; KH_E_MEMORY. */
KH_API kh_status kh_atlas_rotated(const char *run, const kh_model_info *info, float **out,
                                  kh_error *err);

/* What it will take. */
enum { KH_ATLAS_LENSES = 32 };
typedef struct kh_atlas_estimate {
    size_t images;
    double gflop;                        /* of all passes that are missing */
    uint64_t memory_bytes;               /* lenses and the pass, without the model's weights */
    uint64_t state_bytes;                /* of one shard on disk */
    uint64_t disk_bytes;                 /* tables and arrays at the end */
    size_t classes_seen;                 /* that are the truth of an image */
    size_t classes_counted;              /* at most so many have images in the sense of class_by */
    size_t classes_compared;             /* of those the lens "distance" compares */
    const char *lenses[KH_ATLAS_LENSES]; /* that will run; static names */
    size_t lens_count;
} kh_atlas_estimate;
KH_API kh_status kh_atlas_plan(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                               const kh_atlas_options *options, kh_atlas_estimate *out,
                               kh_error *err);

/* Images that could not be read: tells `each` their places among the images, and why. Of a run that
 * is not complete: what the states in its directory say. */
typedef void (*kh_atlas_broken_fn)(void *user, size_t image, const char *reason);
KH_API kh_status kh_atlas_broken(const char *run, kh_atlas_broken_fn each, void *user,
                                 kh_error *err);

/* sha256 over the sha256 of all tables and arrays of a complete run in a canonical order, and over
 * the digest of the run in its folder dissect/, if there is one. KH_E_FORMAT: tables or arrays
 * (named) that are not what the run's manifest says was written. */
KH_API kh_status kh_atlas_digest(const char *run, char out[65], kh_error *err);

/* What a run directory has and lacks. KH_E_NOT_FOUND: nothing of a run, or a file that the
 * manifest lists is missing; KH_E_FORMAT: results of another analysis. A complete run covers all
 * its images. */
typedef struct kh_atlas_status {
    bool is_complete;
    size_t images, covered, broken, broken_maps, shards;
} kh_atlas_status;
KH_API kh_status kh_atlas_look(const char *run, kh_atlas_status *out, kh_error *err);

/* Is what lies there still what was written? Reads all states, tables and arrays, those in dissect/
 * too. KH_E_FORMAT: not so, with what is damaged. */
KH_API kh_status kh_atlas_check(const char *run, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
