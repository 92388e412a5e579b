/* What atlas and merge say of what was done. */
#include "cli/atlas.h"
#include "cli/outdir.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* As keyhole status --digest says it: over the run and the dissection in it, so it is said behind
 * the second pass if there is to be one. */
static kh_status find_digest(const char *run, const char *of, const kh_atlas_summary *t,
                             char out[65], kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "dissect/manifest.json"));
    if (of != run || (t->has_written && kh_file_exists(path)))
        return kh_atlas_digest(run, out, err);
    memcpy(out, t->digest, sizeof t->digest);
    return KH_OK;
}

/* ---- images that cannot be read -------------------------------------------------------------- */

typedef struct finding {
    const kh_source *source;
    size_t first, end; /* of the shard */
    kh_broken_image **list;
    size_t *count;
    kh_status status;
} finding;

static void take_broken(void *user, size_t image, const char *reason) {
    finding *f = user;
    if (image < f->first || image >= f->end || f->status) return;
    const char *name = kh_source_get(f->source, image).name;
    f->status = kh_broken_images_add(f->list, f->count, name, reason, NULL);
}

kh_status kh_atlas_find_broken(const kh_source *source, const kh_atlas_options *o,
                               kh_broken_image **list, size_t *count, kh_error *err) {
    const size_t images = kh_source_count(source);
    finding f = {.source = source,
                 .first = images * o->shard / o->shards,
                 .end = images * (o->shard + 1) / o->shards,
                 .list = list,
                 .count = count};
    *list = NULL;
    *count = 0;
    KH_TRY(kh_atlas_broken(o->out, take_broken, &f, err));
    return f.status ? kh_fail(err, f.status, "no memory for a list of images") : KH_OK;
}

kh_status kh_atlas_say_broken(kh_session *session, const kh_source *source,
                              const kh_atlas_options *o, kh_error *err) {
    kh_broken_image *list;
    size_t count;
    kh_status status = kh_atlas_find_broken(source, o, &list, &count, err);
    if (!status) status = kh_broken_images_say(session, list, count, kh_source_count(source), err);
    kh_broken_images_clear(list, count);
    return status;
}

/* ---- what was done --------------------------------------------------------------------------- */

json_t *kh_atlas_status_json(const kh_atlas_status *t) {
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "complete", t->is_complete, "images",
                     (json_int_t)t->images, "covered", (json_int_t)t->covered, "broken",
                     (json_int_t)t->broken, "broken_maps", (json_int_t)t->broken_maps, "shards",
                     (json_int_t)t->shards);
}

static kh_status print_json(const kh_atlas_summary *t, const kh_source *source,
                            const kh_atlas_options *o, const char *run, const char *digest,
                            bool lacks_second, kh_error *err) {
    kh_broken_image *list;
    size_t count;
    kh_status status = kh_atlas_find_broken(source, o, &list, &count, err);
    if (!status) {
        json_t *root = json_pack(
            "{s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:b, s:f, s:s}", "run", kh_json_text(run),
            "images", (json_int_t)t->images, "done_before", (json_int_t)t->done_before, "done_now",
            (json_int_t)t->done_now, "broken", (json_int_t)t->broken, "broken_maps",
            (json_int_t)t->broken_maps, "failed", kh_broken_images_json(list, count), "complete",
            t->is_complete, "seconds", t->seconds, "digest", digest);
        const kh_atlas_status missing = {.images = t->images};
        if (root && lacks_second)
            json_object_set_new(root, "second_pass", kh_atlas_status_json(&missing));
        if (!kh_print_json(root, err)) status = KH_E_MEMORY;
    }
    kh_broken_images_clear(list, count);
    return status;
}

kh_status kh_atlas_say_summary(const kh_atlas_summary *t, const kh_source *source,
                               const kh_atlas_options *o, const char *run, bool is_last,
                               bool lacks_second, bool json, kh_error *err) {
    char digest[65] = "";
    if (t->is_complete && is_last) KH_TRY(find_digest(run, o->out, t, digest, err));
    if (json) return print_json(t, source, o, run, digest, lacks_second, err);
    printf("%zu image%s: %zu %s done, %zu done now", t->images, KH_S(t->images), t->done_before,
           t->done_before == 1 ? "was" : "were", t->done_now);
    if (t->seconds > 0 && t->done_now) printf(" (%.3g images/s)", (double)t->done_now / t->seconds);
    const bool is_empty = !t->is_complete && o->shards == 1;
    if (t->broken)
        printf(", %zu could not be read (%s)", t->broken,
               is_empty         ? "the same command reads them again"
               : t->is_complete ? "table broken; only --overwrite reads them again"
                                : "--resume reads them again");
    if (t->broken_maps)
        printf(", label maps of %zu could not be read (table broken_maps%s)", t->broken_maps,
               t->is_complete ? "; without dissect/ the same command reads them again" : "");
    if (t->is_complete)
        printf("\ncomplete: %s%s%s%s%s\n", run, o->out == run ? "" : " with ",
               o->out == run ? "" : o->out, is_last ? ", digest " : "", digest);
    else if (is_empty)
        printf("\nnot complete: %s, no image could be read\n", o->out);
    else
        printf("\nthis shard%s is done; keyhole merge joins it with the others%s\n",
               o->out == run ? "" : " of the second pass",
               is_last ? "" : ", then --truth needs every shard once more");
    return KH_OK;
}
