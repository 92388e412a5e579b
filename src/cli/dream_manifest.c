/* manifest.json of a run of `dream`, written last: what was painted, from what, with what. */
#include "cli/dream.h"
#include "cli/outdir.h"

#include <stdio.h>

static void put_options(const kh_dream_run *run, kh_manifest *m) {
    const kh_dream_options *o = run->options;
    kh_store_manifest_text(m, "dream.preset", o->preset);
    kh_store_manifest_text(m, "dream.goal", o->goal);
    kh_store_manifest_text(m, "dream.pick", o->pick);
    kh_store_manifest_bool(m, "dream.baselines", o->has_baselines);
    if (o->directions) kh_store_manifest_text(m, "dream.direction", o->directions);
    if (o->minus) kh_store_manifest_text(m, "dream.minus", o->minus);
    kh_store_manifest_text(m, "dream.weights", o->weights);
    kh_store_manifest_size(m, "dream.topk", o->topk);
    kh_store_manifest_text(m, "dream.gate", kh_dream_gate_name(run->objective.gate));
    kh_store_manifest_text(m, "dream.tokens", kh_dream_tokens_name(run->objective.tokens));
    kh_store_manifest_size(m, "dream.seed", o->seed);
    kh_store_manifest_size(m, "dream.steps", run->settings.steps);
    kh_store_manifest_f64(m, "dream.step_size", run->settings.lr);
    kh_store_manifest_bool(m, "dream.imagenet_norm", run->settings.norm == KH_NORM_IMAGENET);
    kh_store_manifest_text(m, "dream.diversity_kind", o->diversity_kind);
    kh_store_manifest_f64(m, "dream.diversity", o->diversity);
    kh_store_manifest_size(m, "dream.images", run->objective.images);
    kh_store_manifest_size(m, "dream.distinct_neurons", run->distinct);
    if (o->photo) kh_store_manifest_text(m, "dream.photo", o->photo);
    if (o->magnitudes) kh_store_manifest_text(m, "dream.magnitudes", o->magnitudes);
}

static void put_dreams(const kh_dream_run *run, kh_manifest *m) {
    static const char *const keys[] = {"name", "label", "class", "pick", "steps"};
    char class_text[24], steps_text[24];
    for (size_t order = 0; order < run->item_count; order++)
        for (size_t i = 0; i < run->item_count; i++) {
            const kh_dream_item *item = &run->items[i];
            size_t right;
            if (item->order != order) continue;
            (void)snprintf(class_text, sizeof class_text, "%zu", item->target);
            (void)snprintf(steps_text, sizeof steps_text, "%zu", kh_dream_log_last(item, &right));
            const char *const texts[] = {item->stem, item->label,
                                         item->target == SIZE_MAX ? "" : class_text,
                                         kh_dream_pick_name(item->pick), steps_text};
            kh_store_manifest_row(m, "dreams", keys, texts, 5);
        }
}

static void put_failed(const kh_dream_run *run, kh_manifest *m) {
    static const char *const keys[] = {"image", "reason"};
    size_t i;
    json_t *one;
    if (run->failed) kh_store_manifest_texts(m, "failed", NULL, 0); /* an empty list: none */
    json_array_foreach(run->failed, i, one) {
        const char *const texts[] = {json_string_value(json_object_get(one, keys[0])),
                                     json_string_value(json_object_get(one, keys[1]))};
        kh_store_manifest_row(m, "failed", keys, texts, 2);
    }
}

static void put_files(const kh_dream_run *run, kh_manifest *m) {
    kh_store_manifest_file(m, "log.csv", NULL, 0, "one row per dream, step and image");
    if (run->options->evaluates) {
        kh_store_manifest_file(m, "evaluation.csv", NULL, 0,
                               "recognition by judge, pick, step, view and normalisation");
        kh_store_manifest_file(m, "answers.csv", NULL, 0, "what each judge said of each picture");
        kh_outdir_list_figure(m, "evaluation", "share recognised against steps");
    }
    if (run->options->natural) {
        kh_store_manifest_file(m, "natural.csv", NULL, 0, "pictures beside natural images");
        kh_outdir_list_figure(m, "ranking", "pictures that wake their neuron most");
    }
}

kh_status kh_dream_run_manifest(const kh_dream_run *run, kh_error *err) {
    kh_manifest *m;
    kh_text set = {0};
    KH_TRY(kh_store_manifest_create("dream", &m, err));
    kh_store_manifest_model(m, kh_model_get_info(run->session->model));
    put_options(run, m);
    kh_dream_set_text(&run->settings, &set);
    kh_store_manifest_text(m, "dream.settings", set.data);
    put_dreams(run, m);
    put_failed(run, m);
    put_files(run, m);
    kh_status status = set.failed ? kh_fail(err, KH_E_MEMORY, "no memory for a manifest") : KH_OK;
    if (!status) status = kh_outdir_finish(run->options->out, m, err);
    kh_text_clear(&set);
    kh_store_manifest_free(m);
    return status;
}
