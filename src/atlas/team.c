/* One run on several ranks. Everything two ranks say to each other is in this file. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/team.h"

#include "base/alloc.h"
#include "lens/origin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNK_BYTES = 512 << 10 };

bool kh_team_is_many(const kh_team *team) {
    return team && team->size > 1;
}

static kh_status give(const kh_team *team, size_t to, const void *bytes, size_t count,
                      kh_error *err) {
    return team->send(team->user, to, KH_TEAM_DATA, bytes, count, err);
}

static kh_status take(const kh_team *team, size_t from, void *bytes, size_t count, kh_error *err) {
    return team->receive(team->user, from, KH_TEAM_DATA, bytes, count, err);
}

static size_t chunk_of(uint64_t left) {
    return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

static kh_status give_text(const kh_team *team, size_t to, const char *text, uint64_t length,
                           kh_error *err) {
    for (uint64_t at = 0; at < length; at += CHUNK_BYTES)
        KH_TRY(give(team, to, text + at, chunk_of(length - at), err));
    return KH_OK;
}

/* *out: with one NUL more; kh_free. Without memory for it the text is still received, or the other
 * end would wait for ever. */
static kh_status take_text(const kh_team *team, size_t from, uint64_t length, char **out,
                           kh_error *err) {
    char trash[CHUNK_BYTES];
    *out = kh_calloc((size_t)length + 1, 1);
    for (uint64_t at = 0; at < length; at += CHUNK_BYTES)
        KH_TRY(take(team, from, *out ? *out + at : trash, chunk_of(length - at), err));
    return *out ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for what rank %zu says", from);
}

/* ---- one answer for all -------------------------------------------------------------------- */

/* Who speaks: the first that really failed, else the first that was asked to stop. */
static kh_status hear_all(const kh_team *team, kh_status mine, uint64_t *speaker, kh_error *err) {
    uint64_t stopped = UINT64_MAX;
    *speaker = UINT64_MAX;
    for (size_t rank = 0; rank < team->size; rank++) {
        uint64_t status = (uint64_t)mine;
        if (rank > 0) KH_TRY(take(team, rank, &status, sizeof status, err));
        if (status == KH_E_STOPPED && stopped == UINT64_MAX) stopped = rank;
        if (status != KH_OK && status != KH_E_STOPPED && *speaker == UINT64_MAX) *speaker = rank;
    }
    if (*speaker == UINT64_MAX) *speaker = stopped;
    return KH_OK;
}

kh_status kh_team_agree(const kh_team *team, kh_status status, kh_error *err) {
    if (!kh_team_is_many(team)) return status;
    const uint64_t mine = (uint64_t)status;
    uint64_t speaker = UINT64_MAX;
    if (team->rank > 0)
        KH_TRY(give(team, 0, &mine, sizeof mine, err));
    else
        KH_TRY(hear_all(team, status, &speaker, err));
    KH_TRY(kh_team_share(team, &speaker, sizeof speaker, err));
    if (speaker == UINT64_MAX) return KH_OK;
    if (speaker != team->rank) return kh_fail(err, KH_E_STOPPED, "%s", "");
    if (team->rank == 0) return status;
    return kh_error_context(err, status, "rank %zu of %zu", team->rank, team->size);
}

kh_status kh_team_share(const kh_team *team, void *bytes, size_t count, kh_error *err) {
    if (!kh_team_is_many(team)) return KH_OK;
    if (team->rank > 0) return take(team, 0, bytes, count, err);
    for (size_t rank = 1; rank < team->size; rank++)
        KH_TRY(give(team, rank, bytes, count, err));
    return KH_OK;
}

kh_status kh_team_share_ranges(const kh_team *team, kh_ranges *ranges, kh_error *err) {
    uint64_t count = ranges->count;
    kh_range_ids one;
    if (!kh_team_is_many(team)) return KH_OK;
    KH_TRY(kh_team_share(team, &count, sizeof count, err));
    kh_status status = KH_OK;
    for (uint64_t i = 0; i < count; i++) {
        if (team->rank == 0) one = ranges->items[i];
        KH_TRY(kh_team_share(team, &one, sizeof one, err));
        if (team->rank > 0 && !status) status = kh_ranges_add(ranges, one.first, one.end, err);
    }
    return status;
}

static kh_status compare(const json_t *ours, const char *text, uint64_t length, kh_error *err) {
    const kh_json_limits limits = {8, 100000};
    json_t *theirs = NULL;
    KH_TRY(kh_json_parse_object(text, (size_t)length, limits, "what rank 0 does", &theirs, err));
    const kh_status status = kh_origin_same(ours, theirs, "rank 0", err);
    json_decref(theirs);
    return status;
}

kh_status kh_team_same_run(const kh_team *team, const json_t *fingerprint, kh_error *err) {
    if (!kh_team_is_many(team)) return KH_OK;
    char *text = team->rank == 0 ? json_dumps(fingerprint, JSON_COMPACT) : NULL;
    uint64_t length = text ? strlen(text) : 0;
    kh_status status = kh_team_share(team, &length, sizeof length, err);
    if (team->rank > 0) {
        char *theirs = NULL;
        if (!status && length > 0) status = take_text(team, 0, length, &theirs, err);
        if (!status && length > 0) status = compare(fingerprint, theirs, length, err);
        kh_free(theirs);
        return status; /* with no length rank 0 speaks for itself */
    }
    for (size_t rank = 1; rank < team->size && text && !status; rank++)
        status = give_text(team, rank, text, length, err);
    free(text);
    return status || length > 0 ? status
                                : kh_fail(err, KH_E_MEMORY, "no memory to describe the run");
}

/* ---- news ---------------------------------------------------------------------------------- */

/* Rank 0 hears many of these from every rank, the last one with has_ended; every other rank hears
 * exactly one: stop, or everybody is through. So no message is left over at the end. */
typedef struct news {
    uint64_t done;
    uint32_t has_ended, should_stop;
} news;

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static kh_status say(const kh_team *team, size_t to, const news *n, kh_error *err) {
    return team->send(team->user, to, KH_TEAM_NEWS, n, sizeof *n, err);
}

static kh_status hear(const kh_team *team, size_t from, news *n, kh_error *err) {
    return team->receive(team->user, from, KH_TEAM_NEWS, n, sizeof *n, err);
}

void kh_watch_clear(kh_watch *w) {
    kh_free(w->done);
    kh_free(w->has_ended);
    *w = (kh_watch){0};
}

kh_status kh_watch_begin(kh_watch *w, const kh_team *team, kh_error *err) {
    *w = (kh_watch){.team = team};
    const size_t size = kh_team_is_many(team) ? team->size : 1;
    w->done = kh_calloc(size, sizeof *w->done);
    w->has_ended = kh_calloc(size, sizeof *w->has_ended);
    if (w->done && w->has_ended) return KH_OK;
    kh_watch_clear(w);
    return kh_fail(err, KH_E_MEMORY, "no memory for a team of %zu", size);
}

static uint64_t sum_of(const kh_watch *w) {
    const size_t size = kh_team_is_many(w->team) ? w->team->size : 1;
    uint64_t all = 0;
    for (size_t rank = 0; rank < size; rank++)
        all += w->done[rank];
    return all;
}

/* Rank 0's word to everyone, once. */
static kh_status dismiss(kh_watch *w, bool should_stop, kh_error *err) {
    const news n = {.has_ended = 1, .should_stop = should_stop};
    w->is_stopped |= should_stop;
    if (w->has_heard) return KH_OK;
    w->has_heard = true;
    for (size_t rank = 1; rank < w->team->size; rank++)
        KH_TRY(say(w->team, rank, &n, err));
    return KH_OK;
}

/* What lies in rank 0's letter box. */
static kh_status read_news(kh_watch *w, kh_error *err) {
    const kh_team *team = w->team;
    for (size_t rank = 1; rank < team->size; rank++)
        while (!w->has_ended[rank] && team->poll(team->user, rank, KH_TEAM_NEWS)) {
            news n;
            KH_TRY(hear(team, rank, &n, err));
            w->done[rank] = n.done;
            w->has_ended[rank] = n.has_ended != 0;
            if (n.should_stop) KH_TRY(dismiss(w, true, err));
        }
    return KH_OK;
}

static kh_status hear_rank_0(kh_watch *w, kh_error *err) {
    news n;
    KH_TRY(hear(w->team, 0, &n, err));
    w->has_heard = true;
    w->is_stopped |= n.should_stop != 0;
    return KH_OK;
}

bool kh_watch_tell(kh_watch *w, uint64_t done, uint64_t *all) {
    const kh_team *team = w->team;
    const size_t rank = kh_team_is_many(team) ? team->rank : 0;
    w->done[rank] = done;
    kh_status status = KH_OK;
    if (!kh_team_is_many(team)) {
        *all = done;
        return true;
    }
    if (rank == 0) {
        status = read_news(w, NULL);
    } else {
        const double now = seconds_now();
        const news n = {.done = done};
        if (now - w->told >= 0.1) {
            status = say(team, 0, &n, NULL);
            w->told = now;
        }
        if (!status && !w->has_heard && team->poll(team->user, 0, KH_TEAM_NEWS))
            status = hear_rank_0(w, NULL);
    }
    *all = sum_of(w);
    return !status && !w->is_stopped;
}

void kh_watch_stop(kh_watch *w) {
    const news n = {.done = w->done[w->team->rank], .should_stop = 1};
    if (w->is_stopped) return;
    if (w->team->rank == 0)
        (void)dismiss(w, true, NULL);
    else
        (void)say(w->team, 0, &n, NULL);
    w->is_stopped = true;
}

static bool have_all_ended(const kh_watch *w) {
    for (size_t rank = 1; rank < w->team->size; rank++)
        if (!w->has_ended[rank]) return false;
    return true;
}

static kh_status wait_for_all(kh_watch *w, kh_waiting_fn waiting, void *user, kh_error *err) {
    KH_TRY(read_news(w, err));
    while (!have_all_ended(w)) {
        const struct timespec nap = {0, 5000000};
        (void)nanosleep(&nap, NULL);
        KH_TRY(read_news(w, err));
        if (!waiting(user, sum_of(w))) KH_TRY(dismiss(w, true, err));
    }
    (void)waiting(user, sum_of(w));
    return dismiss(w, w->is_stopped, err);
}

kh_status kh_watch_end(kh_watch *w, bool has_failed, kh_waiting_fn waiting, void *user,
                       uint64_t *all, kh_error *err) {
    const kh_team *team = w->team;
    kh_status status = KH_OK;
    if (kh_team_is_many(team) && team->rank == 0) {
        if (has_failed) status = dismiss(w, true, err);
        if (!status) status = wait_for_all(w, waiting, user, err);
    } else if (kh_team_is_many(team)) {
        const news n = {.done = w->done[team->rank], .has_ended = 1, .should_stop = has_failed};
        status = say(team, 0, &n, err);
        if (!status && !w->has_heard) status = hear_rank_0(w, err);
    }
    *all = sum_of(w);
    return status;
}

/* ---- merging ------------------------------------------------------------------------------- */

/* What follows is: the length of a description (0: this rank could not make one), the description,
 * and all pieces in chunks. */
static kh_status give_state(const kh_team *team, size_t to, const kh_atlas_job *job,
                            const kh_piece *pieces, size_t count, kh_error *err) {
    char *text = kh_state_describe(&job->head, pieces, count);
    const uint64_t length = text ? strlen(text) : 0;
    kh_status status = give(team, to, &length, sizeof length, err);
    if (!text) return kh_fail(err, KH_E_MEMORY, "no memory to describe a state");
    if (!status) status = give_text(team, to, text, length, err);
    free(text);
    for (size_t i = 0; i < count && !status; i++) {
        const unsigned char *data = pieces[i].data;
        const size_t bytes = kh_piece_element_bytes(pieces[i].rule);
        const size_t step = kh_piece_step(&pieces[i], CHUNK_BYTES);
        for (size_t first = 0; first < pieces[i].count && !status; first += step) {
            const size_t n = pieces[i].count - first < step ? pieces[i].count - first : step;
            status = give(team, to, data + first * bytes, n * bytes, err);
        }
    }
    return status;
}

static kh_status take_head(const kh_team *team, size_t from, kh_atlas_job *job, uint64_t length,
                           kh_error *err) {
    kh_state_head head = {0};
    char *text = NULL;
    kh_status status = take_text(team, from, length, &text, err);
    if (!status) status = kh_state_understand(text, (size_t)length, "another rank", &head, err);
    if (!status) status = kh_state_join(&job->head, &head, err);
    kh_state_head_clear(&head);
    kh_free(text);
    return status;
}

/* After a failure the rest is still received, or the sender would wait for ever. */
static kh_status take_state(const kh_team *team, size_t from, kh_atlas_job *job,
                            const kh_piece *pieces, size_t count, kh_error *err) {
    _Alignas(16) unsigned char buffer[CHUNK_BYTES];
    uint64_t length = 0;
    KH_TRY(take(team, from, &length, sizeof length, err));
    if (length == 0) return KH_OK; /* the sender speaks for itself */
    kh_status status = take_head(team, from, job, length, err);
    for (size_t i = 0; i < count; i++) {
        const size_t bytes = kh_piece_element_bytes(pieces[i].rule);
        const size_t step = kh_piece_step(&pieces[i], CHUNK_BYTES);
        for (size_t first = 0; first < pieces[i].count; first += step) {
            const size_t n = pieces[i].count - first < step ? pieces[i].count - first : step;
            const kh_status came = take(team, from, buffer, n * bytes, status ? NULL : err);
            if (!status) status = came;
            if (!status) status = kh_piece_absorb(&pieces[i], first, buffer, n, err);
        }
    }
    return status;
}

kh_status kh_team_merge(const kh_team *team, kh_atlas_job *job, kh_error *err) {
    kh_piece pieces[KH_ATLAS_MAX_LENSES * KH_LENS_MAX_PIECES];
    if (!kh_team_is_many(team)) return KH_OK;
    const size_t count = kh_atlas_pieces(job, pieces), rank = team->rank;
    kh_status status = KH_OK;
    /* round by round the upper half of every group gives what it has to the lower half */
    for (size_t step = 1; step < team->size; step *= 2) {
        kh_error *say = status ? NULL : err;
        kh_status now = KH_OK;
        if (rank % (2 * step) != 0)
            now = give_state(team, rank - step, job, pieces, count, say);
        else if (rank + step < team->size)
            now = take_state(team, rank + step, job, pieces, count, say);
        if (!status) status = now;
        if (rank % (2 * step) != 0) break;
    }
    return status;
}
