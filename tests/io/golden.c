#define _POSIX_C_SOURCE 200809L
#include "io/golden.h"

#include "base/rng.h"
#include "io/sha256.h"

#include <sys/stat.h>

json_t *golden_load(const char *name) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, name);
    json_error_t where;
    json_t *root = json_load_file(path, 0, &where);
    if (!root) fail_msg("%s: %s", path, where.text);
    return root;
}

const char *golden_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("no text '%s' in the golden file", key);
    return text;
}

size_t golden_size(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("no number '%s' in the golden file", key);
    return (size_t)json_integer_value(value);
}

kh_filter golden_filter(const char *name) {
    if (strcmp(name, "bilinear") == 0) return KH_FILTER_BILINEAR;
    if (strcmp(name, "bicubic") == 0) return KH_FILTER_BICUBIC;
    if (strcmp(name, "lanczos") == 0) return KH_FILTER_LANCZOS;
    if (strcmp(name, "box") == 0) return KH_FILTER_BOX;
    if (strcmp(name, "hamming") != 0) fail_msg("filter '%s'", name);
    return KH_FILTER_HAMMING;
}

kh_crop_mode golden_crop(const char *name) {
    if (strcmp(name, "squash") == 0) return KH_CROP_SQUASH;
    if (strcmp(name, "border") == 0) return KH_CROP_BORDER;
    if (strcmp(name, "center") != 0) fail_msg("crop mode '%s'", name);
    return KH_CROP_CENTER;
}

kh_image golden_photo(size_t width, size_t height) {
    const uint32_t name = kh_hash_name("pil");
    kh_image image = {width, height, malloc(3 * width * height)};
    assert_non_null(image.rgb);
    for (size_t i = 0; i < 3 * width * height; i++)
        image.rgb[i] = (uint8_t)((kh_mix_unit(name, (uint32_t)i) + 1.0) * 128.0);
    return image;
}

const char *golden_sha(const void *bytes, size_t count) {
    static char hex[65];
    kh_sha256 *sha = kh_sha256_create();
    assert_non_null(sha);
    assert_true(kh_sha256_add(sha, bytes, count));
    assert_true(kh_sha256_finish(sha, hex));
    kh_sha256_free(sha);
    return hex;
}

bool golden_same(const kh_image *image, const char *sha) {
    return strcmp(golden_sha(image->rgb, 3 * image->width * image->height), sha) == 0;
}

uint32_t golden_fnv(const void *bytes, size_t count) {
    const uint8_t *p = bytes;
    uint32_t h = 0x811C9DC5u;
    for (size_t i = 0; i < count; i++)
        h = (h ^ p[i]) * 0x01000193u;
    return h;
}

uint8_t *golden_file(const char *path, size_t *count) {
    char full[1024];
    (void)snprintf(full, sizeof full, "%s/%s", KH_TEST_DATA, path);
    FILE *file = fopen(full, "rb");
    struct stat info;
    if (!file || fstat(fileno(file), &info) != 0) fail_msg("cannot open %s", full);
    *count = (size_t)info.st_size;
    uint8_t *bytes = malloc(*count + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *count, file), *count);
    (void)fclose(file);
    return bytes;
}

const char *golden_photos(void) {
    static char path[1024];
    const char *named = getenv("KEYHOLE_PHOTOS");
    if (named && *named)
        (void)snprintf(path, sizeof path, "%s", named);
    else
        (void)snprintf(path, sizeof path, "%s/../shared/data/photos", KH_SOURCE_DIR);
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? path : NULL;
}
