/* What a run will take, before it begins. */
#include "atlas/job.h"

/* SQLite keeps about this much for a cell, and for a row beside its cells. */
enum { CELL_BYTES = 6, ROW_BYTES = 8 };

static uint64_t disk_of(const kh_atlas_job *job) {
    uint64_t bytes = 1 << 16;
    for (size_t i = 0; i < job->lens_count; i++) {
        kh_lens_size size = {0};
        if (job->kinds[i]->size) job->kinds[i]->size(&job->setup, &size);
        bytes +=
            size.array_bytes + size.text_bytes + size.cells * CELL_BYTES + size.rows * ROW_BYTES;
    }
    return bytes;
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
        out->gflop = kh_pass_gflop(pass) * (double)out->images;
        out->memory_bytes = out->state_bytes + kh_pass_memory_bytes(pass) +
                            kh_features_bytes(job.info, options->batch);
        out->disk_bytes = disk_of(&job);
    }
    kh_pass_free(pass);
    kh_atlas_job_clear(&job);
    return status;
}
