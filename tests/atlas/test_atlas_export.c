/* Exemplars in MILAN's layout: shapes and bytes of the files, against the run's own tables and
 * against torch (tools/golden_atlas.py). */
#include "support/kh_test.h"

#include "keyhole.h"

#include <unistd.h>

enum { SIDE = 32, PIXELS = SIDE * SIDE, RANKS = 5, NEURONS = 96 };
enum { GOLDEN = 2 }; /* ranks that were recorded */

/* Activations agree to 2e-5 (the gate of every site). */
#define ATOL 2e-5

static kh_ctx *ctx;
static kh_model *model;
static kh_source *source;
static kh_tensors *golden;
static char run_folder[4096];

static kh_source *open_pictures(const char *which) {
    kh_error err = {0};
    kh_source *out;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/atlas/pictures%s", KH_TEST_DATA, which);
    char *operands[] = {path};
    const kh_source_options options = {.classes = kh_model_classes(model)};
    kh_assert_ok(kh_source_open(operands, 1, &options, &out, &err));
    return out;
}

static int make_run(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    const kh_ctx_options ctx_options = {.threads = 2};
    kh_assert_ok(kh_ctx_create(&ctx_options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/vit_base", KH_TEST_DATA);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    source = open_pictures("");
    (void)snprintf(run_folder, sizeof run_folder, "%s", kh_test_folder("run"));
    kh_atlas_options options = kh_atlas_options_default();
    options.out = run_folder;
    options.lenses = "units,exemplars,channels";
    options.exemplars = RANKS;
    kh_assert_ok(kh_atlas(ctx, model, source, &options, NULL, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/golden.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &golden, &err));
    return 0;
}

static int close_all(void **state) {
    (void)state;
    kh_tensors_close(golden);
    kh_source_free(source);
    kh_model_close(model);
    kh_ctx_free(ctx);
    return 0;
}

static kh_export_options options_for(const char *name) {
    kh_export_options o = kh_export_options_default();
    o.run = run_folder;
    o.out = kh_test_folder(name);
    return o;
}

/* Bytes of a file, NUL behind them; free with free(). */
static char *contents(const char *folder, const char *name, size_t *count) {
    char path[8300];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("no file %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *count = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(*count + 1, 1);
    assert_int_equal(fread(bytes, 1, *count, file), *count);
    (void)fclose(file);
    return bytes;
}

/* The elements of an .npy whose header must be exactly what numpy writes for `descr` and `shape`.
 */
static uint8_t *elements(const char *folder, const char *name, const char *descr, const char *shape,
                         size_t bytes) {
    char want[256];
    size_t count;
    char *all = contents(folder, name, &count);
    (void)snprintf(want, sizeof want, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                   descr, shape);
    assert_memory_equal(all, "\x93NUMPY\x01\x00", 8);
    const size_t header = (size_t)(unsigned char)all[8] + 256 * (size_t)(unsigned char)all[9];
    assert_int_equal((10 + header) % 64, 0);
    assert_memory_equal(all + 10, want, strlen(want));
    assert_int_equal(all[10 + header - 1], '\n');
    assert_int_equal(count, 10 + header + bytes);
    uint8_t *out = malloc(bytes);
    memcpy(out, all + 10 + header, bytes);
    free(all);
    return out;
}

static const double *expect(const char *name, const char *suffix, size_t count) {
    static double room[3 * GOLDEN * PIXELS];
    kh_error err = {0};
    char full[64];
    (void)snprintf(full, sizeof full, "export_%s_%s", name, suffix);
    kh_assert_ok(kh_tensors_read_f64(golden, full, false, room, count, &err));
    return room;
}

static double number(int64_t parameter, const char *query) {
    char database[4200];
    kh_error err = {0};
    double value;
    (void)snprintf(database, sizeof database, "%s/run.sqlite", run_folder);
    kh_assert_ok(kh_store_db_number(database, query, parameter, &value, &err));
    return value;
}

/* Pixels further from the threshold than rounding could carry them. */
static void assert_masks(const uint8_t *masks, const char *pad, const char *unit,
                         double threshold) {
    const double *up = expect(pad, unit, GOLDEN * PIXELS);
    size_t on = 0, unclear = 0;
    for (size_t i = 0; i < GOLDEN * PIXELS; i++) {
        on += masks[i];
        assert_true(masks[i] <= 1);
        if (fabs(up[i] - threshold) <= ATOL)
            unclear++;
        else if (masks[i] != (up[i] > threshold))
            fail_msg("%s of %s, pixel %zu: %d at %g, threshold %g", pad, unit, i, masks[i], up[i],
                     threshold);
    }
    assert_true(on > 8 && on < GOLDEN * PIXELS / 2);
    assert_true(unclear < 10);
}

static void assert_pictures(const uint8_t *images, const char *unit) {
    const double *want = expect("picture", unit, 3 * GOLDEN * PIXELS);
    for (size_t i = 0; i < 3 * GOLDEN * PIXELS; i++)
        assert_int_equal(images[i], (int)want[i]);
}

static void assert_lists(const char *folder, int64_t unit) {
    size_t count;
    char *ids = contents(folder, "ids.csv", &count), *at = ids;
    for (int64_t r = 0; r < RANKS; r++) {
        const double id = number(unit * RANKS + r,
                                 "SELECT image FROM exemplars WHERE level = 'top' AND (block * 96 "
                                 "+ neuron) * 5 + rank = ?1");
        assert_int_equal(strtol(at, &at, 10), (long)id);
        assert_int_equal(*at++, r + 1 < RANKS ? ',' : '\n');
    }
    free(ids);
    char want[32];
    char *activations = contents(folder, "activations.csv", &count);
    at = activations;
    for (int64_t r = 0; r < RANKS; r++) {
        (void)snprintf(want, sizeof want, "%.5e%c",
                       number(unit * RANKS + r,
                              "SELECT value FROM exemplars WHERE level = 'top' AND (block * 96 + "
                              "neuron) * 5 + rank = ?1"),
                       r + 1 < RANKS ? ',' : '\n');
        assert_memory_equal(at, want, strlen(want));
        at += strlen(want);
    }
    free(activations);
}

static void chosen_neurons_are_as_torch_makes_them(void **state) {
    (void)state;
    kh_error err = {0};
    kh_export_summary summary;
    const kh_neuron chosen[] = {{1, 17}, {0, 5}, {1, 17}};
    kh_export_options o = options_for("chosen");
    o.neurons = chosen;
    o.neuron_count = 3;
    o.batch = 3;
    kh_assert_ok(kh_atlas_export_milan(ctx, model, source, &o, &summary, &err));
    assert_int_equal(summary.units, 2);
    assert_int_equal(summary.layers, 2);
    static const struct {
        const char *layer, *golden;
        int64_t unit, block;
    } units[] = {{"blocks.0.mlp.act", "a", 5, 0}, {"blocks.1.mlp.act", "b", 17, 1}};
    for (size_t i = 0; i < 2; i++) {
        char folder[4200];
        (void)snprintf(folder, sizeof folder, "%s/%s", o.out, units[i].layer);
        uint8_t *images =
            elements(folder, "images.npy", "|u1", "(1, 5, 3, 32, 32)", 3 * RANKS * PIXELS);
        uint8_t *masks = elements(folder, "masks.npy", "|u1", "(1, 5, 1, 32, 32)", RANKS * PIXELS);
        uint8_t *list = elements(folder, "units.npy", "<i8", "(1,)", 8);
        int64_t unit;
        memcpy(&unit, list, 8);
        assert_int_equal(unit, units[i].unit);
        const int64_t key = units[i].block * NEURONS + unit;
        assert_pictures(images, units[i].golden);
        assert_masks(masks, "edge", units[i].golden,
                     (double)(float)number(
                         key, "SELECT threshold_99 FROM neurons WHERE block * 96 + neuron = ?1"));
        assert_lists(folder, key);
        free(images);
        free(masks);
        free(list);
    }
}

static void channels_and_zeros_beyond_the_grid(void **state) {
    (void)state;
    kh_error err = {0};
    const kh_neuron chosen[] = {{1, 2}};
    kh_export_options o = options_for("channels");
    o.channels = true;
    o.zero_pad = true;
    o.use_run_quantile = true;
    o.neurons = chosen;
    o.neuron_count = 1;
    kh_assert_ok(kh_atlas_export_milan(ctx, model, source, &o, NULL, &err));
    char folder[4200];
    (void)snprintf(folder, sizeof folder, "%s/blocks.1.mlp.fc2", o.out);
    uint8_t *masks = elements(folder, "masks.npy", "|u1", "(1, 5, 1, 32, 32)", RANKS * PIXELS);
    uint8_t *images =
        elements(folder, "images.npy", "|u1", "(1, 5, 3, 32, 32)", 3 * RANKS * PIXELS);
    const double *up = expect("zeros", "c", GOLDEN * PIXELS);
    const double threshold =
        number(26, "SELECT threshold FROM channels WHERE block * 24 + channel = ?1");
    size_t differ = 0;
    for (size_t i = 0; i < GOLDEN * PIXELS; i++)
        differ += fabs(up[i] - threshold) > ATOL && masks[i] != (up[i] > threshold);
    assert_int_equal(differ, 0);
    assert_pictures(images, "c");
    free(masks);
    free(images);
}

static void whole_blocks_need_no_list_of_units(void **state) {
    (void)state;
    kh_error err = {0};
    kh_export_summary summary;
    kh_export_options o = options_for("whole");
    o.ranks = 2;
    kh_assert_ok(kh_atlas_export_milan(ctx, model, source, &o, &summary, &err));
    assert_int_equal(summary.units, 2 * NEURONS);
    assert_int_equal(summary.bytes, 2 * NEURONS * 2 * 4 * PIXELS);
    char folder[4200], path[4300];
    (void)snprintf(folder, sizeof folder, "%s/blocks.1.mlp.act", o.out);
    free(elements(folder, "images.npy", "|u1", "(96, 2, 3, 32, 32)",
                  (size_t)NEURONS * 2 * 3 * PIXELS));
    (void)snprintf(path, sizeof path, "%s/units.npy", folder);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void another_set_or_run_is_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_export_options o = options_for("refused");
    kh_source *part = open_pictures("/class_1");
    kh_assert_fails(kh_atlas_export_milan(ctx, model, part, &o, NULL, &err), KH_E_ARG,
                    "another set of images");
    kh_source_free(part);
    o.ranks = RANKS + 1;
    kh_assert_fails(kh_atlas_export_milan(ctx, model, source, &o, NULL, &err), KH_E_ARG,
                    "keeps 5 exemplars");
    o.ranks = 0;
    const kh_neuron beyond = {2, 0};
    o.neurons = &beyond;
    o.neuron_count = 1;
    kh_assert_fails(kh_atlas_export_milan(ctx, model, source, &o, NULL, &err), KH_E_ARG,
                    "2 blocks of 96 key neurons");
    o.run = o.out;
    kh_assert_fails(kh_atlas_export_milan(ctx, model, source, &o, NULL, &err), KH_E_NOT_FOUND,
                    "holds no complete run");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chosen_neurons_are_as_torch_makes_them),
        cmocka_unit_test(channels_and_zeros_beyond_the_grid),
        cmocka_unit_test(whole_blocks_need_no_list_of_units),
        cmocka_unit_test(another_set_or_run_is_refused),
    };
    return cmocka_run_group_tests(tests, make_run, close_all);
}
