#define _XOPEN_SOURCE 700
#include "atlas/atlas_set.h"

#include "base/rng.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* Stripes and noise, of another kind for every image. */
static void draw(const char *path, size_t index) {
    enum { SIDE = 48 };
    static uint8_t rgb[SIDE * SIDE * 3];
    kh_error err = {0};
    kh_rng rng = kh_rng_make(17, index);
    const double angle = 6.28 * kh_rng_unit(&rng), wave = 3 + 12 * kh_rng_unit(&rng);
    const double noise = 40 * kh_rng_unit(&rng);
    double colour[3];
    for (size_t c = 0; c < 3; c++)
        colour[c] = 255 * kh_rng_unit(&rng);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++) {
            const double along = (double)x * cos(angle) + (double)y * sin(angle);
            for (size_t c = 0; c < 3; c++) {
                double v = colour[c] * (0.6 + 0.4 * sin(along / wave * 6.28));
                v += noise * (kh_rng_unit(&rng) - 0.5);
                rgb[(y * SIDE + x) * 3 + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
    const kh_image image = {SIDE, SIDE, rgb};
    kh_assert_ok(kh_image_write(path, &image, &err));
}

static char set_folder[64];
static pid_t owner;

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_set(void) {
    if (getpid() == owner) (void)nftw(set_folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *atlas_set_folder(void) {
    static const char *const classes[] = {"n01440764", "n01443537", "n01484850", "unknown"};
    char path[4096];
    (void)snprintf(set_folder, sizeof set_folder, "kh-set-XXXXXX");
    if (!mkdtemp(set_folder)) fail_msg("cannot make a set_folder for the images");
    owner = getpid();
    (void)atexit(remove_set);
    for (size_t i = 0; i < ATLAS_SET_IMAGES; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", set_folder, classes[i % 4]);
        (void)mkdir(path, 0777);
        (void)snprintf(path, sizeof path, "%s/%s/%02zu.png", set_folder, classes[i % 4], i);
        if (i != 5 && i != 11) {
            /* two pictures twice: near duplicates */
            draw(path, i == 9 ? 1 : i == 13 ? 1 : i);
            continue;
        }
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_true(fputs("torn", file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
    return set_folder;
}

void atlas_world_open(atlas_world *w, const char *model, const char *folder, size_t threads) {
    kh_error err = {0};
    const kh_ctx_options ctx = {.threads = threads};
    kh_assert_ok(kh_ctx_create(&ctx, &w->ctx, &err));
    kh_assert_ok(kh_model_open(w->ctx, model, NULL, &w->model, &err));
    char *operands[] = {strdup(folder)};
    const kh_source_options source = {.classes = kh_model_classes(w->model)};
    kh_assert_ok(kh_source_open(operands, 1, &source, &w->source, &err));
    free(operands[0]);
}

void atlas_world_close(atlas_world *w) {
    kh_source_free(w->source);
    kh_model_close(w->model);
    kh_ctx_free(w->ctx);
    memset(w, 0, sizeof *w);
}

kh_atlas_options atlas_options(const char *out) {
    kh_atlas_options options = kh_atlas_options_default();
    options.out = out;
    options.sample = 12;
    options.lenses = "all";
    return options;
}

void atlas_digest_of(const atlas_world *w, const kh_atlas_options *options, char digest[65]) {
    kh_error err = {0};
    kh_atlas_summary summary;
    kh_assert_ok(kh_atlas(w->ctx, w->model, w->source, options, &summary, &err));
    assert_true(summary.is_complete);
    assert_int_equal(summary.images, ATLAS_SET_IMAGES);
    kh_assert_ok(kh_atlas_digest(options->out, digest, &err));
}
