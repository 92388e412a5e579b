/* The picture page of `truth`: of every class the scene of median overlap, with the object's
 * outline, the heatmap and the mask. */
#include "cli/outdir.h"
#include "cli/truth.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ZOOM = 2, COLUMNS = 5, CELL = 144, CAPTION = 128 };

/* One picture per class and column, drawn at ZOOM times the model's pixels. */
typedef struct page {
    const kh_truth_result *r;
    size_t height, width, pixels; /* of the model's input */
    uint8_t *rgb;                 /* [classes, COLUMNS, ZOOM * height, ZOOM * width, 3] */
    kh_figure_panel *panels;      /* [classes, COLUMNS] */
    char (*captions)[CAPTION];    /* [classes, COLUMNS] */
    size_t *shown;                /* [classes] place in r->scenes */
    float *floats;                /* [classes, 3, height, width] */
    uint8_t *truth;               /* [classes, height, width] */
    kh_image *bytes;              /* [classes] */
    float *big;                   /* [pixels] scratch */
    float *photo;                 /* [pixels, 3] scratch */
    uint8_t *small, *mask;        /* [pixels, 3], [pixels] scratch */
} page;

static void page_clear(page *p) {
    for (size_t c = 0; p->bytes && c < p->r->classes; c++)
        kh_image_clear(&p->bytes[c]);
    kh_free(p->rgb);
    kh_free(p->panels);
    kh_free(p->captions);
    kh_free(p->shown);
    kh_free(p->floats);
    kh_free(p->truth);
    kh_free(p->bytes);
    kh_free(p->big);
    kh_free(p->photo);
    kh_free(p->small);
    kh_free(p->mask);
}

static kh_status page_init(page *p, const kh_truth_result *r, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(r->model)->preprocess;
    *p = (page){.r = r, .height = how->height, .width = how->width};
    p->pixels = p->height * p->width;
    const size_t cells = r->classes * COLUMNS;
    p->rgb = kh_calloc(cells, 3 * ZOOM * ZOOM * p->pixels);
    p->panels = kh_calloc(cells, sizeof *p->panels);
    p->captions = kh_calloc(cells, sizeof *p->captions);
    p->shown = kh_calloc(r->classes, sizeof *p->shown);
    p->floats = kh_alloc_floats(r->classes * 3 * p->pixels);
    p->truth = kh_calloc(r->classes, p->pixels);
    p->bytes = kh_calloc(r->classes, sizeof *p->bytes);
    p->big = kh_alloc_floats(p->pixels);
    p->photo = kh_alloc_floats(3 * p->pixels);
    p->small = kh_calloc(p->pixels, 3);
    p->mask = kh_calloc(p->pixels, 1);
    if (p->rgb && p->panels && p->captions && p->shown && p->floats && p->truth && p->bytes &&
        p->big && p->photo && p->small && p->mask)
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for pictures of %zu classes", r->classes);
}

/* ---- which scene ----------------------------------------------------------------------------- */

static int compare_scenes(const void *left, const void *right) {
    const kh_truth_scene *a = *(const kh_truth_scene *const *)left;
    const kh_truth_scene *b = *(const kh_truth_scene *const *)right;
    const double x = isnan(a->score.iou) ? -1.0 : a->score.iou;
    const double y = isnan(b->score.iou) ? -1.0 : b->score.iou;
    if (x < y || x > y) return x < y ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* The scene in the middle when they stand in the order of their IoU: neither the best nor the worst
 * is chosen by hand. */
static kh_status choose_scenes(page *p, kh_error *err) {
    const size_t scenes = p->r->settings.scenes;
    const kh_truth_scene **list = kh_calloc(scenes, sizeof *list);
    if (!list) return kh_fail(err, KH_E_MEMORY, "no memory for %zu scenes", scenes);
    for (size_t c = 0; c < p->r->classes; c++) {
        for (size_t i = 0; i < scenes; i++)
            list[i] = &p->r->scenes[c * scenes + i];
        qsort(list, scenes, sizeof *list, compare_scenes);
        p->shown[c] = (size_t)(list[scenes / 2] - p->r->scenes);
    }
    kh_free(list);
    return KH_OK;
}

/* ---- painting -------------------------------------------------------------------------------- */

static kh_figure_panel *panel_at(page *p, size_t c, size_t column) {
    kh_figure_panel *panel = &p->panels[c * COLUMNS + column];
    *panel = (kh_figure_panel){
        .rgb = p->rgb + (c * COLUMNS + column) * 3 * ZOOM * ZOOM * p->pixels,
        .width = ZOOM * p->width,
        .height = ZOOM * p->height,
        .caption = p->captions[c * COLUMNS + column],
    };
    return panel;
}

static uint8_t *canvas_at(page *p, size_t c, size_t column) {
    return p->rgb + (c * COLUMNS + column) * 3 * ZOOM * ZOOM * p->pixels;
}

static void enlarge(const page *p, const uint8_t *from, uint8_t *to) {
    for (size_t y = 0; y < ZOOM * p->height; y++)
        for (size_t x = 0; x < ZOOM * p->width; x++)
            memcpy(to + 3 * (y * ZOOM * p->width + x), from + 3 * (y / ZOOM * p->width + x / ZOOM),
                   3);
}

static bool is_on(const page *p, const uint8_t *truth, size_t x, size_t y) {
    return truth[y / ZOOM * p->width + x / ZOOM] != 0;
}

/* Is one of the eight pixels around on the other side? */
static bool is_border(const page *p, const uint8_t *truth, size_t x, size_t y) {
    const bool here = is_on(p, truth, x, y);
    for (size_t j = y ? y - 1 : 0; j <= y + 1 && j < ZOOM * p->height; j++)
        for (size_t i = x ? x - 1 : 0; i <= x + 1 && i < ZOOM * p->width; i++)
            if (is_on(p, truth, i, j) != here) return true;
    return false;
}

/* White inside the object's edge, black outside of it: seen on any colour. */
static void outline(const page *p, const uint8_t *truth, uint8_t *rgb) {
    for (size_t y = 0; y < ZOOM * p->height; y++)
        for (size_t x = 0; x < ZOOM * p->width; x++)
            if (is_border(p, truth, x, y))
                memset(rgb + 3 * (y * ZOOM * p->width + x), is_on(p, truth, x, y) ? 255 : 0, 3);
}

static kh_range range_of(const float *map, size_t patches) {
    kh_range range = {fmaxf(map[0], 0.0f), fmaxf(map[0], 0.0f)};
    for (size_t i = 1; i < patches; i++) {
        range.min = fminf(range.min, fmaxf(map[i], 0.0f));
        range.max = fmaxf(range.max, fmaxf(map[i], 0.0f));
    }
    return range;
}

static kh_status paint_heat(page *p, size_t c, size_t column, const kh_look *look, const float *map,
                            kh_error *err) {
    const kh_range range = range_of(map, look->patches);
    KH_TRY(kh_lens_heatmap(map, look->grid, range, p->height, p->width, p->photo, false, p->small,
                           NULL, err));
    enlarge(p, p->small, canvas_at(p, c, column));
    outline(p, p->truth + c * p->pixels, canvas_at(p, c, column));
    return KH_OK;
}

static kh_status paint_mask(page *p, size_t c, size_t column, const kh_look *look, const float *map,
                            kh_error *err) {
    kh_lens_upsample(map, look->grid, p->height, p->width, p->big);
    KH_TRY(kh_lens_mask(p->big, p->pixels, p->r->settings.quantile, p->mask, NULL, NULL, err));
    kh_lens_mask_apply(p->mask, p->bytes[c].rgb, p->pixels, p->small);
    enlarge(p, p->small, canvas_at(p, c, column));
    outline(p, p->truth + c * p->pixels, canvas_at(p, c, column));
    return KH_OK;
}

static void name_neuron(const kh_look *look, size_t c, size_t slot, char *out, size_t out_bytes) {
    const kh_ranked *n = &look->neurons[c * look->k + slot];
    kh_neuron_format((kh_neuron){n->block, n->index}, out, out_bytes);
}

static kh_status paint_class(page *p, size_t c, const kh_look *look, kh_error *err) {
    const kh_truth_result *r = p->r;
    const kh_truth_scene *scene = &r->scenes[p->shown[c]];
    const kh_truth_score *s = &scene->score;
    const float *top = look->maps + c * look->k * look->patches;
    const size_t draw = r->plan.topk; /* the first random neuron */
    const float *random = look->maps + (c * look->k + draw) * look->patches;
    char neuron[32], other[32];
    name_neuron(look, c, 0, neuron, sizeof neuron);
    name_neuron(look, c, draw, other, sizeof other);
    kh_lens_display_bytes(p->bytes[c].rgb, p->pixels, p->photo);
    enlarge(p, p->bytes[c].rgb, canvas_at(p, c, 0));
    panel_at(p, c, 0)->frame = scene->predicted == c ? KH_FRAME_GOOD : KH_FRAME_BAD;
    (void)snprintf(p->captions[c * COLUMNS], CAPTION, "scene %llu: %s %s",
                   (unsigned long long)scene->index,
                   scene->predicted == c ? "recognised as" : "taken for",
                   kh_diorama_class_name(r->world[scene->predicted]));
    enlarge(p, p->bytes[c].rgb, canvas_at(p, c, 1));
    outline(p, p->truth + c * p->pixels, canvas_at(p, c, 1));
    (void)panel_at(p, c, 1);
    (void)snprintf(p->captions[c * COLUMNS + 1], CAPTION, "%.0f %% of the picture",
                   100.0 * s->share);
    KH_TRY(paint_heat(p, c, 2, look, top, err));
    (void)panel_at(p, c, 2);
    (void)snprintf(p->captions[c * COLUMNS + 2], CAPTION, "%s, maximum %.3g%s", neuron,
                   (double)s->peak,
                   s->is_silent ? ": silent"
                   : s->is_hit  ? " on the object"
                                : " off the object");
    KH_TRY(paint_mask(p, c, 3, look, top, err));
    (void)panel_at(p, c, 3);
    (void)snprintf(p->captions[c * COLUMNS + 3], CAPTION, "IoU %.2f of at most %.2f", s->iou,
                   s->ceiling);
    KH_TRY(paint_heat(p, c, 4, look, random, err));
    (void)panel_at(p, c, 4);
    (void)snprintf(p->captions[c * COLUMNS + 4], CAPTION, "%s", other);
    return KH_OK;
}

/* ---- the page -------------------------------------------------------------------------------- */

static kh_status write_page(page *p, const char *folder, kh_error *err) {
    static const char *const titles[] = {
        "scene", "its object", "heatmap of the class's top-1 neuron", "mask: its strongest part",
        ("heatmap of a random neuron of "
         "that block")};
    const size_t classes = p->r->classes;
    const char **labels = kh_calloc(classes, sizeof *labels);
    if (!labels) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t c = 0; c < classes; c++)
        labels[c] = kh_diorama_class_name(p->r->world[c]);
    char footnote[640];
    kh_truth_footnote(p->r, footnote, sizeof footnote);
    const kh_figure_options options = {
        .title = "Does the top-1 key neuron of a class fire on its object?",
        .subtitle =
            "One scene of every class: the one with the median IoU, so neither the best nor "
            "the worst. The line is the edge of the object (white inside, black outside), "
            "drawn from the scene itself; the neuron is chosen from the weights alone. Each "
            "heatmap has its own colours, from blue (least) to red (most).",
        .footnote = footnote};
    const kh_figure_grid grid = {.panels = p->panels,
                                 .rows = classes,
                                 .columns = COLUMNS,
                                 .row_labels = labels,
                                 .column_titles = titles,
                                 .cell_width = CELL,
                                 .cell_height = CELL};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) status = kh_figure_add_grid(figure, &grid, err);
    if (!status)
        status = kh_outdir_figure(folder, "truth_maps", figure, err);
    else
        kh_figure_free(figure);
    kh_free(labels);
    return status;
}

/* Renders the chosen scenes again and looks at all of them at once. */
static kh_status look_again(kh_session *session, page *p, kh_look *look, kh_error *err) {
    const kh_truth_result *r = p->r;
    kh_truth_stage stage = {0};
    KH_TRY(kh_truth_stage_open(&stage, r->model, &r->settings, err));
    kh_status status = KH_OK;
    for (size_t c = 0; c < r->classes && !status; c++)
        status = kh_truth_stage_render(&stage, r->scenes[p->shown[c]].index,
                                       p->floats + c * 3 * p->pixels, p->truth + c * p->pixels,
                                       &p->bytes[c], err);
    kh_truth_stage_close(&stage);
    size_t *all = kh_calloc(r->classes, sizeof *all);
    if (!all && !status)
        status = kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", r->classes);
    for (size_t c = 0; c < r->classes && !status; c++)
        all[c] = c;
    kh_look_options options = kh_look_options_default();
    options.ranking = &r->plan.neurons;
    options.k = r->plan.topk + 1;
    options.predictions = 1;
    options.batch = r->settings.batch;
    if (!status)
        status =
            kh_lens_look(session->ctx, r->model, &options, p->floats, r->classes, all, look, err);
    kh_free(all);
    return status;
}

kh_status kh_truth_write_maps(kh_session *session, const kh_truth_result *r, const char *folder,
                              kh_error *err) {
    page p;
    kh_look look = {0};
    kh_status status = page_init(&p, r, err);
    if (!status) status = choose_scenes(&p, err);
    if (!status) status = look_again(session, &p, &look, err);
    for (size_t c = 0; c < r->classes && !status; c++)
        status = paint_class(&p, c, &look, err);
    if (!status) status = write_page(&p, folder, err);
    kh_look_clear(&look);
    page_clear(&p);
    return status;
}
