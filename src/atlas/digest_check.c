/* Are tables and arrays still what the run wrote? Its manifest has their digests. */
#include "atlas/digest.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

void kh_digest_put(const kh_digest *digest, kh_manifest *manifest) {
    static const char *const keys[] = {"of", "sha256"};
    for (size_t i = 0; i < digest->count; i++) {
        const char *const texts[] = {digest->parts[i].name, digest->parts[i].sha256};
        kh_store_manifest_row(manifest, "digests", keys, texts, 2);
    }
}

static const char *text_of(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

/* What differs, as a sentence's end: "table neurons differs, array class_mean is missing". */
typedef struct findings {
    kh_text text;
    size_t count;
} findings;

static void find(findings *f, const char *name, const char *what) {
    enum { SHOWN = 5 };
    char shown[KH_SHOWN_BYTES];
    if (f->count++ >= SHOWN) return;
    kh_text_addf(&f->text, "%s%s %s", f->count > 1 ? ", " : "",
                 kh_shown(name, strlen(name), shown, sizeof shown), what);
    if (f->count == SHOWN) kh_text_add(&f->text, ", ...");
}

static void compare(const kh_digest *digest, const json_t *rows, findings *f) {
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        const char *name = text_of(row, "of");
        size_t k = 0;
        while (k < digest->count && strcmp(digest->parts[k].name, name) != 0)
            k++;
        if (k == digest->count)
            find(f, name, "is missing");
        else if (strcmp(digest->parts[k].sha256, text_of(row, "sha256")) != 0)
            find(f, name, "differs");
    }
    for (size_t k = 0; k < digest->count; k++) {
        bool is_known = false;
        json_array_foreach(rows, i, row) {
            is_known |= strcmp(digest->parts[k].name, text_of(row, "of")) == 0;
        }
        if (!is_known) find(f, digest->parts[k].name, "was not there");
    }
}

/* What manifest and table run both say. A table without the key says nothing. */
static void compare_facts(const char *run, const json_t *manifest, findings *f) {
    static const struct {
        const char *outer, *inner, *query;
    } facts[] = {
        {"images", "count", "SELECT value FROM run WHERE key = 'images'"},
        {"images", "broken", "SELECT value FROM run WHERE key = 'images_broken'"},
        {"images", "broken_maps", "SELECT CAST(count(*) AS TEXT) FROM broken_maps"},
        {"model", "sha256", "SELECT value FROM run WHERE key = 'model_sha256'"},
    };
    char path[KH_ATLAS_PATH], number[32], name[64];
    if (kh_atlas_path(path, NULL, run, "run.sqlite")) return;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const json_t *said =
            json_object_get(json_object_get(manifest, facts[i].outer), facts[i].inner);
        kh_answer *a = NULL;
        if (!said || kh_store_db_ask(path, facts[i].query, NULL, 0, &a, NULL)) continue;
        const char *text = json_string_value(said);
        (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(said));
        const char *known = kh_answer_rows(a) ? kh_answer_text(a, 0, 0) : NULL;
        (void)snprintf(name, sizeof name, "%s.%s of manifest.json", facts[i].outer, facts[i].inner);
        if (known && strcmp(known, text ? text : number) != 0) find(f, name, "differs");
        kh_answer_free(a);
    }
}

kh_status kh_digest_check(const kh_digest *digest, const char *run, kh_error *err) {
    char path[KH_ATLAS_PATH], shown[KH_SHOWN_BYTES];
    json_t *root = NULL;
    findings f = {.count = 0};
    KH_TRY(kh_atlas_path(path, err, run, "manifest.json"));
    KH_TRY(kh_json_read_own(path, "manifest.json", &root, err));
    const json_t *rows = json_object_get(root, "digests");
    if (rows) compare(digest, rows, &f);
    compare_facts(run, root, &f);
    kh_status status = KH_OK;
    if (f.text.failed)
        status = kh_fail(err, KH_E_MEMORY, "no memory to compare digests");
    else if (f.count > 0)
        status = kh_fail(err, KH_E_FORMAT,
                         "'%s' is not what the atlas wrote there: %s; bring back the files that it "
                         "wrote, or make them again (keyhole atlas --overwrite)",
                         kh_shown(run, strlen(run), shown, sizeof shown), f.text.data);
    kh_text_clear(&f.text);
    json_decref(root);
    return status;
}
