/* lens/origin.h: what unfinished work, of an atlas or an ablation, was made from, so that it is not
 * gone on with by another command. */
#ifndef KH_LENS_ORIGIN_H
#define KH_LENS_ORIGIN_H

#include "base/json.h"
#include "keyhole/vit.h"

/* Values of the keys "model", "preprocess" and "arithmetic"; NULL when out of memory. */
json_t *kh_origin_model(const kh_model_info *info);
json_t *kh_origin_preprocess(const kh_preprocess *how);
json_t *kh_origin_arithmetic(const kh_ctx *ctx);

/* KH_OK, or KH_E_ARG with the first that differs of "model", "preprocess", "image_set", "lenses",
 * "settings" and "arithmetic": "'path' was made with another checkpoint: there ..., here ...". */
kh_status kh_origin_same(const json_t *ours, const json_t *theirs, const char *path, kh_error *err);

#endif
