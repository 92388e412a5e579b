/* The steps of a pass: carried out, or written down for kh_pass_explain and kh_pass_gflop. */
#include <stdio.h>
#include <stdlib.h>

#include "vit/steps.h"

static void write_step(kh_pass *p, size_t block, const char *name, const char *kind,
                       const char *shape, double flop) {
    kh_recorder *r = p->recorder;
    r->flop += flop;
    r->steps++;
    if (!r->text) return;
    char full[80];
    if (block == SIZE_MAX)
        (void)snprintf(full, sizeof full, "%s", name);
    else
        (void)snprintf(full, sizeof full, "blocks.%zu.%s", block, name);
    kh_text_addf(r->text, "%-34s %-10s %-34s", full, kind, shape);
    if (flop > 0) kh_text_addf(r->text, " %9.4f GFLOP", flop * 1e-9);
    kh_text_add(r->text, "\n");
}

void kh_step_linear(kh_pass *p, size_t block, const char *name, size_t ins,
                    const kh_linear_args *args) {
    if (!p->recorder) {
        p->ops->linear(p->ctx, args);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu, %zu] -> %zu%s%s%s%s", args->rows, ins, args->outs,
                   args->norm ? ", norm" : "", args->act != KH_ACT_NONE ? ", act" : "",
                   args->residual ? ", + residual" : "", args->branch.to ? ", keeps branch" : "");
    write_step(p, block, name, "linear", shape,
               2.0 * (double)args->rows * (double)ins * (double)args->outs);
}

void kh_step_mlp(kh_pass *p, size_t block, const char *name, size_t dim, size_t neurons,
                 const kh_mlp_args *args) {
    if (!p->recorder) {
        p->ops->mlp(p->ctx, args);
        return;
    }
    const size_t outs = args->gated ? 2 * neurons : neurons;
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu, %zu] -> %zu -> %zu%s%s%s%s", args->rows, dim, outs,
                   dim, args->residual ? ", + residual" : "", args->pre ? ", keeps pre" : "",
                   args->post ? ", keeps post" : "", args->branch.to ? ", keeps branch" : "");
    write_step(p, block, name, "mlp", shape,
               2.0 * (double)args->rows * (double)dim * (double)(outs + neurons));
}

void kh_step_attention(kh_pass *p, size_t block, const kh_attention_args *args) {
    if (!p->recorder) {
        p->ops->attention(p->ctx, args);
        return;
    }
    char shape[96];
    const size_t queries = args->queries ? args->queries : args->tokens;
    (void)snprintf(shape, sizeof shape, "[%zu, %zu heads, %zu, %zu]%s", args->images, args->heads,
                   queries, args->tokens, args->pattern || args->scores ? ", keeps pattern" : "");
    write_step(p, block, "attn", "attention", shape,
               4.0 * (double)args->images * (double)args->heads * (double)queries *
                   (double)args->tokens * (double)args->head_dim);
}

void kh_step_layernorm(kh_pass *p, size_t block, const char *name, const kh_norm *norm, size_t rows,
                       const float *x, size_t x_stride, const float *residual, float *y,
                       size_t y_stride, float *scale) {
    if (!p->recorder) {
        p->ops->layernorm(p->ctx, norm, rows, x, x_stride, residual, y, y_stride, scale);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu, %zu]%s%s", rows, norm->dim,
                   residual ? ", + residual" : "", y ? "" : ", scale only");
    write_step(p, block, name, "layernorm", shape, 0);
}

void kh_step_activate(kh_pass *p, size_t block, size_t count, const float *x, float *y) {
    if (!p->recorder) {
        p->ops->activate(p->ctx, p->model->act, count, x, y);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu]", count);
    write_step(p, block, "mlp.act", "activate", shape, 0);
}

void kh_step_gate(kh_pass *p, size_t block, size_t rows, size_t neurons, const float *pre,
                  float *post) {
    if (!p->recorder) {
        p->ops->gate(p->ctx, p->model->act, rows, neurons, pre, post);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu, 2 x %zu]", rows, neurons);
    write_step(p, block, "mlp.gate", "gate", shape, 0);
}

void kh_step_patchify(kh_pass *p, const float *pixels, float *patches) {
    const kh_model_info *i = &p->model->info;
    if (!p->recorder) {
        p->ops->patchify(p->ctx, p->batch, i->image_height, i->image_width, i->patch, pixels,
                         patches);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu, 3, %zu, %zu]", p->batch, i->image_height,
                   i->image_width);
    write_step(p, SIZE_MAX, "image", "patchify", shape, 0);
}

void kh_step_add(kh_pass *p, size_t block, const char *name, size_t count, const float *a,
                 const float *b, float *out) {
    if (!p->recorder) {
        kh_rows_add(p->ctx, count, a, b, out);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "[%zu]", count);
    write_step(p, block, name, "add", shape, 0);
}

void kh_step_gather(kh_pass *p, size_t block, const char *name, size_t from_rows, size_t width,
                    size_t count, const size_t *list, const float *from, float *to) {
    if (!p->recorder) {
        kh_rows_gather(p->ctx, p->batch, from_rows, width, count, list, from, to);
        return;
    }
    char shape[96];
    (void)snprintf(shape, sizeof shape, "%zu of %zu tokens", count, from_rows);
    write_step(p, block, name, "gather", shape, 0);
}

bool kh_step_other(kh_pass *p, size_t block, const char *name, const char *kind, double flop) {
    if (!p->recorder) return true;
    write_step(p, block, name, kind, "", flop);
    return false;
}

void kh_step_note(kh_pass *p, const char *kind, kh_stage stage, size_t block) {
    if (!p->recorder || !p->recorder->text) return;
    kh_text_addf(p->recorder->text, "    %s %s\n", kind,
                 kh_site_describe(p->model, stage, block).name);
}

/* ---- the public text
 * ----------------------------------------------------------------------------- */

static void explain_header(const kh_pass *p, kh_text *text) {
    const kh_model_info *i = &p->model->info;
    kh_text_addf(text, "%s: %zu blocks, dim %zu, %zu heads, %zu key neurons, %zu tokens\n",
                 i->architecture, i->blocks, i->dim, i->heads, i->neurons, i->tokens);
    kh_text_addf(text, "batch of %zu; %.4f GFLOP per image; %.1f MB of activations\n", p->max_batch,
                 p->gflop, (double)p->bytes / 1e6);
    if (p->block_end > p->first_block)
        kh_text_addf(text, "blocks %zu to %zu of %zu\n", p->first_block, p->block_end - 1,
                     i->blocks);
    if (p->want_gradient)
        for (size_t s = 0; s < p->seed_count; s++)
            kh_text_addf(text, "gradient from %s\n", p->seeds[s].site.name);
    for (size_t e = 0; e < p->edit_count; e++) {
        const kh_edit_plan *edit = &p->edits[e];
        size_t last;
        if (p->tail.runs)
            last = SIZE_MAX;
        else if (p->block_end > p->first_block)
            last = KH_STAGE_COUNT * p->block_end + p->blocks[p->block_end - 1].stop;
        else
            last = p->embed_stop;
        if (kh_stage_position(p->model, edit->stage, edit->block) > last)
            kh_text_addf(text, "edit of %s lies behind everything asked for: no effect\n",
                         edit->site.name);
    }
}

kh_status kh_pass_explain(const kh_pass *pass, char **text, kh_error *err) {
    kh_pass copy = *pass;
    kh_text out = {0};
    kh_recorder recorder = {.text = &out};
    explain_header(pass, &out);
    copy.recorder = &recorder;
    copy.batch = pass->max_batch;
    copy.checks = false;
    static const float no_image = 0.0f; /* only its being there is looked at */
    kh_forward_all(&copy, pass->runs_embed ? &no_image : NULL);
    /* the caller frees with free(), so it must be malloc's */
    char *result = out.failed ? NULL : malloc(out.length + 1);
    if (result)
        for (size_t i = 0; i <= out.length; i++)
            result[i] = i < out.length ? out.data[i] : '\0';
    kh_text_clear(&out);
    if (!result) return kh_fail(err, KH_E_MEMORY, "out of memory for the plan's text");
    *text = result;
    return KH_OK;
}
