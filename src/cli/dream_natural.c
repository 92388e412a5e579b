/* Painted pictures beside natural images: does the neuron answer more than to any of those, by how
 * many of their deviations, and how far is the picture from its class. */
#include "cli/dream.h"
#include "cli/inputs.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/sorted.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 8, SHOWN = 10 };

/* One painted picture and what natural images say of it. */
typedef struct subject {
    kh_dream_item *item;
    kh_image picture;
    float score;     /* mean over tokens of the memory coefficient */
    float *features; /* final patch tokens */
    double mean, sd, z, largest, share_below;
    double distance; /* to the nearest image of its class */
    const char *nearest;
} subject;

/* A natural image of a class, for what distances are usual: the first one that is met. */
typedef struct example {
    size_t class;
    float *features;
    double distance; /* to the nearest other one of its class; NaN: there is none */
} example;

typedef struct study {
    kh_dream_run *run;
    kh_dream_probe *probe;
    subject *subjects;
    size_t count;
    example *examples; /* of the subjects' classes; [count] at most */
    size_t example_count;
    kh_source *source;
    size_t images; /* natural ones that could be read */
    float *scores; /* [images, count] */
    kh_broken_image *broken;
    size_t broken_count;
} study;

/* Items with a neuron, each with its last picture. */
static kh_status collect(study *s, kh_neuron **neurons, kh_error *err) {
    kh_dream_run *run = s->run;
    s->subjects = kh_calloc(run->item_count, sizeof *s->subjects);
    s->examples = kh_calloc(run->item_count, sizeof *s->examples);
    *neurons = kh_calloc(run->item_count, sizeof **neurons);
    if (!s->subjects || !s->examples || !*neurons)
        return kh_fail(err, KH_E_MEMORY, "no memory to compare");
    for (size_t i = 0; i < run->item_count; i++) {
        kh_dream_item *item = &run->items[i];
        if (item->terms[0].goal != KH_GOAL_NEURON) continue;
        char path[4096];
        size_t right;
        subject *now = &s->subjects[s->count];
        *now = (subject){.item = item, .distance = (double)NAN};
        KH_TRY(kh_dream_picture_path(run, item, 0, kh_dream_log_last(item, &right), path,
                                     sizeof path, err));
        KH_TRY(kh_image_read(path, NULL, NULL, &now->picture, err));
        (*neurons)[s->count++] = (kh_neuron){item->terms[0].block, item->terms[0].index};
    }
    return s->count ? KH_OK
                    : kh_fail(err, KH_E_ARG, "--natural compares neurons, none was painted");
}

/* Shown as the report did: squashed to the input. */
static kh_status probe_pictures(study *s, float *inputs, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(s->run->session->model);
    const size_t floats = 3 * info->image_height * info->image_width;
    const size_t features = kh_dream_probe_features(s->probe);
    float *scores = kh_alloc_floats(s->count);
    if (!scores) return kh_fail(err, KH_E_MEMORY, "no memory to compare");
    kh_status status = KH_OK;
    for (size_t i = 0; !status && i < s->count; i++) {
        subject *now = &s->subjects[i];
        kh_image fitted = {0};
        now->features = kh_alloc_floats(features);
        if (!now->features) status = kh_fail(err, KH_E_MEMORY, "no memory to compare");
        if (!status)
            status = kh_image_resize(&now->picture, info->image_width, info->image_height,
                                     KH_FILTER_BILINEAR, &fitted, err);
        if (!status) status = kh_preprocess_floats(&info->preprocess, &fitted, inputs, floats, err);
        kh_image_clear(&fitted);
        if (!status) status = kh_dream_probe_run(s->probe, inputs, 1, scores, now->features, err);
        if (!status) now->score = scores[i];
    }
    kh_free(scores);
    return status;
}

static double distance_of(const float *a, const float *b, size_t count) {
    double square = 0;
    for (size_t k = 0; k < count; k++) {
        const double d = (double)a[k] - (double)b[k];
        square += d * d;
    }
    return sqrt(square);
}

/* The first natural image of a painted class is kept; the others are measured against it. */
static kh_status meet_example(study *s, size_t class, const float *features, kh_error *err) {
    const size_t count = kh_dream_probe_features(s->probe);
    bool is_painted = false;
    for (size_t i = 0; i < s->example_count; i++) {
        example *e = &s->examples[i];
        if (e->class != class) continue;
        e->distance = fmin(e->distance, distance_of(features, e->features, count));
        return KH_OK;
    }
    for (size_t i = 0; i < s->count; i++)
        is_painted = is_painted || s->subjects[i].item->target == class;
    if (!is_painted) return KH_OK;
    example *e = &s->examples[s->example_count++];
    *e = (example){class, kh_alloc_floats(count), (double)NAN};
    if (!e->features) return kh_fail(err, KH_E_MEMORY, "no memory to compare");
    memcpy(e->features, features, count * sizeof *features);
    return KH_OK;
}

static kh_status measure_distance(study *s, const kh_source_image *image, const float *features,
                                  kh_error *err) {
    const size_t count = kh_dream_probe_features(s->probe);
    if (image->truth == KH_NO_CLASS) return KH_OK;
    for (size_t i = 0; i < s->count; i++) {
        subject *now = &s->subjects[i];
        if (now->item->target != image->truth) continue;
        const double distance = distance_of(features, now->features, count);
        if (distance >= now->distance) continue; /* NaN: the first one is the nearest so far */
        now->distance = distance;
        now->nearest = image->name;
    }
    return meet_example(s, image->truth, features, err);
}

static kh_status probe_natural(study *s, float *inputs, float *features, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(s->run->session->model);
    const size_t floats = 3 * info->image_height * info->image_width;
    const size_t total = kh_source_count(s->source);
    kh_source_image batch[BATCH];
    size_t waiting = 0;
    for (size_t i = 0; i < total || waiting > 0; i++) {
        if (i < total) {
            kh_image image = {0};
            kh_error why = {KH_OK, ""};
            kh_status status = kh_source_read_image(s->source, i, NULL, &image, &why);
            if (!status)
                status = kh_preprocess_image(&info->preprocess, &image, inputs + waiting * floats,
                                             floats, &why);
            kh_image_clear(&image);
            if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
            batch[waiting] = kh_source_get(s->source, i);
            if (status)
                KH_TRY(kh_broken_images_add(&s->broken, &s->broken_count, batch[waiting].name,
                                            why.text, err));
            else
                waiting++;
        }
        if (waiting == BATCH || (i + 1 >= total && waiting > 0)) {
            KH_TRY(kh_dream_probe_run(s->probe, inputs, waiting, s->scores + s->images * s->count,
                                      features, err));
            for (size_t k = 0; k < waiting; k++)
                KH_TRY(measure_distance(s, &batch[k],
                                        features + k * kh_dream_probe_features(s->probe), err));
            s->images += waiting;
            waiting = 0;
        }
        (void)kh_session_progress(s->run->session, "images", i < total ? i : total, total);
    }
    return kh_dream_run_failed(s->run, "--natural", s->broken, s->broken_count, total, err);
}

static void compare(study *s) {
    for (size_t i = 0; i < s->count; i++) {
        subject *now = &s->subjects[i];
        const double n = (double)s->images;
        double sum = 0, square = 0, below = 0;
        now->largest = (double)s->scores[i];
        for (size_t k = 0; k < s->images; k++)
            sum += (double)s->scores[k * s->count + i];
        now->mean = sum / n;
        for (size_t k = 0; k < s->images; k++) {
            const double v = (double)s->scores[k * s->count + i];
            square += (v - now->mean) * (v - now->mean);
            below += v < (double)now->score;
            now->largest = fmax(now->largest, v);
        }
        now->sd = sqrt(square / n);
        const double sd = now->sd > 0 ? now->sd : (double)NAN; /* alike to all: no deviations */
        now->z = ((double)now->score - now->mean) / sd;
        now->share_below = below / n;
        now->item->z = now->z;
        now->item->natural_z = (now->largest - now->mean) / sd;
    }
}

/* How far a natural image of the class is from its nearest. */
static double usual_distance(const study *s, size_t class) {
    for (size_t i = 0; i < s->example_count; i++)
        if (s->examples[i].class == class) return s->examples[i].distance;
    return (double)NAN;
}

static kh_status write_table(const study *s, kh_error *err) {
    static const char *const columns[] = {
        "name",        "class", "pick",        "score",    "natural_mean", "natural_sd",
        "natural_max", "z",     "share_below", "distance", "nearest",      "natural_distance"};
    char path[4096];
    kh_csv *csv;
    KH_TRY(kh_outdir_path(s->run->options->out, path, sizeof path, err, "natural.csv"));
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t i = 0; i < s->count; i++) {
        const subject *now = &s->subjects[i];
        kh_store_csv_text(csv, now->item->stem);
        if (now->item->target == SIZE_MAX)
            kh_store_csv_text(csv, NULL);
        else
            kh_store_csv_size(csv, now->item->target);
        kh_store_csv_text(csv, kh_dream_pick_name(now->item->pick));
        kh_store_csv_f32(csv, now->score);
        kh_store_csv_f64(csv, now->mean);
        kh_store_csv_f64(csv, now->sd);
        kh_store_csv_f64(csv, now->largest);
        kh_store_csv_f64(csv, now->z);
        kh_store_csv_f64(csv, now->share_below);
        kh_store_csv_f64(csv, now->distance);
        kh_store_csv_text(csv, now->nearest);
        kh_store_csv_f64(csv, usual_distance(s, now->item->target));
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static int by_score(const void *a, const void *b) {
    const subject *x = *(const subject *const *)a, *y = *(const subject *const *)b;
    return (x->score < y->score) - (x->score > y->score);
}

static int by_z(const void *a, const void *b) {
    const subject *x = *(const subject *const *)a, *y = *(const subject *const *)b;
    return (x->z < y->z) - (x->z > y->z);
}

/* Figure 8, and the same by z-score: raw scores favour neurons that are loud anyway. */
static kh_status draw_ranking(const study *s, const subject **order, size_t count, kh_error *err) {
    const size_t shown = count < SHOWN ? count : SHOWN;
    kh_figure_panel panels[2 * SHOWN] = {{0}};
    char captions[2 * SHOWN][200], footnote[640];
    static const char *const rows[] = {"by activation (as figure 8)",
                                       "by z-score among natural images"};
    for (size_t row = 0; row < 2; row++) {
        qsort(order, count, sizeof *order, row ? by_z : by_score);
        for (size_t i = 0; i < shown; i++) {
            const subject *now = order[i];
            (void)snprintf(captions[row * shown + i], sizeof captions[0], "%.100s\n%s %.3g",
                           now->item->label, row ? "z" : "a", row ? now->z : (double)now->score);
            panels[row * shown + i] = (kh_figure_panel){.rgb = now->picture.rgb,
                                                        .width = now->picture.width,
                                                        .height = now->picture.height,
                                                        .caption = captions[row * shown + i]};
        }
    }
    kh_model_footnote(s->run->session->model, s->run->options->preset, footnote, sizeof footnote);
    const kh_figure_options head = {.title = "Painted pictures that wake their key neuron most",
                                    .footnote = footnote};
    const size_t cell = s->subjects[0].picture.width < 96 ? 128 : 0;
    const kh_figure_grid grid = {.panels = panels,
                                 .rows = 2,
                                 .columns = shown,
                                 .row_labels = rows,
                                 .cell_width = cell,
                                 .cell_height = cell,
                                 .is_smooth = true};
    kh_figure *figure;
    KH_TRY(kh_figure_create(&head, &figure, err));
    const kh_status status = kh_figure_add_grid(figure, &grid, err);
    if (!status) return kh_outdir_figure(s->run->options->out, "ranking", figure, err);
    kh_figure_free(figure);
    return status;
}

/* NaN without any. */
static double median(double *values, size_t count) {
    if (count == 0) return (double)NAN;
    qsort(values, count, sizeof *values, kh_compare_doubles);
    return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

/* One kind of pick; `work` has room for all distances. */
static void print_pick(const study *s, size_t pick, double *work) {
    size_t above = 0, count = 0, far = 0, usual = 0;
    double z = 0, natural = 0;
    for (size_t i = 0; i < s->count; i++) {
        const subject *now = &s->subjects[i];
        if (s->run->picks > 1 && now->item->pick != (kh_dream_pick)pick) continue;
        count++;
        above += (double)now->score > now->largest;
        z += now->z;
        natural += now->item->natural_z;
        if (!isnan(now->distance)) work[far++] = now->distance;
    }
    if (count == 0) return;
    const double distance = median(work, far);
    for (size_t i = 0; i < s->example_count; i++)
        if (!isnan(s->examples[i].distance)) work[usual++] = s->examples[i].distance;
    printf("  %-6s  %8zu  %14zu  %6.2f  %12.2f",
           s->run->picks > 1 ? kh_dream_pick_name(pick) : s->run->options->pick, count, above,
           z / (double)count, natural / (double)count);
    if (far > 0) printf("  %8.4g", distance);
    if (far > 0 && usual > 0) printf("  %16.4g", median(work, usual));
    printf("\n");
}

static kh_status print_summary(const study *s, kh_error *err) {
    double *work = kh_calloc(s->count, sizeof *work);
    if (!work) return kh_fail(err, KH_E_MEMORY, "no memory to compare");
    printf("\nbeside %zu natural image%s (z: deviations from the mean of the neuron's activations; "
           "distance: medians, final patch tokens to the nearest image of the class)\n"
           "  pick    pictures  above them all  mean z  their best z  distance  a natural one's\n",
           s->images, KH_S(s->images));
    for (size_t p = 0; p < s->run->picks; p++)
        print_pick(s, p, work);
    kh_free(work);
    return KH_OK;
}

/* Distances are to images of the class a picture is painted for. */
static void warn_without_classes(const study *s) {
    bool has_target = false;
    for (size_t i = 0; i < s->count; i++)
        has_target |= s->subjects[i].item->target != SIZE_MAX;
    if (has_target)
        kh_warn_without_classes(s->run->session, s->source, "there are no distances to tell",
                                KH_SORT_CLASSES);
}

static kh_status study_all(study *s, kh_error *err) {
    const kh_dream_run *run = s->run;
    const kh_model_info *info = kh_model_get_info(run->session->model);
    kh_neuron *neurons = NULL;
    char *folder = kh_strdup(run->options->natural);
    const kh_source_options how = {.classes = kh_model_classes(run->session->model),
                                   .warn = kh_session_warn,
                                   .warn_user = run->session};
    float *inputs = kh_alloc_floats(BATCH * 3 * info->image_height * info->image_width);
    float *features = NULL;
    const subject **order = NULL;
    kh_status status = KH_OK;
    if (!folder || !inputs) status = kh_fail(err, KH_E_MEMORY, "no memory to compare");
    if (!status) status = collect(s, &neurons, err);
    if (!status) status = kh_inputs_open(&folder, 1, &how, &s->source, err);
    if (!status)
        status = kh_dream_probe_create(run->session->ctx, run->session->model, neurons, s->count,
                                       run->objective.tokens, BATCH, &s->probe, err);
    if (!status) {
        features = kh_alloc_floats(BATCH * kh_dream_probe_features(s->probe));
        s->scores = kh_calloc(kh_source_count(s->source) + 1, s->count * sizeof *s->scores);
        order = kh_calloc(s->count, sizeof *order);
        if (!features || !s->scores || !order)
            status = kh_fail(err, KH_E_MEMORY, "no memory to compare");
    }
    if (!status) warn_without_classes(s);
    if (!status) status = probe_pictures(s, inputs, err);
    if (!status) status = probe_natural(s, inputs, features, err);
    if (!status) compare(s);
    if (!status) status = write_table(s, err);
    size_t best = 0;
    for (size_t i = 0; !status && i < s->count; i++)
        if (s->run->picks == 1 || s->subjects[i].item->pick == KH_PICK_BEST)
            order[best++] = &s->subjects[i];
    if (!status) status = draw_ranking(s, order, best, err);
    if (!status && !run->options->common.json) status = print_summary(s, err);
    kh_free(order);
    kh_free(features);
    kh_free(inputs);
    kh_free(neurons);
    kh_free(folder);
    return status;
}

kh_status kh_dream_run_natural(kh_dream_run *run, kh_error *err) {
    study s = {.run = run};
    const kh_status status = study_all(&s, err);
    for (size_t i = 0; i < s.count; i++) {
        kh_image_clear(&s.subjects[i].picture);
        kh_free(s.subjects[i].features);
    }
    for (size_t i = 0; i < s.example_count; i++)
        kh_free(s.examples[i].features);
    kh_free(s.examples);
    kh_dream_probe_free(s.probe);
    kh_broken_images_clear(s.broken, s.broken_count);
    kh_source_free(s.source);
    kh_free(s.subjects);
    kh_free(s.scores);
    return status;
}
