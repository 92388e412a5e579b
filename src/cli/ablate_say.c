/* What `ablate` says on standard output. */
#include "cli/ablate.h"
#include "cli/images.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const kh_ablate_quantity *kh_ablate_quantity_of(const kh_ablation *a, const char *key,
                                                bool is_correct) {
    for (size_t i = 0; i < a->quantity_count; i++)
        if (a->quantities[i].is_correct == is_correct && strcmp(a->quantities[i].key, key) == 0)
            return &a->quantities[i];
    return NULL;
}

void kh_ablate_scope_name(size_t block, char *out, size_t out_bytes) {
    if (block == SIZE_MAX)
        (void)snprintf(out, out_bytes, "all blocks");
    else
        (void)snprintf(out, out_bytes, "block %zu", block);
}

void kh_ablate_scope(const kh_ablation *a, char *out, size_t out_bytes) {
    kh_ablate_scope_name(a->options.is_global ? SIZE_MAX : a->options.block, out, out_bytes);
}

void kh_ablate_print(const kh_ablate_run *run, const char *out) {
    const kh_ablation *a = &run->result;
    const kh_ablate_options *o = &a->options;
    char scope[32];
    kh_ablate_scope(a, scope, sizeof scope);
    printf("%zu image%s of %zu class%s", a->images, KH_S(a->images), a->class_count,
           KH_ES(a->class_count));
    if (a->broken) printf(" (%zu could not be read)", a->broken);
    if (a->unlabelled) printf(" (%zu without a true class left out)", a->unlabelled);
    if (a->unmasked) printf(" (%zu without such patches left out", a->unmasked);
    if (a->broken_maps) printf("; label maps of %zu could not be read", a->broken_maps);
    if (a->unmasked) putchar(')');
    printf("; %s, %zu neurons, ranked by %s, op %s, tokens %s\n%zu variant%s\n\n", scope,
           a->neurons, kh_ablate_rank_name(o->rank), kh_ablate_op_name(o->ops[0]),
           kh_ablate_tokens_name(o->tokens), a->variants, KH_S(a->variants));
    printf("%-36s %-8s %8s %10s  %s\n", "quantity", "images", "n", "mean", "95 % interval");
    for (size_t i = 0; i < a->quantity_count; i++) {
        const kh_ablate_quantity *q = &a->quantities[i];
        if (isnan(q->value.mean) && isnan(q->value.lo)) continue;
        printf("%-36s %-8s %8zu %10.4g", q->key, q->is_correct ? "correct" : "all", q->value.n,
               q->value.mean);
        if (!isnan(q->value.lo)) printf("  [%.4g, %.4g]", q->value.lo, q->value.hi);
        putchar('\n');
    }
    printf("\ntables and pictures in ");
    kh_print_path(out);
    putchar('\n');
}

kh_status kh_ablate_print_json(const kh_ablate_run *run, const char *out, kh_error *err) {
    const kh_ablation *a = &run->result;
    const kh_ablate_options *o = &a->options;
    json_t *quantities = json_array();
    for (size_t i = 0; i < a->quantity_count; i++) {
        const kh_ablate_quantity *q = &a->quantities[i];
        json_array_append_new(
            quantities, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "quantity", q->key, "subset",
                                  q->is_correct ? "correct" : "all", "n", (json_int_t)q->value.n,
                                  "mean", kh_json_number(q->value.mean), "lo",
                                  kh_json_number(q->value.lo), "hi", kh_json_number(q->value.hi)));
    }
    return kh_print_json(
               json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:s, s:s, s:s, s:I, s:I, "
                         "s:o, s:o}",
                         "model", kh_model_receipt(run->session->model), "images",
                         (json_int_t)a->images, "broken", (json_int_t)a->broken, "without_class",
                         (json_int_t)a->unlabelled, "without_patches", (json_int_t)a->unmasked,
                         "broken_maps", (json_int_t)a->broken_maps, "failed",
                         kh_broken_images_json(run->broken, run->broken_count), "failed_maps",
                         kh_broken_images_json(run->broken_maps, run->broken_maps_count), "block",
                         o->is_global ? (json_int_t)-1 : (json_int_t)o->block, "rank_by",
                         kh_ablate_rank_name(o->rank), "op", kh_ablate_op_name(o->ops[0]), "tokens",
                         kh_ablate_tokens_name(o->tokens), "neurons", (json_int_t)a->neurons,
                         "variants", (json_int_t)a->variants, "summary", quantities, "out",
                         kh_json_text(out)),
               err)
               ? KH_OK
               : KH_E_MEMORY;
}

/* ---- before it begins ---------------------------------------------------------------------- */

static kh_status print_estimate_json(const kh_ablate_estimate *e, kh_error *err) {
    json_t *variants = json_object();
    for (size_t d = 0; d < KH_ABLATE_DESIGNS; d++)
        json_object_set_new(variants, kh_ablate_design_name(d),
                            json_integer((json_int_t)e->variants_of[d]));
    return kh_print_json(
               json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "images",
                         (json_int_t)e->images, "classes", (json_int_t)e->classes, "block",
                         e->block == SIZE_MAX ? (json_int_t)-1 : (json_int_t)e->block, "neurons",
                         (json_int_t)e->neurons, "variants_of_image", variants, "variants",
                         (json_int_t)e->variants, "share_of_pass", e->share, "passes", e->passes,
                         "seconds", e->seconds, "memory_bytes", (json_int_t)e->memory_bytes,
                         "state_bytes", (json_int_t)e->state_bytes, "disk_bytes",
                         (json_int_t)e->disk_bytes),
               err)
               ? KH_OK
               : KH_E_MEMORY;
}

/* "0.4", "3.1", "42" */
static const char *brief(double value, char *out, size_t out_bytes) {
    (void)snprintf(out, out_bytes, "%.*f", value < 9.95 ? 1 : 0, value);
    return out;
}

kh_status kh_ablate_print_estimate(const kh_ablate_estimate *e, const kh_ablate_options *o,
                                   bool json, kh_error *err) {
    char scope[32];
    if (json) return print_estimate_json(e, err);
    kh_ablate_scope_name(e->block, scope, sizeof scope);
    printf("%zu image%s of %zu class%s; %s, %zu neurons, ranked by %s, op %s, tokens %s\n\n",
           e->images, KH_S(e->images), e->classes, KH_ES(e->classes), scope, e->neurons,
           kh_ablate_rank_name(o->rank), kh_ablate_op_name(o->ops[0]),
           kh_ablate_tokens_name(o->tokens));
    printf("%-8s %18s %12s\n", "design", "variants an image", "in all");
    for (size_t d = 0; d < KH_ABLATE_DESIGNS; d++)
        if (o->designs >> d & 1u)
            printf("%-8s %18zu %12zu\n", kh_ablate_design_name(d), e->variants_of[d],
                   e->variants_of[d] * e->images);
    char time[32], bytes[3][32];
    printf(
        "\n%llu variants, each %.2g of a pass; with the unchanged images %.0f passes; about %s s "
        "with the tables, without reading images; about %s MB of memory beside the weights; on "
        "disk about %s MB of results and, while it runs, at most %s MB of state\n",
        (unsigned long long)e->variants, e->share, e->passes, brief(e->seconds, time, sizeof time),
        brief((double)e->memory_bytes * 1e-6, bytes[0], sizeof *bytes),
        brief((double)e->disk_bytes * 1e-6, bytes[1], sizeof *bytes),
        brief((double)e->state_bytes * 1e-6, bytes[2], sizeof *bytes));
    return KH_OK;
}
