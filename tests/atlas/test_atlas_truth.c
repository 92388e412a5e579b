/* Network Dissection, regions and percentile masks against numpy (tools/golden_atlas.py). */
#define _POSIX_C_SOURCE 200809L
#include "support/kh_test.h"

#include "keyhole.h"

#include <unistd.h>

enum { BLOCKS = 2, NEURONS = 96, UNITS = BLOCKS * NEURONS, LABELS = 7, CATEGORIES = 2 };
enum { ROTATED = NEURONS / 8 }; /* directions of a block */

/* Of 24 images of 1024 pixels, one or two may lie within rounding of a threshold. */
#define PIXELS 2

static char database[4200];
static kh_tensors *golden;

static const double *expect(const char *name, size_t count) {
    static double room[6][UNITS * LABELS];
    static size_t turn;
    kh_error err = {0};
    double *values = room[turn++ % 6];
    assert_true(count <= UNITS * LABELS);
    kh_assert_ok(kh_tensors_read_f64(golden, name, false, values, count, &err));
    return values;
}

static void run_over(const char *truth, const char *lenses, const char *name, char *file,
                     size_t file_bytes) {
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_source *source;
    kh_label_set *set;
    char path[512];
    float thresholds[UNITS];
    const double *given = expect("dissect_threshold", UNITS);
    for (size_t u = 0; u < UNITS; u++)
        thresholds[u] = (float)given[u];
    const kh_ctx_options ctx_options = {.threads = 2};
    kh_assert_ok(kh_ctx_create(&ctx_options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/vit_base", KH_TEST_DATA);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    kh_assert_ok(kh_label_set_open(truth, NULL, &set, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options source_options = {.classes = kh_model_classes(model)};
    kh_assert_ok(kh_source_open(operands, 1, &source_options, &source, &err));
    kh_atlas_options options = kh_atlas_options_default();
    options.out = kh_test_folder(name);
    options.lenses = lenses;
    options.label_set = set;
    options.thresholds = thresholds;
    float rotated[BLOCKS * ROTATED]; /* block 0 is above everywhere, block 1 nowhere */
    for (size_t i = 0; i < BLOCKS * ROTATED; i++)
        rotated[i] = i < ROTATED ? -1e30f : 1e30f;
    options.rotated = rotated;
    kh_assert_ok(kh_atlas(ctx, model, source, &options, NULL, &err));
    (void)snprintf(file, file_bytes, "%s/run.sqlite", options.out);
    kh_source_free(source);
    kh_label_set_close(set);
    kh_model_close(model);
    kh_ctx_free(ctx);
}

static int make_run(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/atlas/golden.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &golden, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/truth", KH_TEST_DATA);
    run_over(path, "dissect,masks,context", "truth", database, sizeof database);
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    kh_tensors_close(golden);
    return 0;
}

static double number_of(const char *file, int64_t parameter, const char *query) {
    kh_error err = {0};
    double value;
    kh_assert_ok(kh_store_db_number(file, query, parameter, &value, &err));
    return value;
}

static double number(int64_t parameter, const char *query) {
    return number_of(database, parameter, query);
}

static void assert_near(double got, double want, double tolerance, const char *what, size_t index) {
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%s[%zu]: %.9g, expected %.9g", what, index, got, want);
}

static double iou_of(double both, double active, double truth) {
    return both / (active + truth - both);
}

static void every_label_map_is_counted(void **state) {
    (void)state;
    const double *truth = expect("dissect_truth", LABELS);
    for (size_t l = 0; l < LABELS; l++)
        assert_near(number((int64_t)l + 1, "SELECT pixels FROM labels WHERE label = ?1"), truth[l],
                    0, "pixels", l);
}

static void rotated_units_are_counted_as_neurons_are(void **state) {
    (void)state;
    const double *truth = expect("dissect_truth", LABELS);
    double best = 0;
    size_t label = 0;
    for (size_t l = 0; l < LABELS; l++) { /* colours are annotated on 19 of the 24 images */
        const double iou = truth[l] / (1024.0 * (l < 4 ? 24 : 19));
        if (iou >= best) {
            best = iou;
            label = l;
        }
    }
    assert_true(best >= 0.04);
    const double here = label < 4 ? 0 : 1;
    static const char row[] = "FROM rotation WHERE block = ?1 AND category = ";
    char query[200];
    for (int c = 0; c < 2; c++)
        for (int64_t b = 0; b < BLOCKS; b++) {
            const double all = c == (int)here && b == 0 ? ROTATED : 0;
            const char *name = c ? "'color'" : "'object'";
            (void)snprintf(query, sizeof query, "SELECT rotated_detectors %s%s", row, name);
            assert_near(number(b, query), all, 0, "rotated detectors", (size_t)b);
            (void)snprintf(query, sizeof query, "SELECT rotated_labels %s%s", row, name);
            assert_near(number(b, query), all > 0, 0, "rotated labels", (size_t)b);
            (void)snprintf(query, sizeof query, "SELECT rotated_share * rotated_units %s%s", row,
                           name);
            assert_near(number(b, query), all, 1e-12, "rotated share", (size_t)b);
            (void)snprintf(query, sizeof query,
                           "SELECT detectors - (SELECT detectors FROM detectors WHERE block = ?1 "
                           "AND category = %s) %s%s",
                           name, row, name);
            assert_near(number(b, query), 0, 0, "detectors", (size_t)b);
        }
}

static void subject_and_context_are_told_apart(void **state) {
    (void)state;
    const double *want = expect("context", BLOCKS * 3 * 4), *tokens = expect("context_tokens", 2);
    static const char *const columns[] = {"subject", "context", "subject_rate", "context_rate"};
    static const char where[] = "FROM context WHERE block * 3 + (CASE site WHEN 'residual' THEN 0 "
                                "WHEN 'attention' THEN 1 ELSE 2 END) = ?1";
    char query[300];
    for (int64_t cell = 0; cell < BLOCKS * 3; cell++) {
        for (size_t c = 0; c < 4; c++) {
            (void)snprintf(query, sizeof query, "SELECT %s %s", columns[c], where);
            assert_near(number(cell, query), want[cell * 4 + (int64_t)c], 1e-12, columns[c],
                        (size_t)cell);
        }
        (void)snprintf(query, sizeof query, "SELECT difference - (subject - context) %s", where);
        assert_near(number(cell, query), 0, 1e-12, "difference", (size_t)cell);
        /* shuffles within images keep what images differ in, no more: near the null */
        (void)snprintf(query, sizeof query, "SELECT abs(shuffled) < 0.08 %s", where);
        assert_near(number(cell, query), 1, 0, "shuffled", (size_t)cell);
        (void)snprintf(query, sizeof query, "SELECT p * 301 >= 1 AND p <= 1 %s", where);
        assert_near(number(cell, query), 1, 0, "p", (size_t)cell);
    }
    assert_near(number(0, "SELECT subject_tokens FROM context"), tokens[0], 0, "tokens", 0);
    assert_near(number(0, "SELECT context_tokens FROM context"), tokens[1], 0, "tokens", 1);
    assert_near(number(0, "SELECT images FROM context"), 24, 0, "images", 0);
}

static void every_neuron_gets_its_label(void **state) {
    (void)state;
    const double *both = expect("dissect_both", UNITS * LABELS);
    const double *active = expect("dissect_active", UNITS * CATEGORIES);
    const double *truth = expect("dissect_truth", LABELS);
    const double *threshold = expect("dissect_threshold", UNITS);
    size_t judged = 0, detectors = 0;
    for (size_t u = 0; u < UNITS; u++) {
        double iou[LABELS];
        size_t best = 0;
        if (threshold[u] <= 0x1p-13) {
            assert_near(number((int64_t)u, "SELECT max(iou, 0) FROM dissection WHERE block * 96 + "
                                           "neuron = ?1"),
                        0, 0, "silent", u);
            continue;
        }
        for (size_t l = 0; l < LABELS; l++) {
            iou[l] = iou_of(both[u * LABELS + l], active[u * CATEGORIES + (l >= 4)], truth[l]);
            if (iou[l] > iou[best] || (l >= 4 && best < 4 && iou[l] >= iou[best])) best = l;
        }
        bool is_close = false; /* two labels that a pixel or two may exchange */
        for (size_t l = 0; l < LABELS; l++)
            is_close |= l != best && iou[l] > iou[best] - 0.0005;
        if (is_close) continue;
        judged++;
        detectors += iou[best] >= 0.04;
        const int64_t i = (int64_t)u;
        assert_near(number(i, "SELECT label FROM dissection WHERE block * 96 + neuron = ?1"),
                    (double)best + 1, 0, "label", u);
        assert_near(number(i, "SELECT c.both FROM dissection_categories c JOIN dissection d "
                              "USING (block, neuron, label) WHERE block * 96 + neuron = ?1"),
                    both[u * LABELS + best], PIXELS, "intersect", u);
        assert_near(number(i, "SELECT c.above FROM dissection_categories c JOIN dissection d "
                              "USING (block, neuron, label) WHERE block * 96 + neuron = ?1"),
                    active[u * CATEGORIES + (best >= 4)], PIXELS, "activation", u);
        const double a = active[u * CATEGORIES + (best >= 4)];
        assert_near(number(i, "SELECT iou FROM dissection WHERE block * 96 + neuron = ?1"),
                    iou[best], PIXELS / (a + truth[best]), "iou", u);
    }
    assert_true(judged > UNITS / 2 && detectors > 0);
}

/* ---- what labels are kinds of ---------------------------------------------------------------- */

static void write_file(const char *folder, const char *name, const char *text) {
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The same maps under names of WordNet: two breeds of dog, a cat, a fire engine. */
static const char *folder_of_nouns(void) {
    static const char noun[] = "%08d 05 n 01 %s 0 %s | a gloss\n";
    static const struct {
        int offset;
        const char *name, *above;
    } nouns[] = {{1740, "entity", "000"},
                 {4475, "organism", "001 @ 00001740 n 0000"}, /* the same labels as animal */
                 {15388, "animal", "001 @ 00004475 n 0000"},
                 {21939, "artifact", "001 @ 00001740 n 0000"},
                 {2084071, "dog", "001 @ 00015388 n 0000"},
                 {2099601, "golden_retriever", "001 @ 02084071 n 0000"},
                 {2099712, "Labrador_retriever", "001 @ 02084071 n 0000"},
                 {2121620, "cat", "001 @ 00015388 n 0000"},
                 {2123045, "tabby", "001 @ 02121620 n 0000"},
                 {3345487, "fire_engine", "001 @ 00021939 n 0000"}};
    static const char *const same[] = {"index.csv", "category.csv", "images"};
    const char *folder = kh_test_folder("nouns");
    char text[2000] = "  1 a licence\n", from[600], to[600];
    for (size_t i = 0; i < sizeof nouns / sizeof *nouns; i++) {
        const size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, noun, nouns[i].offset, nouns[i].name,
                       nouns[i].above);
    }
    write_file(folder, "data.noun", text);
    write_file(folder, "label.csv",
               "number,name,category,frequency,coverage,syns\n"
               "1,n02099601,object(1),1,1,\n2,n02099712 Labrador,object(1),1,1,\n"
               "3,n02123045,object(1),1,1,\n4,n03345487,object(1),1,1,\n"
               "5,red,color(1),1,1,\n6,green,color(1),1,1,\n7,blue,color(1),1,1,\n");
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(from, sizeof from, "%s/atlas/truth/%s", KH_TEST_DATA, same[i]);
        (void)snprintf(to, sizeof to, "%s/%s", folder, same[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    return folder;
}

static void kinds_are_the_sums_of_their_labels(void **state) {
    (void)state;
    enum { KINDS = 3 };
    static const char *const names[KINDS] = {"entity", "animal", "dog"};
    static const size_t members[KINDS] = {4, 3, 2}; /* the first of the labels */
    const double *both = expect("dissect_both", UNITS * LABELS);
    const double *active = expect("dissect_active", UNITS * CATEGORIES);
    const double *truth = expect("dissect_truth", LABELS);
    const double *threshold = expect("dissect_threshold", UNITS);
    char file[4200], query[256];
    const char *folder = folder_of_nouns();
    run_over(folder, "dissect", "kinds", file, sizeof file);
    assert_near(number_of(file, 0, "SELECT count(*) FROM kinds"), KINDS, 0, "kinds", 0);
    size_t judged = 0, met[KINDS] = {0};
    for (size_t u = 0; u < UNITS; u++) {
        double iou[KINDS] = {0}, most = 0;
        size_t best = 0;
        if (threshold[u] <= 0x1p-13) continue;
        for (size_t k = 0; k < KINDS; k++) {
            double b = 0, t = 0;
            for (size_t l = 0; l < members[k]; l++) {
                b += both[u * LABELS + l];
                t += truth[l];
            }
            iou[k] = iou_of(b, active[u * CATEGORIES], t);
            if (iou[k] > iou[best]) best = k;
        }
        for (size_t l = 0; l < 4; l++)
            most = fmax(most, iou_of(both[u * LABELS + l], active[u * CATEGORIES], truth[l]));
        bool is_close = false;
        for (size_t k = 0; k < KINDS; k++)
            is_close |= k != best && iou[k] > iou[best] - 0.0005;
        if (is_close) continue;
        judged++;
        met[best]++;
        static const char where[] = "FROM dissection_kinds WHERE block * 96 + neuron = ?1";
        (void)snprintf(query, sizeof query, "SELECT name = '%s' AND labels = %zu %s", names[best],
                       members[best], where);
        assert_near(number_of(file, (int64_t)u, query), 1, 0, names[best], u);
        (void)snprintf(query, sizeof query, "SELECT iou %s", where);
        assert_near(number_of(file, (int64_t)u, query), iou[best], PIXELS / active[u * CATEGORIES],
                    "iou", u);
        (void)snprintf(query, sizeof query, "SELECT label_iou %s", where);
        assert_near(number_of(file, (int64_t)u, query), most, PIXELS / active[u * CATEGORIES],
                    "label_iou", u);
    }
    assert_true(judged > UNITS / 2 && met[0] > 0 && met[1] + met[2] > 0);
    assert_near(number_of(file, 0, "SELECT pixels FROM kinds WHERE name = 'dog'"),
                truth[0] + truth[1], 0, "pixels", 0);
    kh_error err = {0};
    kh_label_set *set = NULL;
    write_file(folder, "data.noun", "00001740 05 n once upon a time\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT, "data.noun: line 1");
}

static void regions_are_means_over_their_patches(void **state) {
    (void)state;
    static const char *const names[] = {"subject", "border", "background"};
    const double *want = expect("regions", BLOCKS * 3 * NEURONS);
    char query[128];
    for (size_t r = 0; r < 3; r++) {
        (void)snprintf(query, sizeof query, "SELECT %s FROM regions WHERE block * 96 + neuron = ?1",
                       names[r]);
        for (size_t u = 0; u < UNITS; u++)
            assert_near(number((int64_t)u, query),
                        want[(u / NEURONS * 3 + r) * NEURONS + u % NEURONS], 2e-5, names[r], u);
    }
}

static void masks_meet_the_object_as_often_as_in_numpy(void **state) {
    (void)state;
    static const char *const columns[] = {"pooled_iou", "iou", "precision", "recall", "pointing"};
    const double *want = expect("masks", BLOCKS * 2 * 5);
    char query[160];
    for (size_t i = 0; i < BLOCKS * 2 * 5; i++) {
        (void)snprintf(query, sizeof query,
                       "SELECT %s FROM masks WHERE block * 2 + (kind = 'running') = ?1",
                       columns[i % 5]);
        /* the percentile may fall between two pixels in float and on the other side in double */
        assert_near(number((int64_t)(i / 5), query), want[i], 1e-3, columns[i % 5], i);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_label_map_is_counted),
        cmocka_unit_test(subject_and_context_are_told_apart),
        cmocka_unit_test(every_neuron_gets_its_label),
        cmocka_unit_test(rotated_units_are_counted_as_neurons_are),
        cmocka_unit_test(kinds_are_the_sums_of_their_labels),
        cmocka_unit_test(regions_are_means_over_their_patches),
        cmocka_unit_test(masks_meet_the_object_as_often_as_in_numpy),
    };
    return cmocka_run_group_tests(tests, make_run, close_golden);
}
