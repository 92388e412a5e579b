/* The tables of `ablate`. Columns are documented in docs/analyses/ablation.md. */
#include "cli/ablate.h"
#include "cli/outdir.h"
#include "cli/tables.h"

#include "base/file.h"

/* n, mean, std, lo, hi, or parts of it */
static void interval(kh_tables *t, const kh_ablate_mean *m) {
    kh_tables_real(t, m->mean);
    kh_tables_real(t, m->lo);
    kh_tables_real(t, m->hi);
}

static const char *subset(bool is_correct) {
    return is_correct ? "correct" : "all";
}

/* rank_by, [op,] tokens, block */
static void setting(kh_tables *t, const kh_ablation *a, const char *op) {
    kh_tables_text(t, kh_ablate_rank_name(a->options.rank));
    if (op) kh_tables_text(t, op);
    kh_tables_text(t, kh_ablate_tokens_name(a->options.tokens));
    kh_tables_index(t, a->options.is_global ? KH_NO_CLASS : a->options.block);
}

static void neuron(kh_tables *t, kh_neuron n) {
    kh_tables_index(t, n.block);
    kh_tables_index(t, n.index);
}

static void write_effects(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "ablate",
                    "design:t images:t set:t rank_by:t op:t tokens:t block:i k:i class:i subset:t "
                    "metric:t n:i mean:r std:r lo:r hi:r set_lo:r set_hi:r",
                    "every metric: without the class's own neurons, and of the sweep over classes");
    for (size_t i = 0; i < a->effect_count; i++) {
        const kh_ablate_effect *e = &a->effects[i];
        kh_tables_text(t, e->is_sweep ? "sweep" : "own");
        kh_tables_text(t, kh_ablate_images_name(e->images));
        kh_tables_text(t, kh_ablate_set_name(e->set));
        setting(t, a, kh_ablate_op_name(e->op));
        kh_tables_index(t, e->k);
        kh_tables_index(t, e->class_index);
        kh_tables_text(t, subset(e->is_correct));
        kh_tables_text(t, kh_ablate_metric_name(e->metric));
        kh_tables_index(t, e->value.n);
        kh_tables_real(t, e->value.mean);
        kh_tables_real(t, e->value.std);
        kh_tables_real(t, e->value.lo);
        kh_tables_real(t, e->value.hi);
        kh_tables_real(t, e->set_lo);
        kh_tables_real(t, e->set_hi);
        kh_tables_row(t);
    }
}

static void write_points(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "curves",
                    "kind:t set:t rank_by:t op:t tokens:t block:i subset:t k:i fraction:r n:i "
                    "top1:r top1_lo:r top1_hi:r margin:r margin_lo:r margin_hi:r",
                    "deletion and insertion curves");
    for (size_t i = 0; i < a->point_count; i++) {
        const kh_ablate_point *p = &a->points[i];
        kh_tables_text(t, p->is_insertion ? "insertion" : "deletion");
        kh_tables_text(t, kh_ablate_set_name(p->set));
        setting(t, a, kh_ablate_op_name(a->options.ops[0]));
        kh_tables_text(t, subset(p->is_correct));
        kh_tables_index(t, p->k);
        kh_tables_real(t, p->fraction);
        kh_tables_index(t, p->top1.n);
        interval(t, &p->top1);
        interval(t, &p->margin);
        kh_tables_row(t);
    }
}

static void write_swaps(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "swap",
                    "class:i to:i pair:t rank_by:t tokens:t block:i k:i n:i flip:r flip_lo:r "
                    "flip_hi:r flip_base:r flip_ablated:r flip_random:r d_logit_class:r "
                    "d_logit_to:r prob_to:r",
                    "a class's neurons zeroed and another's set to its means");
    for (size_t i = 0; i < a->swap_count; i++) {
        const kh_ablate_swap *s = &a->swaps[i];
        kh_tables_index(t, s->class_index);
        kh_tables_index(t, s->to);
        kh_tables_text(t, kh_ablate_pair_name(s->pair));
        setting(t, a, NULL);
        kh_tables_index(t, a->options.swap_k);
        kh_tables_index(t, s->flip.n);
        interval(t, &s->flip);
        const double rest[] = {s->flip_base,     s->flip_ablated, s->flip_random,
                               s->d_logit_class, s->d_logit_to,   s->prob_to};
        for (size_t v = 0; v < sizeof rest / sizeof *rest; v++)
            kh_tables_real(t, rest[v]);
        kh_tables_row(t);
    }
}

static void write_doses(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "steering",
                    "class:i images:t set:t rank_by:t tokens:t block:i k:i alpha:r n:i predicted:r "
                    "predicted_lo:r predicted_hi:r d_logit:r d_logit_lo:r d_logit_hi:r d_margin:r "
                    "d_margin_lo:r d_margin_hi:r top1:r",
                    "a class's neurons scaled");
    for (size_t i = 0; i < a->dose_count; i++) {
        const kh_ablate_dose *d = &a->doses[i];
        kh_tables_index(t, d->class_index);
        kh_tables_text(t, kh_ablate_images_name(d->images));
        kh_tables_text(t, kh_ablate_set_name(d->set));
        setting(t, a, NULL);
        kh_tables_index(t, a->options.steer_k);
        kh_tables_real(t, d->alpha);
        kh_tables_index(t, d->predicted.n);
        interval(t, &d->predicted);
        interval(t, &d->d_logit);
        interval(t, &d->d_margin);
        kh_tables_real(t, d->top1);
        kh_tables_row(t);
    }
}

static void write_neurons(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "causal",
                    "class:i block:i neuron:i picked_by:t place:i ln:r fold:r contribution:r "
                    "direct:r direct_margin:r activation:r n:i effect_logit:r effect_logit_lo:r "
                    "effect_logit_hi:r "
                    "effect_margin:r effect_margin_lo:r effect_margin_hi:r",
                    "single neurons: alignment, contribution and effect side by side");
    for (size_t i = 0; i < a->listed_count; i++) {
        const kh_ablate_neuron *n = &a->listed[i];
        kh_tables_index(t, n->class_index);
        neuron(t, n->neuron);
        kh_tables_text(t, kh_ablate_pick_name(n->picked_by));
        kh_tables_index(t, n->place);
        const double values[] = {n->ln,     n->fold,          n->contribution,
                                 n->direct, n->direct_margin, n->activation};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++)
            kh_tables_real(t, values[v]);
        kh_tables_index(t, n->effect_logit.n);
        interval(t, &n->effect_logit);
        interval(t, &n->effect_margin);
        kh_tables_row(t);
    }
    kh_tables_begin(t, "correlation", "level:t class:i neurons:t pair:t n:i spearman:r lo:r hi:r",
                    "rank correlations of the columns of causal.csv");
    for (size_t i = 0; i < a->correlation_count; i++) {
        const kh_ablate_correlation *c = &a->correlations[i];
        kh_tables_text(t, kh_ablate_level_name(c->level));
        kh_tables_index(t, c->class_index);
        kh_tables_text(t, c->neurons);
        kh_tables_text(t, c->pair);
        kh_tables_index(t, c->n);
        kh_tables_real(t, c->spearman);
        kh_tables_real(t, c->lo);
        kh_tables_real(t, c->hi);
        kh_tables_row(t);
    }
}

static void write_shared(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "shared",
                    "block:i neuron:i members:i class:i is_member:i n:i d_logit:r d_logit_lo:r "
                    "d_logit_hi:r d_margin:r d_margin_lo:r d_margin_hi:r random_d_logit:r drops:i",
                    "neurons that are the first of several classes");
    for (size_t i = 0; i < a->shared_count; i++) {
        const kh_ablate_shared *s = &a->shared[i];
        neuron(t, s->neuron);
        kh_tables_index(t, s->members);
        kh_tables_index(t, s->class_index);
        kh_tables_index(t, s->is_member);
        kh_tables_index(t, s->d_logit.n);
        interval(t, &s->d_logit);
        interval(t, &s->d_margin);
        kh_tables_real(t, s->random_d_logit);
        kh_tables_index(t, s->drops);
        kh_tables_row(t);
    }
}

static void write_classes(kh_tables *t, const kh_ablation *a, const kh_classes *classes) {
    kh_tables_begin(t, "classes",
                    "class:i wnid:t name:t n:i correct:i margin:r block:i neuron:i ln:r k50:i "
                    "share_1:r share_3:r share_10:r d_logit_1:r d_logit_1_lo:r d_logit_1_hi:r "
                    "d_margin_1:r d_margin_3:r d_margin_10:r random_d_margin_1:r "
                    "random_d_margin_3:r random_d_margin_10:r d_top1_10:r selectivity_1:r "
                    "selectivity_3:r selectivity_10:r spearman_ln_effect:r",
                    "one row for each class with images");
    for (size_t i = 0; i < a->class_count; i++) {
        const kh_ablate_class *c = &a->class_rows[i];
        const kh_class one = kh_classes_get(classes, c->class_index);
        kh_tables_index(t, c->class_index);
        kh_tables_text(t, one.wnid);
        kh_tables_text(t, one.name);
        kh_tables_index(t, c->n);
        kh_tables_index(t, c->correct);
        kh_tables_real(t, c->margin);
        neuron(t, c->first);
        kh_tables_real(t, c->ln);
        kh_tables_index(t, c->k50);
        for (size_t v = 0; v < 3; v++)
            kh_tables_real(t, c->share[v]);
        interval(t, &c->d_logit_1);
        for (size_t v = 0; v < 3; v++)
            kh_tables_real(t, c->d_margin[v]);
        for (size_t v = 0; v < 3; v++)
            kh_tables_real(t, c->random_d_margin[v]);
        kh_tables_real(t, c->d_top1_10);
        for (size_t v = 0; v < 3; v++)
            kh_tables_real(t, c->selectivity[v]);
        kh_tables_real(t, c->spearman_ln_effect);
        kh_tables_row(t);
    }
}

static void write_summary(kh_tables *t, const kh_ablation *a) {
    kh_tables_begin(t, "summary", "quantity:t subset:t n:i mean:r lo:r hi:r",
                    "what a reader asks first");
    for (size_t i = 0; i < a->quantity_count; i++) {
        const kh_ablate_quantity *q = &a->quantities[i];
        kh_tables_text(t, q->key);
        kh_tables_text(t, subset(q->is_correct));
        kh_tables_index(t, q->value.n);
        interval(t, &q->value);
        kh_tables_row(t);
    }
}

/* ---- manifest -------------------------------------------------------------------------------- */

static void list_sizes(kh_manifest *m, const char *key, const size_t *sizes, size_t count) {
    double values[KH_ABLATE_MOST_K];
    for (size_t i = 0; i < count; i++)
        values[i] = (double)sizes[i];
    kh_store_manifest_f64s(m, key, values, count);
}

static void describe(kh_manifest *m, const kh_ablate_run *run) {
    const kh_ablation *a = &run->result;
    const kh_ablate_options *o = &a->options;
    const char *ops[KH_ABLATE_OPS];
    for (size_t i = 0; i < o->op_count; i++)
        ops[i] = kh_ablate_op_name(o->ops[i]);
    kh_store_manifest_model(m, kh_model_get_info(run->session->model));
    kh_store_manifest_text(m, "command", run->command);
    kh_store_manifest_size(m, "images.count", kh_source_count(run->source));
    kh_store_manifest_size(m, "images.used", a->images);
    kh_store_manifest_size(m, "images.broken", a->broken);
    kh_store_manifest_size(m, "images.without_class", a->unlabelled);
    kh_store_manifest_size(m, "images.without_patches", a->unmasked);
    kh_store_manifest_size(m, "images.broken_maps", a->broken_maps);
    char sha256[65];
    if (!kh_source_sha256(run->source, sha256, NULL))
        kh_store_manifest_text(m, "images.sha256", sha256);
    kh_store_manifest_text(m, "settings.rank_by", kh_ablate_rank_name(o->rank));
    kh_store_manifest_texts(m, "settings.ops", ops, o->op_count);
    kh_store_manifest_f64(m, "settings.alpha", o->alpha);
    kh_store_manifest_text(m, "settings.tokens", kh_ablate_tokens_name(o->tokens));
    if (run->label_set && !kh_label_set_sha256(run->label_set, sha256, NULL)) {
        kh_store_manifest_text(m, "settings.label_maps", sha256);
        kh_store_manifest_text(m, "settings.patches", o->by_majority ? "majority" : "nearest");
    }
    kh_store_manifest_i64(m, "settings.block", o->is_global ? -1 : (int64_t)o->block);
    kh_store_manifest_size(m, "settings.neurons_in_scope", a->neurons);
    list_sizes(m, "settings.k", o->k, o->k_count);
    list_sizes(m, "settings.sweep_k", o->sweep_k, o->sweep_k_count);
    kh_store_manifest_size(m, "settings.random_sets", o->sets);
    kh_store_manifest_size(m, "settings.swap_k", o->swap_k);
    kh_store_manifest_size(m, "settings.steer_k", o->steer_k);
    kh_store_manifest_size(m, "settings.pairs", o->pairs);
    kh_store_manifest_size(m, "settings.keys", o->keys);
    kh_store_manifest_size(m, "settings.random_keys", o->random_keys);
    kh_store_manifest_size(m, "settings.per_class", o->per_class);
    kh_store_manifest_size(m, "settings.resamples", o->resamples);
    kh_store_manifest_size(m, "settings.seed", o->seed);
    kh_store_manifest_text(m, "arithmetic.device", kh_ctx_device(run->session->ctx));
    kh_store_manifest_text(m, "arithmetic.isa", kh_ctx_isa(run->session->ctx));
    kh_store_manifest_size(m, "variants", a->variants);
    kh_broken_images_list(run->broken, run->broken_count, m);
    kh_broken_maps_list(run->broken_maps, run->broken_maps_count, m);
}

kh_status kh_ablate_write_files(const kh_ablate_run *run, const char *folder, kh_error *err) {
    const kh_ablation *a = &run->result;
    const unsigned designs = a->options.designs;
    char path[4096];
    kh_tables t = {0};
    kh_manifest *m = NULL;
    KH_TRY(kh_store_manifest_create("ablate", &m, err));
    describe(m, run);
    kh_status status = kh_tables_open(&t, folder, m, err);
    if (!status) {
        if (designs & (KH_ABLATE_OWN | KH_ABLATE_SWEEP)) write_effects(&t, a);
        if (designs & KH_ABLATE_OWN) write_points(&t, a);
        if (designs & KH_ABLATE_SWAP) write_swaps(&t, a);
        if (designs & KH_ABLATE_STEER) write_doses(&t, a);
        if (designs & KH_ABLATE_CAUSAL) write_neurons(&t, a);
        if (designs & KH_ABLATE_SHARED) write_shared(&t, a);
        write_classes(&t, a, kh_model_classes(run->session->model));
        write_summary(&t, a);
        status = kh_tables_close(&t);
    }
    if (!status) status = kh_ablate_write_figures(run, folder, err);
    for (const kh_ablate_figure *f = kh_ablate_figures; f->stem && !status; f++) {
        status = kh_outdir_path(folder, path, sizeof path, err, "%s.png", f->stem);
        if (!status && kh_file_exists(path)) kh_outdir_list_figure(m, f->stem, f->meaning);
    }
    if (!status) status = kh_outdir_finish(folder, m, err);
    kh_store_manifest_free(m);
    return status;
}
