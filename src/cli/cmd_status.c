/* keyhole status: what a run directory has and lacks. */
#include "cli/commands.h"
#include "cli/session.h"

#include "base/text.h"

#include <stdio.h>

typedef struct settings {
    bool digest, json;
} settings;

static const kh_option options[] = {
    {KH_OPT_FLAG, "digest", 0, offsetof(settings, digest), NULL,
     "Print one sha256 over all tables and arrays of a complete run, and nothing else. Those that"
     " are not what the run wrote are an error."},
    {KH_OPT_FLAG, "json", 0, offsetof(settings, json), NULL,
     "Print one JSON document instead of text."},
    {0},
};

static int print_digest(const char *run_directory, kh_error *err) {
    char digest[65];
    kh_atlas_status there;
    if (kh_atlas_look(run_directory, &there, err)) return KH_EXIT_FAILED;
    if (kh_atlas_digest(run_directory, digest, err)) return KH_EXIT_FAILED;
    puts(digest);
    return KH_EXIT_DONE;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    (void)count;
    if (s->digest) return print_digest(operands[0], err);
    kh_atlas_status t;
    if (kh_atlas_look(operands[0], &t, err)) return KH_EXIT_FAILED;
    if (s->json)
        return kh_print_json(json_pack("{s:b, s:I, s:I, s:I, s:I}", "complete", t.is_complete,
                                       "images", (json_int_t)t.images, "covered",
                                       (json_int_t)t.covered, "broken", (json_int_t)t.broken,
                                       "shards", (json_int_t)t.shards),
                             err)
                   ? KH_EXIT_DONE
                   : KH_EXIT_FAILED;
    if (t.is_complete) puts("complete");
    if (t.shards || !t.is_complete)
        printf("%zu of %zu image%s in %zu shard%s, %zu of them could not be read\n", t.covered,
               t.images, KH_S(t.images), t.shards, KH_S(t.shards), t.broken);
    return KH_EXIT_DONE;
}

const kh_command kh_cmd_status = {
    .name = "status",
    .summary = "what a run directory has and lacks; its digest",
    .operands = "RUN",
    .description = "Says whether the run in a directory is complete and which share of its images"
                   " the shards cover.",
    .examples = "  keyhole status run --digest\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
