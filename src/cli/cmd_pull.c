/* keyhole pull: a hub model into the cache. */
#include "cli/commands.h"
#include "cli/session.h"

#include <stdio.h>

typedef struct settings {
    kh_common common;
    const char *endpoint, *cache, *revision;
    bool force;
} settings;

static const kh_option options[] = {
    {KH_OPT_TEXT, "revision", 0, offsetof(settings, revision), "REV",
     "Branch, tag or commit. Default: main."},
    {KH_OPT_TEXT, "cache", 0, offsetof(settings, cache), "DIR",
     "Where models are kept. Default: $KEYHOLE_CACHE, $XDG_CACHE_HOME/keyhole or "
     "~/.cache/keyhole."},
    {KH_OPT_TEXT, "endpoint", 0, offsetof(settings, endpoint), "URL",
     "The hub. Default: $HF_ENDPOINT or the public one."},
    {KH_OPT_FLAG, "force", 0, offsetof(settings, force), NULL,
     "Download again even when the model is complete."},
    {KH_OPT_FLAG, "quiet", 'q', offsetof(settings, common.quiet), NULL, "No progress."},
    {0},
};

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const settings *s = from;
    kh_session session;
    if (kh_session_open(&session, &s->common, err)) return KH_EXIT_FAILED;
    const kh_hub_options hub = {.endpoint = s->endpoint,
                                .cache_dir = s->cache,
                                .revision = s->revision,
                                .force = s->force,
                                .progress = kh_session_progress,
                                .progress_user = &session};
    char folder[4096];
    const kh_status status = kh_hub_pull(operands[0], &hub, folder, sizeof folder, err);
    if (!status) puts(folder);
    kh_session_close(&session);
    return status == KH_E_ARG ? KH_EXIT_MISUSED : status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_pull = {
    .name = "pull",
    .summary = "download a hub model into the cache",
    .operands = "OWNER/NAME",
    .description =
        "Downloads config, preprocessor and safetensors files of a hub model, resumes what was"
        " begun, checks every size and sha256, and prints the folder. Later commands accept the"
        " same OWNER/NAME as MODEL and need no network. $HF_TOKEN is sent when set.",
    .examples = "  keyhole pull timm/vit_base_patch16_224.augreg_in21k_ft_in1k\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
