/* cli/atlas.h: what `atlas` and `merge` are given, checked before the first pass; what they say. */
#ifndef KH_CLI_ATLAS_H
#define KH_CLI_ATLAS_H

#include "cli/images.h"
#include "cli/session.h"

/* Numbers that no atlas can have, by the names of their options. */
kh_status kh_atlas_check_numbers(const kh_atlas_options *options, kh_error *err);

/* The directories of --from are there. */
kh_status kh_atlas_check_from(const kh_atlas_options *options, kh_error *err);

/* --truth: warns when only some of the images have label maps; KH_E_NOT_FOUND when none has. */
kh_status kh_atlas_check_truth(const char *folder, const kh_source *source, kh_session *session,
                               kh_error *err);

/* ---- the second pass, for --truth ------------------------------------------------------------ */

/* Lenses of the second pass, when --lenses asked these of the first. */
const char *kh_atlas_second_lenses(const char *lenses, const kh_model_info *info);

/* What it is given. The first must be complete; `first` and its strings are borrowed. Pair:
 * kh_atlas_second_close, also after a failure. */
enum { KH_SECOND_PATH = 4096 };
typedef struct kh_atlas_second {
    kh_atlas_options options; /* into OUT/dissect, with states of the same folders of --from */
    char out[KH_SECOND_PATH];
    char **others;
    kh_label_set *labels;
    float *thresholds, *rotated;
} kh_atlas_second;
kh_status kh_atlas_second_open(kh_atlas_second *second, const kh_atlas_options *first,
                               const char *truth, const kh_model *model, kh_error *err);
void kh_atlas_second_close(kh_atlas_second *second);

/* Before the first pass: may the second one go to OUT/dissect? Not over files of somebody else
 * unless --overwrite, nor over results of another analysis. */
kh_status kh_atlas_second_check(const char *run, bool overwrite, kh_error *err);

/* Is any part of it there, in RUN; in OUT or the directories of --from? */
bool kh_atlas_second_has_run(const char *run);
bool kh_atlas_second_is_there(const kh_atlas_options *first);
/* merge: it is wanted and nothing of it there. The mark is for `status`, which asks with
 * is_missing; operands are those of the command, with a blank before each. */
kh_status kh_atlas_second_mark(const char *run, kh_error *err);
bool kh_atlas_second_is_missing(const char *run);
void kh_atlas_second_say_missing(const char *operands, const char *run, const char *truth);

/* ---- what is said ---------------------------------------------------------------------------- */

/* --dry-run. truth: of --truth, or NULL; draws: figures at the end. */
kh_status kh_atlas_say_estimate(kh_session *session, const kh_source *source,
                                const kh_atlas_options *options, const char *truth, bool draws,
                                bool json, kh_error *err);
/* Images of options->out (of its shard) that could not be read; kh_broken_images_clear. */
kh_status kh_atlas_find_broken(const kh_source *source, const kh_atlas_options *options,
                               kh_broken_image **list, size_t *count, kh_error *err);
/* Says them; KH_E_FORMAT when they are all. */
kh_status kh_atlas_say_broken(kh_session *session, const kh_source *source,
                              const kh_atlas_options *options, kh_error *err);
/* After a pass into options->out. `run`: the directory whose digest is said, and only when this is
 * the last pass; the second one has a directory of its own in it. lacks_second: that one is missing
 * ("second_pass" of --json). */
kh_status kh_atlas_say_summary(const kh_atlas_summary *summary, const kh_source *source,
                               const kh_atlas_options *options, const char *run, bool is_last,
                               bool lacks_second, bool json, kh_error *err);
/* A pass as `status` shows it. */
json_t *kh_atlas_status_json(const kh_atlas_status *pass);

#endif
