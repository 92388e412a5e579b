/* cli/diorama.h: the parts of `keyhole diorama`. */
#ifndef KH_CLI_DIORAMA_H
#define KH_CLI_DIORAMA_H

#include "cli/session.h"

enum { KH_SHEET_SCENES = 8 };

/* Draws the first `scenes` scenes of every class of the set, each above its parts in colours, with
 * the class's name and the parts seen. */
kh_status kh_diorama_sheet(const kh_diorama_set *set, size_t scenes, const char *path,
                           kh_error *err);

#endif
