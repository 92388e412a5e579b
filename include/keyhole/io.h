/* keyhole/io.h: what arrives as bytes: images, preprocessing, class names, tensors, downloads. */
#ifndef KEYHOLE_IO_H
#define KEYHOLE_IO_H

#include "keyhole/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- images ---------------------------------------------------------------------------------- */

/* 8-bit RGB, [height, width, 3], rows dense. */
typedef struct kh_image {
    size_t width, height;
    uint8_t *rgb;
} kh_image;

KH_API void kh_image_clear(kh_image *image); /* frees rgb; NULL is fine */

typedef struct kh_decode_options {
    bool gray16_scale; /* 16-bit grey: value >> 8 instead of Pillow's saturation at 255 */
    bool exif_rotate;  /* apply EXIF orientation; off as in Pillow's open + convert */
    kh_warn_fn warn;   /* NULL: silent */
    void *warn_user;
} kh_decode_options;

/* Decodes JPEG, PNG or WebP (recognised by content) to the bytes Pillow's open(...).convert("RGB")
 * gives. options and limits may be NULL. Errors: KH_E_FORMAT not an image or damaged or truncated,
 * KH_E_UNSUPPORTED GIF, BMP, TIFF and other image formats, KH_E_LIMIT too many pixels, KH_E_MEMORY.
 * Source: docs/preprocessing.md. Pair: kh_image_clear. */
KH_API kh_status kh_image_decode(const uint8_t *bytes, size_t count,
                                 const kh_decode_options *options, const kh_limits *limits,
                                 kh_image *out, kh_error *err);
KH_API kh_status kh_image_read(const char *path, const kh_decode_options *options,
                               const kh_limits *limits, kh_image *out, kh_error *err);

/* Writes an RGB PNG; the file appears whole or not at all. Errors: KH_E_ARG an empty image,
 * KH_E_IO, KH_E_MEMORY. */
KH_API kh_status kh_image_write(const char *path, const kh_image *image, kh_error *err);
/* Writes an animated PNG (the first frame is what other programs show), repeating for ever; frames
 * have one size. Errors: as above, and KH_E_ARG no frames or different sizes. */
KH_API kh_status kh_image_write_frames(const char *path, const kh_image *frames, size_t count,
                                       unsigned delay_ms, kh_error *err);
/* Writes an RGBA PNG; alpha [height, width]. */
KH_API kh_status kh_image_write_alpha(const char *path, const kh_image *image, const uint8_t *alpha,
                                      kh_error *err);

/* ---- preprocessing --------------------------------------------------------------------------- */

typedef enum kh_filter {
    KH_FILTER_BILINEAR,
    KH_FILTER_BICUBIC, /* a = -0.5 */
    KH_FILTER_LANCZOS,
    KH_FILTER_BOX,
    KH_FILTER_HAMMING
} kh_filter;

/* Resamples like Pillow's Image.resize, byte for byte. out is a new image. */
KH_API kh_status kh_image_resize(const kh_image *image, size_t width, size_t height,
                                 kh_filter filter, kh_image *out, kh_error *err);

typedef enum kh_crop_mode {
    KH_CROP_CENTER, /* timm: short side to size / crop_pct, centre crop */
    KH_CROP_SQUASH, /* timm: both sides to size / crop_pct, centre crop */
    KH_CROP_BORDER, /* timm: long side to size / crop_pct, pad with the mean, centre crop */
    KH_CROP_HF      /* transformers: resize_* below, then crop_* below */
} kh_crop_mode;

/* How an image file becomes a model's input. Part of the model; stored with every result. */
typedef struct kh_preprocess {
    char preset[32];      /* "timm", "hf", "squash224" */
    size_t height, width; /* model input */
    kh_crop_mode crop;
    kh_filter filter;
    double crop_pct;
    double mean[3], std[3];
    /* KH_CROP_HF only */
    bool do_resize, do_crop, do_rescale, do_normalize;
    size_t shortest_edge; /* > 0: short side to this; else resize_height x resize_width */
    size_t resize_height, resize_width;
    size_t crop_height, crop_width;
    double rescale_factor;
} kh_preprocess;

/* crop_pct 0.875, bicubic, centre, ImageNet mean/std, 224x224: timm's defaults. */
KH_API kh_preprocess kh_preprocess_default(void);
/* Named presets that replace a model's own: "squash224" (224x224 bilinear squash, mean = std =
 * 0.5). Errors: KH_E_NOT_FOUND. */
KH_API kh_status kh_preprocess_preset(const char *name, kh_preprocess *out, kh_error *err);

/* Resize, pad, crop: out is the [height, width, 3] bytes the model sees. */
KH_API kh_status kh_preprocess_bytes(const kh_preprocess *how, const kh_image *image, kh_image *out,
                                     kh_error *err);
/* bytes -> out [3, height, width] floats: (v/255 - mean) / std, each operation rounded in fp32. */
KH_API kh_status kh_preprocess_floats(const kh_preprocess *how, const kh_image *bytes, float *out,
                                      size_t count, kh_error *err);
/* Where the model's input pixels lie on an image of width x height: x [how->width], y
 * [how->height] as shares of its sides in (0, 1), or -1 for fill. To bring label maps along. */
KH_API kh_status kh_preprocess_places(const kh_preprocess *how, size_t width, size_t height,
                                      double *x, double *y, kh_error *err);
/* Both steps. */
KH_API kh_status kh_preprocess_image(const kh_preprocess *how, const kh_image *image, float *out,
                                     size_t count, kh_error *err);

/* ---- class names ----------------------------------------------------------------------------- */

typedef struct kh_class {
    const char *wnid; /* "n01440764", or NULL when unknown */
    const char *name; /* "tench, Tinca tinca", never NULL; "class_17" when unknown */
} kh_class;

typedef struct kh_classes kh_classes;

/* The 1000 ImageNet-1k classes in index order. */
KH_API kh_status kh_classes_imagenet1k(kh_classes **out, kh_error *err);
/* One label per line; "wnid names" lines; {"0": ["n01440764", "tench"], ...}; {"0": "tench", ...};
 * ["tench", ...]. count is the number of classes the model has (0: as many as the file). */
KH_API kh_status kh_classes_read(const char *path, size_t count, const kh_limits *limits,
                                 kh_classes **out, kh_error *err);
/* From arrays (copied); wnids may be NULL or hold NULLs, names may hold NULLs. */
KH_API kh_status kh_classes_create(size_t count, const char *const *wnids, const char *const *names,
                                   kh_classes **out, kh_error *err);
KH_API void kh_classes_free(kh_classes *classes);

KH_API size_t kh_classes_count(const kh_classes *classes);
KH_API kh_class kh_classes_get(const kh_classes *classes,
                               size_t index); /* valid as long as classes */

/* Resolves "207", "n02099601" or a name ("golden retriever", "crane" is ambiguous). Errors:
 * KH_E_NOT_FOUND with up to five close names; KH_E_ARG ambiguous, with every candidate's index,
 * wnid and full name. Never picks the first of several. */
KH_API kh_status kh_classes_find(const kh_classes *classes, const char *query, size_t *index,
                                 kh_error *err);

/* The class an image path claims to show: a wnid at the start of its name ("n01440764_tench.JPEG")
 * or the name of its folder (a wnid, a whole class name or one of its synonyms; letters of either
 * case, '_' as a blank; a folder "12" is not class 12). False when neither is a class. */
KH_API bool kh_classes_of_path(const kh_classes *classes, const char *path, size_t *index);

/* ---- WordNet --------------------------------------------------------------------------------- */

/* The nouns of WordNet 3.0, whose offsets are ImageNet's wnids ("n02084071": dog): what is a kind
 * of what. Read only; may be shared. */
typedef struct kh_wordnet kh_wordnet;

typedef struct kh_synset {
    char wnid[12];
    const char *name; /* its first word, "domestic animal"; valid as long as the kh_wordnet */
    size_t depth;     /* synsets on the longest way up to a root, with both ends: 1 is a root */
} kh_synset;

/* folder/data.noun, as the package wordnet-base has it in /usr/share/wordnet. Errors: KH_E_IO;
 * KH_E_FORMAT with the line, an unknown or circular hypernym; KH_E_LIMIT. Pair: kh_wordnet_close.
 */
KH_API kh_status kh_wordnet_open(const char *folder, const kh_limits *limits, kh_wordnet **out,
                                 kh_error *err);
KH_API void kh_wordnet_close(kh_wordnet *wordnet);
KH_API size_t kh_wordnet_count(const kh_wordnet *wordnet);
KH_API bool kh_wordnet_find(const kh_wordnet *wordnet, const char *wnid, size_t *index);
KH_API kh_synset kh_wordnet_get(const kh_wordnet *wordnet, size_t index);

/* The deepest synset that all `count` ones are kinds of (or are): of equally deep ones that with
 * the fewest steps to it, then the lowest. False when they have none in common. */
KH_API bool kh_wordnet_lowest(const kh_wordnet *wordnet, const size_t *synsets, size_t count,
                              size_t *lowest);
/* Wu and Palmer 1994: 2 d / (2 d + steps from a + steps from b), d the depth of the deepest common
 * one, steps along the shortest ways to it. 1 for the same synset; NaN without a common one. */
KH_API double kh_wordnet_likeness(const kh_wordnet *wordnet, size_t a, size_t b);

/* ---- image sets ------------------------------------------------------------------------------ */

#define KH_NO_CLASS SIZE_MAX

/* Images in a fixed order, each with a name and maybe a true class. An image's id is its place. */
typedef struct kh_source kh_source;

typedef struct kh_source_options {
    /* Resolves the truth: from paths, from lists, from .cls members. NULL: nothing is resolved. */
    const kh_classes *classes;
    /* NULL, or a file of labels for all images: lines "name label" (blank, tab or comma between;
     * label an index, a wnid or a class name) or one label a line in the order of the images. */
    const char *label_file;
    const kh_limits *limits;
    /* NULL: silent. Hears when .cls members or the label file name classes of some images only. */
    kh_warn_fn warn;
    void *warn_user;
} kh_source_options;

typedef struct kh_source_image {
    const char *name; /* path, or "set.tar:member"; valid as long as the source */
    size_t truth;     /* class index or KH_NO_CLASS */
} kh_source_image;

/* Operands, in the order given; one that names a file or folder that is not there is
 * KH_E_NOT_FOUND, while what a list, a folder or an archive brings is looked at only when it is
 * read:
 *   a file           an image
 *   a folder         walked in byte-wise order of names: its .jpg .jpeg .png .webp files
 *   .tar .tar.gz ... an archive (also .tgz .tar.xz .tar.zst .zip): its images in the order of the
 *                    archive; members "key.cls", anywhere in it, hold the class index, the wnid or
 *                    the class name of "key.jpg" (webdataset)
 *   @list, -         a list of paths (- reads it from standard input), one a line; behind a tab,
 *                    or behind a blank after an image's ending, its label
 * Nothing is written or moved. Errors: KH_E_NOT_FOUND, KH_E_IO, KH_E_FORMAT a damaged archive or a
 * label that is no class, KH_E_LIMIT. options may be NULL. Pair: kh_source_free. */
KH_API kh_status kh_source_open(char *const *operands, size_t count,
                                const kh_source_options *options, kh_source **out, kh_error *err);
KH_API void kh_source_free(kh_source *source);
KH_API size_t kh_source_count(const kh_source *source);
KH_API kh_source_image kh_source_get(const kh_source *source, size_t index);
/* sha256 over folder and file name of every image and its truth, in order; 64 hex digits. Moving
 * the whole set does not change it. */
KH_API kh_status kh_source_sha256(const kh_source *source, char out[65], kh_error *err);

/* One image by itself; of a compressed archive everything before it is read too. Errors: as
 * kh_image_read. */
KH_API kh_status kh_source_read_image(const kh_source *source, size_t index,
                                      const kh_decode_options *options, kh_image *out,
                                      kh_error *err);

/* ---- label maps ------------------------------------------------------------------------------ */

/* What is where in the pictures of a set: a folder in Broden's layout (index.csv, label.csv,
 * category.csv, images/), or one of ImageNet-S: a PNG for each image, anywhere in it, and
 * labels.txt with the wnid or name of label 1, 2, ... on each line. In a PNG map the label is R +
 * 256 G; 0 is unlabelled. With labels.txt a label beyond its last line breaks the map, but for what
 * ImageNet-S leaves out: above 919, when no more are named. With Broden's tables it is unlabelled.
 */
typedef struct kh_label_set kh_label_set;

typedef struct kh_map_label {
    const char *name; /* "" for numbers that are not used */
    size_t category;
} kh_map_label;

/* Errors: KH_E_NOT_FOUND, with what a missing labels.txt has to hold; KH_E_FORMAT with file and
 * line. limits may be NULL. Pair: kh_label_set_close. */
KH_API kh_status kh_label_set_open(const char *folder, const kh_limits *limits, kh_label_set **out,
                                   kh_error *err);
KH_API void kh_label_set_close(kh_label_set *set);
KH_API size_t kh_label_set_labels(const kh_label_set *set); /* numbers are 1 .. labels */
KH_API kh_map_label kh_label_set_label(const kh_label_set *set, size_t number);
KH_API size_t kh_label_set_categories(const kh_label_set *set);
KH_API const char *kh_label_set_category(const kh_label_set *set, size_t category);
/* What two or more labels of a category are kinds of: with WordNet's data.noun in the folder, of
 * labels named by wnid ("n02099601", maybe words behind it). Of synsets with the same labels the
 * deepest. In the order of the categories, then of the wnids. */
typedef struct kh_label_kind {
    const char *wnid, *name; /* of the synset: "n02084071", "dog" */
    size_t category, depth;  /* depth as in kh_synset */
    const size_t *labels;    /* [count], ascending */
    size_t count;
} kh_label_kind;
KH_API size_t kh_label_set_kinds(const kh_label_set *set);
KH_API kh_label_kind kh_label_set_kind(const kh_label_set *set, size_t kind);

/* The image of that folder and file name (endings aside); false when the set does not have it. */
KH_API bool kh_label_set_find(const kh_label_set *set, const char *image, size_t *index);
/* Labels of one category brought to the model's input, nearest pixel: out [how->height,
 * how->width]. Several maps of one category: the first that labels a pixel. *has_any is false when
 * the image is not annotated for the category. Errors: those of reading an image; KH_E_FORMAT. */
KH_API kh_status kh_label_set_read(const kh_label_set *set, size_t index, size_t category,
                                   const kh_preprocess *how, uint16_t *out, bool *has_any,
                                   kh_error *err);
/* sha256 over the tables and data.noun (not the maps). */
KH_API kh_status kh_label_set_sha256(const kh_label_set *set, char out[65], kh_error *err);

/* ---- loading ahead --------------------------------------------------------------------------- */

/* Images read, decoded and preprocessed on threads of their own, handed out in order. */
typedef struct kh_loader kh_loader;

typedef struct kh_loader_options {
    const kh_preprocess *how;
    const kh_decode_options *decode; /* NULL: Pillow's ways; warn is called one at a time */
    const kh_limits *limits;
    size_t first, end; /* ids first .. end-1 */
    size_t threads;    /* 0: 1 */
    size_t ahead;      /* images held at most; 0: 16 */
    bool keeps_bytes;  /* the preprocessed RGB too */
} kh_loader_options;

typedef struct kh_loaded {
    size_t id;
    kh_status status;      /* KH_OK, or why this image is skipped */
    const char *reason;    /* message of a broken image, else NULL */
    const float *floats;   /* [3, height, width], NULL when broken */
    const kh_image *bytes; /* NULL unless kept */
} kh_loaded;

/* Source and options' pointers must outlive it. Memory: ahead + threads prepared images and, for
 * each thread, one file and its pixels. Pair: kh_loader_free. */
KH_API kh_status kh_loader_create(const kh_source *source, const kh_loader_options *options,
                                  kh_loader **out, kh_error *err);
/* The next image in order, valid until the next call; *more is false behind the last. A broken
 * image is no failure: out->status says so. Errors: KH_E_MEMORY; KH_E_IO an archive that changed or
 * ended early. */
KH_API kh_status kh_loader_next(kh_loader *loader, kh_loaded *out, bool *more, kh_error *err);
KH_API void kh_loader_free(kh_loader *loader);

/* ---- tensors in files ------------------------------------------------------------------------ */

/* An opened safetensors file, or a folder's shards behind model.safetensors.index.json. */
typedef struct kh_tensors kh_tensors;

typedef struct kh_tensor_info {
    const char *name;
    const char *dtype; /* "F32", "BF16", ... */
    size_t rank;
    size_t shape[8];
    size_t count; /* elements */
} kh_tensor_info;

/* path: a .safetensors file or an index json. Checks every rule of the format before it returns;
 * a file that breaks one is refused with the rule and the tensor named. limits may be NULL. */
KH_API kh_status kh_tensors_open(const char *path, const kh_limits *limits, kh_tensors **out,
                                 kh_error *err);
KH_API void kh_tensors_close(kh_tensors *tensors);
KH_API size_t kh_tensors_count(const kh_tensors *tensors);
KH_API kh_tensor_info kh_tensors_get(const kh_tensors *tensors, size_t index);
/* false when absent */
KH_API bool kh_tensors_find(const kh_tensors *tensors, const char *name, kh_tensor_info *out);
/* Value of a __metadata__ key, or NULL. */
KH_API const char *kh_tensors_metadata(const kh_tensors *tensors, const char *key);
/* Converts F32, F16, BF16 or F64 to float. count is the room at out. Errors: KH_E_NOT_FOUND,
 * KH_E_SHAPE wrong count, KH_E_UNSUPPORTED dtype, KH_E_NUMERIC NaN or infinity (unless
 * allow_nonfinite), KH_E_IO. */
KH_API kh_status kh_tensors_read(const kh_tensors *tensors, const char *name, bool allow_nonfinite,
                                 float *out, size_t count, kh_error *err);
/* The same into doubles (F64 exact). */
KH_API kh_status kh_tensors_read_f64(const kh_tensors *tensors, const char *name,
                                     bool allow_nonfinite, double *out, size_t count,
                                     kh_error *err);
/* sha256 over the bytes of all files, in index order, as 64 hex digits plus NUL. */
KH_API kh_status kh_tensors_sha256(const kh_tensors *tensors, char out[65], kh_error *err);

/* One tensor to write; data are host floats. */
typedef struct kh_tensor_out {
    const char *name;
    size_t rank;
    size_t shape[8];
    const float *data;
} kh_tensor_out;
/* Writes an F32 safetensors file (sorted by name, header padded to 8). keys/values: metadata pairs.
 */
KH_API kh_status kh_tensors_write(const char *path, const kh_tensor_out *tensors, size_t count,
                                  const char *const *keys, const char *const *values, size_t pairs,
                                  kh_error *err);

/* ---- hub ------------------------------------------------------------------------------------- */

typedef struct kh_hub_options {
    const char *endpoint; /* NULL: $HF_ENDPOINT or the public hub */
    const char
        *cache_dir; /* NULL: $KEYHOLE_CACHE, else $XDG_CACHE_HOME/keyhole, else ~/.cache/keyhole */
    const char *revision; /* NULL: "main" */
    const char *token;    /* NULL: $HF_TOKEN or none */
    bool force;           /* download again even when complete */
    kh_progress_fn progress;
    void *progress_user;
} kh_hub_options;

/* Downloads config, preprocessor and safetensors files of a hub model ("owner/name") into the
 * cache: resumes a partial file, checks size and sha256, renames into place only when right. Writes
 * the model's folder to out (room out_bytes). Errors: KH_E_NETWORK, KH_E_NOT_FOUND, KH_E_FORMAT
 * checksum, KH_E_IO, KH_E_STOPPED. */
KH_API kh_status kh_hub_pull(const char *id, const kh_hub_options *options, char *out,
                             size_t out_bytes, kh_error *err);
/* Folder of a model that was pulled before; KH_E_NOT_FOUND when it was not. No network. */
KH_API kh_status kh_hub_find(const char *id, const kh_hub_options *options, char *out,
                             size_t out_bytes, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
