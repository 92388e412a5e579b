/* keyhole figures: every figure of an atlas run, from its tables and arrays. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/run_figures.h"
#include "cli/session.h"

#include <stdio.h>
#include <unistd.h>

typedef struct settings {
    const char *out;
    bool json, quiet;
} settings;

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Where the figures go. Default: figures in the run directory."},
    {KH_OPT_FLAG, "json", 0, offsetof(settings, json), NULL,
     "Print one JSON document instead of text."},
    {KH_OPT_FLAG, "quiet", 'q', offsetof(settings, quiet), NULL, "No progress on standard error."},
    {0},
};

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    (void)count;
    kh_session session = {.shows_progress = !s->quiet && isatty(STDERR_FILENO)};
    size_t drawn = 0;
    if (kh_run_draw(operands[0], s->out, kh_session_progress, &session, &drawn, err))
        return KH_EXIT_FAILED;
    if (s->json)
        return kh_print_json(json_pack("{s:I}", "figures", (json_int_t)drawn), err)
                   ? KH_EXIT_DONE
                   : KH_EXIT_FAILED;
    printf("%zu figures in %s%s\n", drawn, s->out ? s->out : operands[0], s->out ? "" : "/figures");
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
    .examples = "  keyhole figures run\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
