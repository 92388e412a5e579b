/* Options of `dream` to settings, objective, marks and a list of dreams. */
#include "cli/dream.h"
#include "cli/images.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool kh_dream_piece(const char **rest, char piece[256]) {
    if (!*rest || !**rest) return false;
    const size_t length = strcspn(*rest, ",");
    const size_t kept = length < 255 ? length : 255;
    memcpy(piece, *rest, kept);
    piece[kept] = '\0';
    *rest += length + ((*rest)[length] == ',');
    return true;
}

static const char *const gates[] = {"pre", "post", "warm", "positive", "phi"};
static const char *const tokens[] = {"all", "class", "patches", "cell", "both"};

const char *kh_dream_gate_name(kh_dream_gate gate) {
    return gates[gate];
}

const char *kh_dream_tokens_name(kh_dream_tokens which) {
    return tokens[which];
}

/* ---- marks -------------------------------------------------------------------------------------
 */

static int by_step(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static kh_status plan_marks(kh_dream_run *run, const kh_dream_usage *usage, kh_error *err) {
    const char *rest = run->options->snapshots;
    char piece[256];
    for (size_t i = 0; !rest && i < 4 && usage->snapshots[i] > 0; i++)
        if (usage->snapshots[i] <= run->settings.steps)
            run->marks[run->mark_count++] = usage->snapshots[i];
    while (kh_dream_piece(&rest, piece)) {
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

/* ---- settings ----------------------------------------------------------------------------------
 */

/* Index of `word` among the words, count when it is none of them. */
static size_t place_of(const char *word, const char *const *words, size_t count) {
    size_t i = 0;
    while (i < count && strcmp(word, words[i]) != 0)
        i++;
    return i;
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
    const kh_dream_options *o = run->options;
    kh_dream_settings *s = &run->settings;
    if (o->steps != SIZE_MAX && (o->steps == 0 || o->steps > 10000000))
        return kh_fail(err, KH_E_ARG, "--steps %zu: 1 to 10000000", o->steps);
    if (o->batch == 0) return kh_fail(err, KH_E_ARG, "--batch starts at 1");
    if (o->sheet_cell > 2048)
        return kh_fail(err, KH_E_ARG, "--sheet-cell %zu: at most 2048", o->sheet_cell);
    if (o->size > 4096) return kh_fail(err, KH_E_ARG, "--size %zu: at most 4096", o->size);
    s->seed = o->seed;
    if (o->steps != SIZE_MAX) s->steps = o->steps;
    if (o->size)
        resize(s, o->size);
    else
        kh_dream_fit(s, kh_model_get_info(run->session->model));
    if (o->lr <= 0) return kh_fail(err, KH_E_ARG, "--lr %g: more than 0", o->lr);
    if (!isnan(o->lr)) s->lr = o->lr;
    if (o->norm) s->norm = strcmp(o->norm, "model") == 0 ? KH_NORM_MODEL : KH_NORM_IMAGENET;
    if (o->schedule)
        s->schedule =
            strcmp(o->schedule, "cosine") == 0 ? KH_SCHEDULE_COSINE : KH_SCHEDULE_CONSTANT;
    if (o->photo) s->decay = 1.5; /* the accentuating gradient's */
    return o->set ? kh_dream_set(o->set, s, err) : KH_OK;
}

static kh_status plan_diversity(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    kh_dream_objective *to = &run->objective;
    if (o->diversity == 0) return KH_OK;
    if (to->images < 2) return kh_fail(err, KH_E_ARG, "--diversity needs --images 2 or more");
    const bool is_gram = strcmp(o->diversity_kind, "gram") == 0;
    to->diversity = is_gram ? KH_DIVERSITY_GRAM : KH_DIVERSITY_UNITS;
    to->lambda = o->diversity;
    to->lambda_is_relative = true;
    return KH_OK;
}

static kh_status plan_objective(kh_dream_run *run, const kh_dream_usage *usage, kh_error *err) {
    const kh_dream_options *o = run->options;
    kh_dream_objective *to = &run->objective;
    const size_t gate = place_of(o->gate, gates, 5), token = place_of(o->tokens, tokens, 5);
    to->gate = gate < 5 ? (kh_dream_gate)gate : usage->gate;         /* else "auto" */
    to->tokens = token < 5 ? (kh_dream_tokens)token : usage->tokens; /* else "auto" */
    to->cell = o->cell;
    to->warm_steps = o->warm_steps;
    to->images = o->images ? o->images : 1;
    if (to->images > 64)
        return kh_fail(err, KH_E_ARG, "--images %zu: at most 64 in a dream", to->images);
    to->interpolates = o->interpolates;
    to->penalty = o->photo ? o->penalty : 0;
    return plan_diversity(run, err);
}

/* A made dream tells whether settings and objective fit the model: before anything is written. */
static kh_status try_one(const kh_dream_run *run, kh_error *err) {
    kh_dreamer *dreamer;
    kh_dream *dream = NULL;
    KH_TRY(kh_dreamer_create(run->session->ctx, run->session->model, &dreamer, err));
    kh_dream_objective o = run->objective;
    o.terms = run->items[0].terms;
    o.term_count = run->items[0].term_count;
    const kh_status status = kh_dream_create(dreamer, "one", &run->settings, &o, &dream, err);
    kh_dream_free(dream);
    kh_dreamer_free(dreamer);
    return status;
}

kh_status kh_dream_run_plan(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    kh_dream_usage usage = {0};
    if (!o->classes && !o->neurons && !o->directions)
        return kh_fail(err, KH_E_ARG,
                       "say what to dream of: --class LIST|all, --neuron LIST or --direction LIST");
    if (kh_dream_preset(o->preset, &run->settings, err) ||
        kh_dream_preset_usage(o->preset, kh_model_get_info(run->session->model), &usage, err))
        return KH_E_ARG; /* a name that does not exist is misuse */
    KH_TRY(plan_settings(run, err));
    KH_TRY(plan_objective(run, &usage, err));
    KH_TRY(plan_marks(run, &usage, err));
    KH_TRY(kh_dream_run_items(run, err));
    return try_one(run, err);
}

void kh_dream_run_clear(kh_dream_run *run) {
    for (size_t i = 0; i < run->item_count; i++) {
        kh_dream_free(run->items[i].dream);
        kh_free(run->items[i].log);
        kh_free(run->items[i].direction);
    }
    kh_free(run->items);
    kh_free(run->photo);
    kh_free(run->magnitude);
    json_decref(run->failed);
    *run = (kh_dream_run){0};
}
