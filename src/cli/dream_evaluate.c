/* Is what was painted seen as what it was painted for? Every mark, every view, both normalisations,
 * the model itself and, if asked, another one. Pictures are read back from their files. */
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VIEWS = 3, NORMS = 2, KINDS = VIEWS * NORMS };

static const kh_dream_norm norms[NORMS] = {KH_NORM_MODEL, KH_NORM_IMAGENET};
static const char *const norm_names[NORMS] = {"model", "imagenet"};

/* One line of the table: a classifier, a mark, a view, a normalisation. */
typedef struct tally {
    size_t count, top1, top5;
    double rank, probability;
} tally;

typedef struct study {
    const kh_dream_run *run;
    kh_dream_judge *judge;
    size_t classes;
    const char *who; /* "self", or the other model's architecture */
    tally *table;    /* [marks, KINDS] */
    float *logits;
    kh_csv *csv;
} study;

static void count_one(study *s, const kh_dream_item *item, size_t image, size_t mark, size_t kind) {
    const size_t rank = kh_lens_rank_position(s->logits, s->classes, item->target);
    tally *t = &s->table[mark * KINDS + kind];
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
    kh_store_csv_text(s->csv, s->who);
    kh_store_csv_size(s->csv, s->run->marks[mark]);
    kh_store_csv_text(s->csv, kh_dream_view_name((kh_dream_view)(kind / NORMS)));
    kh_store_csv_text(s->csv, norm_names[kind % NORMS]);
    kh_store_csv_text(s->csv, item->stem);
    kh_store_csv_size(s->csv, image);
    kh_store_csv_size(s->csv, item->target);
    kh_store_csv_size(s->csv, best);
    kh_store_csv_size(s->csv, rank);
    kh_store_csv_f64(s->csv, p);
    kh_store_csv_end(s->csv);
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

static void print_table(const study *s) {
    const kh_dream_run *run = s->run;
    printf("\nrecognised by %s\n", s->who);
    printf("  step  view    norm      top-1  95 %% interval    top-5  mean rank  mean p\n");
    for (size_t m = 0; m < run->mark_count; m++)
        for (size_t k = 0; k < KINDS; k++) {
            const tally *t = &s->table[m * KINDS + k];
            if (t->count == 0) continue;
            double low, high;
            const double n = (double)t->count;
            kh_dream_interval(t->top1, t->count, &low, &high);
            printf("  %4zu  %-6s  %-8s %6.3f  [%.3f, %.3f]  %6.3f  %9.2f  %6.3f\n", run->marks[m],
                   kh_dream_view_name((kh_dream_view)(k / NORMS)), norm_names[k % NORMS],
                   (double)t->top1 / n, low, high, (double)t->top5 / n, t->rank / n,
                   t->probability / n);
        }
}

/* Recognition against steps, squashed view, with its interval. */
static kh_status draw(const study *s, kh_error *err) {
    const kh_dream_run *run = s->run;
    double x[KH_DREAM_MARKS], y[VIEWS][KH_DREAM_MARKS], low[KH_DREAM_MARKS], high[KH_DREAM_MARKS];
    kh_figure_line lines[VIEWS] = {{0}};
    char title[160], footnote[640];
    if (run->mark_count < 2) return KH_OK;
    for (size_t m = 0; m < run->mark_count; m++) {
        x[m] = (double)run->marks[m];
        for (size_t v = 0; v < VIEWS; v++) {
            const tally *t = &s->table[m * KINDS + v * NORMS];
            y[v][m] = (double)t->top1 / (double)t->count;
            if (v == 0) kh_dream_interval(t->top1, t->count, &low[m], &high[m]);
        }
    }
    for (size_t v = 0; v < VIEWS; v++)
        lines[v] = (kh_figure_line){.name = kh_dream_view_name((kh_dream_view)v),
                                    .x = x,
                                    .y = y[v],
                                    .low = v == 0 ? low : NULL,
                                    .high = v == 0 ? high : NULL,
                                    .band_name = v == 0 ? "95 % interval of squash" : NULL,
                                    .count = run->mark_count,
                                    .kind = KH_LINE_POINTS};
    (void)snprintf(title, sizeof title, "Painted pictures recognised as their class (%s)", s->who);
    kh_model_footnote(run->session->model, run->options->preset, footnote, sizeof footnote);
    const kh_figure_options head = {.title = title, .footnote = footnote};
    kh_figure *figure;
    KH_TRY(kh_figure_create(&head, &figure, err));
    const kh_figure_lines chart = {.x = {.label = "steps", .is_log = true},
                                   .y = {.label = "share recognised (top-1)", .low = 0, .high = 1},
                                   .lines = lines,
                                   .line_count = VIEWS};
    const kh_status status = kh_figure_add_lines(figure, &chart, err);
    if (status) {
        kh_figure_free(figure);
        return status;
    }
    return kh_outdir_figure(run->options->out,
                            strcmp(s->who, "self") == 0 ? "evaluation" : "transfer", figure, err);
}

static kh_status judge_all(study *s, const kh_model *model, kh_error *err) {
    const kh_dream_run *run = s->run;
    s->classes = kh_model_get_info(model)->classes;
    s->table = kh_calloc(run->mark_count * KINDS, sizeof *s->table);
    s->logits = kh_alloc_floats(s->classes);
    kh_status status = KH_OK;
    if (!s->table || !s->logits) status = kh_fail(err, KH_E_MEMORY, "no memory to evaluate");
    if (!status) status = kh_dream_judge_create(run->session->ctx, model, 1, &s->judge, err);
    for (size_t i = 0; !status && i < run->item_count; i++)
        if (run->items[i].target < s->classes) status = judge_item(s, &run->items[i], err);
    if (!status && !run->options->common.json) print_table(s);
    if (!status && s->table[0].count > 0) status = draw(s, err);
    kh_dream_judge_free(s->judge);
    kh_free(s->logits);
    kh_free(s->table);
    return status;
}

static kh_status judge_other(study *s, kh_error *err) {
    const kh_dream_run *run = s->run;
    kh_model *other = NULL;
    KH_TRY(kh_model_open(run->session->ctx, run->options->judge, NULL, &other, err));
    const kh_model_info *info = kh_model_get_info(other);
    s->who = info->architecture;
    kh_status status = KH_OK;
    if (info->classes != kh_model_get_info(run->session->model)->classes)
        status = kh_fail(err, KH_E_ARG, "--judge has %zu classes, the dreams' model %zu",
                         info->classes, kh_model_get_info(run->session->model)->classes);
    if (!status) status = judge_all(s, other, err);
    kh_model_close(other);
    return status;
}

kh_status kh_dream_run_evaluate(const kh_dream_run *run, kh_error *err) {
    static const char *const columns[] = {"judge", "step",  "view",      "norm", "name",
                                          "image", "class", "predicted", "rank", "probability"};
    char path[4096];
    study s = {.run = run, .who = "self"};
    KH_TRY(kh_outdir_path(run->options->out, path, sizeof path, err, "evaluation.csv"));
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &s.csv, err));
    kh_status status = judge_all(&s, run->session->model, err);
    if (!status && run->options->judge) status = judge_other(&s, err);
    if (!status && !run->options->common.json)
        printf("\nceiling: %zu dreams share %zu distinct goals, so at most %.3f of them can be "
               "recognised by one picture per goal\n",
               run->item_count, run->distinct, (double)run->distinct / (double)run->item_count);
    if (!status) return kh_store_csv_close(s.csv, err);
    kh_store_csv_abort(s.csv);
    return status;
}
