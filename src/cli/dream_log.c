/* The log of one dream: rows of log.csv that are finished. They live in state/<stem>.csv, so that a
 * run that was killed has them when it goes on. */
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kh_status path_of(const kh_dream_run *run, const kh_dream_item *item, char out[4096],
                         kh_error *err) {
    return kh_outdir_path(run->options->out, out, 4096, err, "state/%s.csv", item->stem);
}

/* Rows begin with the step; the rank of the target is the last cell. */
static size_t step_of(const char *row) {
    return (size_t)strtoull(row, NULL, 10);
}

static bool is_right(const char *row) {
    const char *end = strchr(row, '\n');
    if (!end) return false;
    const char *comma = end;
    while (comma > row && comma[-1] != ',')
        comma--;
    return end - comma == 1 && *comma == '0';
}

size_t kh_dream_log_last(const kh_dream_item *item, size_t *recognised) {
    size_t last = 0;
    *recognised = 0;
    for (const char *row = item->log; row && *row; row = strchr(row, '\n') + 1) {
        last = step_of(row);
        *recognised = is_right(row) ? *recognised + 1 : 0;
    }
    return last;
}

kh_status kh_dream_log_load(const kh_dream_run *run, kh_dream_item *item, size_t upto,
                            kh_error *err) {
    enum { MAX_BYTES = 1 << 22 };
    char path[4096];
    unsigned char *bytes = NULL;
    size_t count = 0;
    KH_TRY(path_of(run, item, path, err));
    kh_free(item->log);
    item->log = NULL;
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_file_read(path, MAX_BYTES, &bytes, &count, err));
    item->log = (char *)bytes;
    char *row = item->log;
    while (*row && strchr(row, '\n') && step_of(row) <= upto)
        row = strchr(row, '\n') + 1;
    *row = '\0';
    return KH_OK;
}

kh_status kh_dream_log_add(const kh_dream_run *run, kh_dream_item *item, const char *row,
                           kh_error *err) {
    char path[4096];
    KH_TRY(path_of(run, item, path, err));
    const size_t before = item->log ? strlen(item->log) : 0, more = strlen(row);
    char *all = kh_realloc(item->log, before + more + 1, 1);
    if (!all) return kh_fail(err, KH_E_MEMORY, "no memory for a log");
    memcpy(all + before, row, more + 1);
    item->log = all;
    return kh_file_write(path, all, before + more, err);
}
