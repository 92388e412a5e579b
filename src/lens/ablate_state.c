/* Unfinished studies as files, one for each round:
 *
 *     "KHABLAT1" | header bytes (u64) | header (JSON) | pieces, as they lie in memory | sha256
 * (hex)
 *
 * The header says whose state it is (fingerprint), how far the round is, and how long the pieces
 * are; the digest is over everything before it. A file is written whole and renamed over the old
 * one, so a study that is killed while it writes goes on from the state before. The second round's
 * numbers depend on the first one's, which may be done again: it keeps a digest of those.
 *
 * Random sets, partners and classes are drawn from seeds, classes and places alone, so nothing of
 * them is kept. */
#define _POSIX_C_SOURCE 200809L
#include "lens/ablate.h"
#include "lens/origin.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "io/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char magic[8] = {'K', 'H', 'A', 'B', 'L', 'A', 'T', '1'};
static const kh_json_limits header_limits = {8, 100000};
static const char *const file_names[] = {"first.state", "second.state"};

enum { MOST_HEADER = 1 << 24, MOST_PIECES = 20, PATH_BYTES = 4096 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are written as memory lies");

double kh_ablate_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static kh_status path_of(const char *folder, kh_ablate_round round, char out[PATH_BYTES],
                         kh_error *err) {
    if ((size_t)snprintf(out, PATH_BYTES, "%s/%s", folder, file_names[round]) < PATH_BYTES)
        return KH_OK;
    return kh_fail(err, KH_E_LIMIT, "the path of the state is too long");
}

/* ---- fingerprint --------------------------------------------------------------------------- */

static bool add_sizes(kh_sha256 *sha, const size_t *values, size_t count) {
    return kh_sha256_add(sha, values, count * sizeof *values);
}

/* What the caller says of its images: classes, and which are close relatives. */
static kh_status digest_of_classes(const kh_ablate_study *s, char out[65], kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    bool ok = sha && add_sizes(sha, s->asked_truth, s->asked);
    if (ok && s->o.is_relative) ok = kh_sha256_add(sha, s->o.is_relative, s->classes);
    ok = ok && kh_sha256_finish(sha, out);
    kh_sha256_free(sha);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

static json_t *sizes_json(const size_t *sizes, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)sizes[i]));
    return list;
}

/* Everything kept numbers depend on; resamples come after them. */
static json_t *settings_json(const kh_ablate_options *o, const char *label_maps) {
    json_t *ops = json_array();
    for (size_t i = 0; i < o->op_count; i++)
        json_array_append_new(ops, json_string(kh_ablate_op_name(o->ops[i])));
    return json_pack(
        "{s:I, s:s, s:o, s:f, s:s, s:s, s:b, s:I, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I}",
        "designs", (json_int_t)o->designs, "rank_by", kh_ablate_rank_name(o->rank), "op", ops,
        "alpha", o->alpha, "tokens", kh_ablate_tokens_name(o->tokens), "label_maps", label_maps,
        "majority", o->by_majority, "block", o->is_global ? (json_int_t)-1 : (json_int_t)o->block,
        "k", sizes_json(o->k, o->k_count), "sets", (json_int_t)o->sets, "sweep_k",
        sizes_json(o->sweep_k, o->sweep_k_count), "swap_k", (json_int_t)o->swap_k, "steer_k",
        (json_int_t)o->steer_k, "pairs", (json_int_t)o->pairs, "keys", (json_int_t)o->keys,
        "random_keys", (json_int_t)o->random_keys, "most_shared", (json_int_t)o->most_shared,
        "per_class", (json_int_t)o->per_class, "seed", (json_int_t)o->seed);
}

kh_status kh_ablate_begin_state(kh_ablate_study *s, kh_error *err) {
    char classes[65], maps[65] = "";
    if (!s->o.state) return KH_OK;
    s->saved_at = kh_ablate_seconds();
    KH_TRY(digest_of_classes(s, classes, err));
    if (kh_ablate_is_masked(s->o.tokens)) KH_TRY(kh_label_set_sha256(s->o.label_set, maps, err));
    s->fingerprint = json_pack(
        "{s:o, s:o, s:{s:I, s:s, s:s}, s:o, s:o}", "model", kh_origin_model(s->info), "preprocess",
        kh_origin_preprocess(&s->info->preprocess), "image_set", "images", (json_int_t)s->asked,
        "sha256", s->o.image_set ? s->o.image_set : "", "classes", classes, "settings",
        settings_json(&s->o, maps), "arithmetic", kh_origin_arithmetic(s->ctx));
    return s->fingerprint ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory to describe the study");
}

/* ---- what is kept -------------------------------------------------------------------------- */

typedef struct piece {
    void *data;
    size_t bytes;
} piece;

/* Of the first round: sums, and a line for every image. */
static size_t list_first(const kh_ablate_study *s, piece *out) {
    const size_t cells = s->groups * s->units, columns = s->classes * s->units, n = s->images;
    const piece pieces[] = {{s->sums, (s->classes + 1) * cells * sizeof *s->sums},
                            {s->magnitude, s->units * sizeof *s->magnitude},
                            {s->weighted, columns * sizeof *s->weighted},
                            {s->activation, columns * sizeof *s->activation},
                            {s->edited_of, s->classes * sizeof *s->edited_of},
                            {s->class_n, s->classes * sizeof *s->class_n},
                            {s->taken, s->classes * sizeof *s->taken},
                            {s->broken_at, s->broken * sizeof *s->broken_at},
                            {s->broken_maps_at, s->broken_maps * sizeof *s->broken_maps_at},
                            {s->index, n * sizeof *s->index},
                            {s->truth, n * sizeof *s->truth},
                            {s->predicted, n * sizeof *s->predicted},
                            {s->is_right, n},
                            {s->base_margin, n * sizeof *s->base_margin},
                            {s->masks, s->masks ? n * s->patches : 0}};
    memcpy(out, pieces, sizeof pieces);
    return sizeof pieces / sizeof *pieces;
}

/* Of the second round: rows of images, and sums over them. */
static size_t list_second(const kh_ablate_study *s, piece *out) {
    const size_t n = s->visited * sizeof(float);
    const size_t sweep = s->classes * s->o.sweep_k_count * KH_SWEEP_COLUMNS;
    const piece pieces[] = {
        {s->own, n * s->columns},
        {s->set_sums, 2 * s->columns * (s->o.sets + 1) * sizeof *s->set_sums},
        {s->sweep, s->sweep ? n * sweep : 0},
        {s->swap, s->swap ? n * s->o.pairs * KH_SWAP_COLUMNS : 0},
        {s->steer, s->steer ? n * 4 * KH_STEER_DOSES * KH_STEER_COLUMNS : 0},
        {s->causal, s->causal ? n * s->listed_count * KH_CAUSAL_COLUMNS : 0},
        {s->shared_values, s->shared_values ? n * s->shared_count * KH_SHARED_COLUMNS : 0}};
    memcpy(out, pieces, sizeof pieces);
    return sizeof pieces / sizeof *pieces;
}

static size_t list_pieces(const kh_ablate_study *s, kh_ablate_round round, piece *out) {
    return round == KH_ABLATE_FIRST ? list_first(s, out) : list_second(s, out);
}

/* What the second round builds on. */
static kh_status digest_of_first(const kh_ablate_study *s, char out[65], kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    const bool ok = sha && add_sizes(sha, s->index, s->images) &&
                    add_sizes(sha, s->predicted, s->images) &&
                    kh_sha256_add(sha, s->base_margin, s->images * sizeof *s->base_margin) &&
                    kh_sha256_add(sha, s->means, s->groups * s->units * sizeof *s->means) &&
                    (!s->masks || kh_sha256_add(sha, s->masks, s->images * s->patches)) &&
                    kh_sha256_finish(sha, out);
    kh_sha256_free(sha);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

/* ---- writing ------------------------------------------------------------------------------- */

typedef struct writer {
    kh_file_writer file;
    kh_sha256 *sha;
} writer;

static kh_status put(writer *w, const void *bytes, size_t count, kh_error *err) {
    if (count == 0) return KH_OK;
    if (!kh_sha256_add(w->sha, bytes, count))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return kh_file_put(&w->file, bytes, count, err);
}

static char *header_of(const kh_ablate_study *s, const char *first) {
    json_t *root =
        json_pack("{s:O, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "fingerprint",
                  s->fingerprint, "first", first, "images", (json_int_t)s->asked, "looked",
                  (json_int_t)s->next, "used", (json_int_t)s->images, "broken",
                  (json_int_t)s->broken, "unlabelled", (json_int_t)s->unlabelled, "unmasked",
                  (json_int_t)s->unmasked, "broken_maps", (json_int_t)s->broken_maps, "visited",
                  (json_int_t)s->visited, "variants", (json_int_t)s->engine.done);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static kh_status put_all(writer *w, const kh_ablate_study *s, kh_ablate_round round,
                         const char *header, kh_error *err) {
    piece pieces[MOST_PIECES];
    const uint64_t length = strlen(header);
    char digest[65];
    KH_TRY(put(w, magic, sizeof magic, err));
    KH_TRY(put(w, &length, sizeof length, err));
    KH_TRY(put(w, header, (size_t)length, err));
    const size_t count = list_pieces(s, round, pieces);
    for (size_t i = 0; i < count; i++)
        KH_TRY(put(w, pieces[i].data, pieces[i].bytes, err));
    if (!kh_sha256_finish(w->sha, digest))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return kh_file_put(&w->file, digest, 64, err);
}

static kh_status write_state(const kh_ablate_study *s, kh_ablate_round round, kh_error *err) {
    char path[PATH_BYTES], first[65] = "";
    KH_TRY(path_of(s->o.state, round, path, err));
    KH_TRY(kh_make_directories(s->o.state, err));
    if (round == KH_ABLATE_SECOND) KH_TRY(digest_of_first(s, first, err));
    char *header = header_of(s, first);
    writer w = {.sha = kh_sha256_create()};
    kh_status status = KH_OK;
    if (!header || !w.sha)
        status = kh_fail(err, KH_E_MEMORY, "no memory to write a state");
    else
        status = kh_file_begin(&w.file, path, err);
    if (!status) {
        const kh_status written = put_all(&w, s, round, header, err);
        const kh_status ended = kh_file_end(&w.file, !written, written ? NULL : err);
        status = written ? written : ended;
    }
    kh_sha256_free(w.sha);
    free(header);
    return status;
}

kh_status kh_ablate_save(kh_ablate_study *s, kh_ablate_round round, bool now, kh_error *err) {
    if (!s->fingerprint) return KH_OK;
    if (!now && kh_ablate_seconds() - s->saved_at < s->o.checkpoint_seconds) return KH_OK;
    KH_TRY(write_state(s, round, err));
    s->saved_at = kh_ablate_seconds();
    s->has_first |= round == KH_ABLATE_FIRST;
    return KH_OK;
}

kh_status kh_ablate_stop(kh_ablate_study *s, kh_ablate_round round, size_t done, size_t of,
                         kh_error *err) {
    if (done) KH_TRY(kh_ablate_save(s, round, true, err));
    return kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu image%s%s", done, of, KH_S(of),
                   s->fingerprint && done ? "; the same command goes on from there" : "");
}

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reader {
    FILE *file;
    kh_sha256 *sha;
    json_t *header;
    kh_ablate_left left;
    size_t broken, unlabelled, unmasked, broken_maps, variants;
    char shown[KH_SHOWN_BYTES];
} reader;

static kh_status damaged(const reader *r, const char *why, kh_error *err) {
    return kh_fail(err, KH_E_FORMAT,
                   "'%s' is damaged: %s; remove it, and the same command does its images again",
                   r->shown, why);
}

static kh_status get(reader *r, void *out, size_t count, kh_error *err) {
    if (count == 0) return KH_OK;
    if (fread(out, 1, count, r->file) != count) return damaged(r, "it ends early", err);
    if (!kh_sha256_add(r->sha, out, count))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return KH_OK;
}

static void close_reader(reader *r) {
    json_decref(r->header);
    kh_sha256_free(r->sha);
    if (r->file) (void)fclose(r->file);
}

static kh_status understand(reader *r, kh_error *err) {
    const struct {
        const char *key;
        size_t *to;
    } numbers[] = {{"images", &r->left.images}, {"looked", &r->left.looked},
                   {"used", &r->left.used},     {"visited", &r->left.visited},
                   {"broken", &r->broken},      {"unlabelled", &r->unlabelled},
                   {"unmasked", &r->unmasked},  {"broken_maps", &r->broken_maps},
                   {"variants", &r->variants}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!kh_json_size(json_object_get(r->header, numbers[i].key), numbers[i].to))
            return damaged(r, "its header lacks a number", err);
    const kh_ablate_left *l = &r->left;
    if (l->looked > l->images || l->used > l->looked || l->visited > l->used ||
        r->broken > l->looked - l->used || r->broken_maps > l->looked - l->used ||
        !json_object_get(r->header, "fingerprint"))
        return damaged(r, "its header contradicts itself", err);
    return KH_OK;
}

static kh_status read_header(reader *r, kh_error *err) {
    char start[sizeof magic];
    uint64_t length;
    KH_TRY(get(r, start, sizeof start, err));
    if (memcmp(start, magic, sizeof magic) != 0) return damaged(r, "it is no state", err);
    KH_TRY(get(r, &length, sizeof length, err));
    if (length > MOST_HEADER) return damaged(r, "its header is too long", err);
    char *text = kh_calloc((size_t)length + 1, 1);
    if (!text) return kh_fail(err, KH_E_MEMORY, "no memory for a state's header");
    kh_error why = {KH_OK, ""};
    kh_status status = get(r, text, (size_t)length, err);
    if (!status &&
        kh_json_parse_object(text, (size_t)length, header_limits, r->shown, &r->header, &why)) {
        status = why.code == KH_E_MEMORY ? kh_fail(err, KH_E_MEMORY, "%s", why.text)
                                         : damaged(r, "its header is none", err);
    }
    kh_free(text);
    return status ? status : understand(r, err);
}

/* A reader without a file: there is no state. Pair: close_reader. */
static kh_status open_reader(const char *folder, kh_ablate_round round, reader *r, kh_error *err) {
    char path[PATH_BYTES];
    *r = (reader){0};
    KH_TRY(path_of(folder, round, path, err));
    kh_shown(path, strlen(path), r->shown, sizeof r->shown);
    r->file = fopen(path, "rb");
    if (!r->file && errno == ENOENT) return KH_OK;
    if (!r->file) return kh_fail(err, KH_E_IO, "cannot open '%s': %s", r->shown, strerror(errno));
    r->sha = kh_sha256_create();
    return r->sha ? read_header(r, err) : kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

static kh_status check_digest(reader *r, kh_error *err) {
    char ours[65], theirs[65] = "";
    if (!kh_sha256_finish(r->sha, ours)) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    if (fread(theirs, 1, 64, r->file) != 64 || strcmp(ours, theirs) != 0)
        return damaged(r, "its digest is wrong", err);
    return fgetc(r->file) == EOF ? KH_OK : damaged(r, "something follows it", err);
}

/* Would these lines be written? Whoever can write a digest can write any. */
static bool is_plausible(const kh_ablate_study *s) {
    for (size_t i = 0; i < s->images; i++)
        if (s->index[i] >= s->next || (i && s->index[i] <= s->index[i - 1]) ||
            s->truth[i] >= s->classes || s->asked_truth[s->index[i]] != s->truth[i] ||
            s->predicted[i] >= s->classes)
            return false;
    for (size_t i = 0; i < s->broken; i++)
        if (s->broken_at[i] >= s->next) return false;
    for (size_t i = 0; i < s->broken_maps; i++)
        if (!s->masks || s->broken_maps_at[i] >= s->next) return false;
    return true;
}

/* Whoever reads images hears again of the broken ones, and can tell of them. */
static kh_status read_broken(kh_ablate_study *s, kh_error *err) {
    for (size_t i = 0; i < s->broken; i++) {
        bool is_broken = false;
        KH_TRY(s->read(s->user, s->broken_at[i], s->pixels, &is_broken, err));
        if (!is_broken)
            return kh_fail(err, KH_E_IO, "image %zu could not be read before, and now it can",
                           s->broken_at[i]);
    }
    return KH_OK;
}

static kh_status take_numbers(kh_ablate_study *s, kh_ablate_round round, const reader *r,
                              kh_error *err) {
    char first[65];
    KH_TRY(
        kh_origin_same(s->fingerprint, json_object_get(r->header, "fingerprint"), r->shown, err));
    if (round == KH_ABLATE_FIRST) {
        s->has_first = true;
        if (r->left.images != s->asked) return damaged(r, "its header contradicts itself", err);
        s->next = r->left.looked;
        s->images = r->left.used;
        s->broken = r->broken;
        s->unlabelled = r->unlabelled;
        s->unmasked = r->unmasked;
        s->broken_maps = r->broken_maps;
        return KH_OK;
    }
    const char *theirs = json_string_value(json_object_get(r->header, "first"));
    KH_TRY(digest_of_first(s, first, err));
    if (!theirs || strcmp(first, theirs) != 0 || r->left.used != s->images)
        return kh_fail(err, KH_E_ARG,
                       "'%s' was made when the images were others: their first round has changed",
                       r->shown);
    s->visited = r->left.visited;
    s->engine.done = r->variants;
    return KH_OK;
}

kh_status kh_ablate_load(kh_ablate_study *s, kh_ablate_round round, kh_error *err) {
    reader r;
    piece pieces[MOST_PIECES];
    if (!s->fingerprint) return KH_OK;
    kh_status status = open_reader(s->o.state, round, &r, err);
    if (status || !r.file) {
        close_reader(&r);
        return status;
    }
    status = take_numbers(s, round, &r, err);
    const size_t count = status ? 0 : list_pieces(s, round, pieces);
    for (size_t i = 0; i < count && !status; i++)
        status = get(&r, pieces[i].data, pieces[i].bytes, err);
    if (!status) status = check_digest(&r, err);
    if (!status && round == KH_ABLATE_FIRST && !is_plausible(s))
        status = damaged(&r, "its lines contradict the images", err);
    if (!status && round == KH_ABLATE_FIRST) status = read_broken(s, err);
    close_reader(&r);
    return status;
}

/* ---- from outside -------------------------------------------------------------------------- */

kh_status kh_ablate_look(const char *state, kh_ablate_left *out, kh_error *err) {
    bool is_there = false;
    *out = (kh_ablate_left){0};
    for (size_t round = 0; round < 2; round++) {
        reader r;
        const kh_status status = open_reader(state, (kh_ablate_round)round, &r, err);
        if (r.file) *out = r.left;
        is_there |= r.file != NULL;
        close_reader(&r);
        KH_TRY(status);
    }
    char shown[KH_SHOWN_BYTES];
    return is_there ? KH_OK
                    : kh_fail(err, KH_E_NOT_FOUND, "'%s' holds no unfinished study",
                              kh_shown(state, strlen(state), shown, sizeof shown));
}

/* A state, or what a kill left of one that was being written ("first.state.17.0.partial"). */
static bool is_ours(const char *name) {
    for (size_t round = 0; round < 2; round++) {
        const size_t length = strlen(file_names[round]);
        if (strncmp(name, file_names[round], length) == 0 &&
            (name[length] == '\0' || name[length] == '.'))
            return true;
    }
    return false;
}

kh_status kh_ablate_discard(const char *state, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    kh_status status = KH_OK;
    DIR *folder = opendir(state);
    if (!folder) return KH_OK;
    for (struct dirent *entry; (entry = readdir(folder)) && !status;)
        if (is_ours(entry->d_name) && unlinkat(dirfd(folder), entry->d_name, 0) != 0)
            status = kh_fail(err, KH_E_IO, "cannot remove '%s' in the state of a study: %s",
                             kh_shown(entry->d_name, strlen(entry->d_name), shown, sizeof shown),
                             strerror(errno));
    (void)closedir(folder);
    if (!status) (void)rmdir(state); /* stays when something else is in it */
    return status;
}
