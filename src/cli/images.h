/* cli/images.h: image files decoded and preprocessed a batch at a time; bad ones are skipped. */
#ifndef KH_CLI_IMAGES_H
#define KH_CLI_IMAGES_H

#include "cli/inputs.h"
#include "cli/session.h"

/* What to do about images without true classes; the second where --label-file is an option. */
#define KH_SORT_CLASSES "put them in folders named after their classes"
#define KH_GIVE_CLASSES KH_SORT_CLASSES ", or give --label-file FILE"

/* What --truth DIR takes, in its help. */
#define KH_LABEL_MAPS                                                                              \
    "Label maps of the images. DIR has the tables of Broden (index.csv), or as in ImageNet-S a"    \
    " PNG map for each image, CLASS/NAME.png, and labels.txt with the wnid or name of label 1,"    \
    " 2, ... on each line: for ImageNet-S a copy of its ImageNetS_categories_*.txt"                \
    " (docs/formats.md)."

typedef struct kh_broken_image {
    const char *path; /* borrowed from the inputs */
    char *reason;     /* fit for a terminal */
} kh_broken_image;

/* Adds a skipped image to a list. The reason loses the path it begins with. */
kh_status kh_broken_images_add(kh_broken_image **list, size_t *count, const char *path,
                               const char *why, kh_error *err);
void kh_broken_images_clear(kh_broken_image *list, size_t count);

/* Once, when all were tried: the first few with their reasons and a warning of how many, on
 * standard error unless --quiet. When none of `total` could be read it is a failure, with the same
 * names: KH_E_FORMAT. */
kh_status kh_broken_images_say(kh_session *session, const kh_broken_image *list, size_t count,
                               size_t total, kh_error *err);
/* [{"image": path, "reason": text}]; NULL when memory ends. */
json_t *kh_broken_images_json(const kh_broken_image *list, size_t count);
/* The same in a manifest: "failed", empty when all were read. */
void kh_broken_images_list(const kh_broken_image *list, size_t count, kh_manifest *manifest);

/* The same of images whose label map could not be read, which count as images without one:
 * "failed_maps" in a manifest. has_failed: they may be why the command does, so they are named with
 * --quiet too. */
void kh_broken_maps_say(kh_session *session, const kh_broken_image *list, size_t count,
                        bool has_failed);
void kh_broken_maps_list(const kh_broken_image *list, size_t count, kh_manifest *manifest);

/* KH_E_ARG, with what to do, when none of the images has a true class. */
kh_status kh_require_truth(const kh_source *source, kh_error *err);
/* Once: of images without a single true class, what that means ("there is no ...") and `cure`, one
 * of the above. */
void kh_warn_without_classes(kh_session *session, const kh_source *source, const char *what,
                             const char *cure);

typedef struct kh_image_batch {
    kh_session *session;
    const kh_decode_options *decode;
    size_t capacity, count;
    size_t image_floats;
    float *floats;      /* [count, 3, height, width] */
    kh_image *bytes;    /* [count] what the model sees, when kept */
    const char **paths; /* [count] borrowed from the inputs */
    size_t *truths;     /* [count] true classes, where the inputs say them */
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
 * cannot be read is kept in `broken`. Fails only when memory ends. */
kh_status kh_image_batch_fill(kh_image_batch *batch, const kh_inputs *inputs, size_t *next,
                              kh_error *err);

/* After KH_E_NUMERIC from a pass over the batch: looks which image it was and puts its path before
 * err's text. Returns `status`. */
kh_status kh_image_batch_blame(const kh_image_batch *batch, kh_status status, kh_error *err);

/* KH_E_UNSUPPORTED unless the model has a classifier. */
kh_status kh_require_classes(const kh_model *model, kh_error *err);

/* To standard output as text for people: what a terminal might obey is written \xNN. */
void kh_print_path(const char *path);

#endif
