/* Tables, arrays and the manifest of a complete run. */
#include "atlas/digest.h"

#include "base/file.h"
#include "base/text.h"
#include "keyhole/store.h"

#include <stdio.h>
#include <string.h>

typedef struct writer {
    kh_db *db;
    kh_manifest *manifest;
    const char *out;
    kh_error failed; /* the first array that could not be written */
} writer;

static void table(void *user, const char *name, const char *columns) {
    writer *w = user;
    kh_store_db_table(w->db, name, columns);
}

static void integer(void *user, int64_t value) {
    kh_store_db_integer(((writer *)user)->db, value);
}

static void real(void *user, double value) {
    kh_store_db_real(((writer *)user)->db, value);
}

static void text(void *user, const char *value) {
    kh_store_db_text(((writer *)user)->db, value);
}

static void row(void *user) {
    kh_store_db_row(((writer *)user)->db);
}

static void array(void *user, const char *name, kh_out_type type, const size_t *shape, size_t rank,
                  const void *data, const char *meaning) {
    static const kh_npy_type types[] = {
        [KH_OUT_F32] = KH_NPY_F32, [KH_OUT_I32] = KH_NPY_I32, [KH_OUT_I64] = KH_NPY_I64};
    writer *w = user;
    char path[KH_ATLAS_PATH], file[128];
    if (w->failed.code) return;
    (void)snprintf(file, sizeof file, "arrays/%s.npy", name);
    if (!kh_lens_knows_array(name, strlen(name)))
        (void)kh_fail(&w->failed, KH_E_ARG, "no lens says that it writes array '%s'", name);
    else if (!kh_atlas_path(path, &w->failed, w->out, "%s", file))
        (void)kh_store_npy(path, types[type], shape, rank, data, &w->failed);
    kh_store_manifest_file(w->manifest, file, shape, rank, meaning);
}

static void write_broken(const kh_atlas_job *job, const kh_lens_out *out, const char *name,
                         const kh_broken *list, size_t count) {
    out->table(out->user, name, "image:i name:t reason:t");
    for (size_t i = 0; i < count; i++) {
        out->integer(out->user, (int64_t)list[i].id);
        out->text(out->user, kh_source_get(job->source, (size_t)list[i].id).name);
        out->text(out->user, list[i].reason);
        out->row(out->user);
    }
}

/* What the tables need to be read alone: classes, and the facts of the run that do not depend on
 * how it was carried out. */
static void write_facts(const kh_atlas_job *job, const kh_lens_out *out) {
    const kh_model_info *info = job->info;
    const kh_classes *classes = kh_model_classes(job->model);
    const struct {
        const char *key;
        int64_t value;
    } facts[] = {{"blocks", (int64_t)info->blocks},
                 {"neurons", (int64_t)info->neurons},
                 {"dim", (int64_t)info->dim},
                 {"tokens", (int64_t)info->tokens},
                 {"prefix_tokens", (int64_t)info->prefix_tokens},
                 {"grid_height", (int64_t)info->grid_height},
                 {"grid_width", (int64_t)info->grid_width},
                 {"classes", (int64_t)info->classes},
                 {"images", (int64_t)job->setup.images},
                 {"images_broken", (int64_t)job->head.broken_count},
                 {"exemplars", (int64_t)job->setup.exemplars},
                 {"seed", (int64_t)job->setup.seed}};
    out->table(out->user, "run", "key:t value:t");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        char number[32];
        (void)snprintf(number, sizeof number, "%lld", (long long)facts[i].value);
        out->text(out->user, facts[i].key);
        out->text(out->user, number);
        out->row(out->user);
    }
    out->text(out->user, "model_sha256");
    out->text(out->user, info->sha256);
    out->row(out->user);
    out->table(out->user, "classes", "class:i wnid:t name:t");
    for (size_t c = 0; classes && c < info->classes; c++) {
        const kh_class one = kh_classes_get(classes, c);
        out->integer(out->user, (int64_t)c);
        out->text(out->user, one.wnid);
        out->text(out->user, one.name);
        out->row(out->user);
    }
    write_broken(job, out, "broken", job->head.broken, job->head.broken_count);
    if (job->options->label_set)
        write_broken(job, out, "broken_maps", job->head.broken_maps, job->head.broken_maps_count);
}

static void describe(const kh_atlas_job *job, const kh_atlas_summary *summary, kh_manifest *m) {
    const kh_atlas_options *o = job->options;
    const char *names[KH_ATLAS_MAX_LENSES];
    for (size_t i = 0; i < job->lens_count; i++)
        names[i] = job->kinds[i]->name;
    kh_store_manifest_model(m, job->info);
    if (o->command) kh_store_manifest_text(m, "command", o->command);
    kh_store_manifest_size(m, "images.count", job->setup.images);
    kh_store_manifest_size(m, "images.broken", job->head.broken_count);
    if (o->label_set) kh_store_manifest_size(m, "images.broken_maps", job->head.broken_maps_count);
    kh_store_manifest_text(m, "images.sha256",
                           json_string_value(json_object_get(
                               json_object_get(job->head.fingerprint, "image_set"), "sha256")));
    kh_store_manifest_texts(m, "lenses", names, job->lens_count);
    kh_store_manifest_size(m, "settings.exemplars", o->exemplars);
    kh_store_manifest_size(m, "settings.sample", o->sample);
    kh_store_manifest_f64(m, "settings.quantile", o->quantile);
    kh_store_manifest_size(m, "settings.seed", o->seed);
    if (job->compare_text[0]) {
        kh_store_manifest_text(m, "settings.compare", job->compare_text);
        kh_store_manifest_text(m, "settings.compare_why", job->compare.why);
    }
    if (kh_atlas_goes_by_class(job)) {
        kh_store_manifest_text(m, "settings.class_by", kh_class_by_name(o->class_by));
        kh_store_manifest_text(m, "settings.class_reduction",
                               kh_class_reduction_name(o->class_reduction));
    }
    kh_store_manifest_text(m, "arithmetic.device", kh_ctx_device(job->ctx));
    kh_store_manifest_text(m, "arithmetic.isa", kh_ctx_isa(job->ctx));
    kh_store_manifest_size(m, "last_process.images", summary->done_now);
    kh_store_manifest_f64(m, "last_process.seconds", summary->seconds);
    kh_store_manifest_f64(m, "last_process.load_seconds", summary->load_seconds);
    kh_store_manifest_f64(m, "last_process.pass_seconds", summary->pass_seconds);
    kh_store_manifest_f64(m, "last_process.lens_seconds", summary->lens_seconds);
    kh_store_manifest_file(m, "run.sqlite", NULL, 0, "every table; docs/run-directory.md");
}

static kh_status write_tables(kh_atlas_job *job, writer *w, kh_error *err) {
    const kh_lens_out out = {.user = w,
                             .table = table,
                             .integer = integer,
                             .real = real,
                             .text = text,
                             .row = row,
                             .array = array};
    write_facts(job, &out);
    for (size_t i = 0; i < job->lens_count; i++)
        KH_TRY(job->kinds[i]->finish(job->states[i], &out, err));
    if (w->failed.code) return kh_fail(err, w->failed.code, "%s", w->failed.text);
    return KH_OK;
}

/* Of what is on the disk by now. */
static kh_status put_digests(writer *w, char out[65], kh_error *err) {
    kh_digest digest;
    kh_status status = kh_digest_take(w->out, &digest, err);
    if (!status) status = kh_digest_sum(&digest, "", out, err);
    if (!status) kh_digest_put(&digest, w->manifest);
    kh_digest_clear(&digest);
    return status;
}

kh_status kh_atlas_write_results(kh_atlas_job *job, kh_atlas_summary *summary, kh_error *err) {
    char path[KH_ATLAS_PATH];
    writer w = {.out = job->options->out};
    KH_TRY(kh_atlas_path(path, err, w.out, "arrays"));
    KH_TRY(kh_make_directories(path, err));
    KH_TRY(kh_atlas_path(path, err, w.out, "run.sqlite"));
    KH_TRY(kh_store_db_create(path, &w.db, err));
    kh_status status = kh_store_manifest_create("atlas", &w.manifest, err);
    if (!status) describe(job, summary, w.manifest);
    if (!status) status = write_tables(job, &w, err);
    if (status)
        kh_store_db_abort(w.db);
    else
        status = kh_store_db_close(w.db, err);
    if (!status) status = put_digests(&w, summary->digest, err);
    if (!status) status = kh_atlas_path(path, err, w.out, "manifest.json");
    if (!status) status = kh_store_manifest_write(w.manifest, path, err);
    kh_store_manifest_free(w.manifest);
    return status;
}
