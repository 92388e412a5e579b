/* cli/outdir.h: the folder a command leaves its results in. */
#ifndef KH_CLI_OUTDIR_H
#define KH_CLI_OUTDIR_H

#include "cli/command.h"

#include "base/text.h"

/* Before any work: can results of `analysis` ("share") go there? Not over files of somebody else,
 * nor over results of another analysis (kh_folder_check); over those of an earlier run only with
 * `overwrite`. Makes nothing, so a run that is stopped or fails leaves no empty folder. */
kh_status kh_outdir_check(const char *path, const char *analysis, bool overwrite, kh_error *err);
/* The last part of it: can the folder be made and written into? */
kh_status kh_outdir_check_can_make(const char *path, kh_error *err);

/* Before the first file of a run: makes the folder, marks it as unfinished, and removes the files
 * of an earlier run that its manifest lists. The manifest goes too and comes last, so that it never
 * speaks of another run's numbers. */
kh_status kh_outdir_begin(const char *path, const char *analysis, kh_error *err);
/* After the last one: writes manifest.json, and the mark goes. */
kh_status kh_outdir_finish(const char *folder, kh_manifest *manifest, kh_error *err);

/* Of results that are handed in (`option` names them in messages): they are those of `analysis`
 * ("atlas"), of this model and, with a source, of its images; else refused with what differs. */
kh_status kh_outdir_check_origin(const char *folder, const char *option, const char *analysis,
                                 const kh_model_info *info, const kh_source *source, kh_error *err);

/* path/name formatted into a buffer of the caller; KH_E_LIMIT when too long. */
kh_status kh_outdir_path(const char *folder, char *out, size_t out_bytes, kh_error *err,
                         const char *format, ...) KH_PRINTF(5, 6);

/* The file name without folder and ending, only letters, digits, '-', '_' and '.', at most 80
 * bytes. */
void kh_outdir_stem(const char *path, char *out, size_t out_bytes);

/* Lists what kh_outdir_figure wrote under this stem. */
void kh_outdir_list_figure(kh_manifest *manifest, const char *stem, const char *meaning);

/* Writes figure as <folder>/<stem>.png (at 1:1) and .svg, and frees it. */
kh_status kh_outdir_figure(const char *folder, const char *stem, kh_figure *figure, kh_error *err);

#endif
