/* Figures 1, 2, 10 and 11 of `reproduce`: photographs with heatmaps, drawn as `look` draws them. */
#include "cli/look.h"
#include "cli/outdir.h"
#include "cli/reproduce_figures.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 4, RANKS = 5 };

typedef struct picture_set {
    size_t place[ROWS], count; /* in r->maps */
} picture_set;

/* ---- which pictures -------------------------------------------------------------------------- */

static bool is_known(const kh_reproduce *r, size_t i) {
    const kh_reproduce_maps *m = &r->maps;
    return m->scores && m->is_seen[i] && m->scores[i * m->plan.scored].object > 0;
}

static double first_is_good(const kh_reproduce *r, size_t i) {
    return r->maps.scores[i * r->maps.plan.scored].iou;
}

static double second_is_better(const kh_reproduce *r, size_t i) {
    const kh_truth_score *s = &r->maps.scores[i * r->maps.plan.scored];
    return s[1].iou - s[0].iou;
}

static bool has_class(const kh_reproduce *r, const picture_set *set, size_t class_index) {
    for (size_t i = 0; i < set->count; i++)
        if (r->maps.class_index[set->place[i]] == class_index) return true;
    return false;
}

/* The best by `value`, one of a class. */
static void choose_best(const kh_reproduce *r, double (*value)(const kh_reproduce *, size_t),
                        picture_set *set) {
    const kh_reproduce_maps *m = &r->maps;
    while (set->count < ROWS) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < m->images; i++)
            if (is_known(r, i) && !has_class(r, set, m->class_index[i]) &&
                (best == SIZE_MAX || value(r, i) > value(r, best)))
                best = i;
        if (best == SIZE_MAX) break;
        set->place[set->count++] = best;
    }
}

/* Without masks: the first image of classes spread over the set. */
static void choose_spread(const kh_reproduce *r, picture_set *set) {
    const kh_reproduce_maps *m = &r->maps;
    for (size_t row = 0; row < ROWS; row++)
        for (size_t i = row * m->images / ROWS; i < m->images; i++) {
            if (!m->is_seen[i] || has_class(r, set, m->class_index[i])) continue;
            set->place[set->count++] = i;
            break;
        }
}

/* Figures 1 and 2 show a tench; elsewhere the first picture of figure 10. */
static void choose_one(const kh_reproduce *r, const picture_set *good, picture_set *set) {
    if (good->count == 0) return;
    set->count = 1;
    set->place[0] = good->place[0];
    for (size_t i = r->maps.images; r->is_imagenet && i-- > 0;)
        if (r->maps.class_index[i] == 0 && r->maps.is_seen[i]) set->place[0] = i;
}

/* ---- looking --------------------------------------------------------------------------------- */

typedef struct pictures {
    kh_image photos[ROWS];
    float *floats;
    char *paths[ROWS];
    size_t truth[ROWS], classes[ROWS];
} pictures;

static void pictures_clear(pictures *p) {
    for (size_t i = 0; i < ROWS; i++)
        kh_image_clear(&p->photos[i]);
    kh_free(p->floats);
}

static kh_status read_pictures(const kh_reproduce *r, const picture_set *set, pictures *p,
                               kh_error *err) {
    const kh_preprocess *how = &r->info->preprocess;
    const size_t floats = 3 * how->height * how->width;
    p->floats = kh_alloc_floats(ROWS * floats);
    if (!p->floats) return kh_fail(err, KH_E_MEMORY, "no memory for %d pictures", ROWS);
    for (size_t i = 0; i < set->count; i++) {
        const size_t id = r->maps.id[set->place[i]];
        kh_image decoded = {0};
        KH_TRY(kh_source_read_image(r->source, id, &r->settings->decode, &decoded, err));
        kh_status status = kh_preprocess_bytes(how, &decoded, &p->photos[i], err);
        kh_image_clear(&decoded);
        if (!status)
            status = kh_preprocess_floats(how, &p->photos[i], p->floats + i * floats, floats, err);
        if (status) return status;
        union {
            const char *shared;
            char *path;
        } name = {.shared = kh_source_get(r->source, id).name}; /* only read */
        p->paths[i] = name.path;
        p->truth[i] = p->classes[i] = r->maps.class_index[set->place[i]];
    }
    return KH_OK;
}

/* Draws the set into figures/<stem>/ as `look` does. */
static kh_status look_at(kh_reproduce *r, const picture_set *set, bool with_blocks,
                         const char *folder, char *blocks_stem, size_t stem_bytes, kh_error *err) {
    pictures p = {0};
    kh_look_options options = kh_look_options_default();
    options.ranking = &r->ranking;
    options.k = RANKS < r->ranking.k ? RANKS : r->ranking.k;
    options.want_block_maps = with_blocks;
    options.predictions = 1;
    options.batch = r->settings->batch;
    kh_look_result result = {.model = r->session->model,
                             .ranking = &r->ranking,
                             .paths = p.paths,
                             .photos = p.photos,
                             .truth = p.truth,
                             .scale = KH_SCALE_MAP,
                             .percentile = r->settings->percentile,
                             .site = "post",
                             .from_truth = true,
                             .settings_text = "neurons ranked by alignment ln over all blocks"};
    kh_status status = read_pictures(r, set, &p, err);
    if (!status)
        status = kh_lens_look(r->session->ctx, r->session->model, &options, p.floats, set->count,
                              p.classes, &result.look, err);
    if (!status) status = kh_make_directories(folder, err);
    if (!status) status = kh_look_write_figures(&result, folder, err);
    if (!status && with_blocks) kh_look_blocks_stem(&result, 0, blocks_stem, stem_bytes);
    kh_look_clear(&result.look);
    pictures_clear(&p);
    return status;
}

static kh_status draw(kh_reproduce *r, const picture_set *set, bool with_blocks, const char *id,
                      const char *alternative, const char *caption, kh_error *err) {
    char folder[KH_REPRODUCE_PATH], stem[KH_LOOK_STEM_BYTES] = "look";
    if (set->count == 0) return KH_OK;
    KH_TRY(kh_outdir_path(r->settings->out, folder, sizeof folder, err, "figures/%s", id));
    KH_TRY(look_at(r, set, with_blocks, folder, stem, sizeof stem, err));
    char look[64];
    (void)snprintf(look, sizeof look, "figures/%s/look", id);
    if (with_blocks) kh_reproduce_list(r, look);
    char file[64];
    (void)snprintf(file, sizeof file, "figures/%s/%.40s", id, stem);
    kh_reproduce_list(r, file);
    return kh_reproduce_embed(r, folder, stem, id, alternative, caption, err);
}

kh_status kh_reproduce_draw_blocks(kh_reproduce *r, kh_error *err) {
    picture_set good = {0}, one = {0};
    if (r->maps.shown > 0)
        choose_best(r, first_is_good, &good);
    else
        choose_spread(r, &good);
    choose_one(r, &good, &one);
    return draw(
        r, &one, true, "fig1", "One picture through all blocks: heatmaps and masks",
        "Figures 1 and 2. One picture, block by block: where the block's best aligned neuron "
        "of the class fires, its strongest fifth, and the same for the mean of the blocks so "
        "far. C9.",
        err);
}

kh_status kh_reproduce_draw_heatmaps(kh_reproduce *r, kh_error *err) {
    picture_set good = {0}, bad = {0};
    const bool has_masks = r->maps.shown > 0;
    if (has_masks) {
        choose_best(r, first_is_good, &good);
        if (r->maps.plan.topk > 1) choose_best(r, second_is_better, &bad);
    } else {
        choose_spread(r, &good);
    }
    KH_TRY(draw(r, &good, false, "fig10", "Pictures and heatmaps of five key neurons each",
                has_masks ? "Figure 10. Pictures on which the top-1 neuron covers the object best "
                            "(largest IoU, one of a class): chosen to look good, as in the report. "
                            "Ranks from left to right; each map has its own colours. C10, C12."
                          : "Figure 10. Pictures of four classes and where their five best aligned "
                            "neurons fire; not chosen by success, because no masks are known. Each "
                            "map has its own colours. C10, C12.",
                err));
    return draw(r, &bad, false, "fig11", "Pictures and heatmaps of five key neurons each",
                "Figure 11. Pictures on which the second neuron overlaps the object better than "
                "the first by the widest margin: chosen to look bad. C10, C11.",
                err);
}
