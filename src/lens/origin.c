#include "lens/origin.h"

#include "base/text.h"
#include "keyhole/lens.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

json_t *kh_origin_model(const kh_model_info *info) {
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "weights",
                     info->sha256[0] ? info->sha256 : info->source, "architecture",
                     info->architecture, "activation", info->activation, "tag", info->tag, "height",
                     (json_int_t)info->image_height, "width", (json_int_t)info->image_width);
}

json_t *kh_origin_preprocess(const kh_preprocess *how) {
    return json_pack("{s:s, s:I, s:I, s:i, s:i, s:f, s:[fff], s:[fff], s:[bbbb], s:[IIIII], s:f}",
                     "preset", how->preset, "height", (json_int_t)how->height, "width",
                     (json_int_t)how->width, "crop", (int)how->crop, "filter", (int)how->filter,
                     "crop_pct", how->crop_pct, "mean", how->mean[0], how->mean[1], how->mean[2],
                     "std", how->std[0], how->std[1], how->std[2], "hf", how->do_resize,
                     how->do_crop, how->do_rescale, how->do_normalize, "hf_sizes",
                     (json_int_t)how->shortest_edge, (json_int_t)how->resize_height,
                     (json_int_t)how->resize_width, (json_int_t)how->crop_height,
                     (json_int_t)how->crop_width, "rescale", how->rescale_factor);
}

json_t *kh_origin_arithmetic(const kh_ctx *ctx) {
    return json_pack("{s:s, s:s}", "device", kh_ctx_device(ctx), "isa", kh_ctx_isa(ctx));
}

/* ---- what differs ---------------------------------------------------------------------------- */

enum { MOST_DIFFERENCES = 4, MOST_SHOWN = 80 };

static json_t *plain(const json_t *value) { /* Jansson reads through pointers that are not const */
    return (json_t *)(uintptr_t)value;
}

/* Numbers that stand for a way of preprocessing, by its name. */
static const char *name_of(const char *key, const json_t *value) {
    static const char *const crops[] = {"center", "squash", "border", "hf"};
    static const char *const filters[] = {"bilinear", "bicubic", "lanczos", "box", "hamming"};
    size_t index;
    if (!kh_json_size(value, &index)) return NULL;
    if (strcmp(key, "crop") == 0 && index < sizeof crops / sizeof *crops) return crops[index];
    if (strcmp(key, "filter") == 0 && index < sizeof filters / sizeof *filters)
        return filters[index];
    return NULL;
}

/* Settings that are not written when they are as always. */
static const char *usual_of(const char *key) {
    if (strcmp(key, "class_by") == 0) return kh_class_by_name(KH_BY_TRUTH);
    if (strcmp(key, "class_reduction") == 0) return kh_class_reduction_name(KH_REDUCE_MEAN);
    return "none";
}

static void add_value(kh_text *text, const char *key, const json_t *value) {
    const char *name = value ? name_of(key, value) : usual_of(key);
    char shown[MOST_SHOWN];
    char *dumped =
        name ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(12));
    if (!name && json_is_string(value)) name = json_string_value(value);
    if (!name) name = dumped ? dumped : "?";
    size_t length = strlen(name);
    if (length == 64 && strspn(name, "0123456789abcdef") == length) length = 12; /* of a sha256 */
    kh_text_add(text, length ? kh_shown(name, length, shown, sizeof shown) : "none");
    free(dumped);
}

static void add_pair(kh_text *text, const char *key, const json_t *there, const json_t *here) {
    char shown[MOST_SHOWN];
    if (key[0]) kh_text_addf(text, "%s ", kh_shown(key, strlen(key), shown, sizeof shown));
    kh_text_add(text, "there ");
    add_value(text, key, there);
    kh_text_add(text, ", here ");
    add_value(text, key, here);
}

/* Keys of one that the other has not, or has with another value. */
static void add_keys(kh_text *text, const json_t *there, const json_t *here) {
    const char *key;
    json_t *value;
    size_t count = 0;
    json_object_foreach(plain(there), key, value) {
        const json_t *other = json_object_get(here, key);
        if (other && json_equal(value, plain(other))) continue;
        if (count++ >= MOST_DIFFERENCES) continue;
        kh_text_add(text, count > 1 ? "; " : "");
        add_pair(text, key, value, other);
    }
    json_object_foreach(plain(here), key, value) {
        if (json_object_get(there, key) || count++ >= MOST_DIFFERENCES) continue;
        kh_text_add(text, count > 1 ? "; " : "");
        add_pair(text, key, NULL, value);
    }
    if (count > MOST_DIFFERENCES) kh_text_addf(text, "; %zu more", count - MOST_DIFFERENCES);
}

static const json_t *entry_of(const json_t *list, const char *name) {
    size_t i;
    json_t *one;
    json_array_foreach(plain(list), i, one) {
        const char *called = json_string_value(json_array_get(one, 0));
        if (called && strcmp(called, name) == 0) return one;
    }
    return NULL;
}

/* Lenses are pairs of a name and a version. */
static void add_names(kh_text *text, const char *where, const json_t *list, const json_t *others) {
    size_t i, count = 0;
    json_t *one;
    char shown[MOST_SHOWN];
    json_array_foreach(plain(list), i, one) {
        const char *name = json_string_value(json_array_get(one, 0));
        const json_t *other = name ? entry_of(others, name) : NULL;
        if (!name || (other && json_equal(one, plain(other)))) continue;
        if (count++ == 0) kh_text_addf(text, "%s%s ", text->length ? "; " : "", where);
        kh_text_addf(text, "%s%s", count > 1 ? ", " : "",
                     kh_shown(name, strlen(name), shown, sizeof shown));
        if (other) kh_text_add(text, " (of another version)");
    }
}

static kh_status differ(const char *shown, const char *meaning, const json_t *there,
                        const json_t *here, kh_error *err) {
    kh_text text = {0};
    if (json_is_object(there) && json_is_object(here)) {
        add_keys(&text, there, here);
    } else if (json_is_array(there) && json_is_array(here)) {
        add_names(&text, "only there", there, here);
        add_names(&text, "only here", here, there);
    }
    if (!text.length) add_pair(&text, "", there, here);
    const kh_status status = kh_fail(err, KH_E_ARG, "'%s' was made with %s: %s", shown, meaning,
                                     text.data ? text.data : "no memory to say which");
    kh_text_clear(&text);
    return status;
}

kh_status kh_origin_same(const json_t *ours, const json_t *theirs, const char *path,
                         kh_error *err) {
    static const struct {
        const char *key, *meaning;
    } facts[] = {{"model", "another checkpoint"},
                 {"preprocess", "other preprocessing"},
                 {"image_set", "another set of images"},
                 {"lenses", "other lenses"},
                 {"settings", "other settings"},
                 {"arithmetic", "another instruction set (--isa chooses one)"}};
    char shown[KH_SHOWN_BYTES];
    kh_shown(path, strlen(path), shown, sizeof shown);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const json_t *a = json_object_get(ours, facts[i].key);
        const json_t *b = json_object_get(theirs, facts[i].key);
        if (!a && !b) continue;
        if (json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b)) continue;
        return differ(shown, facts[i].meaning, b, a, err);
    }
    return KH_OK;
}
