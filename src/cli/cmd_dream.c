/* keyhole dream: images painted until a key neuron answers. */
#include "cli/commands.h"
#include "cli/dream.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void defaults(void *at) {
    kh_dream_options *o = at;
    o->goal = "neuron";
    o->pick = "best";
    o->weights = "softmax";
    o->topk = 1;
    o->gate = "auto";
    o->tokens = "auto";
    o->preset = "default";
    o->batch = 4;
    o->check_every = 10;
    o->block = SIZE_MAX;
    o->steps = SIZE_MAX; /* not given */
    o->diversity_kind = "units";
    o->power = 2;
    o->penalty = 1;
    o->lr = (double)NAN; /* not given */
}

static const kh_option options[] = {
    {KH_OPT_SECTION, "What to dream of", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "class", 'c', offsetof(kh_dream_options, classes), "LIST",
     "Classes, separated by commas: index, wnid or name; or all. Each gets its best key neuron."},
    {KH_OPT_TEXT, "neuron", 'n', offsetof(kh_dream_options, neurons), "LIST",
     "Key neurons such as b10n1198, separated by commas (counted from zero); those joined by '+' "
     "are mixed."},
    {KH_OPT_TEXT, "direction", 0, offsetof(kh_dream_options, directions), "LIST",
     "Directions of the stream behind --block, raised as (h.d) max(0.1, cos)^2, separated by "
     "commas: class:NAME, value:b10n1198 (a value vector) or FILE.npy."},
    {KH_OPT_TEXT, "minus", 0, offsetof(kh_dream_options, minus), "SPEC",
     "Another direction, in the same words, that is subtracted from each."},
    {KH_OPT_SIZE, "block", 0, offsetof(kh_dream_options, block), "B",
     "The block of --direction, counted from zero. Default: the last."},
    {KH_OPT_NUMBER, "power", 0, offsetof(kh_dream_options, power), "P",
     "Power of the cosine of --direction. Default: 2."},
    {KH_OPT_TEXT, "goal", 0, offsetof(kh_dream_options, goal),
     "neuron|logit|probability|log-probability|value",
     "What to raise for a class: its key neuron, or the classifier's output; value: channels of "
     "the heads' outputs, a class's best aligned or named as --neuron b8n70. Default: neuron."},
    {KH_OPT_TEXT, "pick", 0, offsetof(kh_dream_options, pick), "best|next|random",
     "Which neuron of a class: the most aligned, the next one, or any. Default: best."},
    {KH_OPT_FLAG, "baselines", 0, offsetof(kh_dream_options, has_baselines), NULL,
     "Also paint each class's next and a random neuron, for the table and figure of --evaluate."},
    {KH_OPT_SIZE, "topk", 'k', offsetof(kh_dream_options, topk), "K",
     "Mix the K most aligned neurons of a class. Default: 1."},
    {KH_OPT_TEXT, "weights", 0, offsetof(kh_dream_options, weights), "softmax|equal|score",
     "How the K neurons are weighted. Default: softmax of their alignments."},
    {KH_OPT_FLAG, "per-block", 0, offsetof(kh_dream_options, per_block), NULL,
     "The best neurons of every block instead of the best of all."},
    {KH_OPT_FLAG, "negative", 0, offsetof(kh_dream_options, is_negative), NULL,
     "Ask for less instead of more."},
    {KH_OPT_TEXT, "gate", 0, offsetof(kh_dream_options, gate), "auto|pre|post|warm|positive|phi",
     "Before the activation function, behind it, or behind it with a repair. Default: auto, pre "
     "but for report-fail and vitvis, which ran with post."},
    {KH_OPT_SIZE, "warm-steps", 0, offsetof(kh_dream_options, warm_steps), "N",
     "Steps of --gate warm before it turns to post. Default: 50."},
    {KH_OPT_TEXT, "tokens", 0, offsetof(kh_dream_options, tokens),
     "auto|all|class|patches|cell|both",
     "Tokens that count; both is half the class token, half the patches. "
     "Default: auto, the class token where there is one for presets of ours, all for the "
     "report's, patches for vitvis."},
    {KH_OPT_SIZE, "cell", 0, offsetof(kh_dream_options, cell), "P",
     "The patch of --tokens cell, row by row from 0."},
    {KH_OPT_SIZE, "images", 'i', offsetof(kh_dream_options, images), "N",
     "Images per dream, which differ in their noise. Default: 1."},
    {KH_OPT_NUMBER, "diversity", 0, offsetof(kh_dream_options, diversity), "LAMBDA",
     "Weight of the mean cosine between the images of a dream; positive pushes them apart."},
    {KH_OPT_TEXT, "diversity-kind", 0, offsetof(kh_dream_options, diversity_kind), "units|gram",
     "Cosines of hidden vectors token by token, or of Gram matrices of tokens. Default: units."},
    {KH_OPT_FLAG, "interpolate", 0, offsetof(kh_dream_options, interpolates), NULL,
     "From the first class or neuron to the second over the images of one dream."},
    {KH_OPT_TEXT, "photo", 0, offsetof(kh_dream_options, photo), "FILE",
     "Start from this photo and stay near it (feature accentuation)."},
    {KH_OPT_NUMBER, "penalty", 0, offsetof(kh_dream_options, penalty), "X",
     "Weight of the mean square distance from --photo. Default: 1."},
    {KH_OPT_TEXT, "magnitudes", 0, offsetof(kh_dream_options, magnitudes), "FOLDER",
     "MaCo: take the magnitude spectrum from these images. Default: that of natural photos."},
    {KH_OPT_SECTION, "How to paint", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "preset", 'p', offsetof(kh_dream_options, preset), "NAME",
     "default, quick, report-quant, report-qual, report-fail, cluster384, thesis224, thesis-maco, "
     "maco, "
     "standard-fourier, pixel-tv or vitvis. Default: default."},
    {KH_OPT_SIZE, "steps", 's', offsetof(kh_dream_options, steps), "N",
     "Steps. Default: the preset's."},
    {KH_OPT_TEXT, "snapshots", 0, offsetof(kh_dream_options, snapshots), "LIST",
     "Steps to keep pictures of, separated by commas; the last step always is. Default: the "
     "preset's."},
    {KH_OPT_SIZE, "size", 0, offsetof(kh_dream_options, size), "PX",
     "Side of the painted image. Default: the preset's."},
    {KH_OPT_NUMBER, "lr", 0, offsetof(kh_dream_options, lr), "X",
     "Step size. Default: the preset's."},
    {KH_OPT_TEXT, "schedule", 0, offsetof(kh_dream_options, schedule), "constant|cosine",
     "Step sizes over the steps. Default: the preset's."},
    {KH_OPT_TEXT, "norm", 0, offsetof(kh_dream_options, norm), "model|imagenet",
     "Constants pixels are normalised with. Default: the preset's."},
    {KH_OPT_TEXT, "set", 0, offsetof(kh_dream_options, set), "LIST",
     "Any setting as NAME=VALUE, separated by commas, after all others: paint=pixel,tv=0.0005; "
     "docs/dream.md lists them."},
    {KH_OPT_SIZE, "seed", 0, offsetof(kh_dream_options, seed), "N", "Seed. Default: 0."},
    {KH_OPT_SIZE, "until", 0, offsetof(kh_dream_options, until), "N",
     "Stop a dream when N checks in a row recognise its class."},
    {KH_OPT_SIZE, "check-every", 0, offsetof(kh_dream_options, check_every), "N",
     "Steps between the checks of --until. Default: 10."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(kh_dream_options, batch), "N",
     "Images painted at once. Results do not depend on it. Default: 4."},
    {KH_OPT_SECTION, "Results", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "out", 'o', offsetof(kh_dream_options, out), "DIR",
     "Folder for pictures, log.csv, sheets and manifest.json; needed. A run that was stopped goes "
     "on there."},
    {KH_OPT_SIZE, "sheet-cell", 0, offsetof(kh_dream_options, sheet_cell), "PX",
     "Side of a picture on contact sheets. Default: its own, 128 for small ones."},
    {KH_OPT_FLAG, "evaluate", 0, offsetof(kh_dream_options, evaluates), NULL,
     "Also measure recognition under every view and normalisation: a table and a figure."},
    {KH_OPT_TEXT, "judge", 0, offsetof(kh_dream_options, judge), "LIST",
     "Other models of the same classes that --evaluate asks too, separated by commas (transfer)."},
    {KH_OPT_TEXT, "natural", 0, offsetof(kh_dream_options, natural), "FOLDER",
     "Images (in folders by class) to compare with: activations, z-scores, plausibility "
     "(natural.csv)."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(kh_dream_options, overwrite), NULL,
     "Begin anew where DIR holds dreams of another kind."},
    {KH_OPT_SECTION, "Model options", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "labels", 0, offsetof(kh_dream_options, model.labels), "FILE",
     "Class names: one per line, 'wnid names' lines, or JSON. Default: the checkpoint's."},
    {KH_OPT_TEXT, "model-size", 0, offsetof(kh_dream_options, model.size), "S",
     "Input size in pixels; position embeddings are resampled. Default: the checkpoint's."},
    {KH_OPT_TEXT, "act", 0, offsetof(kh_dream_options, model.activation),
     "gelu|gelu_tanh|quick_gelu|silu", "Activation function instead of the family's."},
    {KH_OPT_TEXT, "architecture", 0, offsetof(kh_dream_options, model.architecture), "NAME",
     "timm architecture name, for a checkpoint without config.json."},
    KH_COMMON_OPTIONS(kh_dream_options),
    {0},
};

static void say_done(const kh_dream_run *run) {
    size_t seen = 0, with_class = 0, right;
    for (size_t i = 0; i < run->item_count; i++) {
        (void)kh_dream_log_last(&run->items[i], &right);
        if (run->items[i].pick != KH_PICK_BEST && run->picks > 1) continue;
        with_class += run->items[i].target != SIZE_MAX;
        seen += right > 0;
    }
    if (run->options->common.json) return;
    printf("%zu %s in %s", run->item_count, run->item_count == 1 ? "dream" : "dreams",
           run->options->out);
    if (with_class > 0)
        printf("; %zu of %zu recognised, %zu distinct goal%s", seen, with_class, run->distinct,
               KH_S(run->distinct));
    printf("\n");
    if (!run->options->common.quiet && run->steps_made > 0 && run->seconds > 0)
        fprintf(stderr, "%zu image-steps in %.1f s (%.2f a second), %.0f MB of activations\n",
                run->steps_made, run->seconds, (double)run->steps_made / run->seconds,
                (double)run->memory_bytes * 1e-6);
}

static kh_status print_json(const kh_dream_run *run, kh_error *err) {
    json_t *list = json_array();
    for (size_t i = 0; i < run->item_count; i++) {
        const kh_dream_item *item = &run->items[i];
        size_t right;
        const size_t steps = kh_dream_log_last(item, &right);
        json_array_append_new(list, json_pack("{s:s, s:o, s:I, s:b}", "name", item->stem, "class",
                                              item->target == SIZE_MAX
                                                  ? json_null()
                                                  : json_integer((json_int_t)item->target),
                                              "steps", (json_int_t)steps, "recognised", right > 0));
    }
    return kh_print_json(json_pack("{s:o, s:I, s:o, s:O*}", "model",
                                   kh_model_receipt(run->session->model), "distinct_goals",
                                   (json_int_t)run->distinct, "dreams", list, "failed",
                                   run->failed),
                         err)
               ? KH_OK
               : KH_E_MEMORY;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const kh_dream_options *o = from;
    if (!o->out) {
        (void)kh_fail(err, KH_E_ARG, "--out DIR is needed: pictures have to go somewhere");
        return KH_EXIT_MISUSED;
    }
    kh_session session = {0};
    kh_dream_run all = {.options = o, .session = &session};
    kh_status status = kh_session_open(&session, &o->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &o->model, err);
    bool is_misused = false;
    if (!status) {
        status = kh_dream_run_plan(&all, err);
        if (!status && o->evaluates) status = kh_dream_run_judges(&all, err);
        is_misused = status == KH_E_ARG;
    }
    if (!status) status = kh_dream_run_given(&all, err);
    if (!status) status = kh_dream_run_folder(&all, err);
    if (!status) status = kh_dream_run_paint(&all, err);
    if (!status) status = kh_dream_run_files(&all, err);
    if (!status && o->natural) status = kh_dream_run_natural(&all, err);
    if (!status && o->evaluates) status = kh_dream_run_evaluate(&all, err);
    if (!status) status = kh_dream_run_manifest(&all, err);
    if (!status) say_done(&all);
    if (!status && o->common.json) status = print_json(&all, err);
    kh_dream_run_clear(&all);
    kh_session_close(&session);
    if (is_misused) return KH_EXIT_MISUSED;
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_dream = {
    .name = "dream",
    .summary = "paint the image a key neuron wants to see",
    .operands = "MODEL",
    .description =
        "Starts from noise (or a photo) and changes an image step by step until a key neuron, a "
        "mix "
        "of neurons or a class answers as strongly as it can. Only what lies below the goal is "
        "computed. The default preset shows the model what it was trained to see: its own "
        "normalisation, grey instead of black outside the image, scales in both directions. The "
        "report-* presets repeat what the report ran, with everything odd about it.\n\n"
        "A run that is stopped at any moment goes on when the same command is given again, and "
        "ends with the same bytes. Neither --batch nor --threads changes a picture.",
    .examples =
        "keyhole dream vit_folder --class tench --out dreams  # 250 steps of the default\n"
        "keyhole dream vit_folder --class all --batch 8 --snapshots 50,250 --evaluate -o d\n"
        "keyhole dream vit_folder --neuron b10n1198 --preset report-quant --steps 250 -o d",
    .options = options,
    .settings_bytes = sizeof(kh_dream_options),
    .defaults = defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
