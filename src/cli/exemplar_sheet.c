/* Exemplars of a neuron: out of the tables, through the model again, onto a page. */
#include "cli/exemplar_sheet.h"
#include "cli/exemplar_marks.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const kh_exemplar_levels[KH_EXEMPLAR_LEVELS] = {"top", "q95", "q75", "q50", "random"};

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t class_of(double value) {
    return value >= 0 ? (size_t)value : KH_NO_CLASS;
}

static kh_status read_facts(const kh_run *run, const int64_t *at, kh_exemplars *out,
                            kh_error *err) {
    kh_answer *a = NULL;
    out->threshold = out->density = (double)NAN;
    out->reads = out->writes = KH_NO_CLASS;
    if (kh_run_has(run, false, "neurons")) {
        KH_TRY(kh_store_db_ask(run->tables,
                               "SELECT threshold, density FROM neurons WHERE block = ?1 AND neuron "
                               "= ?2",
                               at, 2, &a, err));
        out->threshold = kh_answer_number(a, 0, 0);
        out->density = kh_answer_number(a, 0, 1);
        kh_answer_free(a);
    }
    if (!kh_run_has(run, false, "reads_writes")) return KH_OK;
    KH_TRY(kh_store_db_ask(run->tables,
                           "SELECT class, hits, labelled, writes, verdict FROM reads_writes WHERE "
                           "block = ?1 AND neuron = ?2",
                           at, 2, &a, err));
    if (kh_answer_rows(a)) {
        out->reads = class_of(kh_answer_number(a, 0, 0));
        out->hits = (size_t)fmax(0, kh_answer_number(a, 0, 1));
        out->labelled = (size_t)fmax(0, kh_answer_number(a, 0, 2));
        out->writes = class_of(kh_answer_number(a, 0, 3));
        const char *verdict = kh_answer_text(a, 0, 4);
        (void)snprintf(out->verdict, sizeof out->verdict, "%s", verdict ? verdict : "");
    }
    kh_answer_free(a);
    return KH_OK;
}

static kh_status take_rows(const kh_run *run, const kh_answer *a, kh_exemplars *out,
                           kh_error *err) {
    const size_t rows = kh_answer_rows(a);
    const size_t patches = run->grid_height * run->grid_width;
    char name[32];
    kh_neuron_format(out->neuron, name, sizeof name);
    if (rows == 0)
        return kh_fail(err, KH_E_NOT_FOUND, "'%s' holds no exemplars of %s", run->path, name);
    out->of = kh_calloc(rows, sizeof *out->of);
    if (!out->of) return kh_fail(err, KH_E_MEMORY, "no memory for exemplars");
    for (size_t level = 0; level < KH_EXEMPLAR_LEVELS; level++)
        for (size_t r = 0; r < rows; r++) {
            const char *text = kh_answer_text(a, r, 0);
            const double image = kh_answer_number(a, r, 1), truth = kh_answer_number(a, r, 3);
            if (!text || strcmp(text, kh_exemplar_levels[level]) != 0) continue;
            if (!(image >= 0 && image < (double)run->images)) continue;
            kh_exemplar *one = &out->of[out->count++];
            *one = (kh_exemplar){.level = level,
                                 .image = (size_t)image,
                                 .value = kh_answer_number(a, r, 2),
                                 .truth = class_of(truth)};
            if (one->truth >= run->classes) one->truth = KH_NO_CLASS;
            if (!(one->map = kh_alloc_floats(patches)))
                return kh_fail(err, KH_E_MEMORY, "no memory for exemplars");
        }
    return KH_OK;
}

kh_status kh_exemplars_read(const kh_run *run, kh_neuron neuron, kh_exemplars *out, kh_error *err) {
    const int64_t at[] = {(int64_t)neuron.block, (int64_t)neuron.index};
    kh_answer *a = NULL;
    *out = (kh_exemplars){.neuron = neuron};
    if (!kh_run_has(run, false, "exemplars"))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no exemplars; run keyhole atlas with the lens exemplars",
                       run->path);
    KH_TRY(read_facts(run, at, out, err));
    KH_TRY(kh_store_db_ask(run->tables,
                           "SELECT level, image, value, truth FROM exemplars WHERE block = ?1 AND "
                           "neuron = ?2 ORDER BY rowid",
                           at, 2, &a, err));
    const kh_status status = take_rows(run, a, out, err);
    kh_answer_free(a);
    if (status) kh_exemplars_clear(out);
    return status;
}

void kh_exemplars_clear(kh_exemplars *e) {
    for (size_t i = 0; e->of && i < e->count; i++)
        kh_free(e->of[i].map);
    kh_free(e->of);
    *e = (kh_exemplars){0};
}

/* ---- the model again ------------------------------------------------------------------------- */

typedef struct look_again {
    kh_session *session;
    const kh_model_info *info;
    kh_exemplars *sets;
    size_t count, batch, held;
    kh_tap *taps;      /* [count] */
    char (*sites)[64]; /* [count] */
    kh_pass *pass;
    float *floats;  /* [batch, 3, height, width] */
    size_t *images; /* [batch] */
} look_again;

static kh_status open_pass(look_again *l, kh_error *err) {
    const size_t floats = 3 * l->info->image_height * l->info->image_width;
    l->taps = kh_calloc(l->count, sizeof *l->taps);
    l->sites = kh_calloc(l->count, sizeof *l->sites);
    l->floats = kh_alloc_floats(l->batch * floats);
    l->images = kh_calloc(l->batch, sizeof *l->images);
    if (!l->taps || !l->sites || !l->floats || !l->images)
        return kh_fail(err, KH_E_MEMORY, "no memory for a batch of exemplars");
    for (size_t i = 0; i < l->count; i++) {
        (void)snprintf(l->sites[i], sizeof l->sites[i], "blocks.%zu.mlp.hook_post",
                       l->sets[i].neuron.block);
        l->taps[i] =
            (kh_tap){.site = l->sites[i], .units = &l->sets[i].neuron.index, .unit_count = 1};
    }
    const kh_pass_spec spec = {.max_batch = l->batch, .taps = l->taps, .tap_count = l->count};
    return kh_pass_create(l->session->ctx, l->session->model, &spec, &l->pass, err);
}

static kh_status run_batch(look_again *l, kh_error *err) {
    const size_t tokens = l->info->tokens, prefix = l->info->prefix_tokens;
    if (l->held == 0) return KH_OK;
    KH_TRY(kh_pass_run(l->pass, l->floats, l->held, err));
    for (size_t n = 0; n < l->count; n++)
        for (size_t i = 0; i < l->sets[n].count; i++)
            for (size_t b = 0; b < l->held; b++)
                if (l->sets[n].of[i].image == l->images[b])
                    memcpy(l->sets[n].of[i].map, kh_pass_tap(l->pass, n) + b * tokens + prefix,
                           (tokens - prefix) * sizeof(float));
    l->held = 0;
    return KH_OK;
}

/* What the tables say must be what the model says. */
static kh_status compare(const look_again *l, const kh_source *source, kh_error *err) {
    const size_t patches = l->info->tokens - l->info->prefix_tokens;
    for (size_t n = 0; n < l->count; n++)
        for (size_t i = 0; i < l->sets[n].count; i++) {
            const kh_exemplar *one = &l->sets[n].of[i];
            double largest = -(double)INFINITY;
            for (size_t t = 0; t < patches; t++)
                largest = fmax(largest, (double)one->map[t]);
            if (!(fabs(largest - one->value) <= 1e-3 * (1 + fabs(one->value))))
                return kh_fail(err, KH_E_NUMERIC,
                               "%s: neuron %zu of block %zu is %g at most, the run says %g",
                               kh_source_get(source, one->image).name, l->sets[n].neuron.index,
                               l->sets[n].neuron.block, largest, one->value);
        }
    return KH_OK;
}

static kh_status take_picture(look_again *l, const kh_source *source,
                              const kh_decode_options *decode, size_t image, kh_image *picture,
                              kh_error *err) {
    const size_t floats = 3 * l->info->image_height * l->info->image_width;
    kh_image raw = {0};
    kh_status status = kh_source_read_image(source, image, decode, &raw, err);
    if (!status) status = kh_preprocess_bytes(&l->info->preprocess, &raw, picture, err);
    kh_image_clear(&raw);
    if (status) return kh_error_context(err, status, "%s", kh_source_get(source, image).name);
    KH_TRY(kh_preprocess_floats(&l->info->preprocess, picture, l->floats + l->held * floats, floats,
                                err));
    l->images[l->held++] = image;
    return l->held == l->batch ? run_batch(l, err) : KH_OK;
}

kh_status kh_exemplars_look(kh_session *session, const kh_source *source,
                            const kh_decode_options *decode, size_t batch, kh_exemplars *sets,
                            size_t count, kh_image *pictures, kh_error *err) {
    look_again l = {.session = session,
                    .info = kh_model_get_info(session->model),
                    .sets = sets,
                    .count = count,
                    .batch = batch};
    const size_t images = kh_source_count(source);
    size_t needed = 0, done = 0;
    bool *wanted = kh_calloc(images ? images : 1, sizeof *wanted);
    kh_status status = wanted ? open_pass(&l, err) : kh_fail(err, KH_E_MEMORY, "no memory");
    for (size_t n = 0; n < count && !status; n++)
        for (size_t i = 0; i < sets[n].count; i++) {
            needed += !wanted[sets[n].of[i].image];
            wanted[sets[n].of[i].image] = true;
        }
    for (size_t i = 0; i < images && !status; i++) {
        if (!wanted[i]) continue;
        (void)kh_session_progress(session, "images", done++, needed);
        status = take_picture(&l, source, decode, i, &pictures[i], err);
    }
    if (!status) status = run_batch(&l, err);
    if (!status) status = compare(&l, source, err);
    (void)kh_session_progress(session, "images", needed, needed);
    kh_pass_free(l.pass);
    kh_free(l.images);
    kh_free(l.floats);
    kh_free(l.sites);
    kh_free(l.taps);
    kh_free(wanted);
    return status;
}

/* ---- drawing --------------------------------------------------------------------------------- */

enum { COLUMNS = 8, LARGEST = 120 }; /* px a picture may be wide on the page */

typedef struct kh_sheet_size {
    size_t width, height;
} kh_sheet_size;

static kh_sheet_size size_on_page(const kh_model_info *info) {
    const size_t w = info->image_width, h = info->image_height;
    if (w <= LARGEST) return (kh_sheet_size){w, h};
    return (kh_sheet_size){LARGEST, (h * LARGEST + w / 2) / w};
}

/* The picture at the size of the page, so that its marks are one px wide there. */
static kh_status draw_picture(const kh_model_info *info, const kh_exemplars *e,
                              const kh_exemplar *one, const kh_image *picture, kh_sheet_size size,
                              float *up, uint8_t *rgb, kh_error *err) {
    kh_image small = {0};
    if (!picture->rgb) return kh_fail(err, KH_E_NOT_FOUND, "a picture is missing");
    KH_TRY(kh_image_resize(picture, size.width, size.height, KH_FILTER_BICUBIC, &small, err));
    memcpy(rgb, small.rgb, 3 * size.width * size.height);
    kh_image_clear(&small);
    kh_marks_draw(one->map, kh_lens_grid(info), e->threshold, size.width, size.height, up, rgb);
    return KH_OK;
}

/* Exemplars of a level that no row above has; in a small set the ones around the 95 % quantile are
 * among the strongest. */
typedef struct level_rows {
    size_t *at; /* [count] places in e->of */
    size_t count, repeated;
} level_rows;

static bool is_shown_above(const kh_exemplars *e, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (e->of[i].level < e->of[at].level && e->of[i].image == e->of[at].image) return true;
    return false;
}

static kh_status choose_rows(const kh_exemplars *e, size_t level, level_rows *out, kh_error *err) {
    *out = (level_rows){.at = kh_calloc(e->count ? e->count : 1, sizeof *out->at)};
    if (!out->at) return kh_fail(err, KH_E_MEMORY, "no memory for a sheet of exemplars");
    for (size_t i = 0; i < e->count; i++) {
        if (e->of[i].level != level) continue;
        if (is_shown_above(e, i))
            out->repeated++;
        else
            out->at[out->count++] = i;
    }
    return KH_OK;
}

static void write_level_title(const char *name, const level_rows *rows, char *out, size_t room) {
    if (rows->count && rows->repeated)
        (void)snprintf(out, room, "%s (%zu more shown above)", name, rows->repeated);
    else if (rows->repeated)
        (void)snprintf(out, room, "%s: all %zu shown above", name, rows->repeated);
    else
        (void)snprintf(out, room, "%s", name);
}

/* Panels of a level, and the memory behind them. */
typedef struct level_panels {
    kh_figure_panel *panels;
    char (*captions)[96];
    uint8_t *rgb;
    float *up;
} level_panels;

static void level_panels_clear(level_panels *p) {
    kh_free(p->up);
    kh_free(p->rgb);
    kh_free(p->captions);
    kh_free(p->panels);
}

static kh_status fill_panels(const kh_run *run, const kh_model_info *info, const kh_exemplars *e,
                             const kh_image *pictures, const level_rows *rows, size_t cells,
                             level_panels *p, kh_error *err) {
    const kh_sheet_size size = size_on_page(info);
    const size_t pixels = size.width * size.height;
    p->panels = kh_calloc(cells, sizeof *p->panels);
    p->captions = kh_calloc(cells, sizeof *p->captions);
    p->rgb = kh_calloc(cells * pixels, 3);
    p->up = kh_alloc_floats(pixels);
    if (!p->panels || !p->captions || !p->rgb || !p->up)
        return kh_fail(err, KH_E_MEMORY, "no memory for a sheet of exemplars");
    for (size_t i = 0; i < rows->count; i++) {
        const kh_exemplar *one = &e->of[rows->at[i]];
        uint8_t *at = p->rgb + 3 * pixels * i;
        KH_TRY(draw_picture(info, e, one, &pictures[one->image], size, p->up, at, err));
        (void)snprintf(p->captions[i], sizeof p->captions[i], "%.40s\na = %.3g",
                       one->truth == KH_NO_CLASS ? "no label" : run->names[one->truth], one->value);
        p->panels[i] = (kh_figure_panel){
            .rgb = at,
            .width = size.width,
            .height = size.height,
            .caption = p->captions[i],
            .frame = one->truth != KH_NO_CLASS && one->truth == e->writes ? KH_FRAME_GOOD
                                                                          : KH_FRAME_THIN};
    }
    return KH_OK;
}

/* One level as a grid, `columns` wide. */
static kh_status add_level(const kh_run *run, const kh_model_info *info, const kh_exemplars *e,
                           const kh_image *pictures, size_t level, size_t columns, const char *name,
                           kh_figure *figure, kh_error *err) {
    const kh_sheet_size size = size_on_page(info);
    char title[120];
    level_rows rows;
    level_panels p = {0};
    KH_TRY(choose_rows(e, level, &rows, err));
    const size_t lines = rows.count ? (rows.count + columns - 1) / columns : 1;
    kh_status status = KH_OK;
    if (rows.count + rows.repeated)
        status = fill_panels(run, info, e, pictures, &rows, lines * columns, &p, err);
    write_level_title(name, &rows, title, sizeof title);
    const kh_figure_grid grid = {.panels = p.panels,
                                 .rows = lines,
                                 .columns = columns,
                                 .cell_width = size.width,
                                 .cell_height = rows.count ? size.height : 1,
                                 .title = title};
    if (!status && p.panels) status = kh_figure_add_grid(figure, &grid, err);
    level_panels_clear(&p);
    kh_free(rows.at);
    return status;
}

static const char *name_of(const kh_run *run, size_t c) {
    return c < run->classes ? run->names[c] : "no class";
}

static void write_title(const kh_run *run, const kh_exemplars *e, char *title, size_t room) {
    char name[32];
    kh_neuron_format(e->neuron, name, sizeof name);
    if (e->reads != KH_NO_CLASS && strcmp(e->verdict, "shared") == 0)
        (void)snprintf(title, room,
                       "%s: no class has enough of its strongest pictures (%s most, %zu of %zu); "
                       "it promotes %s",
                       name, name_of(run, e->reads), e->hits, e->labelled, name_of(run, e->writes));
    else if (e->reads != KH_NO_CLASS && e->labelled > 0)
        (void)snprintf(title, room, "%s: %zu of its %zu strongest pictures show %s; it promotes %s",
                       name, e->hits, e->labelled, name_of(run, e->reads), name_of(run, e->writes));
    else
        (void)snprintf(title, room, "%s: its strongest pictures, and others", name);
}

/* What a row of reads_writes says, in words. */
static const char *meaning_of(const char *verdict) {
    static const char *const words[][2] = {
        {"agree", "the class that its strongest pictures show is among the five it promotes most"},
        {"other",
         "the class that its strongest pictures show is neither among the five it promotes "
         "most nor in the lower half"},
        {"suppress", "the class that its strongest pictures show is in the lower half of what it "
                     "promotes"},
        {"shared", "no class has half of the strongest pictures that it could have"},
        {"silent", "it never fires"},
        {"unknown", "its strongest pictures have no labels, or too few of several classes"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(verdict, words[i][0]) == 0) return words[i][1];
    return "";
}

static void write_caption(const kh_run *run, const kh_exemplars *e, char *caption, size_t room) {
    char threshold[400] = "", verdict[240] = "";
    if (e->verdict[0])
        (void)snprintf(verdict, sizeof verdict, " Verdict in the table reads_writes: %s (%s).",
                       e->verdict, meaning_of(e->verdict));
    if (isfinite(e->threshold))
        (void)snprintf(threshold, sizeof threshold,
                       " The line (white inside, black outside) encloses where the bilinear map is "
                       "above the neuron's threshold %.3g, which it passes on the rarest patches; "
                       "it fires on %.0f %% of all. A single patch may pass it where the map, "
                       "drawn out between patches, stays below.",
                       e->threshold, 100 * e->density);
    (void)snprintf(caption, room,
                   "Pictures out of %zu by the neuron's largest coefficient a over patches, as the "
                   "model saw them, each in one row only. The yellow box is the patch where a is "
                   "largest.%s%s",
                   run->images, threshold, verdict);
}

kh_status kh_exemplars_draw(const kh_run *run, const kh_model *model, const kh_exemplars *e,
                            const kh_image *pictures, const char *folder, kh_error *err) {
    static const char *const titles[KH_EXEMPLAR_LEVELS] = {
        "The strongest, one for each near duplicate", "Around the 95 % quantile of maxima",
        "Around the 75 % quantile", "Around the median", "Random pictures"};
    const kh_model_info *info = kh_model_get_info(model);
    char title[256], caption[1024], name[32];
    write_title(run, e, title, sizeof title);
    write_caption(run, e, caption, sizeof caption);
    kh_neuron_format(e->neuron, name, sizeof name);
    const kh_figure_options how = {.title = title, .subtitle = caption, .footnote = run->receipt};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&how, &figure, err);
    if (!status)
        status = kh_marks_add_legend(figure, isfinite(e->threshold), e->writes != KH_NO_CLASS, err);
    for (size_t level = 0; level < KH_EXEMPLAR_LEVELS && !status; level++) {
        if (level == 1) kh_figure_columns(figure, 2);
        status = add_level(run, info, e, pictures, level, level ? COLUMNS / 2 : COLUMNS,
                           titles[level], figure, err);
    }
    if (!status) {
        kh_figure_columns(figure, 1);
        status = kh_figure_add_note(
            figure,
            "Not to be read from it: that the neuron stands for what its strongest pictures have "
            "in common. Look at the weaker ones too: most of what a neuron does, it does there.",
            err);
    }
    if (!status) return kh_outdir_figure(folder, name, figure, err);
    kh_figure_free(figure);
    return status;
}
