/* keyhole figures: every figure of an atlas run, from its tables and arrays. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/lists.h"
#include "cli/run_figures.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <unistd.h>

typedef struct settings {
    const char *out, *classes;
    bool json, quiet;
} settings;

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Where the figures go. Default: figures in the run directory."},
    {KH_OPT_TEXT, "classes", 'c', offsetof(settings, classes), "LIST",
     "Figure 4 of these classes too: index, wnid or name."},
    {KH_OPT_FLAG, "json", 0, offsetof(settings, json), NULL,
     "Print one JSON document instead of text."},
    {KH_OPT_FLAG, "quiet", 'q', offsetof(settings, quiet), NULL, "No progress on standard error."},
    {0},
};

/* Classes of the run by index, wnid or name. */
static kh_status find_classes(const char *path, const char *list, size_t **out, size_t *count,
                              bool *is_misused, kh_error *err) {
    kh_run run;
    kh_answer *a = NULL;
    kh_classes *classes = NULL;
    KH_TRY(kh_run_open(path, &run, err));
    kh_status status = kh_store_db_ask(run.tables, "SELECT wnid, name FROM classes ORDER BY class",
                                       NULL, 0, &a, err);
    const size_t n = status ? 0 : kh_answer_rows(a);
    const char **wnids = kh_calloc(n + 1, sizeof *wnids), **names = kh_calloc(n + 1, sizeof *names);
    if (!status && (!wnids || !names)) status = kh_fail(err, KH_E_MEMORY, "no memory for classes");
    for (size_t c = 0; c < n && !status; c++) {
        wnids[c] = kh_answer_text(a, c, 0);
        names[c] = kh_answer_text(a, c, 1);
    }
    if (!status) status = kh_classes_create(n, wnids, names, &classes, err);
    if (!status) {
        status = kh_class_list(classes, list, out, count, err);
        *is_misused = status != KH_OK && status != KH_E_MEMORY;
    }
    kh_classes_free(classes);
    kh_free(wnids);
    kh_free(names);
    kh_answer_free(a);
    kh_run_close(&run);
    return status;
}

static int run(const void *from, size_t operand_count, char **operands, kh_error *err) {
    const settings *s = from;
    (void)operand_count;
    kh_session session = {.shows_progress = !s->quiet && isatty(STDERR_FILENO)};
    size_t drawn = 0, count = 0;
    size_t *classes = NULL;
    bool is_misused = false;
    char digest[65];
    kh_status status =
        s->classes ? find_classes(operands[0], s->classes, &classes, &count, &is_misused, err)
                   : KH_OK;
    const kh_run_draw_options how = {.folder = s->out,
                                     .classes = classes,
                                     .class_count = count,
                                     .progress = kh_session_progress,
                                     .user = &session};
    if (!status && s->out) status = kh_run_check_folder(s->out, err);
    if (!status) status = kh_atlas_digest(operands[0], digest, err); /* is it what was written? */
    if (!status) status = kh_run_draw_with(operands[0], &how, &drawn, err);
    kh_free(classes);
    if (is_misused) return KH_EXIT_MISUSED;
    if (status) return KH_EXIT_FAILED;
    if (s->json)
        return kh_print_json(json_pack("{s:I}", "figures", (json_int_t)drawn), err)
                   ? KH_EXIT_DONE
                   : KH_EXIT_FAILED;
    printf("%zu figure%s in %s%s\n", drawn, KH_S(drawn), s->out ? s->out : operands[0],
           s->out ? "" : "/figures");
    return KH_EXIT_DONE;
}

const kh_command kh_cmd_figures = {
    .name = "figures",
    .summary = "every figure of an atlas run, from its tables and arrays",
    .operands = "RUN",
    .description =
        "Draws a page for every analysis of a complete run, as PNG and SVG, and figures.json, which"
        " lists them with their captions. keyhole atlas does so itself at the end of a run; this"
        " draws them again, without model or images. Lenses that did not run have no page. The same"
        " run gives the same bytes; figures are no part of its digest.",
    .examples = "  keyhole figures run --classes tench,207\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
