#include "lens/origin.h"

#include "base/text.h"

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
        char *mine = json_dumps(a, JSON_ENCODE_ANY | JSON_COMPACT);
        char *other = json_dumps(b, JSON_ENCODE_ANY | JSON_COMPACT);
        const kh_status status =
            kh_fail(err, KH_E_ARG, "'%s' was made with %s: there %.300s, here %.300s", shown,
                    facts[i].meaning, other ? other : "none", mine ? mine : "none");
        free(mine);
        free(other);
        return status;
    }
    return KH_OK;
}
