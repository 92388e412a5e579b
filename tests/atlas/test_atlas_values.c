/* Lens "key_value", lens "attribution" where the logits read a mean of patches or two heads, and
 * every number of lens "distance", against numpy (tools/golden_atlas.py, golden_distances.py); that
 * the parts of a logit sum to it in every model that has such parts, and that distances are ones.
 */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole.h"

enum { LABELS = 4, BLOCKS = 2, NEURONS = 96, CLASSES = 10, VARIANTS = 4, TOKENS = 17, EACH = 6 };
enum { CELLS = BLOCKS * VARIANTS, PARTS = 1 + 2 * BLOCKS, DIM = 24 };
static const int labels[LABELS] = {1, 6, 8, 9};

/* A p of 300 shuffles strays by at most 0.029 (one standard deviation). */
#define P_ATOL 0.12
/* As in test_atlas_golden.c: activations agree to 2e-5, sums of up to 96 such to ten times that. */
#define SUM_ATOL 2e-4
/* Distances of such maps; z-scores divide them by deviations. The largest difference is 1.1e-5. */
#define DISTANCE_ATOL 5e-5

static kh_tensors *golden;
static char database[4200], folder[4096];

static int open_golden(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/atlas/golden.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &golden, &err));
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    kh_tensors_close(golden);
    return 0;
}

/* A recorded tensor; -999 stands for NaN. Valid until the next call but three. */
static const double *expect(const char *name, size_t count) {
    static double room[4][LABELS * BLOCKS * NEURONS];
    static size_t turn;
    kh_error err = {0};
    double *values = room[turn++ % 4];
    assert_true(count <= sizeof room[0] / sizeof *values);
    kh_assert_ok(kh_tensors_read_f64(golden, name, false, values, count, &err));
    return values;
}

static double number(int64_t parameter, const char *query) {
    kh_error err = {0};
    double value;
    kh_assert_ok(kh_store_db_number(database, query, parameter, &value, &err));
    return value;
}

static void assert_near(double got, double want, double tolerance, const char *what, size_t index) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s[%zu]: %.9g, expected %.9g", what, index, got, want);
}

typedef struct how {
    const char *model, *lenses; /* model: in the folder of goldens, or a path */
    size_t threads, batch, shards;
} how;

/* Labels by number, in the order of the pictures: some models call their classes otherwise. */
static const char *label_file(void) {
    static char path[4200];
    (void)snprintf(path, sizeof path, "%s/labels.txt", kh_test_folder("labels"));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < LABELS * EACH; i++)
        assert_true(fprintf(file, "%d\n", labels[i / EACH]) > 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Runs to the end, or gives the reason in err. */
static kh_status run(how h, char digest[65], kh_error *why) {
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_source *source;
    char path[512], pictures[512];
    const kh_ctx_options ctx_options = {.threads = h.threads ? h.threads : 2};
    kh_assert_ok(kh_ctx_create(&ctx_options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, h.model);
    kh_assert_ok(kh_model_open(ctx, strchr(h.model, '/') ? h.model : path, NULL, &model, &err));
    (void)snprintf(folder, sizeof folder, "%s", kh_test_folder("values"));
    (void)snprintf(database, sizeof database, "%s/run.sqlite", folder);
    (void)snprintf(pictures, sizeof pictures, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {pictures};
    const kh_source_options source_options = {.classes = kh_model_classes(model),
                                              .label_file =
                                                  kh_model_classes(model) ? label_file() : NULL};
    kh_assert_ok(kh_source_open(operands, 1, &source_options, &source, &err));
    kh_atlas_options options = kh_atlas_options_default();
    options.out = folder;
    options.lenses = h.lenses;
    if (h.batch) options.batch = h.batch;
    options.shards = h.shards ? h.shards : 1;
    kh_status status = KH_OK;
    for (options.shard = 0; options.shard < options.shards && !status; options.shard++)
        status = kh_atlas(ctx, model, source, &options, NULL, why);
    options.shards = 1;
    options.shard = 0;
    options.only_merge = true;
    if (!status && h.shards > 1) status = kh_atlas(ctx, model, source, &options, NULL, why);
    if (!status && digest) kh_assert_ok(kh_atlas_digest(folder, digest, &err));
    kh_source_free(source);
    kh_model_close(model);
    kh_ctx_free(ctx);
    return status;
}

/* ---- keys and values ----------------------------------------------------------------------- */

#define CELL "block * 4 + (variant = 'neuron_topk') + 2 * (tokens = 'class_token')"

static double of_class(size_t label, size_t cell, const char *column) {
    char query[300];
    (void)snprintf(query, sizeof query,
                   "SELECT ifnull(%s, -999) FROM kv WHERE class * 8 + " CELL " = ?1", column);
    return number(labels[label] * (int64_t)CELLS + (int64_t)cell, query);
}

static double of_all(size_t cell, const char *column) {
    char query[300];
    (void)snprintf(query, sizeof query,
                   "SELECT ifnull(%s, -999) FROM kv_blocks WHERE " CELL " = ?1", column);
    return number((int64_t)cell, query);
}

static void tokens_speak_for_their_class(void **state) {
    (void)state;
    kh_error err = {0};
    static double rate[LABELS * CELLS * CLASSES];
    kh_assert_ok(run((how){.model = "vit_base", .lenses = "key_value"}, NULL, &err));
    memcpy(rate, expect("kv_rate", LABELS * CELLS * CLASSES), sizeof rate);
    const double *split = expect("kv_split", (LABELS + 1) * CELLS * 2);
    const double *p = expect("kv_p", (LABELS + 1) * CELLS);
    const double *correct = expect("kv_correct", LABELS);
    size_t shuffled = 0;
    assert_near(number(0, "SELECT count(*) FROM kv"), LABELS * CELLS, 0, "rows", 0);
    for (size_t i = 0; i < LABELS * CELLS; i++) {
        const size_t label = i / CELLS, cell = i % CELLS;
        const double other = of_class(label, cell, "random_class");
        assert_true(other >= 0 && other < CLASSES && (int)other != labels[label]);
        assert_near(of_class(label, cell, "rate"), rate[i * CLASSES + (size_t)labels[label]], 1e-9,
                    "rate", i);
        assert_near(of_class(label, cell, "rate_random"), rate[i * CLASSES + (size_t)other], 1e-9,
                    "rate_random", i);
        assert_near(of_class(label, cell, "correct"), correct[label], 0, "correct", i);
        assert_near(of_class(label, cell, "n_tokens"), cell % 4 < 2 ? EACH * TOKENS : EACH, 0,
                    "tokens", i);
        assert_near(of_class(label, cell, "ksize"), 5, 0, "ksize", i);
        assert_near(of_class(label, cell, "rate_correct"), split[2 * i], 1e-9, "rate_correct", i);
        assert_near(of_class(label, cell, "rate_wrong"), split[2 * i + 1], 1e-9, "rate_wrong", i);
        assert_near(of_class(label, cell, "p"), p[i], P_ATOL, "p", i); /* -999: neither has one */
        shuffled += p[i] > 0 && p[i] < 1;
    }
    assert_true(shuffled > 0); /* or the golden would say little of p */
}

static void all_classes_together(void **state) {
    (void)state;
    const double *rate = expect("kv_rate", LABELS * CELLS * CLASSES);
    const double *split = expect("kv_split", (LABELS + 1) * CELLS * 2);
    const double *p = expect("kv_p", (LABELS + 1) * CELLS), *within = expect("kv_within", CELLS);
    for (size_t cell = 0; cell < CELLS; cell++) {
        double mean = 0, random = 0;
        for (size_t label = 0; label < LABELS; label++) {
            const double *of = rate + (label * CELLS + cell) * CLASSES;
            mean += of[labels[label]] / LABELS;
            random += of[(size_t)of_class(label, cell, "random_class")] / LABELS;
        }
        const double *both = split + (LABELS * CELLS + cell) * 2;
        assert_near(of_all(cell, "classes"), LABELS, 0, "classes", cell);
        assert_near(of_all(cell, "images"), LABELS * EACH, 0, "images", cell);
        assert_near(of_all(cell, "rate"), mean, 1e-9, "rate", cell);
        assert_near(of_all(cell, "rate_random"), random, 1e-9, "rate_random", cell);
        assert_near(of_all(cell, "rate_correct"), both[0], 1e-9, "rate_correct", cell);
        assert_near(of_all(cell, "difference"), both[0] - both[1], 1e-9, "difference", cell);
        assert_near(of_all(cell, "p"), p[LABELS * CELLS + cell], P_ATOL, "p", cell);
        assert_near(of_all(cell, "p_within"), within[cell], P_ATOL, "p_within", cell);
    }
}

/* ---- attribution --------------------------------------------------------------------------- */

static void patches_are_weighted_as_their_mean_is_read(void **state) {
    (void)state;
    static const char *const models[] = {"gap_medium", "vit_base_mae_ft", "rpn_base"};
    for (size_t m = 0; m < 3; m++) {
        kh_error err = {0};
        char name[64], path[4200];
        static float got[CLASSES * BLOCKS * NEURONS];
        kh_assert_ok(run((how){.model = models[m], .lenses = "attribution"}, NULL, &err));
        (void)snprintf(name, sizeof name, "%s_direct", models[m]);
        const double *direct = expect(name, LABELS * PARTS);
        for (size_t i = 0; i < LABELS * BLOCKS; i++) {
            const double *of = direct + i / BLOCKS * PARTS + 1 + 2 * (i % BLOCKS);
            const int64_t key = labels[i / BLOCKS] * BLOCKS + (int64_t)(i % BLOCKS);
            assert_near(number(key, "SELECT attention FROM attribution WHERE class * 2 + block = "
                                    "?1"),
                        of[0], SUM_ATOL, "attention", i);
            assert_near(number(key, "SELECT mlp FROM attribution WHERE class * 2 + block = ?1"),
                        of[1], SUM_ATOL, "mlp", i);
        }
        (void)snprintf(name, sizeof name, "%s_contribution", models[m]);
        const double *want = expect(name, LABELS * BLOCKS * NEURONS);
        (void)snprintf(path, sizeof path, "%s/arrays/attribution_mean.npy", folder);
        kh_assert_ok(kh_store_npy_floats(path, 0, CLASSES * BLOCKS * NEURONS, got, &err));
        double largest = 0;
        for (size_t i = 0; i < LABELS * BLOCKS * NEURONS; i++) {
            const size_t c = (size_t)labels[i / (BLOCKS * NEURONS)];
            assert_near((double)got[c * BLOCKS * NEURONS + i % (BLOCKS * NEURONS)], want[i],
                        SUM_ATOL, models[m], i);
            largest = fmax(largest, fabs(want[i]));
        }
        assert_true(largest > 50 * SUM_ATOL);
    }
}

enum { IMAGE = 3 * 32 * 32 };

static void read_pictures(const kh_model_info *info, float *images) {
    kh_error err = {0};
    kh_source *source;
    kh_loader *loader;
    char path[512];
    bool more = true;
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    kh_assert_ok(kh_source_open(operands, 1, NULL, &source, &err));
    const kh_loader_options options = {.how = &info->preprocess, .end = LABELS * EACH};
    kh_assert_ok(kh_loader_create(source, &options, &loader, &err));
    for (size_t i = 0; i < LABELS * EACH; i++) {
        kh_loaded one;
        kh_assert_ok(kh_loader_next(loader, &one, &more, &err));
        assert_true(more && one.floats);
        memcpy(images + i * IMAGE, one.floats, IMAGE * sizeof *images);
    }
    kh_loader_free(loader);
    kh_source_free(source);
}

/* Looks at single pictures sum tokens for one neuron at a time, in another way. */
static void neurons_add_what_looks_say(void **state) {
    (void)state;
    static const char *const models[] = {"deit_base_distilled", "hf_dinov2", "hf_clip_classes",
                                         "rpn_base"};
    static float got[CLASSES * BLOCKS * NEURONS], images[LABELS * EACH * IMAGE];
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        kh_error err = {0};
        kh_ctx *ctx;
        kh_model *model;
        kh_ranking ranking;
        char path[4200];
        kh_assert_ok(run((how){.model = models[m], .lenses = "attribution"}, NULL, &err));
        (void)snprintf(path, sizeof path, "%s/arrays/attribution_mean.npy", folder);
        kh_assert_ok(kh_store_npy_floats(path, 0, CLASSES * BLOCKS * NEURONS, got, &err));
        (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, models[m]);
        kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
        kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
        read_pictures(kh_model_get_info(model), images);
        kh_rank_options rank = kh_rank_options_default();
        rank.k = NEURONS;
        kh_assert_ok(kh_lens_rank(ctx, model, &rank, &ranking, &err));
        for (size_t i = 0; i < LABELS * BLOCKS; i++) {
            const size_t c = (size_t)labels[i / BLOCKS], block = i % BLOCKS;
            const size_t classes[EACH] = {c, c, c, c, c, c};
            double mean[NEURONS] = {0};
            kh_look look;
            kh_look_options options = kh_look_options_default();
            options.ranking = &ranking;
            options.k = NEURONS;
            options.by_block = true;
            options.block = block;
            options.want_contributions = true;
            kh_assert_ok(kh_lens_look(ctx, model, &options, images + i / BLOCKS * EACH * IMAGE,
                                      EACH, classes, &look, &err));
            for (size_t k = 0; k < EACH * NEURONS; k++)
                mean[look.neurons[k].index] += look.contribution[k] / EACH;
            for (size_t n = 0; n < NEURONS; n++)
                assert_near((double)got[(c * BLOCKS + block) * NEURONS + n], mean[n], 1e-5,
                            models[m], n);
            kh_look_clear(&look);
        }
        kh_ranking_clear(&ranking);
        kh_model_close(model);
        kh_ctx_free(ctx);
    }
}

/* Of every way to pool there is: patches normed behind their mean or before it, with registers or a
 * class token they leave out; two heads; no norm; norms behind attention and MLP. */
static void parts_sum_to_the_logit(void **state) {
    (void)state;
    static const char *const models[] = {
        "vit_base",          "eva_large",       "gap_medium",          "reg1_gap_medium",
        "reg4_gap_base",     "siglip_gap_base", "vit_base_mae_ft",     "test_vit2",
        "hf_siglip_classes", "hf_clip_classes", "deit_base_distilled", "hf_deit_teacher",
        "hf_dinov2",         "hf_dinov2_reg",   "hf_dinov2_swiglu",    "rpn_base"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        kh_error err = {0};
        kh_assert_ok(run((how){.model = models[m], .lenses = "attribution"}, NULL, &err));
        assert_near(number(0, "SELECT images FROM attribution_check"), LABELS * EACH, 0, models[m],
                    m);
        /* logits of up to ten, in float */
        assert_near(number(0, "SELECT worst_error FROM attribution_check"), 0, 1e-5, models[m], m);
        assert_near(number(0, "SELECT alignment = 'ln' FROM attribution_check"), 1, 0, models[m],
                    m);
    }
}

static void a_logit_without_parts_is_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_assert_fails(run((how){.model = "siglip_base32", .lenses = "attribution"}, NULL, &err),
                    KH_E_UNSUPPORTED, "attention pool");
    kh_assert_fails(run((how){.model = "siglip_base", .lenses = "attribution"}, NULL, &err),
                    KH_E_UNSUPPORTED, "no classifier");
    kh_assert_fails(run((how){.model = "siglip_base32", .lenses = "key_value"}, NULL, &err),
                    KH_E_UNSUPPORTED, "no classifier that acts on tokens");
}

static void neither_depends_on_how_it_was_run(void **state) {
    (void)state;
    char first[65], other[65];
    kh_error err = {0};
    how h = {.model = "gap_medium", .lenses = "attribution,key_value", .threads = 1, .batch = 24};
    kh_assert_ok(run(h, first, &err));
    h.threads = 3;
    h.batch = 5;
    h.shards = 3;
    kh_assert_ok(run(h, other, &err));
    assert_string_equal(first, other);
    assert_near(number(0, "SELECT count(*) FROM kv WHERE tokens <> 'all'"), 0, 0, "class token", 0);
}

/* ---- distances ------------------------------------------------------------------------------ */

enum { READINGS = 7, TWINS = 3, PAIRS = LABELS * LABELS };
/* Definition and k in the order of the array. */
#define READING                                                                                    \
    "CASE definition || k WHEN 'D11' THEN 0 WHEN 'D21' THEN 1 WHEN 'D31' THEN 2 WHEN 'D13' THEN "  \
    "3 WHEN 'D1c3' THEN 4 WHEN 'D23' THEN 5 WHEN 'D33' THEN 6 END"

static void read_distances(const char *name, double out[READINGS * BLOCKS * PAIRS]) {
    kh_error err = {0};
    kh_tensors *recorded;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/atlas/distances.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &recorded, &err));
    kh_assert_ok(
        kh_tensors_read_f64(recorded, name, false, out, (size_t)READINGS * BLOCKS * PAIRS, &err));
    kh_tensors_close(recorded);
}

static void distances_raw_and_normalised(void **state) {
    (void)state;
    enum { CELLS_OF_ARRAY = READINGS * BLOCKS * CLASSES * CLASSES };
    static const char *const columns[3] = {"distance", "per_norm", "zscore"};
    double want[3][READINGS * BLOCKS * PAIRS];
    float array[CELLS_OF_ARRAY];
    char path[4300];
    kh_error err = {0};
    kh_answer *a;
    for (size_t i = 0; i < 3; i++)
        read_distances(columns[i], want[i]);
    kh_assert_ok(
        run((how){.model = "vit_base", .lenses = "units,class_mean,distance"}, NULL, &err));
    (void)snprintf(path, sizeof path, "%s/arrays/distances.npy", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, -(long)sizeof array, SEEK_END), 0);
    assert_int_equal(ftell(file), 128); /* behind the header */
    assert_int_equal(fread(array, sizeof *array, CELLS_OF_ARRAY, file), CELLS_OF_ARRAY);
    (void)fclose(file);
    kh_assert_ok(kh_store_db_ask(
        database,
        "SELECT class_a, class_b, distance, ifnull(per_norm, -999), ifnull(zscore, -999), "
        "" READING " AS reading, block FROM distances ORDER BY reading, block, class_a, class_b",
        NULL, 0, &a, &err));
    assert_int_equal(kh_answer_rows(a), READINGS * BLOCKS * PAIRS);
    for (size_t r = 0; r < READINGS * BLOCKS * PAIRS; r++) {
        const size_t x = (size_t)labels[r / LABELS % LABELS], y = (size_t)labels[r % LABELS];
        float *cell = &array[(r / PAIRS * CLASSES + x) * CLASSES + y];
        assert_near(kh_answer_number(a, r, 0), (double)x, 0, "class_a", r);
        assert_near(kh_answer_number(a, r, 1), (double)y, 0, "class_b", r);
        for (size_t i = 0; i < 3; i++)
            assert_near(kh_answer_number(a, r, i + 2), want[i][r], DISTANCE_ATOL, columns[i], r);
        assert_near((double)*cell, (double)(float)kh_answer_number(a, r, 2), 0, "array", r);
        *cell = NAN;
    }
    for (size_t i = 0; i < CELLS_OF_ARRAY; i++) /* the others are of classes without images */
        assert_true(isnan(array[i]));
    kh_answer_free(a);
}

/* Of the run above. */
static void distances_are_distances(void **state) {
    (void)state;
#define PAIR                                                                                       \
    "FROM distances x JOIN distances y ON x.definition = y.definition AND x.k = y.k AND x.block "  \
    "= y.block "
#define SAME "AND x.block = y.block AND x.class_a = y.class_a AND x.class_b = y.class_b "
    static const char *const never[] = {
        "SELECT count(*) FROM distances WHERE NOT distance >= 0 OR (class_a = class_b) <> (rank = "
        "-1) OR (definition = 'D3') <> (per_norm IS NULL) OR (definition || k = 'D23') <> (zscore "
        "IS NULL)",
        "SELECT count(*) FROM distances WHERE definition <> 'D2' AND (class_a = class_b) <> "
        "(distance = 0)",
        "SELECT count(*) " PAIR "WHERE x.class_a = y.class_b AND x.class_b = y.class_a AND "
        "(x.distance <> y.distance OR x.per_norm <> y.per_norm OR x.zscore <> y.zscore)",
        "SELECT count(*) " PAIR "JOIN distances z ON x.definition = z.definition AND x.k = z.k AND "
        "x.block = z.block WHERE x.class_b = y.class_a AND x.class_a = z.class_a AND y.class_b = "
        "z.class_b AND x.definition <> 'D2' AND (z.distance > x.distance + y.distance + 1e-12 OR "
        "z.zscore > x.zscore + y.zscore + 1e-12)",
        /* of two pictures as of their means or more; three maps differ as their mean or more */
        "SELECT count(*) FROM distances x JOIN distances y ON x.definition = 'D2' AND y.definition "
        "= 'D1' AND x.k = y.k " SAME
        "WHERE x.distance < y.distance OR (x.k = 1 AND x.zscore < y.zscore)",
        "SELECT count(*) FROM distances x JOIN distances y ON x.definition = 'D1c' AND "
        "y.definition = 'D1' AND y.k = 3 " SAME "WHERE x.distance < sqrt(3) * y.distance - 1e-12"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_near(number(0, never[i]), 0, 0, "never", i);
#undef SAME
#undef PAIR
}

static char *file_of(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = calloc(1, 1u << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1u << 20, file);
    assert_int_equal(fclose(file), 0);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Copies neuron 0 over 1 and 2, 3 over 4 and 5, ...: every line-th number of `lines` rows. */
static void twin(char *bytes, const char *name, size_t lines, size_t width, size_t step) {
    uint64_t header;
    char key[80];
    memcpy(&header, bytes, sizeof header);
    (void)snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(bytes + sizeof header, key);
    assert_non_null(at);
    at = strstr(at, "\"data_offsets\":[");
    char *data = bytes + sizeof header + header + strtoul(at + 16, NULL, 10);
    for (size_t line = 0; line < lines; line++)
        for (size_t j = 0; j < NEURONS; j++)
            memcpy(data + (line * NEURONS + j) * step,
                   data + (line * NEURONS + j - j % TWINS) * step, width);
}

/* With neurons in groups of three alike, three say what one says. */
static void three_equal_neurons_are_one(void **state) {
    (void)state;
    kh_error err = {0};
    char twins[4096], path[4300];
    size_t size;
    (void)snprintf(twins, sizeof twins, "%s", kh_test_folder("twins"));
    (void)snprintf(path, sizeof path, "%s/golden/vit_base/config.json", KH_TEST_DATA);
    char *bytes = file_of(path, &size);
    (void)snprintf(path, sizeof path, "%s/config.json", twins);
    write_file(path, bytes, size);
    free(bytes);
    (void)snprintf(path, sizeof path, "%s/golden/vit_base/model.safetensors", KH_TEST_DATA);
    bytes = file_of(path, &size);
    for (size_t b = 0; b < BLOCKS; b++) {
        char name[64];
        const size_t row = (size_t)DIM * sizeof(float);
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.fc1.weight", b);
        twin(bytes, name, 1, row, row);
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.fc1.bias", b);
        twin(bytes, name, 1, sizeof(float), sizeof(float));
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.fc2.weight", b);
        twin(bytes, name, DIM, sizeof(float), sizeof(float));
    }
    (void)snprintf(path, sizeof path, "%s/model.safetensors", twins);
    write_file(path, bytes, size);
    free(bytes);
    kh_assert_ok(run((how){.model = twins, .lenses = "units,class_mean,distance"}, NULL, &err));
    /* times one neuron's: the mean map 1, three maps or three neurons the root of three */
    static const char *const largest[] = {"abs(y.distance - x.distance * f.times)",
                                          "abs(y.zscore - x.zscore * f.times)",
                                          "abs(y.per_norm - x.per_norm)"};
    char query[600];
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(query, sizeof query,
                       "WITH f(one, three, times) AS (VALUES ('D1', 'D1', 1), ('D1', 'D1c', "
                       "sqrt(3)), ('D2', 'D2', 1), ('D3', 'D3', sqrt(3))) SELECT max(%s) FROM f "
                       "JOIN distances x ON x.definition = f.one AND x.k = 1 JOIN distances y ON "
                       "y.definition = f.three AND y.k = 3 AND x.block = y.block AND x.class_a = "
                       "y.class_a AND x.class_b = y.class_b",
                       largest[i]);
        /* sums are rounded to 2^-20 */
        assert_near(number(0, query), 0, 1e-5, largest[i], i);
    }
    assert_true(number(0, "SELECT min(distance) FROM distances WHERE class_a < class_b") > 1e-3);
}

/* Memory that fails while the lenses are set up: each frees what it has, once. */
static void every_lens_survives_a_lack_of_memory(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_source *source;
    char path[512];
    const kh_ctx_options ctx_options = {.threads = 1};
    kh_assert_ok(kh_ctx_create(&ctx_options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/vit_base", KH_TEST_DATA);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options source_options = {.classes = kh_model_classes(model)};
    kh_assert_ok(kh_source_open(operands, 1, &source_options, &source, &err));
    kh_atlas_options options = kh_atlas_options_default();
    options.out = "never made";
    options.lenses = "all";
    options.class_reduction = KH_REDUCE_ALL;
    kh_atlas_estimate estimate;
    size_t failures = 0, n = 0;
    for (bool is_over = false; !is_over && n < 5000;) { /* until none is refused */
        kh_alloc_fail_after(++n);
        const kh_status status = kh_atlas_plan(ctx, model, source, &options, &estimate, &err);
        is_over = !status && kh_alloc_count() < n;
        kh_alloc_fail_after(0);
        if (status) assert_int_equal(status, KH_E_MEMORY);
        failures += status != KH_OK;
    }
    assert_true(n < 5000 && failures > 60);
    kh_source_free(source);
    kh_model_close(model);
    kh_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_speak_for_their_class),
        cmocka_unit_test(all_classes_together),
        cmocka_unit_test(patches_are_weighted_as_their_mean_is_read),
        cmocka_unit_test(neurons_add_what_looks_say),
        cmocka_unit_test(parts_sum_to_the_logit),
        cmocka_unit_test(a_logit_without_parts_is_refused),
        cmocka_unit_test(neither_depends_on_how_it_was_run),
        cmocka_unit_test(distances_raw_and_normalised),
        cmocka_unit_test(distances_are_distances),
        cmocka_unit_test(three_equal_neurons_are_one),
        cmocka_unit_test(every_lens_survives_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
