/* Which classes the lens "distance" compares: as asked, else what the set of images has. */
#include "atlas/job.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>

_Static_assert((int)KH_ATLAS_COMPARED == (int)KH_DISTANCE_CLASSES, "one limit");

static kh_status check(const kh_atlas_options *o, size_t classes, kh_error *err) {
    if (o->compare_count < 2 || o->compare_count > KH_ATLAS_COMPARED)
        return kh_fail(err, KH_E_ARG,
                       "%zu class%s to compare: 2 to %d, as every one is compared with every other "
                       "in each block, and matrices of more cannot be read",
                       o->compare_count, o->compare_count == 1 ? "" : "es", KH_ATLAS_COMPARED);
    for (size_t i = 0; i < o->compare_count; i++) {
        if (o->compare[i] >= classes)
            return kh_fail(err, KH_E_ARG, "class %zu to compare: the model has %zu", o->compare[i],
                           classes);
        for (size_t j = 0; j < i; j++)
            if (o->compare[i] == o->compare[j])
                return kh_fail(err, KH_E_ARG, "class %zu is to be compared twice", o->compare[i]);
    }
    return KH_OK;
}

kh_status kh_atlas_find_classes(kh_atlas_job *job, size_t *seen, kh_error *err) {
    const kh_atlas_options *o = job->options;
    const size_t classes = job->info->classes;
    if (o->compare) KH_TRY(check(o, classes, err));
    bool *is_seen = kh_calloc(classes, sizeof *is_seen);
    if (!is_seen) return kh_fail(err, KH_E_MEMORY, "no memory to count classes");
    for (size_t i = 0; i < kh_source_count(job->source); i++) {
        const size_t truth = kh_source_get(job->source, i).truth;
        if (truth >= classes || is_seen[truth]) continue;
        is_seen[truth] = true;
        ++*seen;
    }
    job->compare =
        kh_distance_choose(o->compare, o->compare ? o->compare_count : 0, classes, is_seen);
    kh_free(is_seen);
    return KH_OK;
}

static bool is_among_lenses(const kh_atlas_job *job) {
    for (size_t i = 0; i < job->lens_count; i++)
        if (job->kinds[i] == &kh_kind_distance) return true;
    return false;
}

kh_status kh_atlas_name_compared(kh_atlas_job *job, kh_error *err) {
    const kh_atlas_options *o = job->options;
    const kh_distance_choice *c = &job->compare;
    size_t used = 0;
    char text[128];
    if (!is_among_lenses(job))
        return !o->compare || o->label_set
                   ? KH_OK
                   : kh_fail(err, KH_E_ARG, "classes to compare, but no lens 'distance'");
    for (size_t i = 0; i < c->count; i++)
        used += (size_t)snprintf(job->compare_text + used, sizeof job->compare_text - used, "%s%zu",
                                 i ? "," : "", c->classes[i]);
    if (c->count == job->info->classes)
        (void)snprintf(job->compare_text, sizeof job->compare_text, "all");
    if (c->count == 0) (void)snprintf(job->compare_text, sizeof job->compare_text, "none");
    if (!o->compare || c->found == c->count) return KH_OK;
    if (c->found < 2)
        return kh_fail(err, KH_E_ARG,
                       "of %zu classes to compare %zu %s labelled images; it takes two", c->count,
                       c->found, c->found == 1 ? "has" : "have");
    (void)snprintf(text, sizeof text, "of %zu classes to compare %zu %s labelled images", c->count,
                   c->found, c->found == 1 ? "has" : "have");
    if (o->warn && !o->only_merge) o->warn(o->warn_user, text);
    return KH_OK;
}
