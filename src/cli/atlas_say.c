/* What atlas and merge say of what was done. */
#include "cli/atlas.h"
#include "cli/outdir.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* As keyhole status --digest says it: over the run and the dissection in it, so it is said behind
 * the second pass if there is to be one. */
static kh_status find_digest(const char *run, const kh_atlas_summary *t, char out[65],
                             kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "dissect/manifest.json"));
    if (!t->digest[0] || kh_file_exists(path)) return kh_atlas_digest(run, out, err);
    memcpy(out, t->digest, sizeof t->digest);
    return KH_OK;
}

kh_status kh_atlas_say_summary(const kh_atlas_summary *t, const kh_atlas_options *o,
                               const char *run, bool is_last, bool json, kh_error *err) {
    char digest[65] = "";
    if (t->is_complete && is_last) KH_TRY(find_digest(run, t, digest, err));
    if (json)
        return kh_print_json(
                   json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:f, s:s}", "run", run, "images",
                             (json_int_t)t->images, "done_before", (json_int_t)t->done_before,
                             "done_now", (json_int_t)t->done_now, "broken", (json_int_t)t->broken,
                             "complete", t->is_complete, "seconds", t->seconds, "digest", digest),
                   err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%zu image%s: %zu %s done, %zu done now", t->images, KH_S(t->images), t->done_before,
           t->done_before == 1 ? "was" : "were", t->done_now);
    if (t->seconds > 0 && t->done_now) printf(" (%.3g images/s)", (double)t->done_now / t->seconds);
    if (t->broken) printf(", %zu could not be read (table broken)", t->broken);
    if (t->is_complete)
        printf("\ncomplete: %s%s%s%s%s\n", run, o->out == run ? "" : " with ",
               o->out == run ? "" : o->out, is_last ? ", digest " : "", digest);
    else
        printf("\nthis shard is done; keyhole merge joins it with the others\n");
    return KH_OK;
}
