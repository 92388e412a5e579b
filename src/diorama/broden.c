/* A data set from beginning to end: scenes are rendered in parallel, a window at a time, and their
 * rows are written in order, so files and memory do not depend on threads or count. */
#define _POSIX_C_SOURCE 200809L
#include "diorama/broden.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/pool.h"
#include "base/text.h"
#include "io/image.h"
#include "io/sha256.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

/* What one worker draws into. */
typedef struct easelet {
    kh_diorama *diorama;
    uint8_t *rgb, *tint; /* [pixels][3] the picture, a label map as RGB */
    uint16_t *labels;    /* [categories][pixels], NULL without label maps */
    kh_text png;
} easelet;

static void easelet_clear(easelet *e) {
    kh_diorama_free(e->diorama);
    kh_free(e->rgb);
    kh_free(e->tint);
    kh_free(e->labels);
    kh_text_clear(&e->png);
}

static kh_status easelet_init(easelet *e, const kh_broden *b, kh_error *err) {
    KH_TRY(kh_diorama_new(b->set.size, b->set.seed, b->set.flags, &e->diorama, err));
    e->rgb = kh_calloc(b->pixels, 3);
    e->tint = kh_calloc(b->pixels, 3);
    if (!b->set.no_labels)
        e->labels = kh_calloc(b->pixels * KH_DIORAMA_CATEGORIES, sizeof *e->labels);
    if (e->rgb && e->tint && (e->labels || b->set.no_labels)) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory to render scenes of %u px", b->set.size);
}

/* ---- one scene ------------------------------------------------------------------------------- */

static void count_labels(const kh_broden *b, const uint16_t *labels, uint32_t *counts) {
    memset(counts, 0, (b->labels + 1) * sizeof *counts);
    for (size_t i = 0; i < b->pixels * KH_DIORAMA_CATEGORIES; i++)
        counts[labels[i]]++;
}

/* The region of an object pixel; regions that are named alike share the first one's place. */
static size_t region_at(const kh_broden *b, const kh_diorama_scene *scene, const uint16_t *labels,
                        size_t pixel, size_t guess) {
    const uint16_t object = labels[KH_DIORAMA_OBJECT * b->pixels + pixel];
    const uint16_t part = labels[KH_DIORAMA_PART * b->pixels + pixel];
    const uint16_t material = labels[KH_DIORAMA_MATERIAL * b->pixels + pixel];
    const uint16_t colour = labels[KH_DIORAMA_COLOUR * b->pixels + pixel];
    for (size_t n = 0; n < scene->regions; n++) {
        const size_t at = n == 0 ? guess : n == guess ? 0 : n;
        const kh_diorama_region *r = &scene->region[at];
        if (r->object == object && r->part == part && r->material == material &&
            r->colour == colour)
            return at;
    }
    return SIZE_MAX;
}

static void find_boxes(const kh_broden *b, const uint16_t *labels, kh_broden_row *row) {
    const uint32_t size = b->set.size;
    for (size_t r = 0; r < row->scene.regions; r++)
        memcpy(row->boxes[r], (uint32_t[4]){size, size, 0, 0}, sizeof row->boxes[r]);
    size_t at = 0;
    for (uint32_t y = 0; y < size; y++) {
        for (uint32_t x = 0; x < size; x++) {
            const size_t pixel = (size_t)y * size + x;
            if (labels[KH_DIORAMA_OBJECT * b->pixels + pixel] == 0) continue;
            const size_t found = region_at(b, &row->scene, labels, pixel, at);
            if (found == SIZE_MAX) continue;
            at = found;
            uint32_t *box = row->boxes[at];
            if (x < box[0]) box[0] = x;
            if (y < box[1]) box[1] = y;
            if (x + 1 > box[2]) box[2] = x + 1;
            if (y + 1 > box[3]) box[3] = y + 1;
        }
    }
}

void kh_broden_picture(const kh_diorama_scene *scene, char *out, size_t out_bytes) {
    (void)snprintf(out, out_bytes, "scenes/%s/%06llu.png",
                   kh_diorama_class_name(scene->class_index), (unsigned long long)scene->index);
}

void kh_broden_map(const kh_diorama_scene *scene, size_t category, char *out, size_t out_bytes) {
    (void)snprintf(out, out_bytes, "labels/%s/%s/%06llu.png",
                   kh_diorama_category_name((kh_diorama_category)category),
                   kh_diorama_class_name(scene->class_index), (unsigned long long)scene->index);
}

static kh_status write_png(const kh_broden *b, easelet *e, const uint8_t *rgb, bool is_flat,
                           const char *name, kh_error *err) {
    /* kh_image's pixels may be written to, these are not */
    kh_image image = {b->set.size, b->set.size, NULL};
    memcpy(&image.rgb, &rgb, sizeof rgb);
    KH_TRY(kh_png_encode(&image, is_flat, &e->png, err));
    if (!name) return KH_OK; /* only to see how large it gets */
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/images/%s", b->folder, name);
    return kh_file_write_lazy(path, e->png.data, e->png.length, err);
}

static const uint8_t *map_as_rgb(const kh_broden *b, easelet *e, size_t category) {
    const uint16_t *map = e->labels + category * b->pixels;
    for (size_t i = 0; i < b->pixels; i++) {
        e->tint[3 * i] = (uint8_t)(map[i] & 255);
        e->tint[3 * i + 1] = (uint8_t)(map[i] >> 8);
    }
    return e->tint;
}

static kh_status write_scene(const kh_broden *b, easelet *e, uint64_t index, kh_broden_row *row,
                             kh_error *err) {
    char name[256];
    KH_TRY(kh_diorama_render(e->diorama, index, e->rgb, e->labels, &row->scene, err));
    kh_broden_picture(&row->scene, name, sizeof name);
    KH_TRY(write_png(b, e, e->rgb, false, name, err));
    if (!e->labels) return KH_OK;
    count_labels(b, e->labels, row->counts);
    find_boxes(b, e->labels, row);
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        kh_broden_map(&row->scene, c, name, sizeof name);
        KH_TRY(write_png(b, e, map_as_rgb(b, e, c), true, name, err));
    }
    return KH_OK;
}

/* ---- all scenes ------------------------------------------------------------------------------ */

enum { SCENES_A_THREAD = 32 };

typedef struct window {
    const kh_broden *b;
    uint64_t begin; /* first scene of the window, counted in the set */
    easelet *easelets;
    kh_broden_row *rows;
} window;

static void render_one(void *arg, size_t task, size_t worker) {
    window *w = arg;
    kh_broden_row *row = &w->rows[task];
    row->why = (kh_error){KH_OK, ""};
    row->status = write_scene(w->b, &w->easelets[worker], kh_broden_index(w->b, w->begin + task),
                              row, &row->why);
}

static kh_status render_all(const kh_broden *b, kh_pool *pool, window *w, size_t room,
                            kh_broden_tables *tables, kh_error *err) {
    const uint64_t count = b->set.count;
    for (w->begin = 0; w->begin < count; w->begin += room) {
        const size_t now = count - w->begin < room ? (size_t)(count - w->begin) : room;
        kh_pool_run(pool, now, render_one, w);
        for (size_t i = 0; i < now; i++) {
            if (w->rows[i].status)
                return kh_fail(err, w->rows[i].status, "%s", w->rows[i].why.text);
            KH_TRY(kh_broden_tables_add(b, tables, &w->rows[i], err));
        }
        if (b->set.progress &&
            !b->set.progress(b->set.progress_user, "scenes", w->begin + now, count))
            return kh_fail(err, KH_E_STOPPED, "stopped after %llu of %llu scene%s",
                           (unsigned long long)(w->begin + now), (unsigned long long)count,
                           KH_S(count));
    }
    return KH_OK;
}

static kh_status write_set(const kh_broden *b, kh_error *err) {
    kh_pool *pool = NULL;
    KH_TRY(kh_pool_create(b->set.threads, &pool, err));
    const size_t threads = kh_pool_threads(pool), room = threads * SCENES_A_THREAD;
    window w = {.b = b};
    kh_broden_tables tables = {0};
    kh_status status = KH_OK;
    w.easelets = kh_calloc(threads, sizeof *w.easelets);
    w.rows = kh_calloc(room, sizeof *w.rows);
    uint32_t *counts = kh_calloc(room * (b->labels + 1), sizeof *counts);
    if (!w.easelets || !w.rows || !counts) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to render on %zu threads", threads);
        goto done;
    }
    for (size_t i = 0; i < room; i++)
        w.rows[i].counts = counts + i * (b->labels + 1);
    for (size_t i = 0; i < threads; i++)
        KH_GO(easelet_init(&w.easelets[i], b, err));
    KH_GO(kh_broden_folder_begin(b, err));
    KH_GO(kh_broden_tables_begin(b, &tables, err));
    status = render_all(b, pool, &w, room, &tables, err);
    const kh_status end = kh_broden_tables_end(b, &tables, !status, status ? NULL : err);
    if (!status) status = end;
    if (!status) status = kh_broden_folder_end(b, err);
done:
    for (size_t i = 0; w.easelets && i < threads; i++)
        easelet_clear(&w.easelets[i]);
    kh_free(counts);
    kh_free(w.rows);
    kh_free(w.easelets);
    kh_pool_free(pool);
    return status;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

uint64_t kh_broden_index(const kh_broden *b, uint64_t k) {
    const uint64_t at = b->first + k;
    return at / b->class_count * kh_diorama_class_count() + b->classes[at % b->class_count];
}

static kh_status choose_classes(kh_broden *b, kh_error *err) {
    const size_t all = kh_diorama_class_count();
    const kh_diorama_set *s = &b->set;
    b->class_count = s->classes ? s->class_count : all;
    if (b->class_count == 0 || b->class_count > all || all > KH_BRODEN_CLASSES)
        return kh_fail(err, KH_E_ARG, "%zu classes chosen of %zu", b->class_count, all);
    for (size_t i = 0; i < b->class_count; i++) {
        b->classes[i] = s->classes ? s->classes[i] : i;
        if (b->classes[i] >= all || (i > 0 && b->classes[i] <= b->classes[i - 1]))
            return kh_fail(err, KH_E_ARG, "classes must be ascending and below %zu", all);
    }
    b->first = s->start / all * b->class_count;
    for (size_t i = 0; i < b->class_count && b->classes[i] < s->start % all; i++)
        b->first++;
    return KH_OK;
}

static kh_status fill(kh_broden *b, const kh_diorama_set *set, kh_error *err) {
    *b = (kh_broden){.set = *set};
    if (!b->set.size) b->set.size = 96;
    if (set->count == 0 || set->count > KH_DIORAMA_MAX_COUNT)
        return kh_fail(err, KH_E_ARG, "a set holds 1 to %d scenes", KH_DIORAMA_MAX_COUNT);
    if (set->seed > INT64_MAX || set->start > (uint64_t)1 << 48)
        return kh_fail(err, KH_E_ARG, "seeds end at 2^63 - 1, scenes start at most at 2^48");
    b->labels = kh_diorama_label_count();
    b->pixels = (size_t)b->set.size * b->set.size;
    return choose_classes(b, err);
}

/* Of a file on the disk. */
static double rounded_up(size_t bytes) {
    return (double)((bytes + 4095) / 4096 * 4096);
}

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Adds a sampled scene to the digest; *bytes grows by what its files take. */
static kh_status sample(const kh_broden *b, easelet *e, uint64_t index, kh_sha256 *sha,
                        double *bytes, kh_error *err) {
    KH_TRY(kh_diorama_render(e->diorama, index, e->rgb, e->labels, NULL, err));
    bool ok = kh_sha256_add(sha, e->rgb, b->pixels * 3);
    if (e->labels)
        ok = ok &&
             kh_sha256_add(sha, e->labels, b->pixels * KH_DIORAMA_CATEGORIES * sizeof *e->labels);
    if (!ok) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    KH_TRY(write_png(b, e, e->rgb, false, NULL, err));
    *bytes += rounded_up(e->png.length);
    for (size_t c = 0; e->labels && c < KH_DIORAMA_CATEGORIES; c++) {
        KH_TRY(write_png(b, e, map_as_rgb(b, e, c), true, NULL, err));
        *bytes += rounded_up(e->png.length);
    }
    return KH_OK;
}

/* Fills fingerprint and cost from the set's first scenes, one of every class. */
static kh_status sample_set(kh_broden *b, kh_error *err) {
    easelet e = {0};
    kh_sha256 *sha = kh_sha256_create();
    kh_status status = sha ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    const uint64_t some = b->set.count < b->class_count ? b->set.count : b->class_count;
    const double share = (double)b->set.count / (double)some, started = seconds_now();
    if (!status) status = easelet_init(&e, b, err);
    for (uint64_t k = 0; k < some && !status; k++)
        status = sample(b, &e, kh_broden_index(b, k), sha, &b->cost.bytes, err);
    if (!status && !kh_sha256_finish(sha, b->fingerprint))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    b->cost.bytes *= share;
    b->cost.seconds = (seconds_now() - started) * share;
    b->cost.files = b->set.count * (b->set.no_labels ? 1 : 1 + KH_DIORAMA_CATEGORIES);
    easelet_clear(&e);
    kh_sha256_free(sha);
    return status;
}

kh_status kh_diorama_estimate(const kh_diorama_set *set, kh_diorama_cost *out, kh_error *err) {
    kh_broden b;
    KH_TRY(fill(&b, set, err));
    KH_TRY(sample_set(&b, err));
    *out = b.cost;
    return KH_OK;
}

/* Better now than after hours. Sets of little need not ask. */
static kh_status check_room(const kh_broden *b, kh_error *err) {
    struct statvfs disk;
    if (b->cost.bytes < 64e6 || statvfs(b->folder, &disk) != 0) return KH_OK;
    const double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (!(room < b->cost.bytes)) return KH_OK;
    return kh_fail(err, KH_E_IO, "the scenes need about %.1f GB, the disk has %.1f GB left",
                   b->cost.bytes / 1e9, room / 1e9);
}

kh_status kh_diorama_write(const kh_diorama_set *set, const char *folder, bool *was_there,
                           kh_error *err) {
    kh_broden b;
    bool is_complete = false;
    if (was_there) *was_there = false;
    KH_TRY(fill(&b, set, err));
    if ((size_t)snprintf(b.folder, sizeof b.folder, "%s", folder) >= sizeof b.folder)
        return kh_fail(err, KH_E_LIMIT, "the output folder's path is too long");
    KH_TRY(sample_set(&b, err));
    KH_TRY(kh_broden_folder_check(&b, &is_complete, err));
    if (was_there) *was_there = is_complete;
    if (is_complete) return KH_OK;
    KH_TRY(kh_make_directories(b.folder, err));
    KH_TRY(check_room(&b, err));
    return write_set(&b, err);
}
