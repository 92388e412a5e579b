/* Painting: a queue of dreams, a batch of them at work, pictures and logs at the marks.
 *
 * Order of writing at a mark: pictures, then the log, then the state. A run that is killed finds a
 * state, drops what the log says of later steps, and paints those steps again, with the same bytes.
 */
#define _POSIX_C_SOURCE 200809L
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct easel {
    kh_dream_run *run;
    kh_dreamer *dreamer;
    kh_dream_judge *judge; /* NULL: the model has no classes */
    kh_dream_item **active;
    kh_dream **dreams;
    size_t active_count, images;
    size_t next; /* item to start */
    size_t done_steps, total_steps;
    double saved_at;
} easel;

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static size_t end_of(const kh_dream_run *run) {
    return run->marks[run->mark_count - 1];
}

static kh_status state_path(const kh_dream_run *run, const kh_dream_item *item, char out[4096],
                            kh_error *err) {
    return kh_outdir_path(run->options->out, out, 4096, err, "state/%s.safetensors", item->stem);
}

kh_status kh_dream_picture_path(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                                size_t step, char *out, size_t out_bytes, kh_error *err) {
    char part[32] = "";
    if (run->objective.images > 1) (void)snprintf(part, sizeof part, "_i%zu", image);
    return kh_outdir_path(run->options->out, out, out_bytes, err, "images/%s%s_s%04zu.png",
                          item->stem, part, step);
}

/* ---- marks -------------------------------------------------------------------------------------
 */

static bool has_alpha(const kh_dream_run *run) {
    return run->settings.paint == KH_PAINT_MACO || run->settings.paint == KH_PAINT_STANDARD;
}

static kh_status alpha_path(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                            char out[4096], kh_error *err) {
    return kh_outdir_path(run->options->out, out, 4096, err, "images/%s_i%zu_alpha.png", item->stem,
                          image);
}

static kh_status write_alpha(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                             const kh_image *picture, kh_error *err) {
    const size_t count = picture->width * picture->height;
    char path[4096];
    float *alpha = kh_alloc_floats(count);
    uint8_t *bytes = kh_calloc(count, 1);
    kh_status status = alpha && bytes ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for alpha");
    if (!status) status = kh_dream_alpha(item->dream, image, alpha, count, err);
    for (size_t i = 0; !status && i < count; i++)
        bytes[i] = (uint8_t)(255.0f * alpha[i]);
    if (!status) status = alpha_path(run, item, image, path, err);
    if (!status) status = kh_image_write_alpha(path, picture, bytes, err);
    kh_free(bytes);
    kh_free(alpha);
    return status;
}

static void put_number(char *row, size_t room, double value) {
    char text[32];
    const size_t used = strlen(row);
    (void)snprintf(row + used, room - used, ",%s", kh_store_f64(value, text, sizeof text));
}

/* step,image,loss,mean_pre,...,predicted,logit,probability,rank */
static void write_row(const kh_dream_item *item, size_t image, const float *logits, size_t classes,
                      char *row, size_t room) {
    const kh_dream_stats s = kh_dream_get_stats(item->dream);
    const double values[] = {s.loss,        s.mean_pre, s.mean_post, s.share_positive,
                             s.share_alive, s.max_pre,  s.diversity, s.gradient_norm};
    (void)snprintf(row, room, "%zu,%zu", kh_dream_steps_done(item->dream), image);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        put_number(row, room, values[i]);
    size_t best = 0;
    if (logits && kh_lens_top(logits, classes, 1, &best, NULL) == KH_OK) {
        const size_t used = strlen(row);
        (void)snprintf(row + used, room - used, ",%zu", best);
    } else {
        (void)snprintf(row + strlen(row), room - strlen(row), ",");
    }
    if (!logits || item->target == SIZE_MAX) {
        (void)snprintf(row + strlen(row), room - strlen(row), ",,,\n");
        return;
    }
    double top = (double)logits[best], sum = 0;
    for (size_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - top);
    put_number(row, room, (double)logits[item->target]);
    put_number(row, room, exp((double)logits[item->target] - top) / sum);
    (void)snprintf(row + strlen(row), room - strlen(row), ",%zu\n",
                   kh_lens_rank_position(logits, classes, item->target));
}

/* Pictures when `shows`, the log in any case. */
static kh_status mark_item(easel *e, kh_dream_item *item, bool shows, kh_error *err) {
    enum { ROW = 512 };
    const kh_dream_run *run = e->run;
    const size_t step = kh_dream_steps_done(item->dream), images = kh_dream_images(item->dream);
    const size_t classes = kh_model_get_info(run->session->model)->classes;
    float *logits = e->judge ? kh_alloc_floats(classes) : NULL;
    char *rows = kh_calloc(images, ROW), path[4096];
    kh_status status = KH_OK;
    if (!rows || (e->judge && !logits)) status = kh_fail(err, KH_E_MEMORY, "no memory for a log");
    for (size_t i = 0; !status && i < images; i++) {
        kh_image picture = {0};
        status = kh_dream_picture(item->dream, i, &picture, err);
        if (!status && shows) {
            status = kh_dream_picture_path(run, item, i, step, path, sizeof path, err);
            if (!status) status = kh_image_write(path, &picture, err);
            if (!status && has_alpha(run) && step == end_of(run))
                status = write_alpha(run, item, i, &picture, err);
        }
        if (!status && e->judge)
            status = kh_dream_judge_logits(e->judge, &picture, 1, KH_VIEW_SQUASH, KH_NORM_MODEL,
                                           logits, err);
        if (!status)
            write_row(item, i, e->judge ? logits : NULL, classes, rows + strlen(rows), ROW);
        kh_image_clear(&picture);
    }
    if (!status) status = kh_dream_log_add(run, item, rows, err);
    kh_free(rows);
    kh_free(logits);
    return status;
}

static bool is_mark(const kh_dream_run *run, size_t step) {
    for (size_t i = 0; i < run->mark_count; i++)
        if (run->marks[i] == step) return true;
    return false;
}

static kh_status save_item(const kh_dream_run *run, const kh_dream_item *item, kh_error *err) {
    char path[4096];
    KH_TRY(state_path(run, item, path, err));
    return kh_dream_save(item->dream, path, err);
}

/* ---- the queue ---------------------------------------------------------------------------------
 */

static bool is_finished(const kh_dream_run *run, kh_dream_item *item) {
    item->last_mark = kh_dream_log_last(item, &item->recognised);
    if (item->last_mark >= end_of(run)) return true;
    return run->options->until > 0 && item->recognised >= run->options->until;
}

/* A picture is written before the log tells of it: one that is gone was removed since. */
static bool has_pictures(const kh_dream_run *run, const kh_dream_item *item, bool is_over) {
    const size_t last = item->last_mark;
    char path[4096];
    for (size_t i = 0; i < run->objective.images; i++) {
        for (size_t m = 0; m <= run->mark_count; m++) { /* all marks, and where it was stopped */
            const size_t step = m < run->mark_count ? run->marks[m] : is_over ? last : SIZE_MAX;
            if (step <= last &&
                (kh_dream_picture_path(run, item, i, step, path, sizeof path, NULL) ||
                 !kh_file_exists(path)))
                return false;
        }
        if (is_over && last == end_of(run) && has_alpha(run) &&
            (alpha_path(run, item, i, path, NULL) || !kh_file_exists(path)))
            return false;
    }
    return true;
}

/* Painted again from its first step, it has the same bytes. */
static kh_status forget_item(const kh_dream_run *run, kh_dream_item *item, kh_error *err) {
    char path[4096];
    KH_TRY(state_path(run, item, path, err));
    (void)unlink(path); /* not there when it was finished */
    return kh_dream_log_load(run, item, 0, err);
}

static kh_status start_item(easel *e, kh_dream_item *item, kh_error *err) {
    kh_dream_run *run = e->run;
    char path[4096];
    KH_TRY(kh_dream_log_load(run, item, SIZE_MAX, err));
    const bool was_over = is_finished(run, item);
    if (!has_pictures(run, item, was_over)) KH_TRY(forget_item(run, item, err));
    if (is_finished(run, item)) {
        KH_TRY(state_path(run, item, path, err));
        (void)unlink(path); /* there when the run was killed between the last log and this line */
        item->is_done = true;
        e->done_steps += end_of(run);
        return KH_OK;
    }
    kh_dream_objective o = run->objective;
    o.terms = item->terms;
    o.term_count = item->term_count;
    o.target = item->target;
    KH_TRY(kh_dream_create(e->dreamer, item->stem, &run->settings, &o, &item->dream, err));
    KH_TRY(state_path(run, item, path, err));
    if (kh_file_exists(path)) KH_TRY(kh_dream_load(item->dream, path, err));
    const size_t from = kh_dream_steps_done(item->dream);
    KH_TRY(kh_dream_log_load(run, item, from, err));
    item->last_mark = kh_dream_log_last(item, &item->recognised);
    e->done_steps += from;
    e->active[e->active_count] = item;
    e->active_count++;
    e->images += kh_dream_images(item->dream);
    return KH_OK;
}

static kh_status finish_item(easel *e, kh_dream_item *item, kh_error *err) {
    char path[4096];
    KH_TRY(state_path(e->run, item, path, err));
    e->done_steps += end_of(e->run) - kh_dream_steps_done(item->dream);
    e->images -= kh_dream_images(item->dream);
    kh_dream_free(item->dream);
    item->dream = NULL;
    item->is_done = true;
    (void)unlink(path); /* may never have been written */
    return KH_OK;
}

/* One item after a step; *is_over when it is done. */
static kh_status after_step(easel *e, kh_dream_item *item, bool *is_over, kh_error *err) {
    const kh_dream_run *run = e->run;
    const kh_dream_options *o = run->options;
    const size_t step = kh_dream_steps_done(item->dream);
    const bool checks = o->until > 0 && o->check_every > 0 && step % o->check_every == 0;
    *is_over = false;
    if (!checks && !is_mark(run, step)) return KH_OK;
    KH_TRY(mark_item(e, item, is_mark(run, step), err));
    *is_over = is_finished(run, item);
    if (*is_over && !is_mark(run, step)) { /* recognised between marks: its picture is due */
        char path[4096];
        for (size_t i = 0; i < kh_dream_images(item->dream); i++) {
            kh_image picture = {0};
            KH_TRY(kh_dream_picture(item->dream, i, &picture, err));
            kh_status status = kh_dream_picture_path(run, item, i, step, path, sizeof path, err);
            if (!status) status = kh_image_write(path, &picture, err);
            kh_image_clear(&picture);
            KH_TRY(status);
        }
    }
    return *is_over ? KH_OK : save_item(run, item, err);
}

static kh_status step_all(easel *e, kh_error *err) {
    enum { SAVE_EVERY_S = 15 };
    kh_dream_run *run = e->run;
    for (size_t i = 0; i < e->active_count; i++)
        e->dreams[i] = e->active[i]->dream;
    const double start = seconds_now();
    KH_TRY(kh_dreamer_step(e->dreamer, e->dreams, e->active_count, err));
    run->seconds += seconds_now() - start;
    run->steps_made += e->images;
    run->memory_bytes = kh_dreamer_memory_bytes(e->dreamer);
    size_t kept = 0;
    for (size_t i = 0; i < e->active_count; i++) {
        kh_dream_item *item = e->active[i];
        bool is_over;
        e->done_steps++;
        KH_TRY(after_step(e, item, &is_over, err));
        if (is_over)
            KH_TRY(finish_item(e, item, err));
        else
            e->active[kept++] = item;
    }
    e->active_count = kept;
    if (seconds_now() - e->saved_at < SAVE_EVERY_S) return KH_OK;
    for (size_t i = 0; i < e->active_count; i++)
        KH_TRY(save_item(run, e->active[i], err));
    e->saved_at = seconds_now();
    return KH_OK;
}

static kh_status work(easel *e, kh_error *err) {
    kh_dream_run *run = e->run;
    const size_t batch = run->options->batch;
    while (e->next < run->item_count || e->active_count > 0) {
        while (e->next < run->item_count &&
               (e->active_count == 0 || e->images + run->objective.images <= batch))
            KH_TRY(start_item(e, &run->items[e->next++], err));
        if (e->active_count == 0) continue;
        KH_TRY(step_all(e, err));
        if (!kh_session_progress(run->session, "steps", e->done_steps, e->total_steps))
            return kh_fail(err, KH_E_STOPPED, "stopped");
    }
    return KH_OK;
}

kh_status kh_dream_run_paint(kh_dream_run *run, kh_error *err) {
    easel e = {.run = run, .saved_at = seconds_now()};
    kh_session *session = run->session;
    char path[4096];
    e.total_steps = run->item_count * end_of(run);
    e.active = kh_calloc(run->item_count, sizeof *e.active);
    e.dreams = kh_calloc(run->item_count, sizeof *e.dreams);
    kh_status status = e.active && e.dreams ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory");
    static const char *const folders[] = {"images", "state"};
    for (size_t i = 0; !status && i < 2; i++) {
        status = kh_outdir_path(run->options->out, path, sizeof path, err, "%s", folders[i]);
        if (!status) status = kh_make_directories(path, err);
    }
    if (!status) status = kh_dreamer_create(session->ctx, session->model, &e.dreamer, err);
    if (!status && kh_model_get_info(session->model)->classes > 0)
        status = kh_dream_judge_create(session->ctx, session->model, 1, &e.judge, err);
    if (!status) status = work(&e, err);
    kh_dream_judge_free(e.judge);
    kh_dreamer_free(e.dreamer);
    kh_free(e.dreams);
    kh_free(e.active);
    return status;
}
