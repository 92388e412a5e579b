/* A class's neurons on pictures: one pass, taps for exactly the neurons needed. */
#include "lens/pooling.h"
#include "lens/values.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BATCH 8

static size_t batch_of(size_t asked, size_t count) {
    const size_t batch = asked ? asked : DEFAULT_BATCH;
    return batch < count ? batch : count;
}

static size_t image_floats(const kh_model_info *info) {
    return 3 * info->image_height * info->image_width;
}

/* ---- classify ------------------------------------------------------------------------------ */

static kh_status predictions_of(const float *logits, size_t classes, size_t count,
                                kh_prediction *out, kh_error *err) {
    size_t *order = kh_calloc(count, sizeof *order);
    float *p = kh_alloc_floats(classes);
    kh_status status;
    if (!order || !p) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for %zu predictions", count);
        goto done;
    }
    KH_GO(kh_lens_top(logits, classes, count, order, err));
    kh_lens_softmax(logits, classes, p);
    for (size_t i = 0; i < count; i++)
        out[i] = (kh_prediction){order[i], logits[order[i]], p[order[i]]};

done:
    kh_free(p);
    kh_free(order);
    return status;
}

kh_status kh_lens_classify(kh_ctx *ctx, const kh_model *model, const float *images, size_t count,
                           size_t batch, size_t predictions, float *logits, kh_prediction *top,
                           kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const size_t classes = info->classes;
    if (classes == 0)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has no classifier", info->architecture);
    if (predictions > classes)
        return kh_fail(err, KH_E_ARG, "%zu predictions from %zu classes", predictions, classes);
    if (count == 0) return KH_OK;
    const kh_pass_spec spec = {.max_batch = batch_of(batch, count), .want_logits = true};
    kh_pass *pass = NULL;
    kh_status status;
    KH_GO(kh_pass_create(ctx, model, &spec, &pass, err));
    for (size_t first = 0; first < count; first += spec.max_batch) {
        const size_t n = count - first < spec.max_batch ? count - first : spec.max_batch;
        KH_GO(kh_pass_run(pass, images + first * image_floats(info), n, err));
        const float *z = kh_pass_logits(pass);
        if (logits) memcpy(logits + first * classes, z, n * classes * sizeof *z);
        for (size_t i = 0; i < n && predictions; i++)
            KH_GO(predictions_of(z + i * classes, classes, predictions,
                                 top + (first + i) * predictions, err));
    }

done:
    kh_pass_free(pass);
    return status;
}

/* ---- what a look needs --------------------------------------------------------------------- */

typedef struct look_run {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    const kh_look_options *options;
    const float *images;
    kh_look *out;

    uint64_t *needed; /* sorted, block << 32 | index */
    size_t needed_count;
    size_t *units;       /* [needed_count] index of each */
    size_t *block_first; /* [blocks + 1] where each block's units begin */
    kh_tap *taps;
    char (*names)[64];
    size_t tap_count;
    size_t *map_tap, *post_tap, *norm_tap; /* [blocks] SIZE_MAX: none */
    size_t scale_tap;
    float *key_bias; /* [needed_count], zeros unless the coefficient is without bias */

    double *fold[2];   /* [images, k] fold alignment through the first and second head */
    double *weight[2]; /* [tokens] of the image at hand */
} look_run;

kh_look_options kh_look_options_default(void) {
    return (kh_look_options){.k = 5, .predictions = 5};
}

void kh_look_clear(kh_look *look) {
    if (!look) return;
    kh_free(look->class_index);
    kh_free(look->logits);
    kh_free(look->top);
    kh_free(look->neurons);
    kh_free(look->maps);
    kh_free(look->class_coefficient);
    kh_free(look->contribution);
    kh_free(look->block_neurons);
    kh_free(look->block_maps);
    *look = (kh_look){0};
}

static bool has_two_heads(const kh_model_info *info) {
    return info->pool == KH_POOL_DISTILL || info->pool == KH_POOL_CLS_AVG;
}

static kh_status check(const look_run *run, const size_t *classes, size_t count, kh_error *err) {
    const kh_model_info *info = run->info;
    const kh_look_options *o = run->options;
    const kh_ranking *r = o->ranking;
    if (!r || r->source != KH_ALIGN_MLP || r->blocks != info->blocks || r->units != info->neurons)
        return kh_fail(err, KH_E_ARG, "a look needs a ranking of this model's MLP value vectors");
    if (o->k == 0 || o->k > r->k)
        return kh_fail(err, KH_E_ARG, "%zu neurons per class; the ranking has 1 to %zu", o->k,
                       r->k);
    if (o->by_block && o->block >= info->blocks)
        return kh_fail(err, KH_E_ARG, "block %zu; the model has blocks 0 to %zu", o->block,
                       info->blocks - 1);
    if (!classes && (info->classes == 0 || r->classes != info->classes))
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s predicts none of the ranking's %zu classes; "
                       "say which class to look for",
                       info->architecture, r->classes);
    for (size_t i = 0; classes && i < count; i++)
        if (classes[i] >= r->classes)
            return kh_fail(err, KH_E_ARG, "class %zu; the ranking has classes 0 to %zu", classes[i],
                           r->classes - 1);
    if (o->want_contributions && (info->classes != r->classes || info->head_is_indirect))
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "contributions to a logit need a classifier that acts on the tokens; %s has "
                       "none for these classes",
                       info->architecture);
    return KH_OK;
}

static kh_status allocate(look_run *run, size_t count, kh_error *err) {
    kh_look *out = run->out;
    const kh_look_options *o = run->options;
    const size_t ranked = count * o->k, blocks = run->info->blocks, tokens = run->info->tokens;
    *out = (kh_look){.images = count,
                     .k = o->k,
                     .blocks = blocks,
                     .classes = run->info->classes,
                     .grid = kh_lens_grid(run->info)};
    out->patches = out->grid.height * out->grid.width;
    out->predictions = o->predictions < out->classes ? o->predictions : out->classes;
    out->class_index = kh_calloc(count, sizeof *out->class_index);
    out->logits = out->classes ? kh_alloc_floats(count * out->classes) : NULL;
    out->top = kh_calloc(count * out->predictions, sizeof *out->top);
    out->neurons = kh_calloc(ranked, sizeof *out->neurons);
    out->maps = kh_alloc_floats(ranked * out->patches);
    out->class_coefficient = kh_alloc_floats(ranked);
    bool ok = out->class_index && (out->logits || !out->classes) && out->top && out->neurons &&
              out->maps && out->class_coefficient;
    if (o->want_contributions) {
        out->contribution = kh_calloc(ranked, sizeof *out->contribution);
        ok = ok && out->contribution;
        for (size_t h = 0; h < 2; h++) {
            run->fold[h] = kh_calloc(ranked, sizeof(double));
            run->weight[h] = kh_calloc(tokens, sizeof(double));
            ok = ok && run->fold[h] && run->weight[h];
        }
    }
    if (o->want_block_maps) {
        out->block_neurons = kh_calloc(count * blocks, sizeof *out->block_neurons);
        out->block_maps = kh_alloc_floats(count * blocks * out->patches);
        ok = ok && out->block_neurons && out->block_maps;
    }
    const size_t most = ranked + (o->want_block_maps ? count * blocks : 0);
    run->needed = kh_calloc(most, sizeof *run->needed);
    run->units = kh_calloc(most, sizeof *run->units);
    run->key_bias = kh_calloc(most, sizeof *run->key_bias);
    run->block_first = kh_calloc(blocks + 1, sizeof *run->block_first);
    run->taps = kh_calloc(3 * blocks + 1, sizeof *run->taps);
    run->names = kh_calloc(3 * blocks + 1, sizeof *run->names);
    run->map_tap = kh_calloc(3 * blocks, sizeof *run->map_tap);
    if (!ok || !run->needed || !run->units || !run->key_bias || !run->block_first || !run->taps ||
        !run->names || !run->map_tap)
        return kh_fail(err, KH_E_MEMORY, "no memory to look at %zu images", count);
    run->post_tap = run->map_tap + blocks;
    run->norm_tap = run->map_tap + 2 * blocks;
    return KH_OK;
}

static kh_ranked block_entry(const kh_ranking *r, size_t block, size_t rank, size_t class_index) {
    const size_t at = (block * r->k + rank) * r->classes + class_index;
    return (kh_ranked){(uint32_t)block, (uint32_t)r->block_index[at], r->block_score[at]};
}

/* The neurons of every image's class. */
static void choose(look_run *run) {
    const kh_look_options *o = run->options;
    kh_look *out = run->out;
    for (size_t i = 0; i < out->images; i++) {
        const size_t c = out->class_index[i];
        for (size_t rank = 0; rank < o->k; rank++)
            out->neurons[i * o->k + rank] = o->by_block
                                                ? block_entry(o->ranking, o->block, rank, c)
                                                : o->ranking->global[c * o->ranking->k + rank];
        for (size_t b = 0; o->want_block_maps && b < out->blocks; b++)
            out->block_neurons[i * out->blocks + b] = block_entry(o->ranking, b, 0, c);
    }
}

static uint64_t key_of(kh_ranked n) {
    return (uint64_t)n.block << 32 | n.index;
}

static int compare_keys(const void *left, const void *right) {
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Their union, by block. */
static void gather(look_run *run) {
    const kh_look *out = run->out;
    size_t count = 0;
    for (size_t i = 0; i < out->images * out->k; i++)
        run->needed[count++] = key_of(out->neurons[i]);
    for (size_t i = 0; out->block_neurons && i < out->images * out->blocks; i++)
        run->needed[count++] = key_of(out->block_neurons[i]);
    qsort(run->needed, count, sizeof *run->needed, compare_keys);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || run->needed[i] != run->needed[i - 1]) run->needed[kept++] = run->needed[i];
    run->needed_count = kept;
    size_t at = 0;
    for (size_t b = 0; b < out->blocks; b++) {
        run->block_first[b] = at;
        for (; at < kept && run->needed[at] >> 32 == b; at++)
            run->units[at] = (size_t)(run->needed[at] & UINT32_MAX);
    }
    run->block_first[out->blocks] = kept;
}

static size_t place_of(const look_run *run, kh_ranked n) {
    const uint64_t key = key_of(n);
    const uint64_t *found = bsearch(&key, run->needed, run->needed_count, sizeof key, compare_keys);
    return (size_t)(found - run->needed);
}

/* ---- taps ---------------------------------------------------------------------------------- */

static size_t add_tap(look_run *run, size_t block, const char *suffix, size_t unit_first,
                      size_t unit_count) {
    const size_t at = run->tap_count++;
    if (block == SIZE_MAX)
        (void)snprintf(run->names[at], sizeof run->names[at], "%s", suffix);
    else
        (void)snprintf(run->names[at], sizeof run->names[at], "blocks.%zu.%s", block, suffix);
    run->taps[at] = (kh_tap){.site = run->names[at],
                             .units = unit_count ? run->units + unit_first : NULL,
                             .unit_count = unit_count};
    return at;
}

static void plan_taps(look_run *run) {
    const bool is_post = run->options->coefficient == KH_COEFFICIENT_POST;
    const bool wants = run->options->want_contributions;
    for (size_t b = 0; b < run->info->blocks; b++) {
        const size_t first = run->block_first[b], count = run->block_first[b + 1] - first;
        run->map_tap[b] = run->post_tap[b] = run->norm_tap[b] = SIZE_MAX;
        if (count == 0) continue;
        run->map_tap[b] = add_tap(run, b, is_post ? "mlp.hook_post" : "mlp.hook_pre", first, count);
        if (!wants) continue;
        run->post_tap[b] =
            is_post ? run->map_tap[b] : add_tap(run, b, "mlp.hook_post", first, count);
        if (run->info->is_post_norm) run->norm_tap[b] = add_tap(run, b, "ln2.hook_scale", 0, 0);
    }
    run->scale_tap = SIZE_MAX;
    if (wants && run->info->pool != KH_POOL_RAW_AVG)
        run->scale_tap = add_tap(run, SIZE_MAX, "ln_final.hook_scale", 0, 0);
}

static kh_status read_key_bias(look_run *run, kh_error *err) {
    const size_t fc1_rows = run->info->is_gated ? 2 * run->info->neurons : run->info->neurons;
    for (size_t b = 0; b < run->info->blocks; b++) {
        float *bias = NULL;
        if (run->block_first[b] == run->block_first[b + 1]) continue;
        KH_TRY(kh_lens_read_block(run->model, b, "mlp.fc1.bias", true, fc1_rows, &bias, err));
        for (size_t i = run->block_first[b]; bias && i < run->block_first[b + 1]; i++)
            run->key_bias[i] = bias[run->units[i]];
        kh_free(bias);
    }
    return KH_OK;
}

/* ---- contributions ------------------------------------------------------------------------- */

/* fold alignments of the chosen neurons of a block through one head's class embeddings. */
static kh_status fold_block(look_run *run, size_t block, size_t head, const kh_lens_norm *final,
                            const float *embeddings, const float *values, kh_error *err) {
    const kh_look *out = run->out;
    const size_t dim = run->info->dim;
    kh_lens_norm before;
    KH_TRY(kh_lens_read_block_norm(run->model, KH_ALIGN_MLP, block, &before, err));
    for (size_t i = 0; i < out->images * out->k; i++) {
        if (out->neurons[i].block != block) continue;
        const size_t c = out->class_index[i / out->k];
        run->fold[head][i] =
            kh_align_fold(&before, final, dim, values + (size_t)out->neurons[i].index * dim,
                          embeddings + c * dim);
    }
    kh_lens_norm_clear(&before);
    return KH_OK;
}

static kh_status fold_alignments(look_run *run, kh_error *err) {
    kh_align_options align = kh_align_options_default();
    const size_t heads = has_two_heads(run->info) ? 2 : 1;
    const size_t floats = run->info->neurons * run->info->dim;
    kh_lens_norm final = {0};
    float *embeddings[2] = {NULL, NULL}, *bias = NULL;
    float *values = NULL, *scratch = NULL;
    size_t classes;
    kh_status status;
    for (size_t h = 0; h < heads; h++) {
        align.head = h ? KH_HEAD_SECOND : KH_HEAD_FIRST;
        KH_GO(kh_lens_read_embeddings(run->model, &align, &embeddings[h], &bias, &classes, err));
        kh_free(bias);
        bias = NULL;
    }
    KH_GO(kh_lens_read_final_norm(run->model, &final, err));
    values = kh_alloc_floats(floats);
    scratch = kh_alloc_floats(floats);
    if (!values || !scratch) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for %zu value vectors", run->info->neurons);
        goto done;
    }
    for (size_t b = 0; b < run->info->blocks; b++) {
        if (run->block_first[b] == run->block_first[b + 1]) continue;
        KH_GO(kh_lens_value_vectors_into(run->model, &align, b, scratch, values, err));
        for (size_t h = 0; h < heads; h++)
            KH_GO(fold_block(run, b, h, &final, embeddings[h], values, err));
    }

done:
    kh_free(scratch);
    kh_free(values);
    kh_lens_norm_clear(&final);
    kh_free(embeddings[1]);
    kh_free(embeddings[0]);
    return status;
}

/* ---- the pass ------------------------------------------------------------------------------ */

/* Coefficients of one neuron on one image of the batch: [tokens] with `stride` between tokens. */
static const float *column_of(const look_run *run, const kh_pass *pass, const size_t *tap_of,
                              size_t in_batch, kh_ranked n, size_t *stride) {
    const size_t first = run->block_first[n.block];
    *stride = run->block_first[n.block + 1] - first;
    return kh_pass_tap(pass, tap_of[n.block]) + in_batch * run->info->tokens * *stride +
           (place_of(run, n) - first);
}

static void take_map(const look_run *run, const kh_pass *pass, size_t in_batch, kh_ranked n,
                     float *map, float *at_class) {
    size_t stride;
    const float *a = column_of(run, pass, run->map_tap, in_batch, n, &stride);
    const float bias = run->key_bias[place_of(run, n)];
    const size_t prefix = run->info->prefix_tokens;
    for (size_t t = 0; t < run->out->patches; t++)
        map[t] = a[(prefix + t) * stride] - bias;
    if (at_class) *at_class = run->info->has_class_token ? a[0] - bias : NAN;
}

static double contribution_of(const look_run *run, const kh_pass *pass, size_t in_batch,
                              size_t at) {
    const kh_ranked n = run->out->neurons[at];
    const size_t tokens = run->info->tokens;
    size_t stride;
    const float *a = column_of(run, pass, run->post_tap, in_batch, n, &stride);
    const float *norm = run->norm_tap[n.block] == SIZE_MAX
                            ? NULL
                            : kh_pass_tap(pass, run->norm_tap[n.block]) + in_batch * tokens;
    double sum = 0;
    for (size_t t = 0; t < tokens; t++) {
        const double w =
            run->weight[0][t] * run->fold[0][at] + run->weight[1][t] * run->fold[1][at];
        sum += w * (double)a[t * stride] / (norm ? (double)norm[t] : 1);
    }
    return sum;
}

static kh_status take_image(look_run *run, const kh_pass *pass, size_t in_batch, size_t image,
                            kh_error *err) {
    kh_look *out = run->out;
    const float *logits = kh_pass_logits(pass);
    if (logits) {
        logits += in_batch * out->classes;
        memcpy(out->logits + image * out->classes, logits, out->classes * sizeof *logits);
        KH_TRY(predictions_of(logits, out->classes, out->predictions,
                              out->top + image * out->predictions, err));
    }
    if (out->contribution) {
        const size_t per_image =
            run->scale_tap == SIZE_MAX ? 0 : kh_pass_tap_count(pass, run->scale_tap);
        kh_lens_pool_weights(
            run->info, per_image ? kh_pass_tap(pass, run->scale_tap) + in_batch * per_image : NULL,
            run->weight[0], run->weight[1]);
    }
    for (size_t rank = 0; rank < out->k; rank++) {
        const size_t at = image * out->k + rank;
        take_map(run, pass, in_batch, out->neurons[at], out->maps + at * out->patches,
                 &out->class_coefficient[at]);
        if (out->contribution) out->contribution[at] = contribution_of(run, pass, in_batch, at);
    }
    for (size_t b = 0; out->block_maps && b < out->blocks; b++) {
        const size_t at = image * out->blocks + b;
        take_map(run, pass, in_batch, out->block_neurons[at], out->block_maps + at * out->patches,
                 NULL);
    }
    return KH_OK;
}

static kh_status run_pass(look_run *run, kh_error *err) {
    const kh_look_options *o = run->options;
    const size_t count = run->out->images;
    const kh_pass_spec spec = {.max_batch = batch_of(o->batch, count),
                               .taps = run->taps,
                               .tap_count = run->tap_count,
                               .want_logits = run->out->classes > 0};
    kh_pass *pass = NULL;
    kh_status status;
    KH_GO(kh_pass_create(run->ctx, run->model, &spec, &pass, err));
    for (size_t first = 0; first < count; first += spec.max_batch) {
        const size_t n = count - first < spec.max_batch ? count - first : spec.max_batch;
        if (o->progress && !o->progress(o->progress_user, "images", first, count)) {
            status = kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu image%s", first, count,
                             KH_S(count));
            goto done;
        }
        KH_GO(kh_pass_run(pass, run->images + first * image_floats(run->info), n, err));
        for (size_t i = 0; i < n; i++)
            KH_GO(take_image(run, pass, i, first + i, err));
    }
    if (o->progress) (void)o->progress(o->progress_user, "images", count, count);

done:
    kh_pass_free(pass);
    return status;
}

static kh_status predict(look_run *run, kh_error *err) {
    const size_t count = run->out->images;
    kh_prediction *best = kh_calloc(count, sizeof *best);
    if (!best) return kh_fail(err, KH_E_MEMORY, "no memory for %zu predictions", count);
    const kh_status status = kh_lens_classify(run->ctx, run->model, run->images, count,
                                              run->options->batch, 1, NULL, best, err);
    for (size_t i = 0; i < count; i++)
        run->out->class_index[i] = best[i].class_index;
    kh_free(best);
    return status;
}

kh_status kh_lens_look(kh_ctx *ctx, const kh_model *model, const kh_look_options *options,
                       const float *images, size_t count, const size_t *classes, kh_look *out,
                       kh_error *err) {
    look_run run = {.ctx = ctx,
                    .model = model,
                    .info = kh_model_get_info(model),
                    .options = options,
                    .images = images,
                    .out = out};
    *out = (kh_look){0};
    kh_status status;
    KH_GO(check(&run, classes, count, err));
    if (count == 0) return KH_OK;
    KH_GO(allocate(&run, count, err));
    if (classes)
        memcpy(out->class_index, classes, count * sizeof *classes);
    else
        KH_GO(predict(&run, err));
    choose(&run);
    gather(&run);
    plan_taps(&run);
    if (options->coefficient == KH_COEFFICIENT_PRE_NOBIAS) KH_GO(read_key_bias(&run, err));
    if (options->want_contributions) KH_GO(fold_alignments(&run, err));
    KH_GO(run_pass(&run, err));

done:
    for (size_t h = 0; h < 2; h++) {
        kh_free(run.weight[h]);
        kh_free(run.fold[h]);
    }
    kh_free(run.map_tap);
    kh_free(run.names);
    kh_free(run.taps);
    kh_free(run.block_first);
    kh_free(run.key_bias);
    kh_free(run.units);
    kh_free(run.needed);
    if (status) kh_look_clear(out);
    return status;
}
