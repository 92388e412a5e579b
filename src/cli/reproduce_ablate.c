/* The ablation of `reproduce`: handed in with --ablate, or made in DIR/ablate. */
#include "cli/ablate.h"
#include "cli/outdir.h"
#include "cli/reproduce.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"

#include <stdio.h>
#include <string.h>

static kh_status copy_facts(const kh_reproduce *r, kh_ablate_run *run, kh_error *err) {
    const size_t images = kh_source_count(r->source), classes = r->info->classes;
    run->truth = kh_calloc(images, sizeof *run->truth);
    run->is_relative = kh_calloc(classes, 1);
    if (!run->truth || !run->is_relative)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", images);
    for (size_t i = 0; i < images; i++)
        run->truth[i] = kh_source_get(r->source, i).truth;
    for (size_t c = 0; c < classes; c++)
        run->is_relative[c] = r->is_relative[c];
    return KH_OK;
}

static kh_status run_ablation(kh_reproduce *r, const char *folder, kh_error *err) {
    const kh_reproduce_settings *s = r->settings;
    kh_ablate_options o = kh_ablate_options_default();
    kh_ablate_run run = {.session = r->session, .source = r->source, .decode = s->decode};
    (void)snprintf(run.command, sizeof run.command, "%s", s->command);
    kh_status status = copy_facts(r, &run, err);
    o.designs = KH_ABLATE_OWN | KH_ABLATE_SHARED;
    o.op_count = 1;
    o.sets = s->draws;
    o.per_class = s->per_class;
    o.seed = s->seed;
    o.is_relative = run.is_relative;
    o.progress = s->progress;
    o.progress_user = r->session;
    if (!status)
        status = kh_ablate(r->session->ctx, r->session->model, &o, kh_source_count(r->source),
                           run.truth, kh_ablate_read_image, &run, &run.result, err);
    if (!status) status = kh_outdir_begin(folder, "ablate", err);
    if (!status) status = kh_ablate_write_figures(&run, folder, err);
    if (!status) status = kh_ablate_write_files(&run, folder, err);
    kh_ablate_run_clear(&run); /* the atlas lists broken images as well */
    return status;
}

/* An architecture whose neurons cannot be switched off leaves the claims untested. */
static kh_status make_ablation(kh_reproduce *r, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    kh_error why = {KH_OK, ""};
    KH_TRY(kh_outdir_path(r->settings->out, folder, sizeof folder, err, "ablate"));
    KH_TRY(kh_outdir_check(folder, "ablate", true, err));
    KH_TRY(kh_folder_mark(r->settings->out, "reproduce", err));
    const kh_status status = run_ablation(r, folder, &why);
    if (status == KH_E_UNSUPPORTED) {
        kh_session_warn(r->session, why.text);
        r->ablation_folder[0] = '\0';
        return KH_OK;
    }
    if (status) return kh_fail(err, status, "%s", why.text);
    (void)snprintf(r->ablation_folder, sizeof r->ablation_folder, "%s", folder);
    return kh_outdir_path(folder, r->ablation, sizeof r->ablation, err, "run.sqlite");
}

kh_status kh_reproduce_find_ablation(kh_reproduce *r, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const char *folder = r->settings->ablate;
    if (!folder) return KH_OK;
    (void)snprintf(r->ablation_folder, sizeof r->ablation_folder, "%s", folder);
    KH_TRY(kh_outdir_path(folder, r->ablation, sizeof r->ablation, err, "run.sqlite"));
    if (kh_file_exists(r->ablation) && kh_reproduce_has_table(r->ablation, "summary")) return KH_OK;
    return kh_fail(err, KH_E_NOT_FOUND,
                   "--ablate '%s': no results of keyhole ablate (no run.sqlite with a table "
                   "summary)",
                   kh_shown(folder, strlen(folder), shown, sizeof shown));
}

kh_status kh_reproduce_ablate(kh_reproduce *r, kh_error *err) {
    if (r->ablation[0] || r->settings->no_ablation || r->labelled == 0) return KH_OK;
    return make_ablation(r, err);
}
