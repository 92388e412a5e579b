/* Is what was painted seen as what it was painted for? Every mark, every view, both normalisations,
 * the model itself and other ones, beside the baselines. Pictures are read back from their files.
 */
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VIEWS = 3, NORMS = 2, KINDS = VIEWS * NORMS, MAX_CURVES = 24 };

static const kh_dream_norm norms[NORMS] = {KH_NORM_MODEL, KH_NORM_IMAGENET};
static const char *const norm_names[NORMS] = {"model", "imagenet"};

/* A classifier, a pick, a mark, a view, a normalisation. */
typedef struct tally {
    size_t count, top1, top5;
    double rank, probability;
} tally;

typedef struct study {
    const kh_dream_run *run;
    kh_dream_judge *judge;
    size_t classes;
    char who[40];  /* "self", or the other model's name */
    tally *table;  /* [picks, marks, KINDS] */
    float *logits; /* [classes] */
    kh_csv *answers, *summary;
    kh_dream_curve *curves; /* [MAX_CURVES] */
    size_t curve_count;
} study;

static tally *tally_at(const study *s, size_t pick, size_t mark, size_t kind) {
    return &s->table[(pick * s->run->mark_count + mark) * KINDS + kind];
}

/* Rows of the table tell picks apart only where there are several. */
static size_t row_of(const kh_dream_run *run, const kh_dream_item *item) {
    return run->picks > 1 ? (size_t)item->pick : 0;
}

static const char *pick_name(const kh_dream_run *run, size_t row) {
    return run->picks > 1 ? kh_dream_pick_name(row) : run->options->pick;
}

static void count_one(study *s, const kh_dream_item *item, size_t image, size_t mark, size_t kind) {
    const size_t rank = kh_lens_rank_position(s->logits, s->classes, item->target);
    tally *t = tally_at(s, row_of(s->run, item), mark, kind);
    size_t best = 0;
    double sum = 0;
    (void)kh_lens_top(s->logits, s->classes, 1, &best, NULL); /* one of at least one: cannot fail */
    for (size_t c = 0; c < s->classes; c++)
        sum += exp((double)s->logits[c] - (double)s->logits[best]);
    const double p = exp((double)s->logits[item->target] - (double)s->logits[best]) / sum;
    t->count++;
    t->top1 += rank == 0;
    t->top5 += rank < 5;
    t->rank += (double)rank;
    t->probability += p;
    kh_store_csv_text(s->answers, s->who);
    kh_store_csv_text(s->answers, pick_name(s->run, row_of(s->run, item)));
    kh_store_csv_size(s->answers, s->run->marks[mark]);
    kh_store_csv_text(s->answers, kh_dream_view_name((kh_dream_view)(kind / NORMS)));
    kh_store_csv_text(s->answers, norm_names[kind % NORMS]);
    kh_store_csv_text(s->answers, item->stem);
    kh_store_csv_size(s->answers, image);
    kh_store_csv_size(s->answers, item->target);
    kh_store_csv_size(s->answers, best);
    kh_store_csv_size(s->answers, rank);
    kh_store_csv_f64(s->answers, p);
    kh_store_csv_end(s->answers);
}

static kh_status judge_item(study *s, const kh_dream_item *item, kh_error *err) {
    size_t right;
    const size_t last = kh_dream_log_last(item, &right);
    for (size_t m = 0; m < s->run->mark_count; m++)
        for (size_t i = 0; i < s->run->objective.images; i++) {
            const size_t step = s->run->marks[m] < last ? s->run->marks[m] : last;
            char path[4096];
            kh_image picture = {0};
            KH_TRY(kh_dream_picture_path(s->run, item, i, step, path, sizeof path, err));
            KH_TRY(kh_image_read(path, NULL, NULL, &picture, err));
            kh_status status = KH_OK;
            for (size_t k = 0; !status && k < KINDS; k++) {
                status = kh_dream_judge_logits(s->judge, &picture, 1, (kh_dream_view)(k / NORMS),
                                               norms[k % NORMS], s->logits, err);
                if (!status) count_one(s, item, i, m, k);
            }
            kh_image_clear(&picture);
            KH_TRY(status);
        }
    return KH_OK;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

/* How many pictures can be recognised at most: one for each distinct goal. */
static double ceiling_of(const kh_dream_run *run) {
    return (double)run->distinct / (double)run->best_count;
}

static double share(const tally *t, size_t count) {
    return (double)count / (double)t->count;
}

static void write_summary(const study *s, size_t pick, size_t mark, size_t kind) {
    const tally *t = tally_at(s, pick, mark, kind);
    double low, high;
    kh_dream_interval(t->top1, t->count, &low, &high);
    kh_store_csv_text(s->summary, s->who);
    kh_store_csv_text(s->summary, pick_name(s->run, pick));
    kh_store_csv_size(s->summary, s->run->marks[mark]);
    kh_store_csv_text(s->summary, kh_dream_view_name((kh_dream_view)(kind / NORMS)));
    kh_store_csv_text(s->summary, norm_names[kind % NORMS]);
    kh_store_csv_size(s->summary, t->count);
    kh_store_csv_f64(s->summary, share(t, t->top1));
    kh_store_csv_f64(s->summary, low);
    kh_store_csv_f64(s->summary, high);
    if (pick == 0)
        kh_store_csv_f64(s->summary, ceiling_of(s->run));
    else
        kh_store_csv_text(s->summary, NULL);
    kh_store_csv_f64(s->summary, share(t, t->top5));
    kh_store_csv_f64(s->summary, t->rank / (double)t->count);
    kh_store_csv_f64(s->summary, t->probability / (double)t->count);
    kh_store_csv_end(s->summary);
}

static void print_head(const kh_dream_run *run) {
    if (run->options->common.json) return;
    printf(
        "\nshare of pictures recognised as their class. The interval (Wilson's, 95 %%) and the "
        "last "
        "three are squash's;\nstarred: shown with ImageNet's constants\n"
        "  judge             pick    step  squash  interval         crop     rim  squash*   crop*  "
        "  rim*   top-5  mean rank  mean p\n");
}

static void print_row(const study *s, size_t pick, size_t mark) {
    static const size_t order[] = {2, 4, 1, 3, 5}; /* views under "model", then under "imagenet" */
    const tally *t = tally_at(s, pick, mark, 0);
    double low, high;
    kh_dream_interval(t->top1, t->count, &low, &high);
    printf("  %-16.16s  %-6s  %4zu  %6.3f  [%.3f, %.3f]", s->who, pick_name(s->run, pick),
           s->run->marks[mark], share(t, t->top1), low, high);
    for (size_t k = 0; k < 5; k++) {
        const tally *other = tally_at(s, pick, mark, order[k]);
        printf("  %*.3f", k == 2 ? 7 : 6, share(other, other->top1));
    }
    printf("  %6.3f  %9.2f  %6.3f\n", share(t, t->top5), t->rank / (double)t->count,
           t->probability / (double)t->count);
}

static void add_curve(study *s, size_t pick, size_t kind, bool has_band, const char *name) {
    if (s->curve_count == MAX_CURVES) return;
    kh_dream_curve *c = &s->curves[s->curve_count++];
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->has_band = has_band;
    c->is_view = kind > 0;
    for (size_t m = 0; m < s->run->mark_count; m++) {
        const tally *t = tally_at(s, pick, m, kind);
        c->share[m] = share(t, t->top1);
        kh_dream_interval(t->top1, t->count, &c->low[m], &c->high[m]);
    }
}

static bool is_self(const study *s) {
    return strcmp(s->who, "self") == 0;
}

static void add_curves(study *s) {
    char name[80];
    if (!is_self(s)) {
        (void)snprintf(name, sizeof name, "judge %s, squash", s->who);
        add_curve(s, 0, 0, false, name);
        return;
    }
    for (size_t v = 0; v < VIEWS; v++)
        add_curve(s, 0, v * NORMS, v == 0, kh_dream_view_name((kh_dream_view)v));
    for (size_t p = 1; p < s->run->picks; p++) {
        (void)snprintf(name, sizeof name, "%s neuron, squash", kh_dream_pick_name(p));
        add_curve(s, p, 0, false, name);
    }
}

/* ---- judges ------------------------------------------------------------------------------------
 */

static kh_status judge_all(study *s, const kh_model *model, kh_error *err) {
    const kh_dream_run *run = s->run;
    s->classes = kh_model_get_info(model)->classes;
    s->table = kh_calloc(run->picks * run->mark_count * KINDS, sizeof *s->table);
    s->logits = kh_alloc_floats(s->classes);
    kh_status status = KH_OK;
    if (!s->table || !s->logits) status = kh_fail(err, KH_E_MEMORY, "no memory to evaluate");
    if (!status) status = kh_dream_judge_create(run->session->ctx, model, 1, &s->judge, err);
    for (size_t i = 0; !status && i < run->item_count; i++)
        if (run->items[i].target < s->classes) status = judge_item(s, &run->items[i], err);
    const bool has_some = !status && s->table[0].count > 0;
    for (size_t p = 0; has_some && p < run->picks; p++)
        for (size_t m = 0; m < run->mark_count; m++) {
            for (size_t k = 0; k < KINDS; k++)
                write_summary(s, p, m, k);
            if (!run->options->common.json && (p == 0 || is_self(s))) print_row(s, p, m);
        }
    if (has_some) add_curves(s);
    kh_dream_judge_free(s->judge);
    kh_free(s->logits);
    kh_free(s->table);
    return status;
}

static kh_status open_judge(const kh_dream_run *run, const char *name, kh_model **out,
                            kh_error *err) {
    const size_t own = kh_model_get_info(run->session->model)->classes;
    KH_TRY(kh_model_open(run->session->ctx, name, NULL, out, err));
    const kh_model_info *info = kh_model_get_info(*out);
    if (info->classes == own && info->image_height == info->image_width) return KH_OK;
    const kh_status status =
        info->classes == own
            ? kh_fail(err, KH_E_UNSUPPORTED, "--judge %.60s: its input is not square", name)
            : kh_fail(err, KH_E_ARG, "--judge %.60s has %zu classes, the dreams' model %zu", name,
                      info->classes, own);
    kh_model_close(*out);
    *out = NULL;
    return status;
}

kh_status kh_dream_run_judges(const kh_dream_run *run, kh_error *err) {
    const char *rest = run->options->judge;
    char piece[256];
    while (kh_dream_piece(&rest, piece)) {
        kh_model *model = NULL;
        KH_TRY(open_judge(run, piece, &model, err));
        kh_model_close(model);
    }
    return KH_OK;
}

static kh_status judge_other(study *s, const char *name, kh_error *err) {
    kh_model *other = NULL;
    KH_TRY(open_judge(s->run, name, &other, err));
    const char *slash = strrchr(name, '/'); /* a folder's last name says most */
    kh_outdir_stem(slash && slash[1] ? slash + 1 : name, s->who, sizeof s->who);
    const kh_status status = judge_all(s, other, err);
    kh_model_close(other);
    return status;
}

static kh_status judge_everybody(study *s, kh_error *err) {
    const kh_dream_run *run = s->run;
    const char *rest = run->options->judge;
    char piece[256];
    (void)snprintf(s->who, sizeof s->who, "self");
    print_head(run);
    KH_TRY(judge_all(s, run->session->model, err));
    const double reached = s->curve_count ? s->curves[0].share[run->mark_count - 1] : (double)NAN;
    while (kh_dream_piece(&rest, piece))
        KH_TRY(judge_other(s, piece, err));
    if (!run->options->common.json && s->curve_count)
        printf("ceiling: %zu dream%s %s %zu distinct goal%s, so one picture per goal reaches at "
               "most %.3f; squash is at %.3f of that\n",
               run->best_count, KH_S(run->best_count), run->best_count == 1 ? "has" : "share",
               run->distinct, KH_S(run->distinct), ceiling_of(run), reached / ceiling_of(run));
    return KH_OK;
}

static kh_status open_csv(const kh_dream_run *run, const char *name, const char *const *columns,
                          size_t count, kh_csv **out, kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(run->options->out, path, sizeof path, err, "%s", name));
    return kh_store_csv_open(path, columns, count, out, err);
}

kh_status kh_dream_run_evaluate(const kh_dream_run *run, kh_error *err) {
    static const char *const said[] = {"judge", "pick",  "step",      "view", "norm",       "name",
                                       "image", "class", "predicted", "rank", "probability"};
    static const char *const table[] = {
        "judge", "pick", "step",    "view", "norm",      "pictures",        "top1",
        "low",   "high", "ceiling", "top5", "mean_rank", "mean_probability"};
    study s = {.run = run};
    s.curves = kh_calloc(MAX_CURVES, sizeof *s.curves);
    kh_status status = s.curves ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory to evaluate");
    if (!status)
        status = open_csv(run, "answers.csv", said, sizeof said / sizeof *said, &s.answers, err);
    if (!status)
        status =
            open_csv(run, "evaluation.csv", table, sizeof table / sizeof *table, &s.summary, err);
    if (!status) status = judge_everybody(&s, err);
    if (!status) {
        status = kh_store_csv_close(s.answers, err);
        s.answers = NULL;
    }
    if (!status) {
        status = kh_store_csv_close(s.summary, err);
        s.summary = NULL;
    }
    if (!status && s.curve_count)
        status = kh_dream_evaluation_figure(run, s.curves, s.curve_count, err);
    kh_store_csv_abort(s.answers);
    kh_store_csv_abort(s.summary);
    kh_free(s.curves);
    return status;
}
