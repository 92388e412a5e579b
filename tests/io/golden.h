/* io/golden.h: recorded sums and formula images for the image tests. */
#ifndef KH_TEST_IO_GOLDEN_H
#define KH_TEST_IO_GOLDEN_H

#include "support/kh_test.h"

#include <jansson.h>

#include "keyhole/io.h"

/* tests/data/golden/<name>; fails the test when it cannot be read. Free with json_decref. */
json_t *golden_load(const char *name);
const char *golden_text(const json_t *object, const char *key); /* fails when absent */
size_t golden_size(const json_t *object, const char *key);
kh_filter golden_filter(const char *name);
kh_crop_mode golden_crop(const char *name);

/* The formula image "pil": the top 8 bits of the mixer. Free with kh_image_clear. */
kh_image golden_photo(size_t width, size_t height);

/* sha256 of bytes as hex; valid until the next call */
const char *golden_sha(const void *bytes, size_t count);
bool golden_same(const kh_image *image, const char *sha); /* of its RGB bytes */
uint32_t golden_fnv(const void *bytes, size_t count);     /* FNV-1a, 32 bits */

/* A whole file of tests/data/...; free with free. */
uint8_t *golden_file(const char *path, size_t *count);

/* The folder of the 200 photographs, or NULL when it is not on this machine. */
const char *golden_photos(void);

#endif
