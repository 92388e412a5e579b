#include "lens/dissect.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* ---- geometry ------------------------------------------------------------------------------ */

static void place(size_t pixels, size_t cells, double seen, size_t *first, size_t *second,
                  double *weight) {
    for (size_t i = 0; i < pixels; i++) {
        const double at = ((double)i + 0.5) * (double)cells / (seen * (double)pixels) - 0.5;
        const double s = at > 0 ? at : 0;
        const size_t f = (size_t)s < cells - 1 ? (size_t)s : cells - 1;
        first[i] = f;
        second[i] = f + 1 < cells ? f + 1 : f;
        weight[i] = f + 1 < cells ? s - (double)f : 0;
    }
}

kh_status kh_dissect_plan_init(kh_dissect_plan *p, const kh_model_info *info, kh_error *err) {
    const size_t h = info->image_height, w = info->image_width;
    *p = (kh_dissect_plan){.grid = kh_lens_grid(info), .height = h, .width = w};
    if (p->grid.height * p->grid.width > KH_DISSECT_PATCHES)
        return kh_fail(err, KH_E_LIMIT, "%zu patches; at most %d can be dissected",
                       p->grid.height * p->grid.width, KH_DISSECT_PATCHES);
    p->y0 = kh_calloc(h, sizeof *p->y0);
    p->y1 = kh_calloc(h, sizeof *p->y1);
    p->x0 = kh_calloc(w, sizeof *p->x0);
    p->x1 = kh_calloc(w, sizeof *p->x1);
    p->wy = kh_calloc(h, sizeof *p->wy);
    p->wx = kh_calloc(w, sizeof *p->wx);
    if (!p->y0 || !p->y1 || !p->x0 || !p->x1 || !p->wy || !p->wx) {
        kh_dissect_plan_clear(p);
        return kh_fail(err, KH_E_MEMORY, "no memory to upsample maps");
    }
    place(h, p->grid.height, p->grid.seen_height, p->y0, p->y1, p->wy);
    place(w, p->grid.width, p->grid.seen_width, p->x0, p->x1, p->wx);
    return KH_OK;
}

void kh_dissect_plan_clear(kh_dissect_plan *p) {
    kh_free(p->y0);
    kh_free(p->y1);
    kh_free(p->x0);
    kh_free(p->x1);
    kh_free(p->wy);
    kh_free(p->wx);
    *p = (kh_dissect_plan){0};
}

/* ---- counting ------------------------------------------------------------------------------ */

static void count_pixel(const kh_dissect_plan *p, size_t pixel, const kh_dissect_image *image,
                        uint64_t *intersect, uint64_t *active) {
    for (size_t c = 0; c < image->categories; c++) {
        if (!image->has[c]) continue;
        const uint16_t label = image->maps[c * p->height * p->width + pixel];
        active[c]++;
        if (label) intersect[label]++;
    }
}

void kh_dissect_count(const kh_dissect_plan *p, const float *map, float threshold,
                      const kh_dissect_image *image, uint64_t *intersect, uint64_t *active) {
    const size_t columns = p->grid.width;
    bool is_high[KH_DISSECT_PATCHES]; /* of the two rows at hand */
    for (size_t y = 0; y < p->height; y++) {
        const float *top = map + p->y0[y] * columns, *bottom = map + p->y1[y] * columns;
        if (y == 0 || p->y0[y] != p->y0[y - 1])
            for (size_t x = 0; x < columns; x++)
                is_high[x] = top[x] > threshold || bottom[x] > threshold;
        for (size_t x = 0; x < p->width; x++) {
            const size_t left = p->x0[x], right = p->x1[x];
            if (!is_high[left] && !is_high[right]) continue;
            const double upper =
                (double)top[left] + p->wx[x] * ((double)top[right] - (double)top[left]);
            const double lower =
                (double)bottom[left] + p->wx[x] * ((double)bottom[right] - (double)bottom[left]);
            if (upper + p->wy[y] * (lower - upper) > (double)threshold)
                count_pixel(p, y * p->width + x, image, intersect, active);
        }
    }
}

void kh_dissect_regions(const kh_dissect_plan *p, const uint16_t *map, uint16_t subject,
                        uint8_t *region) {
    const size_t rows = p->grid.height, columns = p->grid.width;
    const double cell_height = p->grid.seen_height * (double)p->height / (double)rows;
    const double cell_width = p->grid.seen_width * (double)p->width / (double)columns;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            const size_t top = (size_t)((double)i * cell_height);
            const size_t bottom = (size_t)((double)(i + 1) * cell_height);
            const size_t left = (size_t)((double)j * cell_width);
            const size_t right = (size_t)((double)(j + 1) * cell_width);
            size_t on = 0;
            for (size_t y = top; y < bottom; y++)
                for (size_t x = left; x < right; x++)
                    on += map[y * p->width + x] == subject;
            const size_t all = (bottom - top) * (right - left);
            region[i * columns + j] = 10 * on >= 9 * all ? KH_REGION_SUBJECT
                                      : 10 * on <= all   ? KH_REGION_BACKGROUND
                                                         : KH_REGION_BORDER;
        }
}

/* ---- tables -------------------------------------------------------------------------------- */

/* The label of a category with the largest IoU, the first of equals; label 0 when there is none. */
static kh_best_label best_of(const kh_dissect_view *v, size_t unit, size_t category) {
    kh_best_label b = {0, -1};
    for (size_t l = 1; l <= v->labels; l++) {
        const kh_map_label label = kh_label_set_label(v->setup->label_set, l);
        if (!*label.name || label.category != category || v->truth[l] == 0) continue;
        const double iou = kh_dissect_iou(v->intersect[unit * (v->labels + 1) + l],
                                          v->active[unit * v->categories + category], v->truth[l]);
        if (iou > b.iou) b = (kh_best_label){l, iou};
    }
    return b;
}

static void write_category(const kh_dissect_view *v, size_t unit, size_t category, kh_best_label b,
                           const kh_lens_out *out) {
    const size_t neurons = v->setup->info->neurons;
    out->integer(out->user, (int64_t)(unit / neurons));
    out->integer(out->user, (int64_t)(unit % neurons));
    out->text(out->user, kh_label_set_category(v->setup->label_set, category));
    out->integer(out->user, (int64_t)b.label);
    out->text(out->user, kh_label_set_label(v->setup->label_set, b.label).name);
    out->integer(out->user, (int64_t)v->truth[b.label]);
    out->integer(out->user, (int64_t)v->active[unit * v->categories + category]);
    out->integer(out->user, (int64_t)v->intersect[unit * (v->labels + 1) + b.label]);
    out->real(out->user, b.iou);
    out->row(out->user);
}

/* of [categories]: the one with the largest IoU, the last of equals; SIZE_MAX: none. */
static size_t best_category(const kh_dissect_view *v, const kh_best_label *of) {
    size_t category = SIZE_MAX;
    for (size_t c = 0; c < v->categories; c++)
        if (of[c].label && (category == SIZE_MAX || of[c].iou >= of[category].iou)) category = c;
    return category;
}

/* all [units, categories]; a neuron's label is that of its best category, the last of equals. */
static void write_units(const kh_dissect_view *v, const kh_best_label *all, size_t *chosen,
                        const kh_lens_out *out) {
    const kh_label_set *set = v->setup->label_set;
    const size_t neurons = v->setup->info->neurons;
    out->table(out->user, "dissection",
               "block:i neuron:i threshold:r category:t label:i name:t iou:r is_detector:i");
    for (size_t u = 0; u < v->setup->units; u++) {
        const size_t category = best_category(v, all + u * v->categories);
        const kh_best_label b =
            category == SIZE_MAX ? (kh_best_label){0, 0} : all[u * v->categories + category];
        const bool is_detector = b.label && b.iou >= KH_DETECTOR_IOU;
        chosen[u] = is_detector ? b.label : 0;
        out->integer(out->user, (int64_t)(u / neurons));
        out->integer(out->user, (int64_t)(u % neurons));
        out->real(out->user, (double)v->setup->thresholds[u]);
        out->text(out->user, b.label ? kh_label_set_category(set, category) : NULL);
        out->integer(out->user, (int64_t)b.label);
        out->text(out->user, b.label ? kh_label_set_label(set, b.label).name : NULL);
        out->real(out->user, b.iou);
        out->integer(out->user, is_detector);
        out->row(out->user);
    }
}

typedef struct tally {
    size_t detectors, labels;
} tally;

/* Detectors of a category among the units of a block, by chosen [width], and their labels. */
static tally count_detectors(const kh_dissect_view *v, const size_t *chosen, size_t width,
                             size_t category) {
    tally t = {0, 0};
    for (size_t n = 0; n < width; n++) {
        const size_t label = chosen[n];
        if (!label || kh_label_set_label(v->setup->label_set, label).category != category) continue;
        t.detectors++;
        bool is_new = true;
        for (size_t o = 0; o < n && is_new; o++)
            is_new = chosen[o] != label;
        t.labels += is_new;
    }
    return t;
}

static void write_detectors(const kh_dissect_view *v, const size_t *chosen,
                            const kh_lens_out *out) {
    const size_t neurons = v->setup->info->neurons;
    out->table(out->user, "detectors", "block:i category:t detectors:i labels:i");
    for (size_t b = 0; b < v->setup->info->blocks; b++)
        for (size_t c = 0; c < v->categories; c++) {
            const tally t = count_detectors(v, chosen + b * neurons, neurons, c);
            out->integer(out->user, (int64_t)b);
            out->text(out->user, kh_label_set_category(v->setup->label_set, c));
            out->integer(out->user, (int64_t)t.detectors);
            out->integer(out->user, (int64_t)t.labels);
            out->row(out->user);
        }
}

/* Neurons beside rotated units, block by block. */
static kh_status write_rotation(const kh_dissect_view *v, const size_t *chosen,
                                const kh_lens_out *out, kh_error *err) {
    const size_t each = v->rotated_units, neurons = v->setup->info->neurons;
    const size_t units = v->setup->info->blocks * each;
    kh_dissect_view turned = *v;
    turned.intersect = v->rotated_intersect;
    turned.active = v->rotated_active;
    if (each == 0) return KH_OK;
    size_t *found = kh_calloc(units, sizeof *found);
    kh_best_label *of = kh_calloc(v->categories, sizeof *of);
    kh_status status =
        found && of ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for the table of rotated units");
    for (size_t u = 0; u < units && !status; u++) {
        for (size_t c = 0; c < v->categories; c++)
            of[c] = best_of(&turned, u, c);
        const size_t category = best_category(v, of);
        if (category != SIZE_MAX && of[category].iou >= KH_DETECTOR_IOU)
            found[u] = of[category].label;
    }
    if (!status)
        out->table(out->user, "rotation",
                   "block:i category:t units:i detectors:i labels:i share:r rotated_units:i "
                   "rotated_detectors:i rotated_labels:i rotated_share:r");
    for (size_t i = 0; i < v->setup->info->blocks * v->categories && !status; i++) {
        const size_t b = i / v->categories, c = i % v->categories;
        const tally t[2] = {count_detectors(v, chosen + b * neurons, neurons, c),
                            count_detectors(v, found + b * each, each, c)};
        const size_t width[2] = {neurons, each};
        out->integer(out->user, (int64_t)b);
        out->text(out->user, kh_label_set_category(v->setup->label_set, c));
        for (size_t k = 0; k < 2; k++) {
            out->integer(out->user, (int64_t)width[k]);
            out->integer(out->user, (int64_t)t[k].detectors);
            out->integer(out->user, (int64_t)t[k].labels);
            out->real(out->user, (double)t[k].detectors / (double)width[k]);
        }
        out->row(out->user);
    }
    kh_free(of);
    kh_free(found);
    return status;
}

static void write_regions(const kh_dissect_view *v, const kh_lens_out *out) {
    static const char *const names[KH_REGIONS] = {"subject", "border", "background"};
    const size_t neurons = v->setup->info->neurons;
    out->table(out->user, "regions", "block:i neuron:i subject:r border:r background:r fires_on:t");
    for (size_t u = 0; u < v->setup->units; u++) {
        double mean[KH_REGIONS];
        size_t top = 0;
        for (size_t r = 0; r < KH_REGIONS; r++) {
            mean[r] = kh_fix_mean(v->fire[u * KH_REGIONS + r], v->tokens[r]);
            if (mean[r] > mean[top]) top = r;
        }
        double second = -(double)INFINITY;
        for (size_t r = 0; r < KH_REGIONS; r++)
            if (r != top && mean[r] > second) second = mean[r];
        out->integer(out->user, (int64_t)(u / neurons));
        out->integer(out->user, (int64_t)(u % neurons));
        for (size_t r = 0; r < KH_REGIONS; r++)
            out->real(out->user, mean[r]);
        /* twice as much as anywhere else, and at all */
        const bool is_clear = mean[top] > 0x1p-13 && mean[top] >= 2 * second;
        out->text(out->user, is_clear ? names[top] : "everywhere");
        out->row(out->user);
    }
}

static void write_labels(const kh_dissect_view *v, const kh_lens_out *out) {
    const kh_label_set *set = v->setup->label_set;
    out->table(out->user, "labels", "label:i name:t category:t pixels:i");
    for (size_t l = 1; l <= v->labels; l++) {
        const kh_map_label label = kh_label_set_label(set, l);
        if (!*label.name) continue;
        out->integer(out->user, (int64_t)l);
        out->text(out->user, label.name);
        out->text(out->user, kh_label_set_category(set, label.category));
        out->integer(out->user, (int64_t)v->truth[l]);
        out->row(out->user);
    }
}

kh_status kh_dissect_write(const kh_dissect_view *v, const kh_lens_out *out, kh_error *err) {
    const size_t units = v->setup->units;
    kh_best_label *all = kh_calloc(units * v->categories, sizeof *all);
    size_t *chosen = kh_calloc(units, sizeof *chosen);
    kh_status status =
        all && chosen ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for the table of labels");
    if (!status) {
        write_labels(v, out);
        out->table(out->user, "dissection_categories",
                   "block:i neuron:i category:t label:i name:t label_pixels:i above:i both:i "
                   "iou:r");
        for (size_t u = 0; u < units; u++)
            for (size_t c = 0; c < v->categories; c++) {
                all[u * v->categories + c] = best_of(v, u, c);
                const kh_best_label b = all[u * v->categories + c];
                if (b.label && b.iou > 0) write_category(v, u, c, b, out);
            }
        write_units(v, all, chosen, out);
        write_detectors(v, chosen, out);
        write_regions(v, out);
        kh_dissect_write_kinds(v, all, out);
        status = write_rotation(v, chosen, out, err);
    }
    kh_free(chosen);
    kh_free(all);
    return status;
}
