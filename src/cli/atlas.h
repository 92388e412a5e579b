/* cli/atlas.h: what `atlas` and `merge` are given, checked before the first pass. */
#ifndef KH_CLI_ATLAS_H
#define KH_CLI_ATLAS_H

#include "cli/session.h"

/* Numbers that no atlas can have, by the names of their options. */
kh_status kh_atlas_check_numbers(const kh_atlas_options *options, kh_error *err);

/* The directories of --from are there. */
kh_status kh_atlas_check_from(const kh_atlas_options *options, kh_error *err);

/* --truth: warns when only some of the images have label maps; KH_E_NOT_FOUND when none has. */
kh_status kh_atlas_check_truth(const char *folder, const kh_source *source, kh_session *session,
                               kh_error *err);

#endif
