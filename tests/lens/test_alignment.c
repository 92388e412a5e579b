/* Alignment of whole models, against float64 scores computed from the files alone. */
#include "lens/golden_model.h"

#include "base/alloc.h"

/* ---- reference ----------------------------------------------------------------------------- */

typedef struct ref_norm {
    double *w, *b; /* NULL: none */
    double eps;
} ref_norm;

typedef struct ref_block {
    size_t dim, units, classes;
    double *values; /* [units, dim] LayerScale applied */
    double *head, *bias;
    ref_norm before, final;
} ref_block;

static ref_norm read_norm(const kh_tensors *file, const char *stem, double eps) {
    char name[96];
    ref_norm n = {.eps = eps};
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    n.w = tensor_f64(file, name, true);
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    n.b = tensor_f64(file, name, true);
    return n;
}

static ref_block read_block(const golden_model *g, kh_align_source source, size_t block) {
    const bool is_mlp = source == KH_ALIGN_MLP;
    const size_t dim = g->info->dim, units = is_mlp ? g->info->neurons : dim;
    ref_block r = {.dim = dim, .units = units, .classes = g->info->classes};
    double *w = block_f64(g->weights, block, is_mlp ? "mlp.fc2.weight" : "attn.proj.weight", false);
    double *gamma = block_f64(g->weights, block, is_mlp ? "ls2.gamma" : "ls1.gamma", true);
    char stem[64];
    r.values = malloc(units * dim * sizeof(double));
    for (size_t n = 0; n < units; n++)
        for (size_t i = 0; i < dim; i++)
            r.values[n * dim + i] = w[i * units + n] * (gamma ? gamma[i] : 1);
    free(w);
    free(gamma);
    r.head = tensor_f64(g->weights, "head.weight", false);
    r.bias = tensor_f64(g->weights, "head.bias", false);
    r.final = read_norm(g->weights, "fc_norm", g->info->norm_eps);
    if (!r.final.w) r.final = read_norm(g->weights, "norm", g->info->norm_eps);
    assert_non_null(r.final.w);
    if (g->info->is_post_norm) {
        (void)snprintf(stem, sizeof stem, "blocks.%zu.%s", block, is_mlp ? "norm2" : "norm1");
        r.before = read_norm(g->weights, stem, g->info->norm_eps);
        assert_non_null(r.before.w);
    }
    return r;
}

static void free_block(ref_block *r) {
    free(r->values);
    free(r->head);
    free(r->bias);
    free(r->before.w);
    free(r->before.b);
    free(r->final.w);
    free(r->final.b);
}

static void ref_apply(const ref_norm *n, size_t dim, const double *x, bool is_linear, double *y) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < dim; i++)
        mean += x[i] / (double)dim;
    for (size_t i = 0; i < dim; i++)
        var += (x[i] - mean) * (x[i] - mean) / (double)dim;
    for (size_t i = 0; i < dim; i++)
        y[i] = is_linear ? (x[i] - mean) * n->w[i]
                         : (x[i] - mean) / sqrt(var + n->eps) * n->w[i] + n->b[i];
}

static double ref_dot(const double *a, const double *b, size_t dim) {
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += a[i] * b[i];
    return sum;
}

/* raw, cos, ln, fold of one value vector with every class */
static void ref_scores(const ref_block *r, kh_align_mode mode, size_t n, double *out) {
    double v[64], y[64];
    memcpy(v, r->values + n * r->dim, r->dim * sizeof *v);
    if (r->before.w) {
        ref_apply(&r->before, r->dim, v, mode == KH_ALIGN_FOLD, y);
        memcpy(v, y, sizeof v);
    }
    const bool is_normed = mode != KH_ALIGN_RAW && mode != KH_ALIGN_COS;
    if (is_normed) ref_apply(&r->final, r->dim, v, mode == KH_ALIGN_FOLD, y);
    for (size_t c = 0; c < r->classes; c++) {
        const double *e = r->head + c * r->dim;
        out[c] = ref_dot(is_normed ? y : v, e, r->dim);
        if (mode == KH_ALIGN_COS) out[c] /= sqrt(ref_dot(v, v, r->dim) * ref_dot(e, e, r->dim));
        if (is_normed && mode != KH_ALIGN_FOLD) out[c] += r->bias[c];
    }
    if (mode == KH_ALIGN_MARGIN || mode == KH_ALIGN_PROB) {
        double z[64], sum = 0;
        memcpy(z, out, r->classes * sizeof *z);
        for (size_t c = 0; c < r->classes; c++)
            sum += exp(z[c]);
        for (size_t c = 0; c < r->classes; c++) {
            double other = -INFINITY;
            for (size_t d = 0; d < r->classes; d++)
                if (d != c && z[d] > other) other = z[d];
            out[c] = mode == KH_ALIGN_PROB ? exp(z[c]) / sum : z[c] - other;
        }
    }
}

static void assert_model_matches(const char *name) {
    golden_model g;
    kh_error err = {0};
    golden_open(&g, name);
    for (size_t source = 0; source < 2; source++)
        for (size_t mode = 0; mode < KH_ALIGN_MODES; mode++) {
            kh_align_options options = kh_align_options_default();
            kh_aligner *aligner;
            options.mode = (kh_align_mode)mode;
            options.source = (kh_align_source)source;
            kh_assert_ok(kh_lens_aligner_create(g.ctx, g.model, &options, &aligner, &err));
            for (size_t block = 0; block < g.info->blocks; block++) {
                ref_block r = read_block(&g, options.source, block);
                const size_t count = r.units * r.classes;
                float *got = malloc(count * sizeof *got), *want = malloc(count * sizeof *want);
                double row[64];
                assert_int_equal(kh_lens_aligner_units(aligner), r.units);
                assert_int_equal(kh_lens_aligner_classes(aligner), r.classes);
                for (size_t n = 0; n < r.units; n++) {
                    ref_scores(&r, options.mode, n, row);
                    for (size_t c = 0; c < r.classes; c++)
                        want[n * r.classes + c] = (float)row[c];
                }
                kh_assert_ok(kh_lens_aligner_block(aligner, block, got, count, &err));
                /* fp32 products of 24 terms; scores up to about 8 */
                kh_assert_close(got, want, count, 1e-6, 2e-6);
                free(got);
                free(want);
                free_block(&r);
            }
            kh_lens_aligner_free(aligner);
        }
    golden_close(&g);
}

static void a_plain_model_matches(void **state) {
    (void)state;
    assert_model_matches("vit_base");
}
static void layer_scale_is_folded_into_the_values(void **state) {
    (void)state;
    assert_model_matches("deit3_base");
}
static void a_model_with_fc_norm_matches(void **state) {
    (void)state;
    assert_model_matches("test_vit2");
}
static void a_mean_pooled_model_matches(void **state) {
    (void)state;
    assert_model_matches("gap_medium");
}
static void a_post_norm_model_sends_values_through_its_norm(void **state) {
    (void)state;
    assert_model_matches("rpn_base");
}
static void the_first_head_of_a_distilled_model_is_the_default(void **state) {
    (void)state;
    assert_model_matches("deit_base_distilled");
}

/* ---- check (5): the true head -------------------------------------------------------------- */

/* ln scores of one head [units, classes] of the last block. */
static float *ln_scores(const golden_model *g, kh_align_head head, size_t count) {
    kh_error err = {0};
    kh_align_options options = kh_align_options_default();
    kh_aligner *aligner;
    float *out = malloc(count * sizeof *out);
    options.head = head;
    kh_assert_ok(kh_lens_aligner_create(g->ctx, g->model, &options, &aligner, &err));
    kh_assert_ok(kh_lens_aligner_block(aligner, g->info->blocks - 1, out, count, &err));
    kh_lens_aligner_free(aligner);
    return out;
}

static void assert_head_agrees(const char *name) {
    golden_model g;
    kh_error err = {0};
    golden_open(&g, name);
    const size_t count = g.info->neurons * g.info->classes;
    float *values = malloc(g.info->neurons * g.info->dim * sizeof *values);
    float *want = malloc(count * sizeof *want), *got = ln_scores(&g, KH_HEAD_FIRST, count);
    const kh_align_options options = kh_align_options_default();
    kh_assert_ok(kh_lens_value_vectors(g.model, &options, g.info->blocks - 1, values,
                                       g.info->neurons * g.info->dim, &err));
    kh_assert_ok(kh_model_head(g.ctx, g.model, values, g.info->neurons, want, &err));
    if (g.info->pool == KH_POOL_DISTILL || g.info->pool == KH_POOL_CLS_AVG) {
        float *second = ln_scores(&g, KH_HEAD_SECOND, count);
        float *bias = calloc(g.info->classes, sizeof *bias);
        const bool is_mean = g.info->pool == KH_POOL_DISTILL;
        kh_assert_ok(kh_model_tensor_read(g.model, "head.bias", bias, g.info->classes, &err));
        for (size_t i = 0; i < count; i++) /* [cls ; mean] counts the bias once, we do twice */
            got[i] =
                is_mean ? (got[i] + second[i]) / 2 : got[i] + second[i] - bias[i % g.info->classes];
        free(bias);
        free(second);
    }
    kh_assert_close(got, want, count, 2e-6, 5e-6);
    free(want);
    free(got);
    free(values);
    golden_close(&g);
}

static void check_1_5_ln_is_the_true_head_on_each_value_vector(void **state) {
    (void)state;
    static const char *const names[] = {"vit_base",    "deit3_base",       "test_vit2",
                                        "gap_medium",  "hf_vit",           "deit_base_distilled",
                                        "hf_dinov2",   "hf_dinov2_swiglu", "hf_clip_classes",
                                        "hf_vit_eps6", "vit_base_mae_ft",  "reg4_gap_base"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_head_agrees(names[i]);
}

static void check_1_5_raw_is_the_heads_matrix_product(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    /* models.md 8.2: (head.weight fc2.weight of block 1)[class 3][unit 7], and its maximum */
    float out[96 * 10];
    kh_assert_ok(kh_lens_alignment(g.ctx, g.model, 1, KH_ALIGN_RAW, out, 960, &err));
    assert_float_equal(out[7 * 10 + 3], 0.2333737914f, 2e-7f);
    size_t best = 0;
    for (size_t n = 0; n < 96; n++)
        if (out[n * 10 + 3] > out[best * 10 + 3]) best = n;
    assert_int_equal(best, 70);
    assert_float_equal(out[70 * 10 + 3], 0.2788006754f, 2e-7f);
    golden_close(&g);
}

/* ---- options ------------------------------------------------------------------------------- */

static void a_value_bias_is_added_before_layer_scale(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "deit3_base");
    kh_align_options options = kh_align_options_default();
    options.add_bias = true;
    options.alpha = 0.5;
    float got[96 * 24], want[96 * 24];
    double *w = block_f64(g.weights, 1, "mlp.fc2.weight", false);
    double *b = block_f64(g.weights, 1, "mlp.fc2.bias", false);
    double *gamma = block_f64(g.weights, 1, "ls2.gamma", false);
    for (size_t n = 0; n < 96; n++)
        for (size_t i = 0; i < 24; i++)
            want[n * 24 + i] = (float)(gamma[i] * (0.5 * w[i * 96 + n] + b[i]));
    kh_assert_ok(kh_lens_value_vectors(g.model, &options, 1, got, 96 * 24, &err));
    kh_assert_close(got, want, 96 * 24, 1e-6, 1e-8);
    free(w);
    free(b);
    free(gamma);
    golden_close(&g);
}

static void ones_own_embeddings_serve_models_without_a_head(void **state) {
    (void)state;
    static const char *const names[] = {"vit_base_dino", "siglip_base"};
    for (size_t m = 0; m < 2; m++) {
        golden_model g;
        kh_error err = {0};
        golden_open(&g, names[m]);
        float probe[3 * 24], bias[3], values[96 * 24], got[96 * 3], want[96 * 3];
        size_t units, classes;
        kh_test_fill(probe, 72, 5, 1);
        kh_test_fill(bias, 3, 6, 1);
        kh_align_options options = kh_align_options_default();
        kh_assert_fails(kh_lens_alignment_shape(g.model, &options, &units, &classes, &err),
                        KH_E_UNSUPPORTED, "bring your own [classes, 24]");
        assert_int_equal(kh_lens_alignment(g.ctx, g.model, 0, KH_ALIGN_RAW, got, 288, &err),
                         KH_E_UNSUPPORTED);
        options.embeddings = probe;
        options.embedding_bias = bias;
        options.embedding_classes = 3;
        options.mode = KH_ALIGN_RAW;
        kh_aligner *aligner;
        kh_assert_ok(kh_lens_aligner_create(g.ctx, g.model, &options, &aligner, &err));
        kh_assert_ok(kh_lens_aligner_block(aligner, 0, got, 96 * 3, &err));
        kh_lens_aligner_free(aligner);
        kh_assert_ok(kh_lens_value_vectors(g.model, &options, 0, values, 96 * 24, &err));
        for (size_t n = 0; n < 96; n++)
            for (size_t c = 0; c < 3; c++) {
                double sum = 0;
                for (size_t i = 0; i < 24; i++)
                    sum += (double)values[n * 24 + i] * (double)probe[c * 24 + i];
                want[n * 3 + c] = (float)sum;
            }
        kh_assert_close(got, want, 96 * 3, 1e-6, 1e-6);
        golden_close(&g);
    }
}

static void what_cannot_be_aligned_says_why(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    float out[960];
    kh_aligner *aligner;
    golden_open(&g, "vit_base");
    kh_assert_fails(kh_lens_alignment(g.ctx, g.model, 2, KH_ALIGN_LN, out, 960, &err), KH_E_ARG,
                    "block 2; the model has blocks 0 to 1");
    kh_assert_fails(kh_lens_alignment(g.ctx, g.model, 0, KH_ALIGN_LN, out, 959, &err), KH_E_SHAPE,
                    "the alignment is 96 x 10");
    kh_align_options options = kh_align_options_default();
    options.head = KH_HEAD_SECOND;
    kh_assert_fails(kh_lens_aligner_create(g.ctx, g.model, &options, &aligner, &err),
                    KH_E_UNSUPPORTED, "one head only");
    assert_null(aligner);
    golden_close(&g);
    golden_open(&g, "hf_siglip_classes"); /* a classifier, but behind an attention pool or mean */
    if (g.info->head_is_indirect)
        kh_assert_fails(kh_lens_alignment(g.ctx, g.model, 0, KH_ALIGN_LN, out, 960, &err),
                        KH_E_UNSUPPORTED, "attention pool");
    golden_close(&g);
}

static void the_null_context_of_threads_changes_nothing(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    float two[960], one[960];
    golden_open(&g, "vit_base");
    kh_assert_ok(kh_lens_alignment(g.ctx, g.model, 1, KH_ALIGN_PROB, two, 960, &err));
    const kh_ctx_options options = {.threads = 1};
    kh_ctx *ctx;
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    kh_assert_ok(kh_lens_alignment(ctx, g.model, 1, KH_ALIGN_PROB, one, 960, &err));
    assert_memory_equal(one, two, sizeof one);
    kh_ctx_free(ctx);
    golden_close(&g);
}

/* ---- ranking and null bands of a model ----------------------------------------------------- */

typedef struct sink_record {
    size_t blocks;
    float first[2];
} sink_record;

static kh_status record_block(void *user, size_t block, const float *scores, size_t units,
                              size_t classes, kh_error *err) {
    sink_record *r = user;
    (void)err;
    assert_int_equal(block, r->blocks);
    assert_int_equal(units * classes, 960);
    r->first[r->blocks++] = scores[0];
    return KH_OK;
}

static void a_models_ranking_is_that_of_its_scores(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    kh_ranking r;
    sink_record record = {0};
    float scores[2][960];
    golden_open(&g, "vit_base");
    kh_rank_options options = kh_rank_options_default();
    options.sink = record_block;
    options.sink_user = &record;
    kh_assert_ok(kh_lens_rank(g.ctx, g.model, &options, &r, &err));
    for (size_t b = 0; b < 2; b++) {
        kh_assert_ok(kh_lens_alignment(g.ctx, g.model, b, KH_ALIGN_LN, scores[b], 960, &err));
        assert_true(record.first[b] == scores[b][0]);
    }
    assert_true(r.blocks == 2 && r.units == 96 && r.classes == 10 && r.k == 10);
    assert_int_equal(r.mode, KH_ALIGN_LN);
    for (size_t c = 0; c < 10; c++) {
        float best = -INFINITY;
        for (size_t b = 0; b < 2; b++)
            for (size_t n = 0; n < 96; n++)
                best = fmaxf(best, scores[b][n * 10 + c]);
        const kh_ranked top = r.global[c * 10];
        assert_true(top.score == best);
        assert_true(scores[top.block][top.index * 10 + c] == best);
    }
    kh_ranking_clear(&r);
    options.k = 97;
    kh_assert_fails(kh_lens_rank(g.ctx, g.model, &options, &r, &err), KH_E_ARG, "best 97 of 96");
    golden_close(&g);
}

static kh_null_band band_of(const golden_model *g, kh_null_kind kind, uint64_t seed,
                            kh_align_mode mode, kh_ctx *ctx) {
    kh_error err = {0};
    kh_null_band band;
    kh_null_options options = kh_null_options_default();
    options.kind = kind;
    options.seed = seed;
    options.align.mode = mode;
    kh_assert_ok(kh_lens_null_band(ctx, g->model, &options, &band, &err));
    return band;
}

static void null_bands_repeat_with_their_seed(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    const kh_ctx_options options = {.threads = 1};
    kh_ctx *ctx;
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    for (size_t kind = 0; kind < 2; kind++) {
        kh_null_band a = band_of(&g, (kh_null_kind)kind, 1, KH_ALIGN_LN, g.ctx);
        kh_null_band b = band_of(&g, (kh_null_kind)kind, 1, KH_ALIGN_LN, ctx);
        kh_null_band other = band_of(&g, (kh_null_kind)kind, 2, KH_ALIGN_LN, g.ctx);
        assert_memory_equal(&a.top1, &b.top1, sizeof a.top1);
        assert_memory_equal(a.class_top1, b.class_top1, 10 * sizeof *a.class_top1);
        assert_memory_equal(a.block_share, b.block_share, 2 * sizeof *a.block_share);
        assert_true(a.top1.mean != other.top1.mean);
        double share = 0;
        for (size_t i = 0; i < 2; i++) {
            share += a.block_share[i].mean;
            assert_true(a.block_share[i].lo <= a.block_share[i].mean &&
                        a.block_share[i].mean <= a.block_share[i].hi);
            assert_true(a.block_top1[i].mean <= a.top1.mean); /* best of all beats best of one */
        }
        assert_true(fabs(share - 1) < 1e-6);
        assert_true(a.top1.lo < a.top1.mean && a.top1.mean < a.top1.hi);
        kh_null_band_clear(&a);
        kh_null_band_clear(&b);
        kh_null_band_clear(&other);
    }
    kh_ctx_free(ctx);
    golden_close(&g);
}

static void random_weights_lie_inside_their_own_null_band(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    kh_ranking r;
    golden_open(&g, "vit_base"); /* weights by a formula: nothing was learned */
    kh_rank_options options = kh_rank_options_default();
    options.align.mode = KH_ALIGN_COS;
    options.k = 1;
    kh_assert_ok(kh_lens_rank(g.ctx, g.model, &options, &r, &err));
    double mean = 0;
    for (size_t c = 0; c < 10; c++)
        mean += (double)r.global[c].score / 10;
    for (size_t kind = 0; kind < 2; kind++) {
        kh_null_band band = band_of(&g, (kh_null_kind)kind, 3, KH_ALIGN_COS, g.ctx);
        const double width = band.top1.hi - band.top1.lo;
        assert_true(mean > band.top1.lo - width && mean < band.top1.hi + width);
        kh_null_band_clear(&band);
    }
    kh_ranking_clear(&r);
    golden_close(&g);
}

/* ---- planted vectors ----------------------------------------------------------------------- */

static void copy_file(const char *from_folder, const char *to_folder, const char *name) {
    char path[1024], bytes[8192];
    (void)snprintf(path, sizeof path, "%s/%s", from_folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    (void)snprintf(path, sizeof path, "%s/%s", to_folder, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    (void)fclose(file);
}

/* vit_base with value vector b1n5 = 3 * class embedding 2, written to a folder. */
static const char *plant(void) {
    kh_error err = {0};
    const char *folder = kh_test_folder("planted");
    char path[512];
    golden_model g;
    golden_open(&g, "vit_base");
    (void)snprintf(path, sizeof path, "%s/golden/vit_base", KH_TEST_DATA);
    copy_file(path, folder, "config.json");
    const size_t count = kh_tensors_count(g.weights);
    kh_tensor_out *out = calloc(count, sizeof *out);
    float *data[64], head[240];
    assert_true(count <= 64);
    kh_assert_ok(kh_tensors_read(g.weights, "head.weight", false, head, 240, &err));
    for (size_t i = 0; i < count; i++) {
        const kh_tensor_info info = kh_tensors_get(g.weights, i);
        data[i] = malloc(info.count * sizeof(float));
        kh_assert_ok(kh_tensors_read(g.weights, info.name, false, data[i], info.count, &err));
        if (strcmp(info.name, "blocks.1.mlp.fc2.weight") == 0)
            for (size_t d = 0; d < 24; d++)
                data[i][d * 96 + 5] = 3 * head[2 * 24 + d];
        out[i] = (kh_tensor_out){.name = info.name, .rank = info.rank, .data = data[i]};
        memcpy(out[i].shape, info.shape, sizeof info.shape);
    }
    (void)snprintf(path, sizeof path, "%.400s/model.safetensors", folder);
    kh_assert_ok(kh_tensors_write(path, out, count, NULL, NULL, 0, &err));
    for (size_t i = 0; i < count; i++)
        free(data[i]);
    free(out);
    golden_close(&g);
    return folder;
}

static void a_planted_value_vector_aligns_with_its_class(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_ranking r;
    float out[960];
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    kh_assert_ok(kh_model_open(ctx, plant(), NULL, &model, &err));
    kh_assert_ok(kh_lens_alignment(ctx, model, 1, KH_ALIGN_COS, out, 960, &err));
    assert_float_equal(out[5 * 10 + 2], 1.0f, 1e-6f);
    kh_rank_options options = kh_rank_options_default();
    options.align.mode = KH_ALIGN_COS;
    kh_assert_ok(kh_lens_rank(ctx, model, &options, &r, &err));
    assert_int_equal(r.global[2 * 10].block, 1);
    assert_int_equal(r.global[2 * 10].index, 5);
    assert_int_equal(r.top_class[96 + 5], 2);
    kh_ranking_clear(&r);
    kh_model_close(model);
    kh_ctx_free(ctx);
}

/* ---- memory -------------------------------------------------------------------------------- */

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "deit3_base");
    kh_rank_options options = kh_rank_options_default();
    kh_null_options null_options = kh_null_options_default();
    null_options.draws = 2;
    options.align.add_bias = true;
    for (size_t what = 0; what < 2; what++)
        for (size_t n = 1;; n++) {
            kh_ranking r = {0};
            kh_null_band band = {0};
            err = (kh_error){0};
            kh_alloc_fail_after(n);
            const kh_status status =
                what ? kh_lens_null_band(g.ctx, g.model, &null_options, &band, &err)
                     : kh_lens_rank(g.ctx, g.model, &options, &r, &err);
            const size_t asked = kh_alloc_count();
            kh_alloc_fail_after(0);
            kh_ranking_clear(&r);
            kh_null_band_clear(&band);
            if (asked < n) {
                kh_assert_ok(status);
                break;
            }
            if (status != KH_E_MEMORY) fail_msg("allocation %zu: %s", n, kh_status_name(status));
        }
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_model_matches),
        cmocka_unit_test(layer_scale_is_folded_into_the_values),
        cmocka_unit_test(a_model_with_fc_norm_matches),
        cmocka_unit_test(a_mean_pooled_model_matches),
        cmocka_unit_test(a_post_norm_model_sends_values_through_its_norm),
        cmocka_unit_test(the_first_head_of_a_distilled_model_is_the_default),
        cmocka_unit_test(check_1_5_ln_is_the_true_head_on_each_value_vector),
        cmocka_unit_test(check_1_5_raw_is_the_heads_matrix_product),
        cmocka_unit_test(a_value_bias_is_added_before_layer_scale),
        cmocka_unit_test(ones_own_embeddings_serve_models_without_a_head),
        cmocka_unit_test(what_cannot_be_aligned_says_why),
        cmocka_unit_test(the_null_context_of_threads_changes_nothing),
        cmocka_unit_test(a_models_ranking_is_that_of_its_scores),
        cmocka_unit_test(null_bands_repeat_with_their_seed),
        cmocka_unit_test(random_weights_lie_inside_their_own_null_band),
        cmocka_unit_test(a_planted_value_vector_aligns_with_its_class),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
