/* The list of dreams: neurons by name, classes with their neurons, ends of an interpolation. */
#include "cli/dream.h"
#include "cli/images.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *kh_dream_pick_name(size_t pick) {
    static const char *const names[KH_DREAM_PICKS] = {"best", "next", "random"};
    return names[pick];
}

kh_dream_item *kh_dream_item_add(kh_dream_run *run, kh_error *err) {
    kh_dream_item *more = kh_realloc(run->items, run->item_count + 1, sizeof *more);
    if (!more) {
        (void)kh_fail(err, KH_E_MEMORY, "no memory for a list of dreams");
        return NULL;
    }
    run->items = more;
    kh_dream_item *item = &more[run->item_count];
    *item = (kh_dream_item){.target = SIZE_MAX, .order = run->item_count};
    item->z = item->natural_z = (double)NAN;
    run->item_count++;
    return item;
}

static bool is_value(const kh_dream_run *run) {
    return strcmp(run->options->goal, "value") == 0;
}

/* A key neuron, or with --goal value a channel of the heads' outputs. */
static kh_dream_term neuron_of(const kh_dream_run *run, size_t block, size_t index, double weight) {
    return (kh_dream_term){.goal = is_value(run) ? KH_GOAL_VALUE : KH_GOAL_NEURON,
                           .block = block,
                           .index = index,
                           .weight = run->options->is_negative ? -weight : weight};
}

void kh_dream_item_name(const kh_dream_run *run, kh_dream_item *item, const char *what) {
    const kh_classes *classes = kh_model_classes(run->session->model);
    char name[80] = "", first[64] = "";
    if (item->target != SIZE_MAX) {
        const kh_class c = kh_classes_get(classes, item->target);
        kh_class_short(classes, item->target, name, sizeof name);
        if (c.wnid && strlen(c.wnid) < 24)
            (void)snprintf(first, sizeof first, "%s_", c.wnid);
        else
            (void)snprintf(first, sizeof first, "c%03zu_", item->target);
    }
    (void)snprintf(item->stem, sizeof item->stem, "%.24s%.38s", first, what);
    (void)snprintf(item->label, sizeof item->label, "%.70s%s%.40s", name, name[0] ? " " : "", what);
}

kh_status kh_dream_class(const kh_dream_run *run, const char *query, size_t *out, kh_error *err) {
    const kh_status status =
        kh_classes_find(kh_model_classes(run->session->model), query, out, err);
    return status == KH_E_NOT_FOUND ? KH_E_ARG : status;
}

/* ---- neurons by name ---------------------------------------------------------------------------
 */

/* "b3n7", or several joined by '+', which count alike. */
static kh_status add_neurons(kh_dream_run *run, char *piece, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(run->session->model);
    const bool is_channel = is_value(run);
    char what[40] = "", name[32];
    size_t count = 1;
    for (const char *p = piece; *p; p++)
        count += *p == '+';
    if (2 * count > KH_DREAM_TERMS)
        return kh_fail(err, KH_E_ARG, "--neuron: at most %d joined by '+'", KH_DREAM_TERMS / 2);
    kh_dream_item *item = kh_dream_item_add(run, err);
    if (!item) return KH_E_MEMORY;
    for (char *at = piece, *next; at; at = next) {
        kh_neuron n;
        next = strchr(at, '+');
        if (next) *next++ = '\0';
        KH_TRY(kh_neuron_parse(at, &n, err));
        if (n.block >= info->blocks || n.index >= (is_channel ? info->dim : info->neurons))
            return kh_fail(err, KH_E_ARG, "--neuron %.40s: the model has %zu blocks of %zu %s", at,
                           info->blocks, is_channel ? info->dim : info->neurons,
                           is_channel ? "channels" : "neurons");
        item->terms[item->term_count++] = neuron_of(run, n.block, n.index, 1.0 / (double)count);
        kh_neuron_format(n, name, sizeof name);
        if (strlen(what) + strlen(name) + 1 < sizeof what)
            (void)snprintf(what + strlen(what), sizeof what - strlen(what), "%s%s",
                           what[0] ? "+" : "", name);
    }
    kh_dream_item_name(run, item, what);
    return KH_OK;
}

/* ---- classes -----------------------------------------------------------------------------------
 */

static uint64_t mixed(uint64_t x) { /* a fixed draw per class: no generator needed */
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* Place 0 is the class's most aligned neuron, of all blocks or of one. */
static kh_ranked ranked_at(const kh_ranking *r, size_t block, size_t c, size_t place) {
    if (block == SIZE_MAX) return r->global[c * r->k + place];
    const size_t at = (block * r->k + place) * r->classes + c;
    return (kh_ranked){(uint32_t)block, (uint32_t)r->block_index[at], r->block_score[at]};
}

/* The best k, the k behind the best, or k drawn at random; block SIZE_MAX: of all blocks. */
static kh_status class_terms(const kh_dream_run *run, const kh_ranking *r, size_t block, size_t c,
                             kh_dream_item *item, kh_error *err) {
    const kh_dream_options *o = run->options;
    const size_t count = o->topk;
    float scores[KH_DREAM_TERMS] = {0};
    double weights[KH_DREAM_TERMS];
    if (item->pick == KH_PICK_RANDOM) {
        uint64_t draw = mixed(o->seed + 1) + c;
        for (size_t i = 0; i < count; i++) {
            draw = mixed(draw);
            item->terms[item->term_count++] =
                neuron_of(run, block == SIZE_MAX ? draw % r->blocks : block,
                          (draw >> 20) % r->units, 1.0 / (double)count);
        }
        return KH_OK;
    }
    const size_t first = item->pick == KH_PICK_NEXT ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        scores[i] = ranked_at(r, block, c, first + i).score;
    KH_TRY(kh_dream_weights(o->weights, scores, count, weights, err));
    for (size_t i = 0; i < count; i++) {
        const kh_ranked n = ranked_at(r, block, c, first + i);
        item->terms[item->term_count++] = neuron_of(run, n.block, n.index, weights[i]);
    }
    return KH_OK;
}

/* One dream of a class's neurons, of all blocks (SIZE_MAX) or of one. */
static kh_status plan_picked(kh_dream_run *run, const kh_ranking *r, size_t block, size_t c,
                             kh_dream_pick pick, kh_error *err) {
    char what[48];
    kh_dream_item *item = kh_dream_item_add(run, err);
    if (!item) return KH_E_MEMORY;
    item->target = c;
    item->pick = pick;
    KH_TRY(class_terms(run, r, block, c, item, err));
    kh_neuron_format((kh_neuron){item->terms[0].block, item->terms[0].index}, what, sizeof what);
    if (item->term_count > 1)
        (void)snprintf(what + strlen(what), sizeof what - strlen(what), "k%zu", item->term_count);
    if (run->options->has_baselines && pick != KH_PICK_BEST)
        (void)snprintf(what + strlen(what), sizeof what - strlen(what), "_%s",
                       kh_dream_pick_name(pick));
    kh_dream_item_name(run, item, what);
    return KH_OK;
}

static kh_status plan_class(kh_dream_run *run, const kh_ranking *r, size_t c, kh_dream_pick pick,
                            kh_error *err) {
    static const char *const goals[] = {"logit", "probability", "log-probability"};
    const kh_dream_options *o = run->options;
    for (size_t g = 0; g < 3; g++) {
        if (strcmp(o->goal, goals[g]) != 0) continue;
        kh_dream_item *item = kh_dream_item_add(run, err);
        if (!item) return KH_E_MEMORY;
        item->target = c;
        item->terms[item->term_count++] =
            (kh_dream_term){.goal = (kh_dream_goal)(KH_GOAL_LOGIT + g),
                            .index = c,
                            .weight = o->is_negative ? -1 : 1};
        kh_dream_item_name(run, item, o->goal);
        return KH_OK;
    }
    if (!o->per_block) return plan_picked(run, r, SIZE_MAX, c, pick, err);
    for (size_t b = 0; b < r->blocks; b++)
        KH_TRY(plan_picked(run, r, b, c, pick, err));
    return KH_OK;
}

static kh_status plan_list(kh_dream_run *run, const kh_ranking *r, kh_dream_pick pick,
                           kh_error *err) {
    const kh_dream_options *o = run->options;
    const size_t classes = kh_classes_count(kh_model_classes(run->session->model));
    const bool is_all = strcmp(o->classes, "all") == 0;
    for (size_t c = 0; is_all && c < classes; c++)
        KH_TRY(plan_class(run, r, c, pick, err));
    const char *rest = is_all ? "" : o->classes;
    char piece[256];
    while (kh_dream_piece(&rest, piece)) {
        size_t c;
        KH_TRY(kh_dream_class(run, piece, &c, err));
        KH_TRY(plan_class(run, r, c, pick, err));
    }
    return KH_OK;
}

static kh_dream_pick asked_pick(const kh_dream_options *o) {
    for (size_t p = 0; p < KH_DREAM_PICKS; p++)
        if (strcmp(o->pick, kh_dream_pick_name(p)) == 0) return (kh_dream_pick)p;
    return KH_PICK_BEST;
}

static kh_status plan_classes(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    const bool has_ranking = strcmp(o->goal, "neuron") == 0 || is_value(run);
    kh_ranking ranking = {0};
    KH_TRY(kh_require_classes(run->session->model, err));
    if (has_ranking) {
        kh_rank_options how = kh_rank_options_default();
        how.k = o->topk + 1;
        how.align.source = is_value(run) ? KH_ALIGN_ATTENTION : KH_ALIGN_MLP;
        how.progress = kh_session_progress;
        how.progress_user = run->session;
        KH_TRY(kh_lens_rank(run->session->ctx, run->session->model, &how, &ranking, err));
    }
    kh_status status = plan_list(run, &ranking, asked_pick(o), err);
    run->best_count = run->item_count;
    for (size_t p = 1; !status && o->has_baselines && p < KH_DREAM_PICKS; p++)
        status = plan_list(run, &ranking, (kh_dream_pick)p, err);
    kh_ranking_clear(&ranking);
    return status;
}

/* ---- together ----------------------------------------------------------------------------------
 */

/* Two classes or neurons at the ends of one dream of several images. */
static kh_status join_ends(kh_dream_run *run, kh_error *err) {
    if (run->item_count != 2 || run->objective.images < 2)
        return kh_fail(err, KH_E_ARG,
                       "--interpolate needs exactly two classes or neurons and --images 2 or more");
    kh_dream_item *a = &run->items[0], *b = &run->items[1];
    if (a->term_count + b->term_count > KH_DREAM_TERMS)
        return kh_fail(err, KH_E_ARG, "too many neurons to interpolate between");
    for (size_t i = 0; i < b->term_count; i++) {
        b->terms[i].last_weight = b->terms[i].weight;
        b->terms[i].weight = 0;
        a->terms[a->term_count++] = b->terms[i];
    }
    char joined[sizeof a->stem];
    (void)snprintf(joined, sizeof joined, "%.30s-%.30s", a->stem, b->stem);
    memcpy(a->stem, joined, sizeof joined);
    a->target = SIZE_MAX; /* every image is after something else */
    run->item_count = run->best_count = 1;
    return KH_OK;
}

static int by_block(const void *a, const void *b) {
    const kh_dream_item *x = a, *y = b;
    if (x->block != y->block) return x->block < y->block ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static bool same_goal(const kh_dream_term *a, const kh_dream_term *b) {
    return a->goal == b->goal && a->block == b->block && a->index == b->index;
}

static kh_status sort_items(kh_dream_run *run, kh_error *err) {
    const size_t blocks = kh_model_get_info(run->session->model)->blocks;
    for (size_t i = 0; i < run->item_count; i++) {
        kh_dream_item *item = &run->items[i];
        bool is_new = i < run->best_count;
        for (size_t k = 0; k < i; k++) {
            if (strcmp(run->items[k].stem, item->stem) == 0)
                return kh_fail(err, KH_E_ARG, "'%s' is asked for twice", item->stem);
            if (same_goal(&run->items[k].terms[0], &item->terms[0])) is_new = false;
        }
        run->distinct += is_new;
        for (size_t k = 0; k < item->term_count; k++) {
            const size_t at =
                item->terms[k].goal < KH_GOAL_LOGIT ? item->terms[k].block : blocks - 1;
            if (at > item->block) item->block = at;
        }
    }
    qsort(run->items, run->item_count, sizeof *run->items, by_block);
    return KH_OK;
}

static kh_status check(const kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    const kh_model_info *info = kh_model_get_info(run->session->model);
    const size_t units = is_value(run) ? info->dim : info->neurons;
    const bool has_picks = strcmp(o->goal, "neuron") == 0 || is_value(run);
    if (o->topk == 0 || 2 * o->topk > KH_DREAM_TERMS || o->topk >= units)
        return kh_fail(err, KH_E_ARG, "--topk is 1 to %d", KH_DREAM_TERMS / 2);
    if (o->has_baselines &&
        (!o->classes || o->interpolates || strcmp(o->pick, "best") != 0 || !has_picks))
        return kh_fail(err, KH_E_ARG, "--baselines goes with the best neuron of each --class");
    return KH_OK;
}

kh_status kh_dream_run_items(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    const char *rest = o->neurons;
    char piece[256];
    KH_TRY(check(run, err));
    while (kh_dream_piece(&rest, piece))
        KH_TRY(add_neurons(run, piece, err));
    if (o->directions) KH_TRY(kh_dream_run_directions(run, err));
    run->best_count = run->item_count;
    if (o->classes) KH_TRY(plan_classes(run, err));
    if (run->item_count == 0) return kh_fail(err, KH_E_ARG, "an empty list of classes or neurons");
    if (o->interpolates) KH_TRY(join_ends(run, err));
    run->picks = o->has_baselines ? KH_DREAM_PICKS : 1;
    return sort_items(run, err);
}
