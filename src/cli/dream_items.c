/* What `dream` is asked for, as a list of dreams. */
#include "cli/dream.h"
#include "cli/images.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NULL, with err, when out of memory. */
static kh_dream_item *add_item(kh_dream_run *run, kh_error *err) {
    kh_dream_item *more = kh_realloc(run->items, run->item_count + 1, sizeof *more);
    if (!more) {
        (void)kh_fail(err, KH_E_MEMORY, "no memory for a list of dreams");
        return NULL;
    }
    run->items = more;
    kh_dream_item *item = &more[run->item_count];
    *item = (kh_dream_item){.target = SIZE_MAX, .order = run->item_count};
    run->item_count++;
    return item;
}

/* The next piece of a list with commas, in `piece`; false at the end. */
static bool next_piece(const char **rest, char piece[256]) {
    if (!*rest || !**rest) return false;
    const size_t length = strcspn(*rest, ",");
    const size_t kept = length < 255 ? length : 255;
    memcpy(piece, *rest, kept);
    piece[kept] = '\0';
    *rest += length + ((*rest)[length] == ',');
    return true;
}

/* ---- files -------------------------------------------------------------------------------------
 */

/* Square, in [0, 1]: the middle of the photo, at the dream's size. */
static kh_status read_photo(kh_dream_run *run, size_t side, kh_error *err) {
    kh_image photo = {0}, fitted = {0};
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = side;
    how.crop_pct = 1;
    KH_TRY(kh_image_read(run->options->photo, NULL, NULL, &photo, err));
    kh_status status = kh_preprocess_bytes(&how, &photo, &fitted, err);
    kh_image_clear(&photo);
    run->photo = status ? NULL : kh_alloc_floats(3 * side * side);
    if (!status && !run->photo) status = kh_fail(err, KH_E_MEMORY, "no memory for a photo");
    for (size_t i = 0; !status && i < 3 * side * side; i++)
        run->photo[i] = (float)fitted.rgb[3 * (i % (side * side)) + i / (side * side)] / 255.0f;
    kh_image_clear(&fitted);
    run->objective.photo = run->photo;
    run->objective.penalty = 1;
    return status;
}

/* MaCo's magnitudes from a folder of the user's own images. */
static kh_status read_magnitudes(kh_dream_run *run, size_t side, kh_error *err) {
    kh_inputs inputs = {0};
    char *folder = kh_strdup(run->options->magnitudes);
    if (!folder) return kh_fail(err, KH_E_MEMORY, "no memory for a list of images");
    kh_status status = kh_inputs_collect(&folder, 1, &inputs, err);
    const size_t count = inputs.count, floats = 3 * side * (side / 2 + 1);
    float *sum = NULL, *one = NULL;
    if (!status) {
        sum = kh_calloc(floats, sizeof *sum);
        one = kh_alloc_floats(floats);
        if (!sum || !one) status = kh_fail(err, KH_E_MEMORY, "no memory for magnitudes");
    }
    for (size_t i = 0; !status && i < count; i++) {
        kh_image image = {0};
        status = kh_source_read_image(inputs.source, i, NULL, &image, err);
        if (!status) status = kh_dream_magnitude(&image, 1, side, one, floats, err);
        for (size_t k = 0; !status && k < floats; k++)
            sum[k] += one[k] / (float)count;
        kh_image_clear(&image);
    }
    kh_free(one);
    kh_inputs_clear(&inputs);
    kh_free(folder);
    run->magnitude = sum;
    run->objective.magnitude = sum;
    return status;
}

/* ---- settings ----------------------------------------------------------------------------------
 */

static int by_step(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static kh_status plan_marks(kh_dream_run *run, kh_error *err) {
    const char *rest = run->options->snapshots;
    char piece[256];
    while (next_piece(&rest, piece)) {
        size_t step;
        if (!kh_parse_size(piece, &step) || step == 0 || step > run->settings.steps)
            return kh_fail(err, KH_E_ARG, "--snapshots '%s': steps from 1 to %zu", piece,
                           run->settings.steps);
        if (run->mark_count + 1 == KH_DREAM_MARKS)
            return kh_fail(err, KH_E_ARG, "--snapshots takes at most %d steps", KH_DREAM_MARKS - 1);
        run->marks[run->mark_count++] = step;
    }
    run->marks[run->mark_count++] = run->settings.steps;
    qsort(run->marks, run->mark_count, sizeof run->marks[0], by_step);
    size_t kept = 1;
    for (size_t i = 1; i < run->mark_count; i++)
        if (run->marks[i] != run->marks[kept - 1]) run->marks[kept++] = run->marks[i];
    run->mark_count = kept;
    return KH_OK;
}

static bool is_one_of(const char *word, const char *const *words, size_t count, int *which) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0) {
            *which = (int)i;
            return true;
        }
    return false;
}

/* Presets that say what is right, not what was once run. */
static bool is_ours(const char *preset) {
    static const char *const ours[] = {"default", "quick", "maco", "standard-fourier"};
    int which;
    return is_one_of(preset, ours, 4, &which);
}

/* Padding and jitters of a preset that leaves the size open are meant for 128 pixels. */
static void resize(kh_dream_settings *s, size_t size) {
    if (s->size == 0 && s->chain == KH_CHAIN_CLEAN) {
        s->pad = (s->pad * size + 64) / 128;
        s->jitter = (s->jitter * size + 64) / 128;
        s->second_jitter = (s->second_jitter * size + 64) / 128;
    }
    s->size = size;
}

static kh_status plan_settings(kh_dream_run *run, kh_error *err) {
    static const char *const gates[] = {"pre", "post", "warm", "positive", "phi"};
    static const char *const tokens[] = {"all", "class", "patches", "cell", "both"};
    const kh_dream_options *o = run->options;
    kh_dream_settings *s = &run->settings;
    KH_TRY(kh_dream_preset(o->preset, s, err));
    s->seed = o->seed;
    if (o->steps) s->steps = o->steps;
    if (o->size) resize(s, o->size);
    if (o->lr > 0) s->lr = o->lr;
    if (o->norm) s->norm = strcmp(o->norm, "model") == 0 ? KH_NORM_MODEL : KH_NORM_IMAGENET;
    int which = 0;
    if (is_one_of(o->gate, gates, 5, &which)) run->objective.gate = (kh_dream_gate)which;
    if (o->schedule)
        s->schedule =
            strcmp(o->schedule, "cosine") == 0 ? KH_SCHEDULE_COSINE : KH_SCHEDULE_CONSTANT;
    which = KH_TOKENS_ALL;
    if (!is_one_of(o->tokens, tokens, 5, &which) && is_ours(o->preset) &&
        kh_model_get_info(run->session->model)->has_class_token)
        which = KH_TOKENS_CLASS; /* --tokens auto */
    run->objective.tokens = (kh_dream_tokens)which;
    run->objective.cell = o->cell;
    run->objective.images = o->images ? o->images : 1;
    run->objective.interpolates = o->interpolates;
    if (o->diversity != 0) {
        run->objective.diversity = KH_DIVERSITY_UNITS;
        run->objective.lambda = o->diversity;
        run->objective.lambda_is_relative = true;
        if (run->objective.images < 2)
            return kh_fail(err, KH_E_ARG, "--diversity needs --images 2 or more");
    }
    return plan_marks(run, err);
}

/* ---- items -------------------------------------------------------------------------------------
 */

static kh_dream_term neuron_of(const kh_dream_run *run, size_t block, size_t index, double weight) {
    return (kh_dream_term){.goal = KH_GOAL_NEURON,
                           .block = block,
                           .index = index,
                           .weight = run->options->is_negative ? -weight : weight};
}

/* File names: wnid or "c207", then the neuron; only letters that files and shells like. */
static void name_item(const kh_dream_run *run, kh_dream_item *item, const char *what) {
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
    (void)snprintf(item->stem, sizeof item->stem, "%.24s%.30s", first, what);
    (void)snprintf(item->label, sizeof item->label, "%.70s%s%.40s", name, name[0] ? " " : "", what);
}

static kh_status plan_neurons(kh_dream_run *run, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(run->session->model);
    const bool is_value = strcmp(run->options->goal, "value") == 0;
    const char *rest = run->options->neurons;
    char piece[256], name[32];
    while (next_piece(&rest, piece)) {
        kh_neuron n;
        KH_TRY(kh_neuron_parse(piece, &n, err));
        if (n.block >= info->blocks || n.index >= (is_value ? info->dim : info->neurons))
            return kh_fail(err, KH_E_ARG, "--neuron %.40s: the model has %zu blocks of %zu %s",
                           piece, info->blocks, is_value ? info->dim : info->neurons,
                           is_value ? "channels" : "neurons");
        kh_dream_item *item = add_item(run, err);
        if (!item) return KH_E_MEMORY;
        item->terms[item->term_count] = neuron_of(run, n.block, n.index, 1);
        if (is_value) item->terms[item->term_count].goal = KH_GOAL_VALUE;
        item->term_count++;
        kh_neuron_format(n, name, sizeof name);
        name_item(run, item, name);
    }
    return KH_OK;
}

static uint64_t mixed(uint64_t x) { /* a fixed draw per class: no generator needed */
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* The class's neurons: the best k, the next after the best, or one drawn at random. */
static kh_status class_terms(const kh_dream_run *run, const kh_ranking *r, size_t c,
                             kh_dream_item *item, kh_error *err) {
    const kh_dream_options *o = run->options;
    const kh_ranked *own = r->global + c * r->k;
    const size_t count = o->topk;
    if (strcmp(o->pick, "random") == 0) {
        const uint64_t draw = mixed(mixed(o->seed + 1) + c);
        item->terms[item->term_count++] =
            neuron_of(run, draw % r->blocks, (draw >> 20) % r->units, 1);
        return KH_OK;
    }
    const size_t first = strcmp(o->pick, "next") == 0 ? 1 : 0;
    float scores[KH_DREAM_TERMS];
    double weights[KH_DREAM_TERMS];
    for (size_t i = 0; i < count; i++)
        scores[i] = own[first + i].score;
    KH_TRY(kh_dream_weights(o->weights, scores, count, weights, err));
    for (size_t i = 0; i < count; i++)
        item->terms[item->term_count++] =
            neuron_of(run, own[first + i].block, own[first + i].index, weights[i]);
    return KH_OK;
}

static kh_status plan_class(kh_dream_run *run, const kh_ranking *r, size_t c, kh_error *err) {
    static const char *const goals[] = {"logit", "probability", "log-probability"};
    const kh_dream_options *o = run->options;
    char what[40];
    int which;
    if (is_one_of(o->goal, goals, 3, &which)) {
        kh_dream_item *item = add_item(run, err);
        if (!item) return KH_E_MEMORY;
        item->target = c;
        item->terms[item->term_count++] =
            (kh_dream_term){.goal = (kh_dream_goal)(KH_GOAL_LOGIT + which),
                            .index = c,
                            .weight = o->is_negative ? -1 : 1};
        name_item(run, item, o->goal);
        return KH_OK;
    }
    for (size_t b = 0; b < (o->per_block ? r->blocks : 1); b++) {
        kh_dream_item *item = add_item(run, err);
        if (!item) return KH_E_MEMORY;
        item->target = c;
        if (o->per_block)
            item->terms[item->term_count++] =
                neuron_of(run, b, (size_t)r->block_index[b * r->k * r->classes + c], 1);
        else
            KH_TRY(class_terms(run, r, c, item, err));
        kh_neuron_format((kh_neuron){item->terms[0].block, item->terms[0].index}, what,
                         sizeof what);
        if (item->term_count > 1)
            (void)snprintf(what + strlen(what), sizeof what - strlen(what), "k%zu",
                           item->term_count);
        name_item(run, item, what);
    }
    return KH_OK;
}

/* Two classes at the ends of one dream of several images. */
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
    run->item_count = 1;
    return KH_OK;
}

static kh_status plan_classes(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    kh_model *model = run->session->model;
    KH_TRY(kh_require_classes(model, err));
    const kh_classes *classes = kh_model_classes(model);
    kh_ranking ranking = {0};
    if (strcmp(o->goal, "neuron") == 0) {
        kh_rank_options how = kh_rank_options_default();
        how.k = o->topk + 1;
        how.progress = kh_session_progress;
        how.progress_user = run->session;
        KH_TRY(kh_lens_rank(run->session->ctx, model, &how, &ranking, err));
    }
    kh_status status = KH_OK;
    if (strcmp(o->classes, "all") == 0)
        for (size_t c = 0; !status && c < kh_classes_count(classes); c++)
            status = plan_class(run, &ranking, c, err);
    const char *rest = strcmp(o->classes, "all") == 0 ? "" : o->classes;
    char piece[256];
    while (!status && next_piece(&rest, piece)) {
        size_t c;
        status = kh_classes_find(classes, piece, &c, err);
        if (!status) status = plan_class(run, &ranking, c, err);
    }
    kh_ranking_clear(&ranking);
    return status;
}

/* ---- together ----------------------------------------------------------------------------------
 */

static int by_block(const void *a, const void *b) {
    const kh_dream_item *x = a, *y = b;
    if (x->block != y->block) return x->block < y->block ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static kh_status sort_items(kh_dream_run *run, kh_error *err) {
    const size_t blocks = kh_model_get_info(run->session->model)->blocks;
    for (size_t i = 0; i < run->item_count; i++) {
        kh_dream_item *item = &run->items[i];
        bool is_new = true;
        for (size_t k = 0; k < i; k++) {
            const kh_dream_term *t = &run->items[k].terms[0], *own = &item->terms[0];
            if (strcmp(run->items[k].stem, item->stem) == 0)
                return kh_fail(err, KH_E_ARG, "'%s' is asked for twice", item->stem);
            if (t->goal == own->goal && t->block == own->block && t->index == own->index)
                is_new = false;
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

/* Size 0 in a preset is decided by the model; a first dream tells. */
static kh_status dream_side(const kh_dream_run *run, size_t *side, kh_error *err) {
    kh_dreamer *dreamer;
    kh_dream *dream = NULL;
    KH_TRY(kh_dreamer_create(run->session->ctx, run->session->model, &dreamer, err));
    kh_dream_objective o = run->objective;
    o.terms = run->items[0].terms;
    o.term_count = run->items[0].term_count;
    const kh_status status = kh_dream_create(dreamer, "size", &run->settings, &o, &dream, err);
    if (!status) *side = kh_dream_size(dream);
    kh_dream_free(dream);
    kh_dreamer_free(dreamer);
    return status;
}

kh_status kh_dream_run_plan(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    if (!o->classes && !o->neurons)
        return kh_fail(err, KH_E_ARG, "say what to dream of: --class LIST|all or --neuron LIST");
    if (o->topk == 0 || 2 * o->topk > KH_DREAM_TERMS)
        return kh_fail(err, KH_E_ARG, "--topk is 1 to %d", KH_DREAM_TERMS / 2);
    KH_TRY(plan_settings(run, err));
    if (o->neurons) KH_TRY(plan_neurons(run, err));
    if (o->classes && strcmp(o->goal, "value") == 0)
        return kh_fail(err, KH_E_ARG, "--goal value goes with --neuron, not with --class");
    if (o->classes) KH_TRY(plan_classes(run, err));
    if (run->item_count == 0) return kh_fail(err, KH_E_ARG, "an empty list of classes or neurons");
    if (o->interpolates) KH_TRY(join_ends(run, err));
    KH_TRY(sort_items(run, err));
    size_t side = 0;
    if (o->photo || o->magnitudes) KH_TRY(dream_side(run, &side, err));
    if (o->photo) KH_TRY(read_photo(run, side, err));
    if (o->magnitudes) KH_TRY(read_magnitudes(run, side, err));
    return KH_OK;
}

void kh_dream_run_clear(kh_dream_run *run) {
    for (size_t i = 0; i < run->item_count; i++) {
        kh_dream_free(run->items[i].dream);
        kh_free(run->items[i].log);
    }
    kh_free(run->items);
    kh_free(run->photo);
    kh_free(run->magnitude);
    *run = (kh_dream_run){0};
}
