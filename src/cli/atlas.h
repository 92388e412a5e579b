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

/* Lenses of the second pass, when --lenses asked these of the first. */
const char *kh_atlas_second_lenses(const char *lenses, const kh_model_info *info);

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
 * the last pass; the second one has a directory of its own in it. */
kh_status kh_atlas_say_summary(const kh_atlas_summary *summary, const kh_source *source,
                               const kh_atlas_options *options, const char *run, bool is_last,
                               bool json, kh_error *err);

#endif
