/* The pass of `reproduce` over some images of every class: where the class's neurons fire, beside
 * the true mask where there is one. */
#include "cli/reproduce.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum { AT_ONCE = 32 };

/* ---- which images ---------------------------------------------------------------------------- */

static bool is_same_name(const char *label, kh_class class) {
    const size_t first = strcspn(class.name, ",");
    if (class.wnid && strcmp(label, class.wnid) == 0) return true;
    return strcmp(label, class.name) == 0 ||
           (strlen(label) == first && strncmp(label, class.name, first) == 0);
}

/* The label of each class's object, 0 where the maps name none. */
static void match_labels(const kh_reproduce *r, size_t *label) {
    for (size_t c = 0; c < r->info->classes; c++) {
        label[c] = 0;
        for (size_t l = 1; r->labels && l <= kh_label_set_labels(r->labels) && !label[c]; l++) {
            const char *name = kh_label_set_label(r->labels, l).name;
            if (*name && is_same_name(name, kh_classes_get(r->classes, c))) label[c] = l;
        }
    }
}

/* The first images of every class, in the order of the set. Without true classes none. */
static kh_status choose(kh_reproduce *r, kh_error *err) {
    kh_reproduce_maps *m = &r->maps;
    const size_t classes = r->info->classes, count = kh_source_count(r->source);
    size_t *taken = kh_calloc(classes, sizeof *taken);
    m->id = kh_calloc(count, sizeof *m->id);
    m->class_index = kh_calloc(count, sizeof *m->class_index);
    if (taken && m->id && m->class_index)
        for (size_t i = 0; i < count; i++) {
            const size_t truth = kh_source_get(r->source, i).truth;
            if (truth >= classes || taken[truth] >= r->settings->per_class) continue;
            taken[truth]++;
            m->id[m->images] = i;
            m->class_index[m->images++] = truth;
        }
    const bool ok = taken && m->id && m->class_index;
    kh_free(taken);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a list of images");
}

/* ---- a batch --------------------------------------------------------------------------------- */

typedef struct batch {
    size_t pixels, count;
    float *floats;    /* [AT_ONCE, 3, pixels] */
    uint8_t *truth;   /* [AT_ONCE, pixels] */
    uint16_t *labels; /* [pixels] */
    size_t *classes, *place;
    bool *is_known; /* [AT_ONCE] the object is on the picture */
    size_t *label;  /* [classes] */
} batch;

static void batch_clear(batch *b) {
    kh_free(b->floats);
    kh_free(b->truth);
    kh_free(b->labels);
    kh_free(b->classes);
    kh_free(b->place);
    kh_free(b->is_known);
    kh_free(b->label);
}

static kh_status batch_init(batch *b, const kh_reproduce *r, kh_error *err) {
    *b = (batch){.pixels = r->info->image_height * r->info->image_width};
    b->floats = kh_alloc_floats(AT_ONCE * 3 * b->pixels);
    b->truth = kh_calloc(AT_ONCE, b->pixels);
    b->labels = kh_calloc(b->pixels, sizeof *b->labels);
    b->classes = kh_calloc(AT_ONCE, sizeof *b->classes);
    b->place = kh_calloc(AT_ONCE, sizeof *b->place);
    b->is_known = kh_calloc(AT_ONCE, sizeof *b->is_known);
    b->label = kh_calloc(r->info->classes, sizeof *b->label);
    if (!b->floats || !b->truth || !b->labels || !b->classes || !b->place || !b->is_known ||
        !b->label)
        return kh_fail(err, KH_E_MEMORY, "no memory for %d images", AT_ONCE);
    match_labels(r, b->label);
    return KH_OK;
}

static kh_status read_truth(const kh_reproduce *r, batch *b, size_t id, kh_error *err) {
    const size_t at = b->count, label = b->label[b->classes[at]];
    size_t map;
    bool has_any;
    uint8_t *truth = b->truth + at * b->pixels;
    b->is_known[at] = false;
    memset(truth, 0, b->pixels);
    if (!label || !kh_label_set_find(r->labels, kh_source_get(r->source, id).name, &map))
        return KH_OK;
    kh_error why = {0};
    const size_t category = kh_label_set_label(r->labels, label).category;
    const kh_status status = kh_label_set_read(r->labels, map, category, &r->info->preprocess,
                                               b->labels, &has_any, &why);
    if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
    if (status) { /* as if there were none, in the dissection too */
        kh_session_warn(r->session, why.text);
        return KH_OK;
    }
    for (size_t p = 0; p < b->pixels; p++) {
        truth[p] = b->labels[p] == label;
        b->is_known[at] |= truth[p] != 0;
    }
    return KH_OK;
}

/* Takes image m->id[i] in; one that cannot be read is left out (the atlas lists it). */
static kh_status take(const kh_reproduce *r, batch *b, size_t i, kh_error *err) {
    const kh_preprocess *how = &r->info->preprocess;
    const kh_reproduce_maps *m = &r->maps;
    kh_image decoded = {0};
    if (kh_source_read_image(r->source, m->id[i], &r->settings->decode, &decoded, NULL))
        return KH_OK;
    const kh_status status = kh_preprocess_image(
        how, &decoded, b->floats + b->count * 3 * b->pixels, 3 * b->pixels, err);
    kh_image_clear(&decoded);
    if (status) return status;
    b->classes[b->count] = m->class_index[i];
    b->place[b->count] = i;
    KH_TRY(read_truth(r, b, m->id[i], err));
    b->count++;
    return KH_OK;
}

/* ---- dots ------------------------------------------------------------------------------------ */

/* Patches that show something of the object. */
static void mark_patches(const kh_reproduce *r, const uint8_t *truth, kh_grid grid, uint8_t *on) {
    const size_t height = r->info->image_height, width = r->info->image_width;
    memset(on, 0, grid.height * grid.width);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t v = y / r->info->patch, u = x / r->info->patch;
            if (truth[y * width + x] && v < grid.height && u < grid.width)
                on[v * grid.width + u] = 1;
        }
}

static kh_status count_dots(kh_reproduce *r, const batch *b, size_t i, const float *map,
                            kh_grid grid, kh_error *err) {
    kh_reproduce_maps *m = &r->maps;
    const size_t patches = grid.height * grid.width, place = b->place[i];
    uint8_t *on = kh_calloc(patches, 1);
    float *shuffled = kh_alloc_floats(patches);
    if (!on || !shuffled) {
        kh_free(on);
        kh_free(shuffled);
        return kh_fail(err, KH_E_MEMORY, "no memory for a map");
    }
    mark_patches(r, b->truth + i * b->pixels, grid, on);
    const size_t dots = kh_lens_map_dots(map, grid, on);
    m->dots += dots;
    m->is_seen[place] = true;
    m->has_dot[place] = dots > 0;
    memcpy(shuffled, map, patches * sizeof *shuffled);
    kh_rng rng = kh_rng_make(r->settings->seed, place);
    for (size_t p = patches - 1; p > 0; p--) {
        const size_t other = kh_rng_below(&rng, p + 1);
        const float kept = shuffled[p];
        shuffled[p] = shuffled[other];
        shuffled[other] = kept;
    }
    m->has_shuffled_dot[place] = kh_lens_map_dots(shuffled, grid, on) > 0;
    const size_t rounding = kh_lens_map_rounding(map, patches);
    if (rounding > m->worst_rounding) m->worst_rounding = rounding;
    memcpy(m->rank_zero + place * patches, map, patches * sizeof *map);
    kh_free(on);
    kh_free(shuffled);
    return KH_OK;
}

/* ---- the pass -------------------------------------------------------------------------------- */

static kh_status look_at_batch(kh_reproduce *r, batch *b, kh_error *err) {
    kh_reproduce_maps *m = &r->maps;
    kh_look look = {0};
    kh_look_options options = kh_look_options_default();
    options.ranking = &m->plan.neurons;
    options.k = m->plan.scored;
    options.predictions = 1;
    options.batch = r->settings->batch;
    KH_TRY(kh_lens_look(r->session->ctx, r->session->model, &options, b->floats, b->count,
                        b->classes, &look, err));
    const kh_truth_maps what = {.maps = look.maps,
                                .images = b->count,
                                .stride = m->plan.scored,
                                .scored = m->plan.scored,
                                .grid = look.grid,
                                .truth = b->truth,
                                .height = r->info->image_height,
                                .width = r->info->image_width,
                                .quantile = r->settings->percentile / 100};
    kh_status status = KH_OK;
    kh_truth_score *scores = NULL;
    if (m->scores) {
        scores = kh_calloc(b->count, m->plan.scored * sizeof *scores);
        status = scores ? kh_lens_truth_scores(r->session->ctx, &what, scores, err)
                        : kh_fail(err, KH_E_MEMORY, "no memory for scores");
    }
    for (size_t i = 0; i < b->count && !status; i++) {
        if (scores && b->is_known[i]) {
            memcpy(m->scores + b->place[i] * m->plan.scored, scores + i * m->plan.scored,
                   m->plan.scored * sizeof *scores);
            m->shown++;
        }
        status = count_dots(r, b, i, look.maps + i * m->plan.scored * look.patches, look.grid, err);
    }
    kh_free(scores);
    kh_look_clear(&look);
    b->count = 0;
    return status;
}

static kh_status allocate(kh_reproduce *r, kh_error *err) {
    kh_reproduce_maps *m = &r->maps;
    const size_t patches = r->info->tokens - r->info->prefix_tokens;
    const size_t left = r->info->neurons - r->ranking.k, draws = r->settings->draws;
    KH_TRY(kh_lens_truth_plan(&r->ranking, r->ranking.k, draws < left ? draws : left,
                              r->settings->seed, &m->plan, err));
    m->is_seen = kh_calloc(m->images, sizeof *m->is_seen);
    m->has_dot = kh_calloc(m->images, 1);
    m->has_shuffled_dot = kh_calloc(m->images, 1);
    m->rank_zero = kh_alloc_floats(m->images * patches);
    if (r->labels) m->scores = kh_calloc(m->images, m->plan.scored * sizeof *m->scores);
    if (m->is_seen && m->has_dot && m->has_shuffled_dot && m->rank_zero &&
        (m->scores || !r->labels))
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the maps of %zu images", m->images);
}

kh_status kh_reproduce_look_at_maps(kh_reproduce *r, kh_error *err) {
    kh_reproduce_maps *m = &r->maps;
    batch b = {0};
    KH_TRY(choose(r, err));
    if (m->images == 0) return KH_OK;
    kh_status status = allocate(r, err);
    if (!status) status = batch_init(&b, r, err);
    for (size_t i = 0; i < m->images && !status; i++) {
        if (r->settings->progress && !r->settings->progress(r->session, "maps", i, m->images))
            status = kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu map%s", i, m->images,
                             KH_S(m->images));
        if (!status) status = take(r, &b, i, err);
        if (!status && (b.count == AT_ONCE || i + 1 == m->images) && b.count > 0)
            status = look_at_batch(r, &b, err);
    }
    if (!status && r->settings->progress)
        (void)r->settings->progress(r->session, "maps", m->images, m->images);
    batch_clear(&b);
    return status;
}
