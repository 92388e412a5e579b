/* vit/taps.h: reading and changing values where they lie. */
#ifndef KH_VIT_TAPS_H
#define KH_VIT_TAPS_H

#include "vit/plan.h"
#include "vit/rows.h"

/* Dense rows: [images, rows, width] with `choice` saying which tokens the rows are (NULL: all). */
kh_view kh_view_rows(const kh_model *model, float *base, size_t width, const kh_choice *choice);

/* A site has its value: apply its edits, then copy it to its taps. */
void kh_touch(kh_pass *p, kh_stage stage, size_t block, uint32_t taps, uint32_t edits,
              const kh_view *view);

/* Backward: view holds the gradient with respect to the edited value. Adds the seeds of the site,
 * then takes the gradient back through its edits. zero_count floats at view->base are cleared first
 * when no gradient came from above (*live false) and a seed starts one. */
void kh_absorb(kh_pass *p, kh_stage stage, size_t block, uint32_t seeds, uint32_t edits,
               const kh_view *view, size_t zero_count, bool *live);

kh_status kh_taps_plan(kh_pass *p, const kh_pass_spec *spec, kh_error *err);
kh_status kh_edits_plan(kh_pass *p, const kh_pass_spec *spec, kh_error *err);
void kh_taps_free(kh_pass *p);
void kh_edits_free(kh_pass *p);

void kh_edits_apply(kh_pass *p, kh_stage stage, size_t block, const kh_view *view);
void kh_edits_back(kh_pass *p, kh_stage stage, size_t block, const kh_view *view);

#endif
