/* Loading ahead: threads that read, decode and preprocess, and one reader that takes in order. */
#define _POSIX_C_SOURCE 200809L
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <pthread.h>
#include <string.h>

enum { DEFAULT_AHEAD = 16, MAX_THREADS = 64 };

/* One prepared image. Image `id` lives in slot id % ahead. */
typedef struct slot {
    bool is_ready;
    kh_status status;
    kh_error why;
    float *floats;
    kh_image bytes;
} slot;

struct kh_loader {
    const kh_source *source;
    kh_loader_options options;
    kh_decode_options decode; /* as asked, warnings behind a lock */
    size_t image_floats;

    slot *slots;
    pthread_t *threads;
    size_t started;

    pthread_mutex_t turn; /* whoever holds it takes the next id and, from an archive, its bytes */
    kh_archive_cursor cursor;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t next;     /* id to be taken by a worker */
    size_t consumed; /* id the reader holds or waits for */
    bool is_holding, quit;

    pthread_mutex_t warn_lock;
};

static void warn_in_turn(void *user, const char *text) {
    kh_loader *l = user;
    pthread_mutex_lock(&l->warn_lock);
    l->options.decode->warn(l->options.decode->warn_user, text);
    pthread_mutex_unlock(&l->warn_lock);
}

/* Waits until there is room; false when there is nothing left to take. Called with `turn` held. */
static bool take_id(kh_loader *l, size_t *id) {
    pthread_mutex_lock(&l->lock);
    while (!l->quit && l->next < l->options.end && l->next >= l->consumed + l->options.ahead)
        pthread_cond_wait(&l->changed, &l->lock);
    const bool has_one = !l->quit && l->next < l->options.end;
    if (has_one) *id = l->next++;
    pthread_mutex_unlock(&l->lock);
    return has_one;
}

static kh_status read_file(const kh_loader *l, const kh_source_item *item, unsigned char **bytes,
                           size_t *count, kh_error *err) {
    return kh_file_read(item->name, l->source->limits.max_image_bytes, bytes, count, err);
}

static kh_status prepare(kh_loader *l, slot *s, const unsigned char *bytes, size_t count) {
    kh_image decoded = {0}, fitted = {0};
    kh_error *err = &s->why;
    kh_status status = kh_image_decode(bytes, count, &l->decode, &l->source->limits, &decoded, err);
    if (!status) status = kh_preprocess_bytes(l->options.how, &decoded, &fitted, err);
    kh_image_clear(&decoded);
    if (!status)
        status = kh_preprocess_floats(l->options.how, &fitted, s->floats, l->image_floats, err);
    if (!status && l->options.keeps_bytes)
        s->bytes = fitted;
    else
        kh_image_clear(&fitted);
    return status;
}

static void *work(void *arg) {
    kh_loader *l = arg;
    for (;;) {
        size_t id, count = 0;
        unsigned char *bytes = NULL;
        kh_status status = KH_OK;
        pthread_mutex_lock(&l->turn);
        const bool has_one = take_id(l, &id);
        slot *s = has_one ? &l->slots[id % l->options.ahead] : NULL;
        const kh_source_item *item = has_one ? &l->source->items[id] : NULL;
        if (has_one) {
            kh_image_clear(&s->bytes);
            s->why = (kh_error){KH_OK, ""};
            if (item->archive != SIZE_MAX)
                status =
                    kh_archive_read_image(&l->cursor, l->source, item, &bytes, &count, &s->why);
        }
        pthread_mutex_unlock(&l->turn);
        if (!has_one) return NULL;
        const bool is_set_broken = item->archive != SIZE_MAX && status == KH_E_IO;
        if (item->archive == SIZE_MAX) status = read_file(l, item, &bytes, &count, &s->why);
        if (!status) status = prepare(l, s, bytes, count);
        kh_free(bytes);
        pthread_mutex_lock(&l->lock);
        s->status = status;
        s->is_ready = true;
        if (is_set_broken) l->quit = true;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
}

static kh_status allocate(kh_loader *l, kh_error *err) {
    const kh_preprocess *how = l->options.how;
    l->image_floats = 3 * how->height * how->width;
    l->slots = kh_calloc(l->options.ahead, sizeof *l->slots);
    l->threads = kh_calloc(l->options.threads, sizeof *l->threads);
    bool ok = l->slots && l->threads;
    for (size_t i = 0; i < l->options.ahead && ok; i++)
        ok = (l->slots[i].floats = kh_alloc_floats(l->image_floats)) != NULL;
    if (ok) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory to hold %zu images ahead", l->options.ahead);
}

static kh_status start(kh_loader *l, kh_error *err) {
    while (l->started < l->options.threads) {
        const int failed = pthread_create(&l->threads[l->started], NULL, work, l);
        if (failed && l->started == 0)
            return kh_fail(err, KH_E_MEMORY, "cannot start a thread to read images: %s",
                           strerror(failed));
        if (failed) break; /* fewer are slower and just as right */
        l->started++;
    }
    return KH_OK;
}

kh_status kh_loader_create(const kh_source *source, const kh_loader_options *options,
                           kh_loader **out, kh_error *err) {
    *out = NULL;
    if (options->first > options->end || options->end > source->count)
        return kh_fail(err, KH_E_ARG, "images %zu to %zu of %zu", options->first, options->end,
                       source->count);
    kh_loader *l = kh_calloc(1, sizeof *l);
    if (!l) return kh_fail(err, KH_E_MEMORY, "no memory to load images");
    l->source = source;
    l->options = *options;
    if (l->options.threads == 0) l->options.threads = 1;
    if (l->options.threads > MAX_THREADS) l->options.threads = MAX_THREADS;
    if (l->options.ahead == 0) l->options.ahead = DEFAULT_AHEAD;
    if (options->decode) l->decode = *options->decode;
    if (l->decode.warn) {
        l->decode.warn = warn_in_turn;
        l->decode.warn_user = l;
    }
    l->next = l->consumed = options->first;
    pthread_mutex_init(&l->turn, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->warn_lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    kh_status status = allocate(l, err);
    if (!status) status = start(l, err);
    if (status)
        kh_loader_free(l);
    else
        *out = l;
    return status;
}

kh_status kh_loader_next(kh_loader *l, kh_loaded *out, bool *more, kh_error *err) {
    *out = (kh_loaded){0};
    pthread_mutex_lock(&l->lock);
    if (l->is_holding) {
        l->slots[l->consumed % l->options.ahead].is_ready = false;
        l->consumed++;
        l->is_holding = false;
        pthread_cond_broadcast(&l->changed);
    }
    *more = l->consumed < l->options.end;
    slot *s = &l->slots[l->consumed % l->options.ahead];
    while (*more && !s->is_ready)
        pthread_cond_wait(&l->changed, &l->lock);
    l->is_holding = *more;
    pthread_mutex_unlock(&l->lock);
    if (!*more) return KH_OK;
    const kh_source_item *item = &l->source->items[l->consumed];
    if (s->status == KH_E_MEMORY || (s->status == KH_E_IO && item->archive != SIZE_MAX))
        return kh_fail(err, s->status, "%s", s->why.text);
    out->id = l->consumed;
    out->status = s->status;
    out->reason = s->status ? s->why.text : NULL;
    out->floats = s->status ? NULL : s->floats;
    out->bytes = s->status || !l->options.keeps_bytes ? NULL : &s->bytes;
    return KH_OK;
}

void kh_loader_free(kh_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < l->started; i++)
        (void)pthread_join(l->threads[i], NULL);
    kh_archive_cursor_clear(&l->cursor);
    for (size_t i = 0; l->slots && i < l->options.ahead; i++) {
        kh_free(l->slots[i].floats);
        kh_image_clear(&l->slots[i].bytes);
    }
    kh_free(l->slots);
    kh_free(l->threads);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->warn_lock);
    pthread_mutex_destroy(&l->lock);
    pthread_mutex_destroy(&l->turn);
    kh_free(l);
}
