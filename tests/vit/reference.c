#include "vit/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

typedef struct tensor {
    char name[96];
    double *data;
    size_t count;
} tensor;

struct ref_model {
    ref_config c;
    size_t prefix, patches, tokens, feature;
    tensor *tensors;
    size_t count, room;
};

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

static double *zeros(size_t count) {
    return must(calloc(count ? count : 1, sizeof(double)));
}

static double *copied(const double *from, size_t count) {
    double *to = zeros(count);
    memcpy(to, from, count * sizeof *to);
    return to;
}

/* ---- weights
 * ------------------------------------------------------------------------------------- */

static const double *find(const ref_model *m, const char *name) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->tensors[i].name, name) == 0) return m->tensors[i].data;
    return NULL;
}

/* Looks a tensor of a block up; block SIZE_MAX: outside. NULL when absent. */
static const double *get(const ref_model *m, size_t block, const char *suffix) {
    char name[96];
    if (block == SIZE_MAX)
        snprintf(name, sizeof name, "%s", suffix);
    else
        snprintf(name, sizeof name, "blocks.%zu.%s", block, suffix);
    return find(m, name);
}

typedef struct loader {
    ref_model *m;
    ref_source source;
    void *user;
    char prefix[64];
} loader;

static void load(loader *l, const char *suffix, size_t rank, size_t a, size_t b, size_t c) {
    ref_model *m = l->m;
    const size_t shape[4] = {a, b, c, c}; /* rank 4: square patches */
    size_t count = 1;
    for (size_t i = 0; i < rank; i++)
        count *= shape[i];
    if (m->count == m->room) {
        m->room = m->room ? 2 * m->room : 64;
        m->tensors = must(realloc(m->tensors, m->room * sizeof *m->tensors));
    }
    tensor *t = &m->tensors[m->count];
    snprintf(t->name, sizeof t->name, "%s%s", l->prefix, suffix);
    t->data = zeros(count);
    t->count = count;
    if (l->source(l->user, t->name, rank, shape, t->data))
        m->count++;
    else
        free(t->data);
}

static void load_linear(loader *l, const char *name, size_t outs, size_t ins, bool bias) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    load(l, full, 2, outs, ins, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) load(l, full, 1, outs, 0, 0);
}

static void load_norm(loader *l, const char *name, size_t dim) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    load(l, full, 1, dim, 0, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    load(l, full, 1, dim, 0, 0);
}

static void load_all(loader *l) {
    const ref_model *m = l->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim;
    if (c->class_token) load(l, "cls_token", 3, 1, 1, d);
    if (c->distill_token) load(l, "dist_token", 3, 1, 1, d);
    if (c->registers) load(l, "reg_token", 3, 1, c->registers, d);
    load(l, "pos_embed", 3, 1, m->patches + (c->pos_has_prefix ? m->prefix : 0), d);
    load(l, "patch_embed.proj.weight", 4, d, 3, c->patch);
    if (c->patch_bias) load(l, "patch_embed.proj.bias", 1, d, 0, 0);
    if (c->norm_pre) load_norm(l, "norm_pre", d);
    for (size_t b = 0; b < c->blocks; b++) {
        snprintf(l->prefix, sizeof l->prefix, "blocks.%zu.", b);
        load_norm(l, "norm1", d);
        load_linear(l, "attn.qkv", 3 * d, d, c->qkv_bias);
        if (c->qk_norm) load_norm(l, "attn.q_norm", d / c->heads);
        if (c->qk_norm) load_norm(l, "attn.k_norm", d / c->heads);
        load_linear(l, "attn.proj", d, d, true);
        load_norm(l, "norm2", d);
        load_linear(l, "mlp.fc1", c->gated ? 2 * c->neurons : c->neurons, d, true);
        load_linear(l, "mlp.fc2", d, c->neurons, true);
        if (c->layer_scale) load(l, "ls1.gamma", 1, d, 0, 0);
        if (c->layer_scale) load(l, "ls2.gamma", 1, d, 0, 0);
    }
    l->prefix[0] = '\0';
    if (c->pool == KH_POOL_AVG_FC)
        load_norm(l, "fc_norm", d);
    else if (c->pool != KH_POOL_RAW_AVG)
        load_norm(l, "norm", d);
    if (c->pool == KH_POOL_MAP) {
        load(l, "attn_pool.latent", 3, 1, 1, d);
        load_linear(l, "attn_pool.q", d, d, true);
        load_linear(l, "attn_pool.kv", 2 * d, d, true);
        load_linear(l, "attn_pool.proj", d, d, true);
        load_norm(l, "attn_pool.norm", d);
        load_linear(l, "attn_pool.mlp.fc1", c->neurons, d, true);
        load_linear(l, "attn_pool.mlp.fc2", d, c->neurons, true);
    }
    if (c->classes) load_linear(l, "head", c->classes, m->feature, true);
    if (c->classes && c->pool == KH_POOL_DISTILL)
        load_linear(l, "head_dist", c->classes, m->feature, true);
}

ref_model *ref_open(const ref_config *config, ref_source source, void *user) {
    ref_model *m = must(calloc(1, sizeof *m));
    m->c = *config;
    m->patches = (config->height / config->patch) * (config->width / config->patch);
    m->prefix = (size_t)config->class_token + (size_t)config->distill_token + config->registers;
    m->tokens = m->prefix + m->patches;
    m->feature = config->pool == KH_POOL_CLS_AVG ? 2 * config->dim : config->dim;
    loader l = {.m = m, .source = source, .user = user};
    load_all(&l);
    return m;
}

void ref_close(ref_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->count; i++)
        free(m->tensors[i].data);
    free(m->tensors);
    free(m);
}

size_t ref_parameters(const ref_model *m) {
    size_t sum = 0;
    for (size_t i = 0; i < m->count; i++)
        sum += m->tensors[i].count;
    return sum;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

void ref_formula(const char *name, size_t rank, const size_t *shape, double *out) {
    size_t count = 1, fan_in = 1;
    for (size_t i = 0; i < rank; i++)
        count *= shape[i];
    for (size_t i = 1; i < rank; i++)
        fan_in *= shape[i];
    double off = 0, scale = sqrt(3.0 / (double)fan_in);
    static const char *const tokens[] = {"cls_token", "dist_token", "reg_token", "pos_embed",
                                         "attn_pool.latent"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (strcmp(name, tokens[i]) == 0) scale = 0.5;
    if (ends_with(name, "gamma")) scale = 0.5;
    if (ends_with(name, ".bias")) scale = 0.1;
    if (rank == 1 && ends_with(name, ".weight")) {
        off = 1;
        scale = 0.2;
    }
    if (strcmp(name, "image") == 0) scale = 1;
    const uint32_t hash = kh_hash_name(name);
    for (size_t i = 0; i < count; i++)
        out[i] = (double)(float)(off + scale * kh_mix_unit(hash, (uint32_t)i));
}

static bool from_formula(void *user, const char *name, size_t rank, const size_t *shape,
                         double *out) {
    (void)user;
    ref_formula(name, rank, shape, out);
    return true;
}

ref_model *ref_from_formula(const ref_config *config) {
    return ref_open(config, from_formula, NULL);
}

static bool from_model(void *user, const char *name, size_t rank, const size_t *shape,
                       double *out) {
    const kh_model *model = user;
    size_t real_rank, real[8], count = 1, want = 1;
    if (!kh_model_tensor_shape(model, name, &real_rank, real)) return false;
    for (size_t i = 0; i < rank; i++)
        want *= shape[i];
    for (size_t i = 0; i < real_rank; i++)
        count *= real[i];
    if (count != want) {
        fprintf(stderr, "%s has %zu elements, expected %zu\n", name, count, want);
        abort();
    }
    float *values = must(malloc(count * sizeof *values));
    const bool good = kh_model_tensor_read(model, name, values, count, NULL) == KH_OK;
    for (size_t i = 0; good && i < count; i++)
        out[i] = (double)values[i];
    free(values);
    return good;
}

ref_model *ref_from_model(const kh_model *model) {
    const kh_model_info *i = kh_model_get_info(model);
    size_t rank, shape[8];
    ref_config c = {.dim = i->dim,
                    .blocks = i->blocks,
                    .heads = i->heads,
                    .neurons = i->neurons,
                    .patch = i->patch,
                    .height = i->image_height,
                    .width = i->image_width,
                    .classes = i->classes,
                    .registers = i->registers,
                    .class_token = i->has_class_token,
                    .distill_token = i->has_distill_token,
                    .norm_pre = i->has_norm_pre,
                    .patch_bias =
                        kh_model_tensor_shape(model, "patch_embed.proj.bias", &rank, shape),
                    .layer_scale = i->has_layer_scale,
                    .qkv_bias = i->has_qkv_bias,
                    .qk_norm = i->has_qk_norm,
                    .gated = i->is_gated,
                    .post_norm = i->is_post_norm,
                    .pool = i->pool,
                    .activation = i->activation,
                    .eps = i->norm_eps};
    if (kh_model_tensor_shape(model, "pos_embed", &rank, shape))
        c.pos_has_prefix = i->prefix_tokens > 0 && shape[rank - 2] == i->tokens;
    return ref_open(&c, from_model, (void *)(uintptr_t)model);
}

/* ---- pieces
 * -------------------------------------------------------------------------------------- */

/* y[r, o] = sum_i x[r, i] w[o, i] + b[o] */
static void linear(size_t rows, size_t ins, size_t outs, const double *x, const double *w,
                   const double *b, double *y) {
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < outs; o++) {
            double sum = b ? b[o] : 0;
            for (size_t i = 0; i < ins; i++)
                sum += x[r * ins + i] * w[o * ins + i];
            y[r * outs + o] = sum;
        }
}

/* dx[r, i] += sum_o dy[r, o] w[o, i] */
static void linear_back(size_t rows, size_t ins, size_t outs, const double *dy, const double *w,
                        double *dx) {
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < outs; o++)
            for (size_t i = 0; i < ins; i++)
                dx[r * ins + i] += dy[r * outs + o] * w[o * ins + i];
}

static void norm(size_t rows, size_t dim, double eps, const double *x, const double *w,
                 const double *b, double *y, double *scale) {
    for (size_t r = 0; r < rows; r++) {
        double mean = 0, var = 0;
        for (size_t i = 0; i < dim; i++)
            mean += x[r * dim + i] / (double)dim;
        for (size_t i = 0; i < dim; i++) {
            const double d = x[r * dim + i] - mean;
            var += d * d / (double)dim;
        }
        const double s = sqrt(var + eps);
        if (scale) scale[r] = s;
        for (size_t i = 0; i < dim; i++)
            y[r * dim + i] = (x[r * dim + i] - mean) / s * w[i] + b[i];
    }
}

/* dx += r (g - mean g - xhat mean(g xhat)), g = dy w */
static void norm_back(size_t rows, size_t dim, double eps, const double *x, const double *w,
                      const double *dy, double *dx) {
    double *hat = zeros(dim);
    for (size_t r = 0; r < rows; r++) {
        const double *row = x + r * dim, *d = dy + r * dim;
        double mean = 0, var = 0, mean_g = 0, mean_gx = 0;
        for (size_t i = 0; i < dim; i++)
            mean += row[i] / (double)dim;
        for (size_t i = 0; i < dim; i++)
            var += (row[i] - mean) * (row[i] - mean) / (double)dim;
        const double s = sqrt(var + eps);
        for (size_t i = 0; i < dim; i++) {
            hat[i] = (row[i] - mean) / s;
            mean_g += d[i] * w[i] / (double)dim;
            mean_gx += d[i] * w[i] * hat[i] / (double)dim;
        }
        for (size_t i = 0; i < dim; i++)
            dx[r * dim + i] += (d[i] * w[i] - mean_g - hat[i] * mean_gx) / s;
    }
    free(hat);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double act(const char *name, double u) {
    if (strcmp(name, "gelu") == 0) return u * 0.5 * (1 + erf(u / sqrt(2.0)));
    if (strcmp(name, "gelu_tanh") == 0)
        return 0.5 * u * (1 + tanh(sqrt(2 / acos(-1.0)) * (u + 0.044715 * u * u * u)));
    if (strcmp(name, "quick_gelu") == 0) return u * sigmoid(1.702 * u);
    if (strcmp(name, "silu") == 0) return u * sigmoid(u);
    abort();
}

static double slope(const char *name, double u) {
    const double pi = acos(-1.0);
    if (strcmp(name, "gelu") == 0)
        return 0.5 * (1 + erf(u / sqrt(2.0))) + u * exp(-u * u / 2) / sqrt(2 * pi);
    if (strcmp(name, "gelu_tanh") == 0) {
        const double k = sqrt(2 / pi), t = tanh(k * (u + 0.044715 * u * u * u));
        return 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * k * (1 + 0.134145 * u * u);
    }
    const double f = strcmp(name, "silu") == 0 ? 1.0 : 1.702, s = sigmoid(f * u);
    return s + f * u * s * (1 - s);
}

/* ---- forward
 * ------------------------------------------------------------------------------------- */

typedef struct block_state {
    double *x_pre, *q_raw, *k_raw, *q, *k, *v, *pattern, *attn, *x_mid, *gate, *value, *mlp;
} block_state;

typedef struct state {
    const ref_model *m;
    ref_hook hook;
    void *user;
    double *full, *x_last, *mean, *normed, *pre_head;
    double *map_k, *map_v, *map_a, *map_r, *map_u, *map_q;
    block_state *blocks;
} state;

static void show(const state *s, size_t block, const char *suffix, double *values, size_t count) {
    if (!s->hook) return;
    char name[96];
    if (block == SIZE_MAX)
        snprintf(name, sizeof name, "%s", suffix);
    else
        snprintf(name, sizeof name, "blocks.%zu.%s", block, suffix);
    s->hook(s->user, name, values, count);
}

/* The prefix and all patches with their positions, [tokens, dim]. */
static double *embed(const state *s, const double *image) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim, p = c->patch, gw = c->width / p, ins = 3 * p * p;
    const double *w = get(m, SIZE_MAX, "patch_embed.proj.weight");
    const double *b = get(m, SIZE_MAX, "patch_embed.proj.bias");
    double *patch = zeros(ins), *patches = zeros(m->patches * d), *x = zeros(m->tokens * d);
    for (size_t t = 0; t < m->patches; t++) {
        for (size_t ch = 0; ch < 3; ch++)
            for (size_t y = 0; y < p; y++)
                for (size_t z = 0; z < p; z++)
                    patch[(ch * p + y) * p + z] =
                        image[(ch * c->height + t / gw * p + y) * c->width + t % gw * p + z];
        linear(1, ins, d, patch, w, b, patches + t * d);
    }
    show(s, SIZE_MAX, "hook_embed", patches, m->patches * d);
    size_t at = 0;
    const char *const names[] = {"cls_token", "dist_token", "reg_token"};
    for (size_t i = 0; i < 3; i++) {
        const double *token = get(m, SIZE_MAX, names[i]);
        const size_t count = i == 2 ? c->registers : 1;
        if (!token) continue;
        memcpy(x + at * d, token, count * d * sizeof *x);
        at += count;
    }
    memcpy(x + at * d, patches, m->patches * d * sizeof *x);
    const double *pos = get(m, SIZE_MAX, "pos_embed");
    const size_t skip = c->pos_has_prefix ? 0 : m->prefix;
    for (size_t i = skip * d; i < m->tokens * d; i++)
        x[i] += pos[i - skip * d];
    free(patch);
    free(patches);
    return x;
}

static void heads_norm(const state *s, size_t block, const char *name, double *x) {
    const ref_model *m = s->m;
    const size_t d = m->c.dim, dh = d / m->c.heads;
    char w[64], b[64];
    snprintf(w, sizeof w, "attn.%s.weight", name);
    snprintf(b, sizeof b, "attn.%s.bias", name);
    double *y = zeros(m->tokens * d);
    norm(m->tokens * m->c.heads, dh, m->c.eps, x, get(m, block, w), get(m, block, b), y, NULL);
    memcpy(x, y, m->tokens * d * sizeof *x);
    free(y);
}

/* attn(y) before LayerScale or post-norm, [tokens, dim]. */
static double *attention(const state *s, size_t block, block_state *b, const double *y) {
    const ref_model *m = s->m;
    const size_t n = m->tokens, d = m->c.dim, heads = m->c.heads, dh = d / heads;
    double *qkv = zeros(n * 3 * d), *scores = zeros(heads * n * n), *z = zeros(n * d);
    linear(n, d, 3 * d, y, get(m, block, "attn.qkv.weight"), get(m, block, "attn.qkv.bias"), qkv);
    double **parts[] = {&b->q, &b->k, &b->v};
    for (size_t i = 0; i < 3; i++) {
        *parts[i] = zeros(n * d);
        for (size_t t = 0; t < n; t++)
            memcpy(*parts[i] + t * d, qkv + t * 3 * d + i * d, d * sizeof *qkv);
    }
    b->q_raw = copied(b->q, n * d);
    b->k_raw = copied(b->k, n * d);
    if (m->c.qk_norm) {
        heads_norm(s, block, "q_norm", b->q);
        heads_norm(s, block, "k_norm", b->k);
    }
    show(s, block, "attn.hook_q", b->q, n * d);
    show(s, block, "attn.hook_k", b->k, n * d);
    show(s, block, "attn.hook_v", b->v, n * d);
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t e = 0; e < dh; e++)
                    sum += b->q[i * d + h * dh + e] * b->k[j * d + h * dh + e];
                scores[(h * n + i) * n + j] = sum / sqrt((double)dh);
            }
    show(s, block, "attn.hook_attn_scores", scores, heads * n * n);
    b->pattern = zeros(heads * n * n);
    for (size_t r = 0; r < heads * n; r++) {
        double top = -INFINITY, total = 0;
        for (size_t j = 0; j < n; j++)
            top = fmax(top, scores[r * n + j]);
        for (size_t j = 0; j < n; j++)
            total += exp(scores[r * n + j] - top);
        for (size_t j = 0; j < n; j++)
            b->pattern[r * n + j] = exp(scores[r * n + j] - top) / total;
    }
    show(s, block, "attn.hook_pattern", b->pattern, heads * n * n);
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                for (size_t e = 0; e < dh; e++)
                    z[i * d + h * dh + e] +=
                        b->pattern[(h * n + i) * n + j] * b->v[j * d + h * dh + e];
    show(s, block, "attn.hook_z", z, n * d);
    double *out = zeros(n * d);
    linear(n, d, d, z, get(m, block, "attn.proj.weight"), get(m, block, "attn.proj.bias"), out);
    free(qkv);
    free(scores);
    free(z);
    return out;
}

static double *mlp(const state *s, size_t block, block_state *b, const double *y) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t n = m->tokens, d = c->dim, k = c->neurons, outs = c->gated ? 2 * k : k;
    double *u = zeros(n * outs), *post = zeros(n * k), *out = zeros(n * d);
    linear(n, d, outs, y, get(m, block, "mlp.fc1.weight"), get(m, block, "mlp.fc1.bias"), u);
    b->gate = zeros(n * k);
    b->value = zeros(n * k);
    for (size_t t = 0; t < n; t++)
        for (size_t j = 0; j < k; j++) {
            b->gate[t * k + j] = u[t * outs + j];
            b->value[t * k + j] = c->gated ? u[t * outs + k + j] : 1;
        }
    show(s, block, "mlp.hook_pre", b->gate, n * k);
    if (c->gated) show(s, block, "mlp.hook_pre_linear", b->value, n * k);
    for (size_t i = 0; i < n * k; i++)
        post[i] = act(c->activation, b->gate[i]) * b->value[i];
    show(s, block, "mlp.hook_post", post, n * k);
    linear(n, k, d, post, get(m, block, "mlp.fc2.weight"), get(m, block, "mlp.fc2.bias"), out);
    free(u);
    free(post);
    return out;
}

static void block_norm(const state *s, size_t block, bool second, const double *x, double *y) {
    const ref_model *m = s->m;
    double *scale = zeros(m->tokens);
    norm(m->tokens, m->c.dim, m->c.eps, x, get(m, block, second ? "norm2.weight" : "norm1.weight"),
         get(m, block, second ? "norm2.bias" : "norm1.bias"), y, scale);
    show(s, block, second ? "ln2.hook_scale" : "ln1.hook_scale", scale, m->tokens);
    show(s, block, second ? "ln2.hook_normalized" : "ln1.hook_normalized", y, m->tokens * m->c.dim);
    free(scale);
}

/* x + branch(norm(x)), or x + norm(branch(x)); returns a new array. */
static double *half(const state *s, size_t block, bool second, const double *x) {
    const ref_model *m = s->m;
    block_state *b = &s->blocks[block];
    const size_t d = m->c.dim, count = m->tokens * d;
    double *y = copied(x, count), *out = zeros(count);
    if (!m->c.post_norm) block_norm(s, block, second, x, y);
    double *branch = second ? mlp(s, block, b, y) : attention(s, block, b, y);
    *(second ? &b->mlp : &b->attn) = copied(branch, count);
    const double *gamma = get(m, block, second ? "ls2.gamma" : "ls1.gamma");
    if (gamma)
        for (size_t i = 0; i < count; i++)
            branch[i] *= gamma[i % d];
    if (m->c.post_norm) {
        block_norm(s, block, second, branch, y);
        memcpy(branch, y, count * sizeof *y);
    }
    show(s, block, second ? "hook_mlp_out" : "hook_attn_out", branch, count);
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] + branch[i];
    show(s, block, second ? "hook_resid_post" : "hook_resid_mid", out, count);
    free(y);
    free(branch);
    return out;
}

static void mean_rows(const ref_model *m, const double *x, double *out) {
    const size_t d = m->c.dim;
    memset(out, 0, d * sizeof *out);
    for (size_t t = m->prefix; t < m->tokens; t++)
        for (size_t i = 0; i < d; i++)
            out[i] += x[t * d + i] / (double)m->patches;
}

static void map_pool(state *s, double *out) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim, n = m->patches, heads = c->heads, dh = d / heads, k = c->neurons;
    double *kv = zeros(n * 2 * d), *o = zeros(d), *y = zeros(d), *h = zeros(k);
    s->map_q = zeros(d);
    s->map_k = zeros(n * d);
    s->map_v = zeros(n * d);
    s->map_a = zeros(heads * n);
    s->map_r = zeros(d);
    s->map_u = zeros(k);
    linear(1, d, d, get(m, SIZE_MAX, "attn_pool.latent"), get(m, SIZE_MAX, "attn_pool.q.weight"),
           get(m, SIZE_MAX, "attn_pool.q.bias"), s->map_q);
    linear(n, d, 2 * d, s->normed + m->prefix * d, get(m, SIZE_MAX, "attn_pool.kv.weight"),
           get(m, SIZE_MAX, "attn_pool.kv.bias"), kv);
    for (size_t t = 0; t < n; t++) {
        memcpy(s->map_k + t * d, kv + t * 2 * d, d * sizeof *kv);
        memcpy(s->map_v + t * d, kv + t * 2 * d + d, d * sizeof *kv);
    }
    for (size_t head = 0; head < heads; head++) {
        double total = 0;
        for (size_t t = 0; t < n; t++) {
            double sum = 0;
            for (size_t e = 0; e < dh; e++)
                sum += s->map_q[head * dh + e] * s->map_k[t * d + head * dh + e];
            total += s->map_a[head * n + t] = exp(sum / sqrt((double)dh));
        }
        for (size_t t = 0; t < n; t++) {
            s->map_a[head * n + t] /= total;
            for (size_t e = 0; e < dh; e++)
                o[head * dh + e] += s->map_a[head * n + t] * s->map_v[t * d + head * dh + e];
        }
    }
    linear(1, d, d, o, get(m, SIZE_MAX, "attn_pool.proj.weight"),
           get(m, SIZE_MAX, "attn_pool.proj.bias"), s->map_r);
    norm(1, d, c->eps, s->map_r, get(m, SIZE_MAX, "attn_pool.norm.weight"),
         get(m, SIZE_MAX, "attn_pool.norm.bias"), y, NULL);
    linear(1, d, k, y, get(m, SIZE_MAX, "attn_pool.mlp.fc1.weight"),
           get(m, SIZE_MAX, "attn_pool.mlp.fc1.bias"), s->map_u);
    for (size_t j = 0; j < k; j++)
        h[j] = act(c->activation, s->map_u[j]);
    linear(1, k, d, h, get(m, SIZE_MAX, "attn_pool.mlp.fc2.weight"),
           get(m, SIZE_MAX, "attn_pool.mlp.fc2.bias"), out);
    for (size_t i = 0; i < d; i++)
        out[i] += s->map_r[i];
    free(kv);
    free(o);
    free(y);
    free(h);
}

static void tail(state *s, double *out) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim, rows = c->pool == KH_POOL_AVG_FC ? 1 : m->tokens;
    const size_t vectors = c->pool == KH_POOL_DISTILL ? 2 : 1;
    const char *const name[2] = {c->pool == KH_POOL_AVG_FC ? "fc_norm.weight" : "norm.weight",
                                 c->pool == KH_POOL_AVG_FC ? "fc_norm.bias" : "norm.bias"};
    s->mean = zeros(d);
    mean_rows(m, s->x_last, s->mean);
    s->normed = zeros(rows * d);
    if (c->pool != KH_POOL_RAW_AVG) {
        double *scale = zeros(rows);
        norm(rows, d, c->eps, rows == 1 ? s->mean : s->x_last, get(m, SIZE_MAX, name[0]),
             get(m, SIZE_MAX, name[1]), s->normed, scale);
        show(s, SIZE_MAX, "ln_final.hook_scale", scale, rows);
        show(s, SIZE_MAX, "ln_final.hook_normalized", s->normed, rows * d);
        free(scale);
    }
    s->pre_head = zeros(2 * d);
    if (c->pool == KH_POOL_RAW_AVG)
        memcpy(s->pre_head, s->mean, d * sizeof(double));
    else if (c->pool == KH_POOL_AVG)
        mean_rows(m, s->normed, s->pre_head);
    else if (c->pool == KH_POOL_MAP)
        map_pool(s, s->pre_head);
    else
        memcpy(s->pre_head, s->normed, (vectors == 2 ? 2 * d : d) * sizeof(double));
    if (c->pool == KH_POOL_CLS_AVG) mean_rows(m, s->normed, s->pre_head + d);
    const size_t feature = vectors == 2 ? 2 * d : m->feature;
    show(s, SIZE_MAX, "hook_pre_head", s->pre_head, feature);
    if (c->classes == 0) {
        memcpy(out, s->pre_head, feature * sizeof *out);
        return;
    }
    linear(1, m->feature, c->classes, s->pre_head, get(m, SIZE_MAX, "head.weight"),
           get(m, SIZE_MAX, "head.bias"), out);
    if (vectors == 2) {
        double *second = zeros(c->classes);
        linear(1, d, c->classes, s->pre_head + d, get(m, SIZE_MAX, "head_dist.weight"),
               get(m, SIZE_MAX, "head_dist.bias"), second);
        for (size_t i = 0; i < c->classes; i++)
            out[i] = (out[i] + second[i]) / 2;
        free(second);
    }
    show(s, SIZE_MAX, "logits", out, c->classes);
}

static void run(state *s, const double *image, double *out) {
    const ref_model *m = s->m;
    const size_t d = m->c.dim, count = m->tokens * d;
    s->blocks = must(calloc(m->c.blocks + 1, sizeof *s->blocks));
    double *x = embed(s, image);
    show(s, SIZE_MAX, "hook_full_embed", x, count);
    s->full = copied(x, count);
    if (m->c.norm_pre) {
        double *scale = zeros(m->tokens);
        norm(m->tokens, d, m->c.eps, s->full, get(m, SIZE_MAX, "norm_pre.weight"),
             get(m, SIZE_MAX, "norm_pre.bias"), x, scale);
        show(s, SIZE_MAX, "ln_pre.hook_scale", scale, m->tokens);
        show(s, SIZE_MAX, "ln_pre.hook_normalized", x, count);
        free(scale);
    }
    for (size_t b = 0; b < m->c.blocks; b++) {
        show(s, b, "hook_resid_pre", x, count);
        s->blocks[b].x_pre = x;
        s->blocks[b].x_mid = half(s, b, false, x);
        x = half(s, b, true, s->blocks[b].x_mid);
    }
    s->x_last = x;
    tail(s, out);
}

static void clear(state *s) {
    for (size_t b = 0; b < s->m->c.blocks; b++) {
        block_state *k = &s->blocks[b];
        double *all[] = {k->x_pre,   k->q_raw, k->k_raw, k->q,    k->k,     k->v,
                         k->pattern, k->attn,  k->x_mid, k->gate, k->value, k->mlp};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            free(all[i]);
    }
    double *all[] = {s->full,  s->x_last, s->mean,  s->normed, s->pre_head, s->map_k,
                     s->map_v, s->map_a,  s->map_r, s->map_u,  s->map_q};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(s->blocks);
}

void ref_forward(const ref_model *m, const double *image, ref_hook hook, void *user, double *out) {
    state s = {.m = m, .hook = hook, .user = user};
    run(&s, image, out);
    clear(&s);
}

/* ---- backward
 * ------------------------------------------------------------------------------------ */

static void map_back(const state *s, const double *df, double *dnormed) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim, n = m->patches, heads = c->heads, dh = d / heads, k = c->neurons;
    double *dr = copied(df, d), *dh_ = zeros(k), *dy = zeros(d), *d_o = zeros(d);
    double *dkv = zeros(n * 2 * d);
    linear_back(1, k, d, df, get(m, SIZE_MAX, "attn_pool.mlp.fc2.weight"), dh_);
    for (size_t j = 0; j < k; j++)
        dh_[j] *= slope(c->activation, s->map_u[j]);
    linear_back(1, d, k, dh_, get(m, SIZE_MAX, "attn_pool.mlp.fc1.weight"), dy);
    norm_back(1, d, c->eps, s->map_r, get(m, SIZE_MAX, "attn_pool.norm.weight"), dy, dr);
    linear_back(1, d, d, dr, get(m, SIZE_MAX, "attn_pool.proj.weight"), d_o);
    for (size_t h = 0; h < heads; h++) {
        double mean = 0;
        double *da = zeros(n);
        for (size_t t = 0; t < n; t++) {
            for (size_t e = 0; e < dh; e++) {
                da[t] += d_o[h * dh + e] * s->map_v[t * d + h * dh + e];
                dkv[t * 2 * d + d + h * dh + e] = s->map_a[h * n + t] * d_o[h * dh + e];
            }
            mean += s->map_a[h * n + t] * da[t];
        }
        for (size_t t = 0; t < n; t++)
            for (size_t e = 0; e < dh; e++)
                dkv[t * 2 * d + h * dh + e] =
                    s->map_a[h * n + t] * (da[t] - mean) / sqrt((double)dh) * s->map_q[h * dh + e];
        free(da);
    }
    linear_back(n, d, 2 * d, dkv, get(m, SIZE_MAX, "attn_pool.kv.weight"), dnormed + m->prefix * d);
    free(dr);
    free(dh_);
    free(dy);
    free(d_o);
    free(dkv);
}

static void spread(const ref_model *m, const double *df, double *dx) {
    const size_t d = m->c.dim;
    for (size_t t = m->prefix; t < m->tokens; t++)
        for (size_t i = 0; i < d; i++)
            dx[t * d + i] += df[i] / (double)m->patches;
}

/* Gradient at the last residual, [tokens, dim], added to dx. */
static void tail_back(const state *s, const double *seed, double *dx) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const size_t d = c->dim, classes = c->classes;
    double *df = zeros(2 * d), *dn = zeros(m->tokens * d), *dm = zeros(d);
    const bool two = c->pool == KH_POOL_DISTILL;
    if (classes == 0) {
        memcpy(df, seed, (two ? 2 * d : m->feature) * sizeof *df);
    } else {
        double *share = copied(seed, classes);
        for (size_t i = 0; two && i < classes; i++)
            share[i] /= 2;
        linear_back(1, m->feature, classes, share, get(m, SIZE_MAX, "head.weight"), df);
        if (two) linear_back(1, d, classes, share, get(m, SIZE_MAX, "head_dist.weight"), df + d);
        free(share);
    }
    if (c->pool == KH_POOL_RAW_AVG) {
        spread(m, df, dx);
    } else if (c->pool == KH_POOL_AVG_FC) {
        norm_back(1, d, c->eps, s->mean, get(m, SIZE_MAX, "fc_norm.weight"), df, dm);
        spread(m, dm, dx);
    } else {
        if (c->pool == KH_POOL_AVG)
            spread(m, df, dn);
        else if (c->pool == KH_POOL_MAP)
            map_back(s, df, dn);
        else
            memcpy(dn, df, (two ? 2 * d : d) * sizeof *dn);
        if (c->pool == KH_POOL_CLS_AVG) spread(m, df + d, dn);
        norm_back(m->tokens, d, c->eps, s->x_last, get(m, SIZE_MAX, "norm.weight"), dn, dx);
    }
    free(df);
    free(dn);
    free(dm);
}

static void attention_back(const state *s, size_t block, const double *dout, double *dy) {
    const ref_model *m = s->m;
    const block_state *b = &s->blocks[block];
    const size_t n = m->tokens, d = m->c.dim, heads = m->c.heads, dh = d / heads;
    double *dz = zeros(n * d), *dq = zeros(n * d), *dk = zeros(n * d), *dqkv = zeros(n * 3 * d);
    double *dv = zeros(n * d), *da = zeros(n);
    linear_back(n, d, d, dout, get(m, block, "attn.proj.weight"), dz);
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < n; i++) {
            const double *a = b->pattern + (h * n + i) * n;
            double mean = 0;
            for (size_t j = 0; j < n; j++) {
                da[j] = 0;
                for (size_t e = 0; e < dh; e++) {
                    da[j] += dz[i * d + h * dh + e] * b->v[j * d + h * dh + e];
                    dv[j * d + h * dh + e] += a[j] * dz[i * d + h * dh + e];
                }
                mean += a[j] * da[j];
            }
            for (size_t j = 0; j < n; j++) {
                const double ds = a[j] * (da[j] - mean) / sqrt((double)dh);
                for (size_t e = 0; e < dh; e++) {
                    dq[i * d + h * dh + e] += ds * b->k[j * d + h * dh + e];
                    dk[j * d + h * dh + e] += ds * b->q[i * d + h * dh + e];
                }
            }
        }
    if (m->c.qk_norm) {
        double *gq = zeros(n * d), *gk = zeros(n * d);
        norm_back(n * heads, dh, m->c.eps, b->q_raw, get(m, block, "attn.q_norm.weight"), dq, gq);
        norm_back(n * heads, dh, m->c.eps, b->k_raw, get(m, block, "attn.k_norm.weight"), dk, gk);
        memcpy(dq, gq, n * d * sizeof *dq);
        memcpy(dk, gk, n * d * sizeof *dk);
        free(gq);
        free(gk);
    }
    for (size_t t = 0; t < n; t++) {
        memcpy(dqkv + t * 3 * d, dq + t * d, d * sizeof *dq);
        memcpy(dqkv + t * 3 * d + d, dk + t * d, d * sizeof *dk);
        memcpy(dqkv + t * 3 * d + 2 * d, dv + t * d, d * sizeof *dv);
    }
    linear_back(n, d, 3 * d, dqkv, get(m, block, "attn.qkv.weight"), dy);
    double *all[] = {dz, dq, dk, dqkv, dv, da};
    for (size_t i = 0; i < 6; i++)
        free(all[i]);
}

static void mlp_back(const state *s, size_t block, const double *dout, double *dy) {
    const ref_model *m = s->m;
    const ref_config *c = &m->c;
    const block_state *b = &s->blocks[block];
    const size_t n = m->tokens, d = c->dim, k = c->neurons, outs = c->gated ? 2 * k : k;
    double *dpost = zeros(n * k), *du = zeros(n * outs);
    linear_back(n, k, d, dout, get(m, block, "mlp.fc2.weight"), dpost);
    for (size_t t = 0; t < n; t++)
        for (size_t j = 0; j < k; j++) {
            const double gate = b->gate[t * k + j], value = b->value[t * k + j];
            du[t * outs + j] = dpost[t * k + j] * value * slope(c->activation, gate);
            if (c->gated) du[t * outs + k + j] = dpost[t * k + j] * act(c->activation, gate);
        }
    linear_back(n, d, outs, du, get(m, block, "mlp.fc1.weight"), dy);
    free(dpost);
    free(du);
}

/* dx: in, gradient at the sum; out, gradient at the half's input. */
static void half_back(const state *s, size_t block, bool second, double *dx) {
    const ref_model *m = s->m;
    const block_state *b = &s->blocks[block];
    const size_t d = m->c.dim, n = m->tokens, count = n * d;
    const double *w = get(m, block, second ? "norm2.weight" : "norm1.weight");
    const double *gamma = get(m, block, second ? "ls2.gamma" : "ls1.gamma");
    double *dbranch = copied(dx, count), *dy = zeros(count);
    if (m->c.post_norm) {
        memset(dbranch, 0, count * sizeof *dbranch);
        norm_back(n, d, m->c.eps, second ? b->mlp : b->attn, w, dx, dbranch);
    }
    if (gamma)
        for (size_t i = 0; i < count; i++)
            dbranch[i] *= gamma[i % d];
    if (second)
        mlp_back(s, block, dbranch, dy);
    else
        attention_back(s, block, dbranch, dy);
    if (m->c.post_norm)
        for (size_t i = 0; i < count; i++)
            dx[i] += dy[i];
    else
        norm_back(n, d, m->c.eps, second ? b->x_mid : b->x_pre, w, dy, dx);
    free(dbranch);
    free(dy);
}

void ref_gradient(const ref_model *m, const double *image, const double *seed, double *gradient) {
    const ref_config *c = &m->c;
    const size_t d = c->dim, count = m->tokens * d, p = c->patch, gw = c->width / p;
    state s = {.m = m};
    double *out = zeros(c->classes + 2 * d), *dx = zeros(count);
    run(&s, image, out);
    tail_back(&s, seed, dx);
    for (size_t b = c->blocks; b-- > 0;) {
        half_back(&s, b, true, dx);
        half_back(&s, b, false, dx);
    }
    if (c->norm_pre) {
        double *dy = copied(dx, count);
        memset(dx, 0, count * sizeof *dx);
        norm_back(m->tokens, d, c->eps, s.full, get(m, SIZE_MAX, "norm_pre.weight"), dy, dx);
        free(dy);
    }
    memset(gradient, 0, 3 * c->height * c->width * sizeof *gradient);
    const double *w = get(m, SIZE_MAX, "patch_embed.proj.weight");
    for (size_t t = 0; t < m->patches; t++) {
        double *patch = zeros(3 * p * p);
        linear_back(1, 3 * p * p, d, dx + (m->prefix + t) * d, w, patch);
        for (size_t ch = 0; ch < 3; ch++)
            for (size_t y = 0; y < p; y++)
                for (size_t z = 0; z < p; z++)
                    gradient[(ch * c->height + t / gw * p + y) * c->width + t % gw * p + z] =
                        patch[(ch * p + y) * p + z];
        free(patch);
    }
    free(out);
    free(dx);
    clear(&s);
}
