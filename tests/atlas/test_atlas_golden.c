/* Every table of a small run against the same analyses in numpy float64 (tools/golden_atlas.py). */
#include "support/kh_test.h"

#include "keyhole.h"

enum { LABELS = 4, BLOCKS = 2, HEADS = 3, NEURONS = 96, DIM = 24, EXEMPLARS = 8 };
static const int labels[LABELS] = {1, 6, 8, 9};

/* Activations agree to 2e-5 (the gate of every site); sums of up to 96 such, over a norm of about
 * one, to ten times that. Sketches know a value to half a percent. */
#define ATOL        2e-5
#define SUM_ATOL    2e-4
#define SKETCH_RTOL 0.005

static char run_folder[4096], database[4200];
static kh_tensors *golden;

/* Over the pictures with a model of tests/data/golden; later questions go to this run. */
static void run_over(const char *name, const char *folder, kh_atlas_options options) {
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_source *source;
    char path[512];
    const kh_ctx_options ctx_options = {.threads = 2};
    kh_assert_ok(kh_ctx_create(&ctx_options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, name);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options source_options = {.classes = kh_model_classes(model)};
    kh_assert_ok(kh_source_open(operands, 1, &source_options, &source, &err));
    (void)snprintf(run_folder, sizeof run_folder, "%s", kh_test_folder(folder));
    (void)snprintf(database, sizeof database, "%s/run.sqlite", run_folder);
    options.out = run_folder;
    kh_assert_ok(kh_atlas(ctx, model, source, &options, NULL, &err));
    kh_source_free(source);
    kh_model_close(model);
    kh_ctx_free(ctx);
}

static void open_golden(const char *file) {
    kh_error err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/atlas/%s.safetensors", KH_TEST_DATA, file);
    kh_tensors_close(golden);
    kh_assert_ok(kh_tensors_open(path, NULL, &golden, &err));
}

static int make_run(void **state) {
    (void)state;
    kh_atlas_options options = kh_atlas_options_default();
    options.lenses = "all";
    options.exemplars = EXEMPLARS;
    run_over("vit_base", "golden", options);
    open_golden("golden");
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    kh_tensors_close(golden);
    return 0;
}

/* A recorded tensor; -999 stands for NaN. Valid until the next call but three. */
static const double *expect(const char *name, size_t count) {
    static double room[4][BLOCKS * NEURONS * LABELS];
    static size_t turn;
    kh_error err = {0};
    kh_tensor_info info;
    double *values = room[turn++ % 4];
    assert_true(count <= sizeof room[0] / sizeof *values);
    assert_true(kh_tensors_find(golden, name, &info));
    if (info.count != count) fail_msg("%s: %zu numbers, not %zu", name, info.count, count);
    kh_assert_ok(kh_tensors_read_f64(golden, name, false, values, count, &err));
    return values;
}

static double number(int64_t parameter, const char *query) {
    kh_error err = {0};
    double value;
    kh_assert_ok(kh_store_db_number(database, query, parameter, &value, &err));
    return value;
}

static void assert_near(double got, double want, double rtol, double atol, const char *what,
                        size_t index) {
    if (!(fabs(got - want) <= atol + rtol * fabs(want)))
        fail_msg("%s[%zu]: %.9g, expected %.9g", what, index, got, want);
}

/* One column of a table over block and neuron. */
static void assert_neurons(const char *table, const char *column, const char *name, double rtol,
                           double atol) {
    const double *want = expect(name, BLOCKS * NEURONS);
    char query[200];
    (void)snprintf(query, sizeof query,
                   "SELECT ifnull(%s, -999) FROM %s WHERE block * 96 + neuron = ?1", column, table);
    const bool is_threshold = strncmp(name, "threshold", 9) == 0; /* none lies below 2^-13 */
    for (size_t u = 0; u < BLOCKS * NEURONS; u++)
        assert_near(number((int64_t)u, query),
                    is_threshold && want[u] < 0x1p-13 ? 0x1p-13 : want[u], rtol, atol, name, u);
}

/* One column of a table over class and block; `name` is [labels, blocks]. */
static void assert_classes(const char *table, const char *column, const char *name, double rtol,
                           double atol) {
    const double *want = expect(name, LABELS * BLOCKS);
    char query[200];
    (void)snprintf(query, sizeof query, "SELECT %s FROM %s WHERE class * 2 + block = ?1", column,
                   table);
    for (size_t i = 0; i < LABELS * BLOCKS; i++)
        assert_near(number(labels[i / BLOCKS] * BLOCKS + (int64_t)(i % BLOCKS), query), want[i],
                    rtol, atol, name, i);
}

/* The floats behind the header of an .npy file; free with free(). */
static float *array(const char *name, size_t count) {
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/arrays/%s.npy", run_folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    float *values = malloc(count * sizeof *values);
    assert_int_equal(fseek(file, -(long)(count * sizeof *values), SEEK_END), 0);
    assert_int_equal(fread(values, sizeof *values, count, file), count);
    assert_true(ftell(file) > 0 && ftell(file) % 64 == (long)(count * sizeof *values % 64));
    (void)fclose(file);
    return values;
}

static void assert_class_array(const char *file, const char *name, double atol) {
    float *got = array(file, 10 * BLOCKS * NEURONS);
    const double *want = expect(name, LABELS * BLOCKS * NEURONS);
    for (size_t i = 0; i < LABELS * BLOCKS * NEURONS; i++) {
        const size_t c = (size_t)labels[i / (BLOCKS * NEURONS)];
        assert_near((double)got[c * BLOCKS * NEURONS + i % (BLOCKS * NEURONS)], want[i], 0, atol,
                    name, i);
    }
    assert_true(isnan(got[0])); /* class 0 has no images */
    free(got);
}

static void accuracy_counts_and_margins(void **state) {
    (void)state;
    const double *want = expect("accuracy", 2);
    assert_true(want[0] > 0 && want[1] > want[0]); /* or the golden would say little */
    assert_near(number(0, "SELECT hits FROM accuracy WHERE measure = 'top1'"), want[0], 0, 0, "",
                0);
    assert_near(number(0, "SELECT hits FROM accuracy WHERE measure = 'top5'"), want[1], 0, 0, "",
                1);
    const double *margin = expect("class_margin", LABELS), *logit = expect("class_logit", LABELS);
    for (size_t i = 0; i < LABELS; i++) {
        assert_near(number(labels[i], "SELECT mean_margin FROM class_accuracy WHERE class = ?1"),
                    margin[i], 0, 1e-4, "margin", i);
        assert_near(number(labels[i], "SELECT mean_logit FROM class_accuracy WHERE class = ?1"),
                    logit[i], 0, 1e-4, "logit", i);
    }
    assert_near(number(0, "SELECT sum(n) FROM confusion"), 24, 0, 0, "confusion", 0);
}

static void distributions_over_patches(void **state) {
    (void)state;
    assert_neurons("neurons", "mean", "unit_mean", 0, ATOL);
    assert_neurons("neurons", "std", "unit_std", 1e-4, ATOL);
    assert_neurons("neurons", "min", "unit_min", 0, ATOL);
    assert_neurons("neurons", "max", "unit_max", 0, ATOL);
    assert_neurons("neurons", "threshold", "threshold", SKETCH_RTOL, ATOL);
    assert_neurons("neurons", "threshold_99", "threshold_99", SKETCH_RTOL, ATOL);
    /* a coefficient or two may lie within rounding of the sketch's lower edge */
    assert_neurons("neurons", "density", "unit_density", 0, 1.5 / (24 * 16));
}

static void class_means_and_their_concentration(void **state) {
    (void)state;
    assert_class_array("class_mean", "class_mean", ATOL);
    assert_classes("concentration", "gini", "gini", 1e-3, 0);
    assert_classes("concentration", "effective", "effective", 1e-3, 0);
    assert_classes("concentration", "top3_share", "top3_share", 1e-3, 0);
}

static void exemplars_are_the_images_with_the_largest_maxima(void **state) {
    (void)state;
    static double ids[BLOCKS * NEURONS * EXEMPLARS], values[BLOCKS * NEURONS * EXEMPLARS];
    kh_error err = {0};
    kh_assert_ok(
        kh_tensors_read_f64(golden, "exemplar_id", false, ids, BLOCKS * NEURONS * EXEMPLARS, &err));
    kh_assert_ok(kh_tensors_read_f64(golden, "exemplar_value", false, values,
                                     BLOCKS * NEURONS * EXEMPLARS, &err));
    for (size_t i = 0; i < BLOCKS * NEURONS * EXEMPLARS; i++) {
        assert_near(number((int64_t)i, "SELECT image FROM exemplars WHERE level = 'top' AND "
                                       "(block * 96 + neuron) * 8 + rank = ?1"),
                    ids[i], 0, 0, "image", i);
        assert_near(number((int64_t)i, "SELECT value FROM exemplars WHERE level = 'top' AND "
                                       "(block * 96 + neuron) * 8 + rank = ?1"),
                    values[i], 0, ATOL, "value", i);
    }
    const double *patch = expect("exemplar_patch", BLOCKS * NEURONS);
    for (size_t u = 0; u < BLOCKS * NEURONS; u++)
        assert_near(number((int64_t)u, "SELECT patch FROM exemplars WHERE level = 'top' AND rank = "
                                       "0 AND block * 96 + neuron = ?1"),
                    patch[u], 0, 0, "patch", u);
}

/* Six images of each class and eight exemplars: what is asked of a class with few images. */
static void reads_are_judged_by_what_a_class_can_hold(void **state) {
    (void)state;
    enum { COLUMNS = 5, AGREE = 0, SHARED = 3 };
    static double want[BLOCKS * NEURONS * COLUMNS];
    kh_error err = {0};
    kh_answer *a;
    kh_assert_ok(
        kh_tensors_read_f64(golden, "reads_writes", false, want, BLOCKS * NEURONS * COLUMNS, &err));
    kh_assert_ok(kh_store_db_ask(
        database,
        "SELECT class, hits, labelled, place, CASE verdict WHEN 'agree' THEN 0 WHEN 'suppress' "
        "THEN 1 WHEN 'other' THEN 2 WHEN 'shared' THEN 3 WHEN 'silent' THEN 4 ELSE 5 END FROM "
        "reads_writes ORDER BY block, neuron",
        NULL, 0, &a, &err));
    assert_int_equal(kh_answer_rows(a), BLOCKS * NEURONS);
    size_t of[6] = {0};
    for (size_t u = 0; u < BLOCKS * NEURONS; u++) {
        of[(size_t)want[u * COLUMNS + 4]]++;
        for (size_t i = 0; i < COLUMNS; i++)
            assert_near(kh_answer_number(a, u, i), want[u * COLUMNS + i], 0, 0, "reads_writes",
                        u * COLUMNS + i);
    }
    assert_true(of[AGREE] > 0 && of[SHARED] > 0); /* or the golden would say little */
    kh_answer_free(a);
}

static void channels_have_exemplars_as_neurons_have(void **state) {
    (void)state;
    enum { CHANNELS = BLOCKS * DIM };
    static double ids[CHANNELS * EXEMPLARS], values[CHANNELS * EXEMPLARS];
    kh_error err = {0};
    kh_assert_ok(kh_tensors_read_f64(golden, "channel_id", false, ids, CHANNELS * EXEMPLARS, &err));
    kh_assert_ok(
        kh_tensors_read_f64(golden, "channel_value", false, values, CHANNELS * EXEMPLARS, &err));
    kh_answer *a;
    kh_assert_ok(kh_store_db_ask(database,
                                 "SELECT image, value, patch FROM channel_exemplars WHERE level = "
                                 "'top' ORDER BY block, channel, rank",
                                 NULL, 0, &a, &err));
    assert_int_equal(kh_answer_rows(a), CHANNELS * EXEMPLARS);
    const double *patch = expect("channel_patch", CHANNELS);
    for (size_t i = 0; i < CHANNELS * EXEMPLARS; i++) {
        assert_near(kh_answer_number(a, i, 0), ids[i], 0, 0, "image", i);
        assert_near(kh_answer_number(a, i, 1), values[i], 0, ATOL, "value", i);
        if (i % EXEMPLARS == 0)
            assert_near(kh_answer_number(a, i, 2), patch[i / EXEMPLARS], 0, 0, "patch", i);
    }
    kh_answer_free(a);
    kh_assert_ok(kh_store_db_ask(
        database, "SELECT mean, min, threshold FROM channels ORDER BY block, channel", NULL, 0, &a,
        &err));
    const double *mean = expect("channel_mean", CHANNELS), *min = expect("channel_min", CHANNELS);
    const double *threshold = expect("channel_threshold", CHANNELS);
    for (size_t u = 0; u < CHANNELS; u++) {
        assert_near(kh_answer_number(a, u, 0), mean[u], 0, ATOL, "mean", u);
        assert_near(kh_answer_number(a, u, 1), min[u], 0, ATOL, "min", u);
        assert_near(kh_answer_number(a, u, 2), threshold[u] < 0x1p-13 ? 0x1p-13 : threshold[u],
                    SKETCH_RTOL, ATOL, "threshold", u);
    }
    kh_answer_free(a);
}

static void selectivity_towards_the_promoted_class(void **state) {
    (void)state;
    assert_neurons("selectivity", "auroc", "auroc", 0, 1e-9);
    assert_neurons("selectivity", "d", "cohen", 2e-3, 1e-3);
    assert_neurons("selectivity", "ratio", "ratio", 2e-3, 1e-3);
}

static void distances_between_classes(void **state) {
    (void)state;
    static const char *const names[] = {"d1_k1", "d2_k1", "d3_k1", "d1_k3", "d2_k3", "d3_k3"};
    for (size_t k = 0; k < 6; k++) {
        const double *want = expect(names[k], BLOCKS * LABELS * LABELS);
        char query[300];
        (void)snprintf(query, sizeof query,
                       "SELECT distance FROM distances WHERE definition = 'D%c' AND k = %c AND "
                       "(block * 10 + class_a) * 10 + class_b = ?1",
                       names[k][1], names[k][4]);
        for (size_t i = 0; i < BLOCKS * LABELS * LABELS; i++) {
            const int64_t key =
                ((int64_t)(i / (LABELS * LABELS)) * 10 + labels[i / LABELS % LABELS]) * 10 +
                labels[i % LABELS];
            assert_near(number(key, query), want[i], 1e-4, 1e-4, names[k], i);
        }
    }
}

static void attributions_add_up(void **state) {
    (void)state;
    assert_class_array("attribution_mean", "contribution", SUM_ATOL);
    assert_true(number(0, "SELECT worst_error FROM attribution_check") < 1e-3);
    assert_classes("attribution", "k50", "k50", 0, 0);
    assert_classes("attribution", "k90", "k90", 0, 0);
    assert_classes("attribution", "cancel", "cancel", 1e-2, 0);
    assert_classes("attribution", "spearman", "spearman", 0, 1e-3);
    const double *heads = expect("heads", LABELS * BLOCKS * HEADS);
    assert_near(number(0, "SELECT count(*) FROM attribution_heads"), LABELS * BLOCKS * HEADS, 0, 0,
                "rows of heads", 0);
    for (size_t i = 0; i < LABELS; i++)
        for (size_t p = 0; p < BLOCKS * HEADS; p++)
            assert_near(number(labels[i] * BLOCKS * HEADS + (int64_t)p,
                               "SELECT logits FROM attribution_heads WHERE (class * 2 + block) * 3 "
                               "+ head = ?1"),
                        heads[i * BLOCKS * HEADS + p], 0, SUM_ATOL, "head", i * BLOCKS * HEADS + p);
    const double *direct = expect("direct", LABELS * (1 + 2 * BLOCKS));
    for (size_t i = 0; i < LABELS; i++)
        for (size_t b = 0; b < BLOCKS; b++) {
            const double *parts = direct + i * (1 + 2 * BLOCKS) + 1 + 2 * b;
            const int64_t key = labels[i] * BLOCKS + (int64_t)b;
            assert_near(
                number(key, "SELECT attention FROM attribution WHERE class * 2 + block = ?1"),
                parts[0], 0, SUM_ATOL, "attention", i);
            assert_near(number(key, "SELECT mlp FROM attribution WHERE class * 2 + block = ?1"),
                        parts[1], 0, SUM_ATOL, "mlp", i);
        }
}

static void tokens_read_early(void **state) {
    (void)state;
    const double *ident = expect("ident", BLOCKS * 3 * 2 * 2);
    const double *images = expect("ident_images", BLOCKS * 3);
    static const char where[] =
        "FROM identifiability WHERE block * 6 + (CASE site WHEN 'residual' THEN 0 WHEN "
        "'attention' THEN 2 ELSE 4 END) + (tokens = 'patches') = ?1";
    char query[400];
    for (size_t i = 0; i < BLOCKS * 3 * 2; i++) {
        (void)snprintf(query, sizeof query, "SELECT mean %s", where);
        assert_near(number((int64_t)i, query), ident[2 * i], 0, 1e-9, "mean", i);
        (void)snprintf(query, sizeof query, "SELECT rate %s", where);
        assert_near(number((int64_t)i, query), ident[2 * i + 1], 0, 1e-9, "rate", i);
        (void)snprintf(query, sizeof query, "SELECT images %s", where);
        if (i % 2) assert_near(number((int64_t)i, query), images[i / 2], 0, 1e-9, "images", i);
    }
    const double *change = expect("change", BLOCKS * 2 * 2);
    for (size_t i = 4; i < BLOCKS * 4; i++)
        assert_near(number((int64_t)i, "SELECT rate FROM class_change WHERE block * 4 + (layer = "
                                       "'mlp') * 2 + (tokens = 'patches') = ?1"),
                    change[i], 0, 1e-9, "change", i);
    const double *cells = expect("composition", BLOCKS * 8);
    for (size_t i = 8; i < BLOCKS * 8; i++)
        assert_near(number((int64_t)i, "SELECT n FROM composition WHERE block * 8 + in_previous + "
                                       "2 * in_attention + 4 * in_mlp = ?1"),
                    cells[i], 0, 0, "composition", i);
    assert_near(number(0, "SELECT sum(share) FROM composition WHERE block = 1"), 1, 0, 1e-12, "",
                0);
    const double *agree = expect("agreement", BLOCKS * 2);
    for (size_t b = 0; b < BLOCKS; b++) {
        assert_near(number((int64_t)b, "SELECT key_value FROM agreement WHERE block = ?1"),
                    agree[2 * b], 0, 1e-9, "key_value", b);
        assert_near(number((int64_t)b, "SELECT memory_prediction FROM agreement WHERE block = ?1"),
                    agree[2 * b + 1], 0, 1e-9, "memory_prediction", b);
    }
}

static void votes_of_the_top_neurons(void **state) {
    (void)state;
    const double *change = expect("change_input", BLOCKS * 2), *own = expect("agreement_neuron", 2);
    for (int64_t i = 2; i < BLOCKS * 2; i++)
        assert_near(number(i, "SELECT rate FROM class_change_input WHERE block * 2 + (tokens = "
                              "'patches') = ?1"),
                    change[i], 0, 1e-9, "change_input", (size_t)i);
    for (int64_t b = 0; b < BLOCKS; b++)
        assert_near(number(b, "SELECT key_value_neuron FROM agreement WHERE block = ?1"), own[b], 0,
                    1e-9, "key_value_neuron", (size_t)b);
    const double *match = expect("vote_match", 3 * 2); /* pairs 00, 01, 11 */
    for (int64_t p = 0; p < 3; p++) {
        assert_near(number(p, "SELECT observed FROM vote_match WHERE block + other = ?1"),
                    match[2 * p], 0, 1e-9, "observed", (size_t)p);
        assert_near(number(p, "SELECT expected FROM vote_match WHERE block + other = ?1"),
                    match[2 * p + 1], 0, 1e-9, "expected", (size_t)p);
    }
    assert_near(number(0, "SELECT observed FROM vote_match WHERE block = 0 AND other = 0"), 1, 0, 0,
                "itself", 0);
}

static void stray_tokens(void **state) {
    (void)state;
    const double *outliers = expect("outliers", BLOCKS), *median = expect("norm_median", BLOCKS);
    const double *cls = expect("norm_class_token", BLOCKS), *share = expect("top_share", BLOCKS);
    for (size_t b = 0; b < BLOCKS; b++) {
        const int64_t i = (int64_t)b;
        assert_near(24 * number(i, "SELECT outliers_per_image FROM audit WHERE block = ?1"),
                    outliers[b], 0, 1e-9, "outliers", b);
        assert_near(number(i, "SELECT median_norm FROM audit WHERE block = ?1"), median[b],
                    SKETCH_RTOL, 0, "median", b);
        assert_near(number(i, "SELECT class_token_norm FROM audit WHERE block = ?1"), cls[b], 0,
                    1e-4, "class token", b);
        assert_near(number(i, "SELECT top_patch_share FROM audit WHERE block = ?1"), share[b], 0,
                    1e-5, "share", b);
    }
}

/* ---- class means as asked (tools/golden_class_means.py); runs of their own, so these are last -
 */

enum { CLASSES = 10, SHOWN = 10 };

static void assert_strongest(const char *key, const double *n) {
    static double want[LABELS * BLOCKS * SHOWN * 2];
    kh_error err = {0};
    kh_answer *a;
    char name[64];
    size_t present = 0, rows = 0;
    for (size_t k = 0; k < CLASSES; k++)
        present += n[k] > 0;
    (void)snprintf(name, sizeof name, "%s_argmax", key);
    kh_assert_ok(
        kh_tensors_read_f64(golden, name, false, want, present * BLOCKS * SHOWN * 2, &err));
    kh_assert_ok(kh_store_db_ask(database,
                                 "SELECT class, block, rank, neuron, n, share FROM class_argmax",
                                 NULL, 0, &a, &err));
    const double *next = want;
    for (size_t c = 0; c < CLASSES; c++)
        for (size_t i = 0; i < BLOCKS * SHOWN && n[c] > 0; i++, next += 2) {
            const double row[] = {(double)c, (double)(i / SHOWN), (double)(i % SHOWN), next[0],
                                  next[1],   next[1] / n[c]};
            if (next[0] < 0) continue;
            for (size_t k = 0; k < 6; k++)
                assert_near(kh_answer_number(a, rows, k), row[k], 1e-12, 0, key, k);
            rows++;
        }
    assert_int_equal(kh_answer_rows(a), rows);
    kh_answer_free(a);
}

/* n and means of every class; lists of strongest neurons. */
static void assert_as_asked(const char *model, kh_class_by by, kh_class_reduction reduction) {
    char key[48], name[64];
    kh_atlas_options options = kh_atlas_options_default();
    options.class_by = by;
    options.class_reduction = reduction;
    options.lenses = "units,class_mean,class_argmax,distance";
    (void)snprintf(key, sizeof key, "%s_%s_%s", model, kh_class_by_name(by),
                   kh_class_reduction_name(reduction));
    run_over(model, key, options);
    (void)snprintf(name, sizeof name, "%s_n", key);
    const double *n = expect(name, CLASSES);
    size_t present = 0, row = 0;
    for (size_t c = 0; c < CLASSES; c++)
        present += n[c] > 0;
    (void)snprintf(name, sizeof name, "%s_mean", key);
    const double *mean = expect(name, present * BLOCKS * NEURONS);
    float *got = array("class_mean", CLASSES * BLOCKS * NEURONS);
    for (size_t c = 0; c < CLASSES; c++) {
        assert_near(number((int64_t)c, "SELECT ifnull(max(n), 0) FROM concentration WHERE class = "
                                       "?1"),
                    n[c], 0, 0, name, c);
        for (size_t u = 0; u < BLOCKS * NEURONS && n[c] > 0; u++)
            assert_near((double)got[c * BLOCKS * NEURONS + u], mean[row * BLOCKS * NEURONS + u], 0,
                        ATOL, name, u);
        assert_true(n[c] > 0 || isnan(got[c * BLOCKS * NEURONS]));
        row += n[c] > 0;
    }
    free(got);
    assert_strongest(key, n);
}

/* Every image counts once, and an image's mean over patches is what a neuron's mean is made of. */
static void assert_classes_make_up_the_whole(void) {
    float *got = array("class_mean", CLASSES * BLOCKS * NEURONS);
    const double *n = expect("vit_base_predicted_mean_n", CLASSES);
    for (size_t u = 0; u < BLOCKS * NEURONS; u++) {
        double sum = 0, count = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            if (!(n[c] > 0)) continue;
            sum += n[c] * (double)got[c * BLOCKS * NEURONS + u];
            count += n[c];
        }
        assert_near(sum / count,
                    number((int64_t)u, "SELECT mean FROM neurons WHERE block * 96 + neuron = ?1"),
                    0, 1e-6, "mean over classes", u);
    }
    free(got);
}

static void class_means_are_of_the_images_and_tokens_that_were_asked_for(void **state) {
    open_golden("class_means");
    assert_as_asked("vit_base", KH_BY_TRUTH, KH_REDUCE_MEAN);
    assert_as_asked("vit_base", KH_BY_CORRECT, KH_REDUCE_MAX);
    assert_as_asked("vit_base", KH_BY_TRUTH, KH_REDUCE_ALL);
    assert_as_asked("reg4_gap_base", KH_BY_TRUTH, KH_REDUCE_ALL);
    assert_as_asked("vit_base", KH_BY_PREDICTED, KH_REDUCE_MEAN);
    assert_classes_make_up_the_whole();
    assert_as_asked("vit_base", KH_BY_PREDICTED, KH_REDUCE_CLS);
    open_golden("golden");
    distances_between_classes(state); /* are of true classes and patches all the same */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy_counts_and_margins),
        cmocka_unit_test(distributions_over_patches),
        cmocka_unit_test(class_means_and_their_concentration),
        cmocka_unit_test(exemplars_are_the_images_with_the_largest_maxima),
        cmocka_unit_test(reads_are_judged_by_what_a_class_can_hold),
        cmocka_unit_test(channels_have_exemplars_as_neurons_have),
        cmocka_unit_test(selectivity_towards_the_promoted_class),
        cmocka_unit_test(distances_between_classes),
        cmocka_unit_test(attributions_add_up),
        cmocka_unit_test(tokens_read_early),
        cmocka_unit_test(votes_of_the_top_neurons),
        cmocka_unit_test(stray_tokens),
        cmocka_unit_test(class_means_are_of_the_images_and_tokens_that_were_asked_for),
    };
    return cmocka_run_group_tests(tests, make_run, close_golden);
}
