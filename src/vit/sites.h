/* vit/sites.h: every place of the forward pass that has a name, in the order of the pass. */
#ifndef KH_VIT_SITES_H
#define KH_VIT_SITES_H

#include "vit/model.h"

/* One kind of site; together with a block it is a site. */
typedef enum kh_stage {
    KH_STAGE_EMBED,
    KH_STAGE_FULL_EMBED,
    KH_STAGE_LN_PRE_SCALE,
    KH_STAGE_LN_PRE_NORM,
    KH_STAGE_RESID_PRE, /* first of a block */
    KH_STAGE_LN1_SCALE,
    KH_STAGE_LN1_NORM,
    KH_STAGE_Q,
    KH_STAGE_K,
    KH_STAGE_V,
    KH_STAGE_SCORES,
    KH_STAGE_PATTERN,
    KH_STAGE_Z,
    KH_STAGE_RESULT,
    KH_STAGE_ATTN_OUT,
    KH_STAGE_RESID_MID,
    KH_STAGE_LN2_SCALE,
    KH_STAGE_LN2_NORM,
    KH_STAGE_PRE,
    KH_STAGE_PRE_LINEAR,
    KH_STAGE_POST,
    KH_STAGE_MLP_OUT,
    KH_STAGE_RESID_POST, /* last of a block */
    KH_STAGE_FINAL_SCALE,
    KH_STAGE_FINAL_NORM,
    KH_STAGE_PRE_HEAD,
    KH_STAGE_LOGITS,
    KH_STAGE_COUNT
} kh_stage;

#define KH_BIT(stage) (1u << (unsigned)(stage))

/* Attention between tokens lies behind these; later stages treat every token alone. */
bool kh_stage_in_block(kh_stage stage);
bool kh_stage_in_tail(kh_stage stage);

/* Whether the model has this kind of site at all. */
bool kh_stage_exists(const kh_model *model, kh_stage stage);

/* Place of a stage inside its block (post-norm blocks order differently), and of a site in the
 * pass: smaller is earlier. block is ignored outside the blocks. */
size_t kh_stage_rank(const kh_model *model, kh_stage stage);
size_t kh_stage_position(const kh_model *model, kh_stage stage, size_t block);

kh_site kh_site_describe(const kh_model *model, kh_stage stage, size_t block);

/* Name, timm name or shorthand -> stage and block (SIZE_MAX outside the blocks). */
kh_status kh_site_resolve(const kh_model *model, const char *name, kh_stage *stage, size_t *block,
                          kh_error *err);

/* Index of the axis `tokens` selects along; SIZE_MAX when the site has none. */
size_t kh_site_token_axis(const kh_site *site);

#endif
