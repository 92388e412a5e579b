#include "cli/atlas.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BATCH = 4096, MAX_EXEMPLARS = 1000, MAX_SAMPLE = 100000 };

kh_status kh_atlas_check_numbers(const kh_atlas_options *o, kh_error *err) {
    if (o->batch == 0 || o->batch > MAX_BATCH)
        return kh_fail(err, KH_E_ARG, "--batch %zu: 1 to %d", o->batch, MAX_BATCH);
    if (o->exemplars == 0 || o->exemplars > MAX_EXEMPLARS)
        return kh_fail(err, KH_E_ARG, "--exemplars %zu: 1 to %d", o->exemplars, MAX_EXEMPLARS);
    if (o->sample > MAX_SAMPLE)
        return kh_fail(err, KH_E_ARG, "--sample %zu: at most %d", o->sample, MAX_SAMPLE);
    if (!(o->quantile > 0 && o->quantile < 1))
        return kh_fail(err, KH_E_ARG, "--quantile %g: above 0 and below 1", o->quantile);
    return KH_OK;
}

kh_status kh_atlas_check_from(const kh_atlas_options *o, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    for (size_t i = 0; i < o->other_run_count; i++) {
        const char *run = o->other_runs[i];
        if (!kh_is_directory(run))
            return kh_fail(err, KH_E_NOT_FOUND, "--from '%s': there is no such directory",
                           kh_shown(run, strlen(run), shown, sizeof shown));
    }
    return KH_OK;
}

kh_status kh_atlas_check_truth(const char *folder, const kh_source *source, kh_session *session,
                               kh_error *err) {
    const size_t images = kh_source_count(source);
    char shown[KH_SHOWN_BYTES], text[KH_SHOWN_BYTES + 128];
    size_t found = 0, index;
    kh_label_set *set = NULL;
    KH_TRY(kh_label_set_open(folder, NULL, &set, err));
    for (size_t i = 0; i < images; i++)
        found += kh_label_set_find(set, kh_source_get(source, i).name, &index);
    kh_label_set_close(set);
    (void)kh_shown(folder, strlen(folder), shown, sizeof shown);
    if (found == 0)
        return kh_fail(err, KH_E_NOT_FOUND,
                       "--truth '%s': none of %zu image%s has label maps: folder and file name "
                       "(without its ending) must be those of the label set",
                       shown, images, KH_S(images));
    if (found < images) {
        (void)snprintf(text, sizeof text, "--truth '%s': %zu of %zu images %s label maps", shown,
                       found, images, found == 1 ? "has" : "have");
        kh_session_warn(session, text);
    }
    return KH_OK;
}
