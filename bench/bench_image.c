/* Decode, resize and crop photographs as a model wants them: images per second on one thread.
 *
 *     bench_image [--rounds N] [--wait] FOLDER-OR-FILE...
 *
 * The answer is checked first: fast and plain kernels must give the same bytes. With --wait a round
 * begins when a line arrives on stdin and its result goes to stdout at once, so that
 * tools/bench_pillow.py can take turns with Pillow. */
#define _POSIX_C_SOURCE 200809L
#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "io/resample.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct photo {
    unsigned char *bytes;
    size_t count;
} photo;

typedef struct photos {
    photo *at;
    size_t count;
} photos;

typedef struct seconds {
    double decode, resize, floats;
} seconds;

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what, const char *why) {
    (void)fprintf(stderr, "bench_image: %s: %s\n", what, why);
    exit(1);
}

static void add_file(photos *all, const char *path) {
    kh_error err;
    photo *grown = kh_realloc(all->at, all->count + 1, sizeof *grown);
    if (!grown) die(path, "no memory");
    all->at = grown;
    photo *p = &all->at[all->count++];
    if (kh_file_read(path, 1u << 28, &p->bytes, &p->count, &err)) die(path, err.text);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(photos *all, const char *path) {
    if (!kh_is_directory(path)) {
        add_file(all, path);
        return;
    }
    struct dirent **names;
    const int count = scandir(path, &names, NULL, by_name);
    if (count < 0) die(path, "cannot list the folder");
    for (int i = 0; i < count; i++) {
        char *inside = kh_path_join(path, names[i]->d_name);
        if (!inside) die(path, "no memory");
        if (names[i]->d_name[0] != '.') add_file(all, inside);
        kh_free(inside);
        free(names[i]);
    }
    free(names);
}

static uint32_t fnv(uint32_t h, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        h = (h ^ bytes[i]) * 0x01000193u;
    return h;
}

/* timm's vit_base_patch16_224.augreg_in21k_ft_in1k */
static kh_preprocess settings(void) {
    kh_preprocess how = kh_preprocess_default();
    how.crop_pct = 0.9;
    for (size_t c = 0; c < 3; c++)
        how.mean[c] = how.std[c] = 0.5;
    return how;
}

/* Every photograph once; the sum is over all output bytes (0 skips it). */
static seconds run(const photos *all, float *out, uint32_t *sum) {
    const kh_preprocess how = settings();
    seconds spent = {0};
    kh_error err;
    for (size_t i = 0; i < all->count; i++) {
        kh_image image, bytes;
        const double start = now();
        if (kh_image_decode(all->at[i].bytes, all->at[i].count, NULL, NULL, &image, &err))
            die("decode", err.text);
        const double decoded = now();
        if (kh_preprocess_bytes(&how, &image, &bytes, &err)) die("resize", err.text);
        const double resized = now();
        if (kh_preprocess_floats(&how, &bytes, out, 3 * how.width * how.height, &err))
            die("floats", err.text);
        const double done = now();
        if (*sum) *sum = fnv(*sum, bytes.rgb, 3 * bytes.width * bytes.height);
        spent.decode += decoded - start;
        spent.resize += resized - decoded;
        spent.floats += done - resized;
        kh_image_clear(&image);
        kh_image_clear(&bytes);
    }
    return spent;
}

static void check_kernels(const photo *p) {
    kh_image image;
    kh_error err;
    if (kh_image_decode(p->bytes, p->count, NULL, NULL, &image, &err)) die("decode", err.text);
    const kh_region part = {12, 12, 224, 224};
    uint8_t *plain = kh_calloc(224 * 224, 3), *fast = kh_calloc(224 * 224, 3);
    if (!plain || !fast ||
        kh_resample(&kh_resample_plain, &image, 331, 248, KH_FILTER_BICUBIC, part, plain, 672,
                    &err) ||
        kh_resample(kh_resample_best(), &image, 331, 248, KH_FILTER_BICUBIC, part, fast, 672, &err))
        die("check", "cannot resize");
    if (memcmp(plain, fast, 224 * 224 * 3) != 0) die("check", "fast and plain bytes differ");
    kh_free(plain);
    kh_free(fast);
    kh_image_clear(&image);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const photos *all, const seconds *rounds, size_t count) {
    double *total = kh_calloc(count, sizeof *total);
    if (!total) die("report", "no memory");
    seconds best = rounds[0];
    for (size_t i = 0; i < count; i++) {
        total[i] = rounds[i].decode + rounds[i].resize;
        if (total[i] < best.decode + best.resize) best = rounds[i];
    }
    qsort(total, count, sizeof *total, ascending);
    const double n = (double)all->count;
    (void)printf("%zu images, %zu rounds, one thread, %s kernels\n", all->count, count,
                 kh_resample_best()->name);
    (void)printf("decode + resize + crop: fastest %.1f, median %.1f images/s\n", n / total[0],
                 n / total[count / 2]);
    (void)printf("fastest round: decode %.3f, resize + crop %.3f, floats %.3f ms per image\n",
                 1e3 * best.decode / n, 1e3 * best.resize / n, 1e3 * best.floats / n);
    kh_free(total);
}

int main(int argc, char **argv) {
    size_t rounds = 11;
    bool wait = false;
    photos all = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--wait") == 0)
            wait = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            if (!kh_parse_size(argv[++i], &rounds) || !rounds) die("--rounds", "not a number");
        } else
            add_path(&all, argv[i]);
    }
    if (!all.count) die("usage", "bench_image [--rounds N] [--wait] FOLDER-OR-FILE...");
    const kh_preprocess how = settings();
    float *out = kh_alloc_floats(3 * how.width * how.height);
    seconds *spent = kh_calloc(rounds, sizeof *spent);
    if (!out || !spent) die("start", "no memory");
    check_kernels(&all.at[0]);
    uint32_t sum = 0x811C9DC5u, none = 0;
    (void)run(&all, out, &sum); /* warms up */
    (void)printf("%zu images, FNV-1a of all bytes %08x\n", all.count, sum);
    (void)fflush(stdout);
    char line[16];
    for (size_t i = 0; i < rounds; i++) {
        if (wait && !fgets(line, sizeof line, stdin)) break;
        spent[i] = run(&all, out, &none);
        if (!wait) continue;
        (void)printf("%.9f %.9f %.9f\n", spent[i].decode, spent[i].resize, spent[i].floats);
        (void)fflush(stdout);
    }
    if (!wait) report(&all, spent, rounds);
    for (size_t i = 0; i < all.count; i++)
        kh_free(all.at[i].bytes);
    kh_free(all.at);
    kh_free(out);
    kh_free(spent);
    return 0;
}
