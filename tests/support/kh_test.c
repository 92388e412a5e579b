#define _XOPEN_SOURCE 700
#include "support/kh_test.h"

#include "base/rng.h"

#include <ftw.h>
#include <unistd.h>

void kh_assert_close_at(const float *got, const float *want, size_t count, double rtol, double atol,
                        const char *what, const char *file, int line) {
    size_t worst = 0;
    double worst_excess = -1;
    bool failed = false;
    for (size_t i = 0; i < count; i++) {
        const double diff = fabs((double)got[i] - (double)want[i]);
        const double tol = atol + rtol * fabs((double)want[i]);
        if (diff <= tol) continue;
        failed = true;
        if (!(diff - tol <= worst_excess)) {
            worst_excess = isnan(diff) ? (double)INFINITY : diff - tol;
            worst = i;
        }
    }
    if (!failed) return;
    print_error("%s[%zu] is %.9g, expected %.9g (of %zu; rtol %g, atol %g)\n", what, worst,
                (double)got[worst], (double)want[worst], count, rtol, atol);
    _fail(file, line);
}

void kh_assert_ok_at(kh_status status, const kh_error *err, const char *file, int line) {
    if (status == KH_OK) return;
    print_error("%s: %s\n", kh_status_name(status), err->text);
    _fail(file, line);
}

void kh_assert_fails_at(kh_status status, kh_status want, const kh_error *err, const char *part,
                        const char *file, int line) {
    if (status == want && err->code == want && strstr(err->text, part)) return;
    print_error("got %s '%s', expected %s with '%s'\n", kh_status_name(status),
                status ? err->text : "", kh_status_name(want), part);
    _fail(file, line);
}

void kh_test_fill(float *out, size_t count, uint64_t seed, float scale) {
    kh_rng rng = kh_rng_make(seed, 0x7E57);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)((kh_rng_unit(&rng) * 2.0 - 1.0) * (double)scale);
}

static char folders[8][256];
static size_t folder_count;

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_folders(void) {
    for (size_t i = 0; i < 8; i++)
        if (folders[i][0]) (void)nftw(folders[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *kh_test_folder(const char *name) {
    if (folder_count == 0) (void)atexit(remove_folders);
    char *slot = folders[folder_count++ % 8];
    if (slot[0]) (void)nftw(slot, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    (void)snprintf(slot, sizeof folders[0], "kh-%s-XXXXXX", name);
    char absolute[4096];
    if (!mkdtemp(slot) || !realpath(slot, absolute)) fail_msg("cannot make a folder for %s", name);
    if (strlen(absolute) >= sizeof folders[0]) fail_msg("path too long: %s", absolute);
    memcpy(slot, absolute, strlen(absolute) + 1);
    return slot;
}
