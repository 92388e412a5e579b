#include "lens/batch_maps.h"

#include "base/alloc.h"

#include <string.h>

kh_status kh_batch_maps_init(kh_batch_maps *m, const kh_lens_setup *setup, size_t max_batch,
                             kh_error *err) {
    const size_t categories = kh_label_set_categories(setup->label_set);
    const size_t pixels = setup->info->image_height * setup->info->image_width;
    *m = (kh_batch_maps){.setup = setup,
                         .categories = categories,
                         .pixels = pixels,
                         .labels = kh_calloc(max_batch * categories * pixels, sizeof *m->labels),
                         .has = kh_calloc(max_batch * categories, sizeof *m->has),
                         .is_there = kh_calloc(max_batch, sizeof *m->is_there)};
    kh_status status =
        m->labels && m->has && m->is_there
            ? kh_subject_maps_init(&m->subjects, setup, err)
            : kh_fail(err, KH_E_MEMORY, "no memory for the label maps of %zu images", max_batch);
    if (status) kh_batch_maps_clear(m);
    return status;
}

void kh_batch_maps_clear(kh_batch_maps *m) {
    kh_subject_maps_clear(&m->subjects);
    kh_free(m->labels);
    kh_free(m->has);
    kh_free(m->is_there);
    *m = (kh_batch_maps){0};
}

kh_status kh_batch_maps_read(kh_batch_maps *m, size_t place, uint64_t image, kh_error *why,
                             kh_error *err) {
    const kh_lens_setup *setup = m->setup;
    const size_t map = m->subjects.map_of[image];
    kh_status status = KH_OK;
    *why = (kh_error){KH_OK, ""};
    for (size_t c = 0; c < m->categories && map != SIZE_MAX && !status; c++)
        status = kh_label_set_read(setup->label_set, map, c, &setup->info->preprocess,
                                   m->labels + (place * m->categories + c) * m->pixels,
                                   &m->has[place * m->categories + c], why);
    m->is_there[place] = map != SIZE_MAX && !status;
    return status == KH_E_MEMORY ? kh_fail(err, status, "%s", why->text) : KH_OK;
}

bool kh_batch_maps_subject(const kh_batch_maps *m, size_t place, size_t truth_class,
                           uint8_t *truth) {
    const uint16_t subject = kh_subject_label(&m->subjects, m->setup, truth_class);
    if (subject == 0 || !m->is_there[place]) return false;
    const size_t category = kh_label_set_label(m->setup->label_set, subject).category;
    const uint16_t *labels = m->labels + (place * m->categories + category) * m->pixels;
    bool has_subject = false;
    for (size_t p = 0; p < m->pixels; p++) {
        truth[p] = labels[p] == subject;
        has_subject |= truth[p];
    }
    return has_subject;
}
