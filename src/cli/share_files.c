/* The tables and arrays of `share`. Columns are documented in docs/files.md. */
#include "cli/outdir.h"
#include "cli/share.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

enum { NEURONS_OF_A_BASE = 20 };

static kh_status open_table(const char *folder, const char *name, const char *const *columns,
                            size_t count, kh_csv **out, kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "%s", name));
    return kh_store_csv_open(path, columns, count, out, err);
}

static void put_unit(kh_csv *csv, const kh_shared *shared, const kh_shared_unit *unit,
                     kh_text *list) {
    list->length = 0;
    for (size_t l = 0; l < unit->n_classes; l++) {
        const kh_shared_link *link = &shared->links[unit->first_link + l];
        kh_text_addf(list, "%s%u:%u", l ? ";" : "", link->class_index, link->rank);
    }
    kh_store_csv_size(csv, unit->block);
    kh_store_csv_size(csv, unit->index);
    kh_store_csv_size(csv, unit->n_classes);
    kh_store_csv_text(csv, list->data);
    kh_store_csv_f64(csv, unit->mean_score);
}

static void put_unit_kin(kh_csv *csv, const kh_shared *shared, const kh_shared_unit *unit,
                         const kh_share_nouns *nouns) {
    size_t *classes = nouns->room;
    for (size_t l = 0; l < unit->n_classes; l++)
        classes[l] = shared->links[unit->first_link + l].class_index;
    const kh_share_kin kin = kh_share_kin_of(nouns, classes, unit->n_classes);
    kh_share_put_kin(csv, &kin);
}

kh_status kh_share_write_units(const kh_shared *shared, const kh_share_nouns *nouns,
                               const char *folder, kh_error *err) {
    static const char *const columns[] = {"block",   "neuron",     "n_classes",
                                          "classes", "mean_score", KH_SHARE_KIN_COLUMNS};
    kh_csv *csv = NULL;
    kh_text list = {0};
    KH_TRY(open_table(folder, "shared.csv", columns, nouns ? 9 : 5, &csv, err));
    for (size_t u = 0; u < shared->unit_count; u++) {
        put_unit(csv, shared, &shared->units[u], &list);
        if (nouns) put_unit_kin(csv, shared, &shared->units[u], nouns);
        kh_store_csv_end(csv);
    }
    const bool failed = list.failed;
    kh_text_clear(&list);
    if (!failed) return kh_store_csv_close(csv, err);
    kh_store_csv_abort(csv);
    return kh_fail(err, KH_E_MEMORY, "no memory for shared.csv");
}

static kh_status write_classes(const kh_share_result *r, const kh_classes *classes,
                               const char *folder, kh_error *err) {
    static const char *const columns[] = {"class", "name",    "block", "neuron",     "share_count",
                                          "score", "cluster", "base",  "base_share", "superclass"};
    kh_csv *csv = NULL;
    KH_TRY(open_table(folder, "classes.csv", columns, 10, &csv, err));
    for (size_t c = 0; c < r->classes; c++) {
        const kh_ranked *first = &r->ranking.global[c * r->ranking.k];
        const float *part = r->nmf.columns_of + c * r->bases;
        double sum = 0;
        for (size_t b = 0; b < r->bases; b++)
            sum += (double)part[b];
        kh_store_csv_size(csv, c);
        kh_store_csv_text(csv, kh_classes_get(classes, c).name);
        kh_store_csv_size(csv, first->block);
        kh_store_csv_size(csv, first->index);
        kh_store_csv_size(csv, r->shared.class_share[c]);
        kh_store_csv_f32(csv, first->score);
        kh_store_csv_size(csv, r->label[0][c]);
        kh_store_csv_size(csv, r->label[1][c]);
        kh_store_csv_f64(csv, sum > 0 ? (double)part[r->label[1][c]] / sum : (double)NAN);
        kh_store_csv_text(csv, r->group ? r->group_names[r->group[c]] : NULL);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_tree(const kh_share_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"step", "left", "right", "height", "size"};
    kh_csv *csv = NULL;
    KH_TRY(open_table(folder, "tree.csv", columns, 5, &csv, err));
    for (size_t i = 0; i + 1 < r->classes; i++) {
        kh_store_csv_size(csv, i);
        kh_store_csv_size(csv, r->joins[i].left);
        kh_store_csv_size(csv, r->joins[i].right);
        kh_store_csv_f64(csv, r->joins[i].height);
        kh_store_csv_size(csv, r->joins[i].size);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

/* The neurons with the largest weights of each base. */
static kh_status write_bases(const kh_share_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"base", "rank", "block", "neuron", "weight"};
    const size_t units = r->nmf.rows;
    const size_t shown = units < NEURONS_OF_A_BASE ? units : NEURONS_OF_A_BASE;
    float *weights = kh_alloc_floats(units);
    size_t top[NEURONS_OF_A_BASE];
    kh_csv *csv = NULL;
    kh_status status = weights ? open_table(folder, "bases.csv", columns, 5, &csv, err)
                               : kh_fail(err, KH_E_MEMORY, "no memory for bases.csv");
    for (size_t b = 0; b < r->bases && !status; b++) {
        for (size_t u = 0; u < units; u++)
            weights[u] = r->nmf.rows_of[u * r->bases + b];
        status = kh_lens_top(weights, units, shown, top, err);
        for (size_t i = 0; i < shown && !status; i++) {
            kh_store_csv_size(csv, b);
            kh_store_csv_size(csv, i);
            kh_store_csv_size(csv, r->block);
            kh_store_csv_size(csv, top[i]);
            kh_store_csv_f32(csv, weights[top[i]]);
            kh_store_csv_end(csv);
        }
    }
    kh_free(weights);
    if (!status) return kh_store_csv_close(csv, err);
    if (csv) kh_store_csv_abort(csv);
    return status;
}

static kh_status write_groups(const kh_share_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"method",   "superclass", "classes", "group",
                                          "in_group", "group_size", "within",  "across"};
    kh_csv *csv = NULL;
    KH_TRY(open_table(folder, "superclasses.csv", columns, 8, &csv, err));
    for (size_t m = 0; m < KH_SHARE_METHODS; m++)
        for (size_t g = 0; g < r->groups; g++) {
            kh_share_group at;
            const kh_status status = kh_share_look_at_group(r, m, g, &at, err);
            if (status) {
                kh_store_csv_abort(csv);
                return status;
            }
            kh_store_csv_text(csv, kh_share_method_names[m]);
            kh_store_csv_text(csv, r->group_names[g]);
            kh_store_csv_size(csv, at.classes);
            kh_store_csv_size(csv, at.best);
            kh_store_csv_size(csv, at.in_best);
            kh_store_csv_size(csv, at.best_size);
            kh_store_csv_f64(csv, at.within);
            kh_store_csv_f64(csv, at.across);
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

static kh_status write_arrays(const kh_share_result *r, const char *folder, kh_error *err) {
    const size_t square[] = {r->classes, r->classes};
    const size_t units[] = {r->nmf.rows, r->bases}, classes[] = {r->classes, r->bases};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "likeness.npy"));
    KH_TRY(kh_store_npy(path, KH_NPY_F32, square, 2, r->likeness, err));
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "base_neurons.npy"));
    KH_TRY(kh_store_npy(path, KH_NPY_F32, units, 2, r->nmf.rows_of, err));
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "base_classes.npy"));
    return kh_store_npy(path, KH_NPY_F32, classes, 2, r->nmf.columns_of, err);
}

static void describe(kh_manifest *m, const kh_share_result *r) {
    const size_t square[] = {r->classes, r->classes};
    const size_t units[] = {r->nmf.rows, r->bases}, classes[] = {r->classes, r->bases};
    kh_store_manifest_text(m, "share.mode", kh_align_mode_name(r->ranking.mode));
    kh_store_manifest_size(m, "share.k", r->shared.k);
    kh_store_manifest_size(m, "share.topk", r->k);
    kh_store_manifest_text(m, "share.likeness", r->likeness_name);
    kh_store_manifest_size(m, "share.bases", r->bases);
    kh_store_manifest_text(m, "share.bases_mode", kh_align_mode_name(r->bases_mode));
    kh_store_manifest_size(m, "share.clusters", r->clusters);
    kh_store_manifest_size(m, "share.block", r->block);
    kh_store_manifest_size(m, "share.seed", r->seed);
    kh_store_manifest_size(m, "nmf.iterations", r->nmf.iterations);
    kh_store_manifest_f64(m, "nmf.error", r->nmf.error);
    for (size_t i = 0; i < KH_SHARE_METHODS && r->group; i++) {
        const double cells[] = {r->match[i].nmi,      r->match[i].ari,
                                r->match[i].purity,   r->match[i].nmi_null,
                                r->match[i].ari_null, r->match[i].purity_null};
        kh_store_manifest_f64s(m, i ? "match.bases" : "match.clusters", cells, 6);
    }
    kh_store_manifest_file(m, "shared.csv", NULL, 0, "value vectors and the classes they serve");
    kh_store_manifest_file(m, "classes.csv", NULL, 0, "first vector, cluster and base of a class");
    kh_store_manifest_file(m, "tree.csv", NULL, 0, "average linkage of the classes");
    kh_store_manifest_file(m, "bases.csv", NULL, 0, "neurons of every base");
    if (r->group)
        kh_store_manifest_file(m, "superclasses.csv", NULL, 0, "where superclasses ended up");
    if (r->nouns.wordnet) {
        kh_store_manifest_size(m, "wordnet.classes", r->nouns.known);
        kh_store_manifest_file(m, "wordnet.csv", NULL, 0, "what groups of classes are kinds of");
        kh_store_manifest_file(m, "class_pairs.csv", NULL, 0, "pairs that share a value vector");
    }
    kh_store_manifest_file(m, "likeness.npy", square, 2, "likeness of the classes' first vectors");
    kh_store_manifest_file(m, "base_neurons.npy", units, 2, "neurons' weights in the bases");
    kh_store_manifest_file(m, "base_classes.npy", classes, 2, "classes' parts in the bases");
    kh_outdir_list_figure(m, "share", "likeness of classes in the order of the tree");
    kh_outdir_list_figure(m, "bases", "classes' parts in the bases");
}

kh_status kh_share_write_files(const kh_share_result *r, const kh_model *model, const char *folder,
                               kh_error *err) {
    kh_manifest *manifest = NULL;
    const bool has_nouns = r->nouns.wordnet != NULL;
    KH_TRY(kh_share_write_units(&r->shared, has_nouns ? &r->nouns : NULL, folder, err));
    if (has_nouns) KH_TRY(kh_share_write_nouns(r, folder, err));
    KH_TRY(write_classes(r, kh_model_classes(model), folder, err));
    KH_TRY(write_tree(r, folder, err));
    KH_TRY(write_bases(r, folder, err));
    if (r->group) KH_TRY(write_groups(r, folder, err));
    KH_TRY(write_arrays(r, folder, err));
    KH_TRY(kh_store_manifest_create("share", &manifest, err));
    kh_store_manifest_model(manifest, kh_model_get_info(model));
    describe(manifest, r);
    const kh_status status = kh_outdir_finish(folder, manifest, err);
    kh_store_manifest_free(manifest);
    return status;
}
