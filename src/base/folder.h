/* base/folder.h: whose results a folder holds, so that no command writes over what is not its own.
 *
 * Results belong to the analysis that manifest.json names. It is written last; from the first file
 * on a mark lies there, so that a run that was killed knows its leftovers. */
#ifndef KH_BASE_FOLDER_H
#define KH_BASE_FOLDER_H

#include <stdbool.h>

#include "base/status.h"

#define KH_FOLDER_MARK "unfinished" /* its name */

/* Not there, or with nothing in it but the folder lost+found of a fresh file system. */
bool kh_folder_is_empty(const char *path);

/* Is the mark of this analysis ("share") there? */
bool kh_folder_is_marked(const char *path, const char *analysis);

/* Before any work: may results of `analysis` go there? Yes when it is empty or not there, when the
 * mark is there, and, with `may_replace`, over complete results of the same analysis. `knows`: the
 * caller knows the files there for its own without mark and manifest.
 *
 * KH_E_ARG: results that may not be replaced, of another analysis (named), or files of somebody
 * else. */
kh_status kh_folder_check(const char *path, const char *analysis, bool may_replace, bool knows,
                          kh_error *err);

/* Makes the folder and puts the mark there; takes it away again, behind the manifest. */
kh_status kh_folder_mark(const char *path, const char *analysis, kh_error *err);
void kh_folder_unmark(const char *path);

#endif
