/* Label maps: opening a set, finding an image in it, bringing its labels to the model's input. */
#include "io/label_set.h"
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

char *kh_label_key(const char *name) {
    const char *path = kh_member_name(name);
    size_t slashes = 0;
    const char *start = path + strlen(path);
    while (start > path) {
        if (start[-1] == '/' && ++slashes == 2) break;
        start--;
    }
    char *key = kh_strdup(start);
    if (!key) return NULL;
    char *dot = strrchr(key, '.');
    if (dot && !strchr(dot, '/')) *dot = '\0';
    return key;
}

static int compare_images(const void *left, const void *right) {
    const kh_labelled_image *a = left, *b = right;
    return strcmp(a->key, b->key);
}

kh_status kh_label_set_open(const char *folder, const kh_limits *limits, kh_label_set **out,
                            kh_error *err) {
    *out = NULL;
    kh_label_set *set = kh_calloc(1, sizeof *set);
    if (!set) return kh_fail(err, KH_E_MEMORY, "no memory for label maps");
    set->limits = limits ? *limits : kh_limits_default();
    set->folder = kh_strdup(folder);
    char *index = kh_path_join(folder, "index.csv");
    kh_status status = KH_OK;
    if (!set->folder || !index)
        status = kh_fail(err, KH_E_MEMORY, "no memory for label maps");
    else if (!kh_is_directory(folder))
        status = kh_fail(err, KH_E_NOT_FOUND, "'%s' is no folder of label maps", folder);
    else
        status = kh_file_exists(index) ? kh_label_set_read_broden(set, err)
                                       : kh_label_set_read_masks(set, err);
    kh_free(index);
    if (!status && set->image_count)
        qsort(set->images, set->image_count, sizeof *set->images, compare_images);
    if (status)
        kh_label_set_close(set);
    else
        *out = set;
    return status;
}

void kh_label_set_close(kh_label_set *set) {
    if (!set) return;
    for (size_t i = 0; i < set->image_count; i++) {
        kh_free(set->images[i].key);
        for (size_t c = 0; c < KH_LABEL_CATEGORIES; c++)
            kh_free(set->images[i].cells[c]);
    }
    kh_free(set->images);
    kh_label_set_free_kinds(set);
    for (size_t l = 0; l <= KH_LABELS; l++)
        kh_free(set->names[l]);
    for (size_t c = 0; c < KH_LABEL_CATEGORIES; c++)
        kh_free(set->categories[c]);
    kh_free(set->folder);
    kh_free(set);
}

size_t kh_label_set_labels(const kh_label_set *set) {
    return set->label_count;
}

kh_map_label kh_label_set_label(const kh_label_set *set, size_t number) {
    const char *name = set->names[number];
    return (kh_map_label){name ? name : "", set->category_of[number]};
}

size_t kh_label_set_categories(const kh_label_set *set) {
    return set->category_count;
}

const char *kh_label_set_category(const kh_label_set *set, size_t category) {
    return set->categories[category];
}

kh_status kh_label_set_sha256(const kh_label_set *set, char out[65], kh_error *err) {
    (void)err;
    memcpy(out, set->sha256, sizeof set->sha256);
    return KH_OK;
}

bool kh_label_set_find(const kh_label_set *set, const char *image, size_t *index) {
    kh_labelled_image wanted = {.key = kh_label_key(image)};
    if (!wanted.key || set->image_count == 0) {
        kh_free(wanted.key);
        return false;
    }
    const kh_labelled_image *found =
        bsearch(&wanted, set->images, set->image_count, sizeof wanted, compare_images);
    kh_free(wanted.key);
    if (found) *index = (size_t)(found - set->images);
    return found != NULL;
}

/* ---- reading ------------------------------------------------------------------------------- */

static kh_status read_map(const kh_label_set *set, const char *name, kh_image *out, kh_error *err) {
    char *path = kh_path_join(set->folder, name);
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const kh_status status = kh_image_read(path, NULL, &set->limits, out, err);
    kh_free(path);
    return status;
}

static size_t label_at(const kh_image *map, size_t pixel) {
    return map->rgb[3 * pixel] + 256u * map->rgb[3 * pixel + 1];
}

/* A list of names that is too short is another set's, and then all its names are suspect. */
static kh_status check_labels(const kh_label_set *set, const char *name, const kh_image *map,
                              kh_error *err) {
    const size_t known = set->label_count, pixels = map->width * map->height;
    if (!set->is_named_by_list) return KH_OK;
    for (size_t p = 0; p < pixels; p++) {
        const size_t label = label_at(map, p);
        if (label <= known) continue;
        if (label > KH_IMAGENET_S_LABELS && known <= KH_IMAGENET_S_LABELS) continue;
        char shown[2][KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_FORMAT,
                       "label map '%s' has label %zu, but '%s/labels.txt' has %zu line%s, one for "
                       "each label",
                       kh_shown(name, strlen(name), shown[0], sizeof shown[0]), label,
                       kh_shown(set->folder, strlen(set->folder), shown[1], sizeof shown[1]), known,
                       KH_S(known));
    }
    return KH_OK;
}

/* Labels where nothing is known yet. */
static void lay_map(const kh_label_set *set, const kh_image *map, const kh_preprocess *how,
                    const double *x, const double *y, uint16_t *out) {
    for (size_t row = 0; row < how->height; row++)
        for (size_t column = 0; column < how->width; column++) {
            uint16_t *at = &out[row * how->width + column];
            if (*at || x[column] < 0 || y[row] < 0) continue;
            const size_t sx = (size_t)(x[column] * (double)map->width);
            const size_t sy = (size_t)(y[row] * (double)map->height);
            const size_t label = label_at(map, sy * map->width + sx);
            if (label <= set->label_count) *at = (uint16_t)label;
        }
}

static void lay_everywhere(size_t label, const kh_preprocess *how, const double *x, const double *y,
                           uint16_t *out) {
    for (size_t row = 0; row < how->height; row++)
        for (size_t column = 0; column < how->width; column++) {
            uint16_t *at = &out[row * how->width + column];
            if (!*at && x[column] >= 0 && y[row] >= 0) *at = (uint16_t)label;
        }
}

static kh_status lay_item(const kh_label_set *set, const kh_labelled_image *image, const char *item,
                          const kh_preprocess *how, double *x, double *y, uint16_t *out,
                          kh_error *err) {
    kh_image map = {0};
    size_t label = 0;
    const bool is_number = kh_parse_size(item, &label);
    if (!is_number) KH_TRY(read_map(set, item, &map, err));
    const size_t width = image->width ? image->width : is_number ? how->width : map.width;
    const size_t height = image->height ? image->height : is_number ? how->height : map.height;
    kh_status status = is_number ? KH_OK : check_labels(set, item, &map, err);
    if (!status) status = kh_preprocess_places(how, width, height, x, y, err);
    if (!status && is_number && (label == 0 || label > set->label_count))
        status = kh_fail(err, KH_E_FORMAT, "image '%s' has label %zu; there are %zu", image->key,
                         label, set->label_count);
    if (!status && is_number) lay_everywhere(label, how, x, y, out);
    if (!status && !is_number) lay_map(set, &map, how, x, y, out);
    kh_image_clear(&map);
    return status;
}

kh_status kh_label_set_read(const kh_label_set *set, size_t index, size_t category,
                            const kh_preprocess *how, uint16_t *out, bool *has_any, kh_error *err) {
    const kh_labelled_image *image = &set->images[index];
    const char *cell = image->cells[category];
    memset(out, 0, how->width * how->height * sizeof *out);
    *has_any = cell && *cell;
    if (!*has_any) return KH_OK;
    double *x = kh_calloc(how->width, sizeof *x), *y = kh_calloc(how->height, sizeof *y);
    kh_status status = x && y ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a label map");
    for (const char *at = cell; *at && !status;) {
        char item[1024];
        const size_t length = strcspn(at, ";");
        if (length >= sizeof item) {
            status = kh_fail(err, KH_E_FORMAT, "image '%s': the name of a label map is too long",
                             image->key);
            break;
        }
        memcpy(item, at, length);
        item[length] = '\0';
        if (length) status = lay_item(set, image, item, how, x, y, out, err);
        at += length + (at[length] == ';');
    }
    kh_free(y);
    kh_free(x);
    return status;
}
