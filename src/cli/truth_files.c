/* The tables of `truth`. Columns are documented in docs/files.md. */
#include "cli/outdir.h"
#include "cli/truth.h"

#include <math.h>

static kh_status begin(const char *folder, const char *name, const char *const *columns,
                       size_t count, kh_csv **out, kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "%s", name));
    return kh_store_csv_open(path, columns, count, out, err);
}

static void name_class(const kh_truth_result *r, size_t c, kh_csv *csv) {
    kh_store_csv_size(csv, c);
    kh_store_csv_text(csv, kh_diorama_class_wnid(r->world[c]));
    kh_store_csv_text(csv, kh_diorama_class_name(r->world[c]));
}

/* ---- one row per class and neuron ------------------------------------------------------------ */

/* `count` neurons of every class, from place `first` of the plan on. */
static kh_status write_neurons(const kh_truth_result *r, const char *folder, const char *name,
                               const char *number, size_t first, size_t count, kh_error *err) {
    const char *const columns[] = {"class",     "wnid",   "name",     number,  "block",  "neuron",
                                   "score",     "scenes", "silent",   "share", "iou",    "ceiling",
                                   "precision", "recall", "pointing", "auroc", "inside", "outside"};
    kh_csv *csv = NULL;
    KH_TRY(begin(folder, name, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t c = 0; c < r->classes; c++)
        for (size_t i = 0; i < count; i++) {
            const kh_ranked *n = &r->plan.neurons.global[c * r->plan.count + first + i];
            const kh_truth_mean *m = &r->means[c * r->plan.scored + first + i];
            name_class(r, c, csv);
            kh_store_csv_size(csv, i);
            kh_store_csv_size(csv, n->block);
            kh_store_csv_size(csv, n->index);
            kh_store_csv_f32(csv, n->score);
            kh_store_csv_size(csv, m->images);
            kh_store_csv_size(csv, m->silent);
            const double values[] = {m->share,    m->iou,   m->ceiling, m->precision, m->recall,
                                     m->pointing, m->auroc, m->inside,  m->outside};
            for (size_t v = 0; v < sizeof values / sizeof *values; v++)
                kh_store_csv_f64(csv, values[v]);
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

/* ---- one row per class ----------------------------------------------------------------------- */

static kh_status write_classes(const kh_truth_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"class",         "wnid",          "name",
                                          "scenes",        "correct",       "block",
                                          "neuron",        "iou",           "random_iou",
                                          "random_iou_lo", "random_iou_hi", "draws_below",
                                          "middle_iou",    "best_iou_rank", "best_pointing_rank",
                                          "own_peak",      "other_peak",    "own_class_auroc"};
    kh_csv *csv = NULL;
    KH_TRY(
        begin(folder, "truth_classes.csv", columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t c = 0; c < r->classes; c++) {
        const kh_truth_class *k = &r->class[c];
        const kh_ranked *n = &r->plan.neurons.global[c * r->plan.count];
        double low = (double)NAN, high = (double)NAN;
        for (size_t i = 0; i < r->plan.draws; i++) {
            low = fmin(low, k->draw[i].iou);
            high = fmax(high, k->draw[i].iou);
        }
        name_class(r, c, csv);
        kh_store_csv_size(csv, r->settings.scenes);
        kh_store_csv_size(csv, r->correct[c]);
        kh_store_csv_size(csv, n->block);
        kh_store_csv_size(csv, n->index);
        kh_store_csv_f64(csv, k->rank->iou);
        kh_store_csv_f64(csv, k->random.iou);
        kh_store_csv_f64(csv, low);
        kh_store_csv_f64(csv, high);
        kh_store_csv_size(csv, k->draws_below);
        kh_store_csv_f64(csv, r->middle[c].iou);
        if (k->best_iou == KH_NO_CLASS) {
            kh_store_csv_text(csv, NULL);
            kh_store_csv_text(csv, NULL);
        } else {
            kh_store_csv_size(csv, k->best_iou);
            kh_store_csv_size(csv, k->best_pointing);
        }
        kh_store_csv_f64(csv, r->selectivity[c].own);
        kh_store_csv_f64(csv, r->selectivity[c].other);
        kh_store_csv_f64(csv, r->selectivity[c].auroc);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_images(const kh_truth_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"scene",     "class",     "predicted", "block", "neuron",
                                          "object_px", "kept_px",   "silent",    "hit",   "iou",
                                          "ceiling",   "precision", "recall",    "auroc", "inside",
                                          "outside",   "peak"};
    kh_csv *csv = NULL;
    KH_TRY(begin(folder, "truth_images.csv", columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t i = 0; i < r->count; i++) {
        const kh_truth_scene *scene = &r->scenes[i];
        const kh_truth_score *s = &scene->score;
        const kh_ranked *n = &r->plan.neurons.global[scene->class_index * r->plan.count];
        kh_store_csv_size(csv, (size_t)scene->index);
        kh_store_csv_size(csv, scene->class_index);
        kh_store_csv_size(csv, scene->predicted);
        kh_store_csv_size(csv, n->block);
        kh_store_csv_size(csv, n->index);
        kh_store_csv_size(csv, s->object);
        kh_store_csv_size(csv, s->kept);
        kh_store_csv_size(csv, s->is_silent);
        kh_store_csv_size(csv, s->is_hit);
        const double values[] = {s->iou,   s->ceiling, s->precision, s->recall,
                                 s->auroc, s->inside,  s->outside};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++)
            kh_store_csv_f64(csv, values[v]);
        kh_store_csv_f32(csv, s->peak);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

/* ---- over classes ---------------------------------------------------------------------------- */

static kh_status write_summary(const kh_truth_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"quantity", "mean", "lo", "hi"};
    kh_csv *csv = NULL;
    KH_TRY(begin(folder, "summary.csv", columns, 4, &csv, err));
    kh_status status = KH_OK;
    for (const kh_truth_quantity *q = kh_truth_quantities; q->key && !status; q++) {
        kh_band band = {0};
        status = kh_truth_band(r, q, &band, err);
        kh_store_csv_text(csv, q->key);
        kh_store_csv_f64(csv, band.mean);
        kh_store_csv_f64(csv, band.lo);
        kh_store_csv_f64(csv, band.hi);
        kh_store_csv_end(csv);
    }
    if (!status) return kh_store_csv_close(csv, err);
    kh_store_csv_abort(csv);
    return status;
}

static kh_status write_fig3(const kh_truth_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"rank", "block", "count"};
    kh_csv *csv = NULL;
    KH_TRY(begin(folder, "fig3.csv", columns, 3, &csv, err));
    for (size_t k = 0; k < r->plan.topk; k++)
        for (size_t b = 0; b < r->plan.blocks; b++) {
            kh_store_csv_size(csv, k);
            kh_store_csv_size(csv, b);
            kh_store_csv_size(csv, r->fig3[k * r->plan.blocks + b]);
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

/* ---- manifest -------------------------------------------------------------------------------- */

static void describe_settings(kh_manifest *m, const kh_truth_result *r) {
    const kh_truth_settings *s = &r->settings;
    kh_store_manifest_model(m, kh_model_get_info(r->model));
    kh_store_manifest_text(m, "truth.mode", kh_align_mode_name(s->mode));
    kh_store_manifest_size(m, "truth.scenes_per_class", s->scenes);
    kh_store_manifest_size(m, "truth.seed", s->seed);
    kh_store_manifest_bool(m, "truth.shortcuts", !(s->flags & KH_DIORAMA_NO_SHORTCUTS));
    kh_store_manifest_size(m, "truth.topk", s->topk);
    kh_store_manifest_size(m, "truth.random_neurons", s->draws);
    kh_store_manifest_f64(m, "truth.mask_percentile", 100.0 * s->quantile);
    kh_store_manifest_size(m, "truth.resamples", s->resamples);
    kh_store_manifest_text(m, "truth.coefficient", "post");
}

static void list_files(kh_manifest *m) {
    static const char *const files[][2] = {
        {"truth.csv", "means over scenes, one row per class and rank"},
        {"truth_random.csv", "the same of random neurons of rank 0's block"},
        {"truth_blocks.csv", "the same of each block's best neuron for the class"},
        {"truth_classes.csv", "one row per class"},
        {"truth_images.csv", "rank 0 on every scene"},
        {"summary.csv", "means over classes with 95 % bootstrap intervals"},
        {"fig3.csv", "classes whose rank-r neuron sits in a block"}};
    static const char *const figures[][2] = {
        {"fig3", "figure 3: block of the top-1 neuron"},
        {"truth_classes", "per class: top-1 against random neurons of its block"},
        {"truth_ranks", "which rank fits the object best"},
        {"truth_blocks", "each block's best neuron against the object"},
        {"truth_maps", "one scene of every class with object, heatmap and mask"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        kh_store_manifest_file(m, files[i][0], NULL, 0, files[i][1]);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        kh_outdir_list_figure(m, figures[i][0], figures[i][1]);
}

static kh_status write_manifest(const kh_truth_result *r, const char *folder, kh_error *err) {
    kh_manifest *m = NULL;
    KH_TRY(kh_store_manifest_create("truth", &m, err));
    describe_settings(m, r);
    list_files(m);
    const kh_status status = kh_outdir_finish(folder, m, err);
    kh_store_manifest_free(m);
    return status;
}

kh_status kh_truth_write_files(const kh_truth_result *r, const char *folder, kh_error *err) {
    const size_t topk = r->plan.topk, draws = r->plan.draws;
    KH_TRY(write_neurons(r, folder, "truth.csv", "rank", 0, topk, err));
    KH_TRY(write_neurons(r, folder, "truth_random.csv", "draw", topk, draws, err));
    KH_TRY(write_neurons(r, folder, "truth_blocks.csv", "of_block", topk + draws, r->plan.blocks,
                         err));
    KH_TRY(write_classes(r, folder, err));
    KH_TRY(write_images(r, folder, err));
    KH_TRY(write_summary(r, folder, err));
    KH_TRY(write_fig3(r, folder, err));
    return write_manifest(r, folder, err);
}
