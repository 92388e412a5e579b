/* Which patches of an image show its class, from pixel truth. */
#include "lens/ablate.h"
#include "lens/token_labels.h"

#include "base/alloc.h"

kh_status kh_ablate_masks_init(kh_ablate_masks *m, const kh_ablate_study *s, kh_error *err) {
    const size_t pixels = s->info->image_height * s->info->image_width;
    *m = (kh_ablate_masks){.tokens = s->o.tokens, .by_majority = s->o.by_majority};
    if (!kh_ablate_is_masked(s->o.tokens)) return KH_OK;
    m->setup = (kh_lens_setup){.ctx = s->ctx,
                               .model = s->model,
                               .info = s->info,
                               .source = s->o.source,
                               .images = kh_source_count(s->o.source),
                               .label_set = s->o.label_set};
    if (m->setup.images != s->asked)
        return kh_fail(err, KH_E_ARG, "%zu images, and a source of %zu", s->asked, m->setup.images);
    KH_TRY(kh_subject_maps_init(&m->maps, &m->setup, err));
    m->labels = kh_calloc(pixels, sizeof *m->labels);
    m->on = kh_calloc(pixels, 1);
    m->rows = kh_calloc(s->info->tokens, sizeof *m->rows);
    if (m->labels && m->on && m->rows) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for label maps");
}

void kh_ablate_masks_clear(kh_ablate_masks *m) {
    kh_subject_maps_clear(&m->maps);
    kh_free(m->labels);
    kh_free(m->on);
    kh_free(m->rows);
}

kh_status kh_ablate_masks_read(kh_ablate_masks *m, size_t image, size_t truth, uint8_t *out,
                               size_t *edited, kh_error *why, kh_error *err) {
    bool has_subject;
    *edited = 0;
    KH_TRY(kh_subject_read(&m->maps, &m->setup, image, truth, m->labels, m->on, &has_subject, why,
                           err));
    if (!has_subject) return KH_OK;
    kh_token_labels(m->on, m->setup.info, m->by_majority, out);
    *edited = kh_ablate_masked_tokens(m->setup.info, m->tokens, out, m->rows);
    return KH_OK;
}
