#include "lens/subject.h"

#include "base/alloc.h"
#include "base/text.h"

#include <ctype.h>
#include <string.h>

/* "traffic_light" and "Traffic light, stoplight": up to the first comma, '_' as a blank. */
static bool same_name(const char *label, const char *class_name) {
    const size_t length = strcspn(class_name, ",");
    if (strlen(label) != length) return false;
    for (size_t i = 0; i < length; i++) {
        const int a = label[i] == '_' ? ' ' : tolower((unsigned char)label[i]);
        const int b = class_name[i] == '_' ? ' ' : tolower((unsigned char)class_name[i]);
        if (a != b) return false;
    }
    return true;
}

static void match_classes(kh_subject_maps *m, const kh_lens_setup *setup) {
    const kh_classes *classes = kh_model_classes(setup->model);
    for (size_t c = 0; classes && c < setup->info->classes; c++)
        for (size_t l = 1; l <= kh_label_set_labels(setup->label_set) && m->subject[c] == 0; l++) {
            const kh_class one = kh_classes_get(classes, c);
            const char *name = kh_label_set_label(setup->label_set, l).name;
            if (*name && (same_name(name, one.name) || (one.wnid && !strcmp(name, one.wnid))))
                m->subject[c] = (uint16_t)l;
        }
}

static kh_status match_images(kh_subject_maps *m, const kh_lens_setup *setup, kh_error *err) {
    size_t found = 0;
    for (size_t i = 0; i < setup->images; i++) {
        const char *name = kh_source_get(setup->source, i).name;
        if (kh_label_set_find(setup->label_set, name, &m->map_of[i]))
            found++;
        else
            m->map_of[i] = SIZE_MAX;
    }
    if (found) return KH_OK;
    return kh_fail(err, KH_E_NOT_FOUND,
                   "none of %zu image%s has label maps: folder and file name (without its ending) "
                   "must be those of the label set",
                   setup->images, KH_S(setup->images));
}

kh_status kh_subject_maps_init(kh_subject_maps *m, const kh_lens_setup *setup, kh_error *err) {
    *m = (kh_subject_maps){.map_of = kh_calloc(setup->images, sizeof *m->map_of),
                           .subject = kh_calloc(setup->info->classes, sizeof *m->subject)};
    kh_status status = m->map_of && m->subject
                           ? match_images(m, setup, err)
                           : kh_fail(err, KH_E_MEMORY, "no memory to match label maps");
    if (status)
        kh_subject_maps_clear(m);
    else
        match_classes(m, setup);
    return status;
}

void kh_subject_maps_clear(kh_subject_maps *m) {
    kh_free(m->map_of);
    kh_free(m->subject);
    *m = (kh_subject_maps){0};
}

kh_status kh_subject_read(const kh_subject_maps *m, const kh_lens_setup *setup, size_t image,
                          size_t truth_class, uint16_t *labels, uint8_t *truth, bool *has_subject,
                          kh_error *why, kh_error *err) {
    const kh_preprocess *how = &setup->info->preprocess;
    const uint16_t subject = kh_subject_label(m, setup, truth_class);
    *has_subject = false;
    *why = (kh_error){KH_OK, ""};
    if (subject == 0 || m->map_of[image] == SIZE_MAX) return KH_OK;
    bool has_any;
    const size_t category = kh_label_set_label(setup->label_set, subject).category;
    const kh_status status =
        kh_label_set_read(setup->label_set, m->map_of[image], category, how, labels, &has_any, why);
    if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why->text);
    for (size_t p = 0; p < how->height * how->width && !status; p++) {
        truth[p] = labels[p] == subject;
        *has_subject |= truth[p];
    }
    return KH_OK;
}
