/* cli/images.h: image files decoded and preprocessed a batch at a time; bad ones are skipped. */
#ifndef KH_CLI_IMAGES_H
#define KH_CLI_IMAGES_H

#include "cli/inputs.h"
#include "cli/session.h"

typedef struct kh_broken_image {
    const char *path; /* borrowed from the inputs */
    char *reason;     /* fit for a terminal */
} kh_broken_image;

/* Adds a skipped image to a list, and says on standard error why (says). The reason loses the path
 * it begins with. */
kh_status kh_broken_images_add(kh_broken_image **list, size_t *count, const char *path,
                               const char *why, bool says, kh_error *err);
void kh_broken_images_clear(kh_broken_image *list, size_t count);

typedef struct kh_image_batch {
    kh_session *session;
    const kh_decode_options *decode;
    size_t capacity, count;
    size_t image_floats;
    float *floats;      /* [count, 3, height, width] */
    kh_image *bytes;    /* [count] what the model sees, when kept */
    const char **paths; /* [count] borrowed from the inputs */
    bool keeps_bytes;
    kh_broken_image *broken; /* [failed] */
    size_t failed;           /* images that could not be read so far */
} kh_image_batch;

/* keeps_bytes: also keep the preprocessed RGB of each image, to draw on. Pair:
 * kh_image_batch_clear. */
kh_status kh_image_batch_init(kh_image_batch *batch, kh_session *session,
                              const kh_decode_options *decode, size_t capacity, bool keeps_bytes,
                              kh_error *err);
void kh_image_batch_clear(kh_image_batch *batch);

/* Takes inputs from *next on until the batch is full or they end, and advances *next. An image that
 * cannot be read is said on standard error and kept in `broken`. Fails only when memory ends. */
kh_status kh_image_batch_fill(kh_image_batch *batch, const kh_inputs *inputs, size_t *next,
                              kh_error *err);

/* [{"image": path, "reason": text}] of the broken ones; NULL when memory ends. */
json_t *kh_image_batch_failed_json(const kh_image_batch *batch);

/* After KH_E_NUMERIC from a pass over the batch: looks which image it was and puts its path before
 * err's text. Returns `status`. */
kh_status kh_image_batch_blame(const kh_image_batch *batch, kh_status status, kh_error *err);

/* KH_E_UNSUPPORTED unless the model has a classifier. */
kh_status kh_require_classes(const kh_model *model, kh_error *err);

/* To standard output as text for people: what a terminal might obey is written \xNN. */
void kh_print_path(const char *path);

/* "3 of 200 images could not be read" */
kh_status kh_images_failed(size_t failed, size_t total, kh_error *err);

#endif
