/* What a run of `dream` leaves: one log of all dreams, contact sheets, strips, the manifest. */
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_SHEET = 100 };

/* Items in the order they were asked for. Baselines come behind all others, kind by kind. */
static const kh_dream_item *item_at(const kh_dream_run *run, size_t order) {
    for (size_t i = 0; i < run->item_count; i++)
        if (run->items[i].order == order) return &run->items[i];
    return &run->items[0];
}

/* Orders [*first, *end) of one kind of pick. */
static void orders_of(const kh_dream_run *run, size_t pick, size_t *first, size_t *end) {
    const size_t each = (run->item_count - run->best_count) / (run->picks > 1 ? run->picks - 1 : 1);
    *first = pick == 0 ? 0 : run->best_count + (pick - 1) * each;
    *end = pick == 0 ? run->best_count : *first + each;
}

static kh_status write_log(const kh_dream_run *run, kh_error *err) {
    kh_text all = {0};
    char path[4096];
    kh_text_add(&all, "name,class,step,image,loss,mean_pre,mean_post,share_positive,share_alive,"
                      "max_pre,diversity,gradient_norm,predicted,logit,probability,rank\n");
    for (size_t i = 0; i < run->item_count; i++) {
        const kh_dream_item *item = item_at(run, i);
        for (const char *row = item->log; row && *row; row = strchr(row, '\n') + 1) {
            kh_text_addf(&all, "%s,", item->stem);
            if (item->target != SIZE_MAX) kh_text_addf(&all, "%zu", item->target);
            kh_text_add(&all, ",");
            kh_text_add_bytes(&all, row, strcspn(row, "\n") + 1);
        }
    }
    kh_status status = all.failed ? kh_fail(err, KH_E_MEMORY, "no memory for log.csv") : KH_OK;
    if (!status) status = kh_outdir_path(run->options->out, path, sizeof path, err, "log.csv");
    if (!status) status = kh_file_write(path, all.data, all.length, err);
    kh_text_clear(&all);
    return status;
}

/* ---- contact sheets
 * ------------------------------------------------------------------------------ */

typedef struct sheet {
    kh_image *pictures;
    kh_figure_panel *panels;
    char (*captions)[200];
    size_t count;
} sheet;

/* Last cell of the image's last row up to this step: rank of the class, SIZE_MAX without. */
static size_t rank_at(const kh_dream_item *item, size_t image, size_t step, double *probability) {
    size_t rank = SIZE_MAX;
    for (const char *row = item->log; row && *row; row = strchr(row, '\n') + 1) {
        char *end;
        const size_t at = (size_t)strtoull(row, &end, 10);
        if (at > step || (size_t)strtoull(end + 1, NULL, 10) != image) continue;
        const char *cell = strchr(row, '\n'), *before;
        while (cell > row && cell[-1] != ',')
            cell--;
        before = cell - 1;
        while (before > row && before[-1] != ',')
            before--;
        rank = *cell == '\n' ? SIZE_MAX : (size_t)strtoull(cell, NULL, 10);
        *probability = strtod(before, NULL);
    }
    return rank;
}

/* The picture at this step, or the last one before it (a dream that was recognised earlier). */
static kh_status read_picture(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                              size_t step, kh_image *out, kh_error *err) {
    char path[4096];
    size_t right;
    const size_t last = kh_dream_log_last(item, &right);
    KH_TRY(
        kh_dream_picture_path(run, item, image, step < last ? step : last, path, sizeof path, err));
    return kh_image_read(path, NULL, NULL, out, err);
}

/* Pictures [first, end) of all items in their order, as many as fit. */
static kh_status fill_sheet(const kh_dream_run *run, size_t first, size_t end, size_t step,
                            sheet *s, kh_error *err) {
    const size_t images = run->objective.images;
    for (size_t at = first; at < end && s->count < PER_SHEET; at++) {
        const kh_dream_item *item = item_at(run, at / images);
        KH_TRY(read_picture(run, item, at % images, step, &s->pictures[s->count], err));
        double probability = 0;
        const size_t rank = rank_at(item, at % images, step, &probability);
        char *caption = s->captions[s->count];
        if (rank == SIZE_MAX)
            (void)snprintf(caption, sizeof s->captions[0], "%s", item->label);
        else if (rank == 0)
            (void)snprintf(caption, sizeof s->captions[0], "%s\np %.2f", item->label, probability);
        else
            (void)snprintf(caption, sizeof s->captions[0], "%s\nrank %zu", item->label, rank);
        const kh_image *picture = &s->pictures[s->count];
        s->panels[s->count] = (kh_figure_panel){.rgb = picture->rgb,
                                                .width = picture->width,
                                                .height = picture->height,
                                                .caption = caption,
                                                .frame = rank == SIZE_MAX ? KH_FRAME_THIN
                                                         : rank == 0      ? KH_FRAME_GOOD
                                                                          : KH_FRAME_BAD};
        s->count++;
    }
    return KH_OK;
}

/* What is said above a sheet: all that was not the preset's. */
static void describe(const kh_dream_run *run, size_t pick, size_t step, char title[160],
                     char subtitle[640]) {
    const kh_dream_options *o = run->options;
    char mix[64] = "", images[96] = "", set[120] = "";
    const bool is_neuron = o->classes && strcmp(o->goal, "neuron") == 0;
    const char *which = run->picks > 1 ? kh_dream_pick_name(pick) : o->pick;
    (void)snprintf(title, 160, "Pictures painted to wake %s, %zu step%s",
                   !is_neuron                     ? "what they are after"
                   : strcmp(which, "random") == 0 ? "random neurons"
                   : strcmp(which, "next") == 0   ? "each class's next-best neuron"
                   : o->topk > 1                  ? "each class's best key neurons"
                                                  : "each class's best key neuron",
                   step, KH_S(step));
    if (is_neuron && o->topk > 1)
        (void)snprintf(mix, sizeof mix, ", %zu neurons with %s weights", o->topk, o->weights);
    if (run->objective.images > 1)
        (void)snprintf(images, sizeof images, ", %zu images each, diversity %g",
                       run->objective.images, o->diversity);
    if (o->set) (void)snprintf(set, sizeof set, ", %.100s", o->set);
    (void)snprintf(subtitle, 640,
                   "preset %s, goal %s%s%s%s; shown to the model again, squashed to its input, a "
                   "picture has its class first with probability p (solid frame) or at this rank "
                   "behind others",
                   o->preset, o->directions && !o->classes ? "direction" : o->goal, mix, images,
                   set);
}

/* A little wider than high, at most ten, a dream's images in one row, few cells left empty. */
static size_t columns_for(size_t count, size_t images) {
    const size_t wide = (size_t)ceil(sqrt((double)count * 1.4));
    const size_t most = wide + 1 < 10 ? wide + 1 : 10, least = wide > 3 ? wide - 2 : 1;
    size_t best = most, fewest = SIZE_MAX;
    for (size_t columns = most; columns >= least; columns--) {
        const size_t empty = (columns - count % columns) % columns;
        if (images <= most && columns % images != 0) continue;
        if (empty < fewest) {
            best = columns;
            fewest = empty;
        }
    }
    return best;
}

static kh_status draw_sheet(const kh_dream_run *run, size_t pick, size_t page, size_t step,
                            sheet *s, kh_error *err) {
    char title[160], subtitle[640], footnote[640], stem[64];
    const kh_dream_options *o = run->options;
    describe(run, pick, step, title, subtitle);
    kh_model_footnote(run->session->model, o->preset, footnote, sizeof footnote);
    (void)snprintf(stem, sizeof stem, "sheet_%s%ss%04zu_%02zu",
                   pick ? kh_dream_pick_name(pick) : "", pick ? "_" : "", step, page);
    const kh_figure_options head = {.title = title, .subtitle = subtitle, .footnote = footnote};
    kh_figure *figure;
    KH_TRY(kh_figure_create(&head, &figure, err));
    const size_t cell = o->sheet_cell ? o->sheet_cell : s->pictures[0].width < 96 ? 128 : 0;
    const size_t columns = columns_for(s->count, run->objective.images);
    const kh_figure_grid grid = {.panels = s->panels,
                                 .rows = (s->count + columns - 1) / columns,
                                 .columns = columns,
                                 .cell_width = cell,
                                 .cell_height = cell,
                                 .is_smooth = true};
    const kh_status status = kh_figure_add_grid(figure, &grid, err);
    if (!status) {
        char path[4096];
        kh_status written = kh_outdir_path(o->out, path, sizeof path, err, "%s.png", stem);
        if (!written) written = kh_figure_write(figure, path, 1.0, err);
        kh_figure_free(figure);
        return written;
    }
    kh_figure_free(figure);
    return status;
}

static kh_status write_sheets(const kh_dream_run *run, size_t pick, size_t step, kh_error *err) {
    kh_status status = KH_OK;
    size_t first, end;
    orders_of(run, pick, &first, &end);
    first *= run->objective.images;
    end *= run->objective.images;
    for (size_t page = 1; !status && first < end; first += PER_SHEET, page++) {
        sheet s = {kh_calloc(PER_SHEET, sizeof *s.pictures),
                   kh_calloc(2 * PER_SHEET, sizeof *s.panels), /* the last row may stay short */
                   kh_calloc(PER_SHEET, sizeof *s.captions), 0};
        if (!s.pictures || !s.panels || !s.captions)
            status = kh_fail(err, KH_E_MEMORY, "no memory for a contact sheet");
        if (!status) status = fill_sheet(run, first, end, step, &s, err);
        if (!status) status = draw_sheet(run, pick, page, step, &s, err);
        for (size_t i = 0; s.pictures && i < PER_SHEET; i++)
            kh_image_clear(&s.pictures[i]);
        kh_free(s.pictures);
        kh_free(s.panels);
        kh_free(s.captions);
    }
    return status;
}

/* ---- strips
 * -------------------------------------------------------------------------------------- */

static kh_status write_strip(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                             kh_error *err) {
    kh_image frames[KH_DREAM_MARKS] = {{0}};
    char path[4096], part[32] = "";
    size_t count = 0, right;
    const size_t last = kh_dream_log_last(item, &right);
    kh_status status = KH_OK;
    for (size_t m = 0; !status && m < run->mark_count; m++) {
        const size_t step = run->marks[m] < last ? run->marks[m] : last;
        status = read_picture(run, item, image, step, &frames[count++], err);
        if (run->marks[m] >= last) break;
    }
    if (run->objective.images > 1) (void)snprintf(part, sizeof part, "_i%zu", image);
    if (!status)
        status = kh_outdir_path(run->options->out, path, sizeof path, err, "strips/%s%s.png",
                                item->stem, part);
    if (!status) status = kh_image_write_frames(path, frames, count, 600, err);
    for (size_t i = 0; i < count; i++)
        kh_image_clear(&frames[i]);
    return status;
}

kh_status kh_dream_run_files(const kh_dream_run *run, kh_error *err) {
    char path[4096];
    KH_TRY(write_log(run, err));
    for (size_t m = 0; m < run->mark_count; m++)
        for (size_t p = 0; p < run->picks; p++)
            KH_TRY(write_sheets(run, p, run->marks[m], err));
    if (run->mark_count > 1) {
        KH_TRY(kh_outdir_path(run->options->out, path, sizeof path, err, "strips"));
        KH_TRY(kh_make_directories(path, err));
        for (size_t i = 0; i < run->item_count; i++)
            for (size_t k = 0; k < run->objective.images; k++)
                KH_TRY(write_strip(run, &run->items[i], k, err));
    }
    return KH_OK;
}
