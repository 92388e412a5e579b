/* The tables and arrays of `align`. Columns are documented in docs/files.md. */
#include "cli/align.h"
#include "cli/outdir.h"
#include "cli/share.h"

#include <math.h>

static const char *source_name(kh_align_source source) {
    return source == KH_ALIGN_MLP ? "mlp" : "attention";
}

static kh_status write_global(const kh_align_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {
        "class",        "rank", "block", "neuron", "score", "margin_to_next", "top_class_of_neuron",
        "is_top1_match"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "topk_global.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    const kh_ranking *k = &r->ranking;
    for (size_t c = 0; c < k->classes; c++) {
        for (size_t rank = 0; rank < k->k; rank++) {
            const kh_ranked *n = &k->global[c * k->k + rank];
            const uint32_t own = k->top_class[n->block * k->units + n->index];
            kh_store_csv_size(csv, c);
            kh_store_csv_size(csv, rank);
            kh_store_csv_size(csv, n->block);
            kh_store_csv_size(csv, n->index);
            kh_store_csv_f32(csv, n->score);
            kh_store_csv_f32(csv, k->margin_to_next[c * k->k + rank]);
            kh_store_csv_size(csv, own);
            kh_store_csv_size(csv, own == c);
            kh_store_csv_end(csv);
        }
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_stats(const kh_align_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"block", "mode", "mean", "std", "min", "max", "p99"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "align_stats.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t b = 0; b < r->ranking.blocks; b++) {
        const kh_score_stats *s = &r->ranking.stats[b];
        kh_store_csv_size(csv, b);
        kh_store_csv_text(csv, kh_align_mode_name(r->ranking.mode));
        kh_store_csv_f64(csv, s->mean);
        kh_store_csv_f64(csv, s->std);
        kh_store_csv_f64(csv, s->min);
        kh_store_csv_f64(csv, s->max);
        kh_store_csv_f64(csv, s->p99);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_fig3(const kh_align_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"rank",      "block",   "count",  "fraction",
                                          "null_mean", "null_lo", "null_hi"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "fig3.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    const kh_ranking *k = &r->ranking;
    for (size_t rank = 0; rank < k->k; rank++) {
        for (size_t b = 0; b < k->blocks; b++) {
            const size_t count = r->histogram[rank * k->blocks + b];
            const bool has = r->has_null && rank == 0;
            kh_store_csv_size(csv, rank);
            kh_store_csv_size(csv, b);
            kh_store_csv_size(csv, count);
            kh_store_csv_f64(csv, (double)count / (double)k->classes);
            kh_store_csv_f64(csv, has ? r->null_band.block_share[b].mean : (double)NAN);
            kh_store_csv_f64(csv, has ? r->null_band.block_share[b].lo : (double)NAN);
            kh_store_csv_f64(csv, has ? r->null_band.block_share[b].hi : (double)NAN);
            kh_store_csv_end(csv);
        }
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_curve(const kh_align_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"rank",     "mean",    "q25",     "q50",    "q75",
                                          "gap_mean", "gap_q25", "gap_q50", "gap_q75"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "rank_curve.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t rank = 0; rank < r->ranking.k; rank++) {
        const kh_rank_curve *p = &r->curve[rank];
        const double cells[] = {p->mean,     p->q25,     p->q50,     p->q75,
                                p->gap_mean, p->gap_q25, p->gap_q50, p->gap_q75};
        kh_store_csv_size(csv, rank);
        for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
            kh_store_csv_f64(csv, cells[i]);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_class_shared(const kh_align_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"class", "block",   "neuron", "share_count",
                                          "score", "null_lo", "null_hi"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "class_shared.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t c = 0; c < r->ranking.classes; c++) {
        const kh_ranked *n = &r->ranking.global[c * r->ranking.k];
        kh_store_csv_size(csv, c);
        kh_store_csv_size(csv, n->block);
        kh_store_csv_size(csv, n->index);
        kh_store_csv_size(csv, r->shared.class_share[c]);
        kh_store_csv_f32(csv, n->score);
        kh_store_csv_f64(csv, r->has_null ? r->null_band.class_top1[c].lo : (double)NAN);
        kh_store_csv_f64(csv, r->has_null ? r->null_band.class_top1[c].hi : (double)NAN);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_arrays(const kh_align_result *r, const char *folder, kh_error *err) {
    const size_t shape[] = {r->ranking.blocks, r->ranking.k, r->ranking.classes};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "topk_block.npy"));
    KH_TRY(kh_store_npy(path, KH_NPY_I32, shape, 3, r->ranking.block_index, err));
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "topk_block_score.npy"));
    return kh_store_npy(path, KH_NPY_F32, shape, 3, r->ranking.block_score, err);
}

static void describe(kh_manifest *m, const kh_align_result *r, bool has_matrix) {
    const kh_ranking *k = &r->ranking;
    kh_store_manifest_text(m, "align.mode", kh_align_mode_name(k->mode));
    kh_store_manifest_text(m, "align.source", source_name(k->source));
    kh_store_manifest_text(m, "align.head",
                           r->options.align.head == KH_HEAD_FIRST ? "first" : "second");
    kh_store_manifest_size(m, "align.k", k->k);
    kh_store_manifest_bool(m, "align.add_bias", r->options.align.add_bias);
    if (r->options.align.add_bias) kh_store_manifest_f64(m, "align.alpha", r->options.align.alpha);
    if (r->has_null) {
        kh_store_manifest_text(m, "null.kind",
                               r->null_band.kind == KH_NULL_HEAD ? "head" : "permute");
        kh_store_manifest_size(m, "null.draws", r->null_band.draws);
        kh_store_manifest_size(m, "null.seed", r->null_band.seed);
        kh_store_manifest_f64(m, "null.top1_mean", r->null_band.top1.mean);
        kh_store_manifest_f64(m, "null.top1_lo", r->null_band.top1.lo);
        kh_store_manifest_f64(m, "null.top1_hi", r->null_band.top1.hi);
    }
    const size_t block_shape[] = {k->blocks, k->k, k->classes};
    const size_t matrix_shape[] = {k->blocks, k->units, k->classes};
    kh_store_manifest_file(m, "topk_global.csv", NULL, 0, "best value vectors of every class");
    kh_store_manifest_file(m, "topk_block.npy", block_shape, 3, "the same within each block");
    kh_store_manifest_file(m, "topk_block_score.npy", block_shape, 3, "their scores");
    kh_store_manifest_file(m, "align_stats.csv", NULL, 0, "distribution of S per block");
    kh_store_manifest_file(m, "fig3.csv", NULL, 0, "blocks of the rank-r value vectors");
    kh_store_manifest_file(m, "rank_curve.csv", NULL, 0, "score and gap against rank");
    kh_store_manifest_file(m, "shared.csv", NULL, 0, "value vectors and the classes they serve");
    kh_store_manifest_file(m, "class_shared.csv", NULL, 0, "each class's first value vector");
    if (has_matrix)
        kh_store_manifest_file(m, "align.npy", matrix_shape, 3, "the whole alignment matrix S");
    kh_outdir_list_figure(m, "fig3", "figure 3");
    kh_outdir_list_figure(m, "rank_curve", "score against rank");
    kh_outdir_list_figure(m, "align_hist", "distribution of S");
}

kh_status kh_align_write_files(const kh_align_result *r, const kh_model *model, const char *folder,
                               bool has_matrix, kh_error *err) {
    KH_TRY(write_global(r, folder, err));
    KH_TRY(write_stats(r, folder, err));
    KH_TRY(write_fig3(r, folder, err));
    KH_TRY(write_curve(r, folder, err));
    KH_TRY(kh_share_write_units(&r->shared, NULL, folder, err));
    KH_TRY(write_class_shared(r, folder, err));
    KH_TRY(write_arrays(r, folder, err));
    kh_manifest *manifest = NULL;
    KH_TRY(kh_store_manifest_create("align", &manifest, err));
    kh_store_manifest_model(manifest, kh_model_get_info(model));
    describe(manifest, r, has_matrix);
    const kh_status status = kh_outdir_finish(folder, manifest, err);
    kh_store_manifest_free(manifest);
    return status;
}
