/* What a run will take, before it begins. */
#include "atlas/job.h"
#include "lens/class_images.h"

/* What SQLite keeps for a row beside its cells, and for a cell: a byte that says its type, and the
 * value. Pages end up full, since rows are only appended. */
#define ROW_BYTES     6.5
#define INTEGER_BYTES 2.4
#define REAL_BYTES    9.0

static uint64_t disk_of(const kh_atlas_job *job) {
    kh_lens_size size = {0};
    for (size_t i = 0; i < job->lens_count; i++)
        if (job->kinds[i]->size) job->kinds[i]->size(&job->setup, &size);
    const double tables = ROW_BYTES * (double)size.rows + INTEGER_BYTES * (double)size.integers +
                          REAL_BYTES * (double)size.reals + (double)size.text_bytes;
    return (uint64_t)tables + size.array_bytes + 26 * 4096;
}

kh_status kh_atlas_plan(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                        const kh_atlas_options *options, kh_atlas_estimate *out, kh_error *err) {
    kh_atlas_job job;
    kh_pass *pass = NULL;
    kh_piece pieces[KH_ATLAS_MAX_LENSES * KH_LENS_MAX_PIECES];
    *out = (kh_atlas_estimate){0};
    KH_TRY(kh_atlas_job_init(&job, ctx, model, source, options, err));
    kh_status status = kh_atlas_begin(&job, err);
    if (!status) status = kh_atlas_create_pass(&job, options->batch, &pass, err);
    if (!status) {
        const size_t count = kh_atlas_pieces(&job, pieces);
        for (size_t i = 0; i < count; i++)
            out->state_bytes += pieces[i].count * kh_piece_element_bytes(pieces[i].rule);
        out->images = job.setup.images;
        out->classes_seen = job.setup.classes_seen;
        out->classes_counted = kh_classes_counted(&job.setup);
        out->classes_compared = job.compare.found;
        out->lens_count = job.lens_count;
        for (size_t i = 0; i < job.lens_count; i++)
            out->lenses[i] = job.kinds[i]->name;
        out->gflop = kh_pass_gflop(pass) * (double)out->images;
        out->memory_bytes = out->state_bytes + kh_pass_memory_bytes(pass) +
                            kh_features_bytes(job.info, options->batch);
        out->disk_bytes = disk_of(&job);
    }
    kh_pass_free(pass);
    kh_atlas_job_clear(&job);
    return status;
}
