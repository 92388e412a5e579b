/* The default set of scenes, `demo:images`: rendered into the cache when it is first asked for. */
#define _DEFAULT_SOURCE /* flock */
#include "diorama/broden.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/text.h"
#include "io/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { DEMO_SEED = 3, DEMO_SIZE = 96, SCENES_A_CLASS = 4 };

/* Two processes take turns; the second finds the work done. The lock goes with the process, and a
 * file system without locks is tolerated. */
static kh_status lock_folder(const char *folder, int *out, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    char *path = kh_path_join(folder, ".lock");
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    *out = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    const int why = errno;
    kh_free(path);
    if (*out < 0)
        return kh_fail(err, KH_E_IO, "cannot write into the cache '%s': %s",
                       kh_shown(folder, strlen(folder), shown, sizeof shown), strerror(why));
    while (flock(*out, LOCK_EX) != 0 && errno == EINTR)
        continue;
    return KH_OK;
}

/* A folder of the cache without manifest is one that was not finished, also when it was begun by a
 * keyhole that left no mark. */
static kh_status claim(const char *folder, kh_error *err) {
    char *manifest = kh_path_join(folder, "manifest.json");
    if (!manifest) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const bool is_ours = kh_is_directory(folder) && !kh_file_exists(manifest);
    kh_free(manifest);
    return is_ours ? kh_folder_mark(folder, "diorama", err) : KH_OK;
}

static kh_status render_into(const char *cache, const char *folder, kh_error *err) {
    const kh_diorama_set set = {.seed = DEMO_SEED,
                                .count = SCENES_A_CLASS * kh_diorama_class_count(),
                                .size = DEMO_SIZE,
                                .overwrite = true}; /* what an older keyhole drew */
    int lock = -1;
    KH_TRY(kh_make_directories(cache, err));
    KH_TRY(lock_folder(cache, &lock, err));
    kh_status status = claim(folder, err);
    if (!status) status = kh_diorama_write(&set, folder, NULL, err);
    (void)close(lock);
    return status;
}

kh_status kh_diorama_demo_images(char *out, size_t out_bytes, kh_error *err) {
    kh_text cache = {0}, folder = {0};
    kh_status status = kh_cache_find(NULL, &cache, err);
    kh_text_add(&cache, "/diorama");
    kh_text_add(&folder, cache.data ? cache.data : "");
    kh_text_add(&folder, "/demo-images");
    if (!status && (cache.failed || folder.failed))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a path");
    if (!status) status = render_into(cache.data, folder.data, err);
    kh_text_add(&folder, "/images/scenes");
    if (!status && folder.failed) status = kh_fail(err, KH_E_MEMORY, "no memory for a path");
    if (!status && folder.length >= out_bytes)
        status = kh_fail(err, KH_E_ARG, "a path of %zu bytes does not fit in %zu",
                         folder.length + 1, out_bytes);
    if (!status) memcpy(out, folder.data, folder.length + 1);
    kh_text_clear(&cache);
    kh_text_clear(&folder);
    return status;
}
