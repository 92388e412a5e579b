/* keyhole status: what a run directory has and lacks. */
#include "cli/atlas.h"
#include "cli/commands.h"
#include "cli/outdir.h"
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

/* A pass as found: the run's own, or the second in its folder dissect. */
typedef struct pass {
    bool is_there, is_missing; /* missing: merge has said that it is wanted */
    kh_atlas_status found;
} pass;

static kh_status look(const char *run_directory, pass passes[2], kh_error *err) {
    char path[KH_SECOND_PATH];
    KH_TRY(kh_atlas_look(run_directory, &passes[0].found, err));
    passes[0].is_there = true;
    passes[1].is_missing = kh_atlas_second_is_missing(run_directory);
    passes[1].is_there = kh_atlas_second_has_run(run_directory);
    passes[1].found.images = passes[0].found.images;
    KH_TRY(kh_outdir_path(run_directory, path, sizeof path, err, "dissect"));
    return passes[1].is_there ? kh_atlas_look(path, &passes[1].found, err) : KH_OK;
}

static void print_pass(const pass *p, bool is_second, bool is_whole) {
    const char *which = is_second ? "second pass: " : "";
    const kh_atlas_status *t = &p->found;
    if (p->is_missing) printf("%smissing; run the shards again with --truth, then merge\n", which);
    if (!p->is_there) return;
    if (t->is_complete && is_whole) printf("%scomplete\n", which);
    const char *cure = is_second ? "; without dissect/ the same command reads them again"
                                 : "; only keyhole atlas --overwrite reads them again";
    if (t->broken && t->is_complete)
        printf("%s%zu image%s could not be read%s\n", which, t->broken, KH_S(t->broken), cure);
    if (t->broken_maps)
        printf("%slabel maps of %zu image%s could not be read%s\n", which, t->broken_maps,
               KH_S(t->broken_maps), t->is_complete ? cure : "");
    if (t->shards || !t->is_complete)
        printf("%s%zu of %zu image%s in %zu shard%s, %zu of them could not be read%s\n", which,
               t->covered, t->images, KH_S(t->images), t->shards, KH_S(t->shards), t->broken,
               t->broken && !t->is_complete ? "; --resume (of that part) reads them again" : "");
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    (void)count;
    if (s->digest) return print_digest(operands[0], err);
    pass passes[2] = {{0}};
    if (look(operands[0], passes, err)) return KH_EXIT_FAILED;
    const bool is_whole = kh_atlas_check(operands[0], err) == KH_OK;
    const int code = is_whole ? KH_EXIT_DONE : KH_EXIT_FAILED;
    if (s->json) {
        json_t *root = kh_atlas_status_json(&passes[0].found);
        json_object_set_new(root, "damaged", json_boolean(!is_whole));
        if (passes[1].is_there || passes[1].is_missing)
            json_object_set_new(root, "second_pass", kh_atlas_status_json(&passes[1].found));
        return kh_print_json(root, is_whole ? err : NULL) ? code : KH_EXIT_FAILED;
    }
    if (!is_whole) puts("damaged");
    print_pass(&passes[0], false, is_whole);
    print_pass(&passes[1], true, is_whole);
    return code;
}

const kh_command kh_cmd_status = {
    .name = "status",
    .summary = "what a run directory has and lacks; its digest",
    .operands = "RUN",
    .description = "Says whether the run in a directory is complete and which share of its images"
                   " the shards cover, of both passes where --truth was given. Reads everything:"
                   " states, tables and arrays that are not what was written are an error.",
    .examples = "  keyhole status run --digest\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
