/* State files: see state.h for the layout. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/state.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "io/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = {'K', 'H', 'S', 'T', 'A', 'T', 'E', '1'};
static const kh_json_limits header_limits = {8, 20000000};

enum { MAX_HEADER_BYTES = 1 << 30, CHUNK_BYTES = 1 << 20 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are written as memory lies");

/* ---- heads --------------------------------------------------------------------------------- */

static void free_list(kh_broken *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        kh_free(list[i].reason);
    kh_free(list);
}

void kh_state_head_clear(kh_state_head *head) {
    json_decref(head->fingerprint);
    kh_ranges_clear(&head->covered);
    free_list(head->broken, head->broken_count);
    free_list(head->broken_maps, head->broken_maps_count);
    *head = (kh_state_head){0};
}

static kh_status add_to(kh_broken **list, size_t *count, uint64_t id, const char *reason,
                        kh_error *err) {
    kh_broken *grown = kh_realloc(*list, *count + 1, sizeof *grown);
    if (grown) *list = grown;
    char *copy = grown ? kh_strdup(reason) : NULL;
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory to remember a broken image");
    grown[(*count)++] = (kh_broken){id, copy};
    return KH_OK;
}

kh_status kh_state_add_broken(kh_state_head *head, uint64_t id, const char *reason, kh_error *err) {
    return add_to(&head->broken, &head->broken_count, id, reason, err);
}

kh_status kh_state_add_broken_maps(kh_state_head *head, uint64_t id, const char *reason,
                                   kh_error *err) {
    return add_to(&head->broken_maps, &head->broken_maps_count, id, reason, err);
}

static int compare_broken(const void *left, const void *right) {
    const kh_broken *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

void kh_state_sort_broken(kh_state_head *head) {
    if (head->broken_count)
        qsort(head->broken, head->broken_count, sizeof *head->broken, compare_broken);
    if (head->broken_maps_count)
        qsort(head->broken_maps, head->broken_maps_count, sizeof *head->broken_maps,
              compare_broken);
}

kh_status kh_state_forget_broken(kh_state_head *head, kh_error *err) {
    kh_ranges left = {0};
    kh_status status = KH_OK;
    size_t next = 0;
    kh_state_sort_broken(head);
    for (size_t i = 0; i < head->covered.count && !status; i++) {
        uint64_t at = head->covered.items[i].first;
        const uint64_t end = head->covered.items[i].end;
        for (; next < head->broken_count && head->broken[next].id < end && !status; next++) {
            if (head->broken[next].id < at) continue;
            status = kh_ranges_add(&left, at, head->broken[next].id, err);
            at = head->broken[next].id + 1;
        }
        if (!status) status = kh_ranges_add(&left, at, end, err);
    }
    kh_ranges_clear(status ? &left : &head->covered);
    if (status) return status;
    head->covered = left;
    free_list(head->broken, head->broken_count);
    head->broken = NULL;
    head->broken_count = 0;
    return KH_OK;
}

kh_status kh_state_join(kh_state_head *head, const kh_state_head *other, kh_error *err) {
    for (size_t i = 0; i < other->covered.count; i++)
        KH_TRY(kh_ranges_add(&head->covered, other->covered.items[i].first,
                             other->covered.items[i].end, err));
    for (size_t i = 0; i < other->broken_count; i++)
        KH_TRY(kh_state_add_broken(head, other->broken[i].id, other->broken[i].reason, err));
    for (size_t i = 0; i < other->broken_maps_count; i++)
        KH_TRY(kh_state_add_broken_maps(head, other->broken_maps[i].id,
                                        other->broken_maps[i].reason, err));
    return KH_OK;
}

/* ---- writing ------------------------------------------------------------------------------- */

static json_t *list_json(const kh_broken *list, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            array, json_pack("[I, o]", (json_int_t)list[i].id, kh_json_text(list[i].reason)));
    return array;
}

static json_t *head_json(const kh_state_head *head, const kh_piece *pieces, size_t count) {
    json_t *ranges = json_array(), *list = json_array();
    for (size_t i = 0; i < head->covered.count; i++)
        json_array_append_new(ranges, json_pack("[I, I]", (json_int_t)head->covered.items[i].first,
                                                (json_int_t)head->covered.items[i].end));
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("[s, i, I, I]", pieces[i].name, (int)pieces[i].rule,
                                        (json_int_t)pieces[i].count, (json_int_t)pieces[i].k));
    return json_pack("{s:O, s:o, s:o, s:o, s:o}", "fingerprint", head->fingerprint, "ranges",
                     ranges, "broken", list_json(head->broken, head->broken_count), "broken_maps",
                     list_json(head->broken_maps, head->broken_maps_count), "pieces", list);
}

char *kh_state_describe(const kh_state_head *head, const kh_piece *pieces, size_t count) {
    json_t *root = head_json(head, pieces, count);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

typedef struct writer {
    kh_file_writer file;
    kh_sha256 *sha;
} writer;

static kh_status put(writer *w, const void *bytes, size_t count, kh_error *err) {
    if (!kh_sha256_add(w->sha, bytes, count))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return kh_file_put(&w->file, bytes, count, err);
}

static kh_status put_all(writer *w, const char *header, const kh_piece *pieces, size_t count,
                         kh_error *err) {
    const uint64_t length = strlen(header);
    char digest[65];
    KH_TRY(put(w, magic, sizeof magic, err));
    KH_TRY(put(w, &length, sizeof length, err));
    KH_TRY(put(w, header, (size_t)length, err));
    for (size_t i = 0; i < count; i++)
        KH_TRY(
            put(w, pieces[i].data, pieces[i].count * kh_piece_element_bytes(pieces[i].rule), err));
    if (!kh_sha256_finish(w->sha, digest))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return kh_file_put(&w->file, digest, 64, err);
}

kh_status kh_state_write(const char *path, const kh_state_head *head, const kh_piece *pieces,
                         size_t count, kh_error *err) {
    char *header = kh_state_describe(head, pieces, count);
    writer w = {.sha = kh_sha256_create()};
    kh_status status = KH_OK;
    if (!header || !w.sha)
        status = kh_fail(err, KH_E_MEMORY, "no memory to write a state");
    else
        status = kh_file_begin(&w.file, path, err);
    if (!status) {
        const kh_status written = put_all(&w, header, pieces, count, err);
        const kh_status ended = kh_file_end(&w.file, !written, written ? NULL : err);
        status = written ? written : ended;
    }
    kh_sha256_free(w.sha);
    free(header);
    return status;
}

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reader {
    FILE *file;
    kh_sha256 *sha;
    char shown[KH_SHOWN_BYTES];
} reader;

static kh_status damaged(const reader *r, const char *why, kh_error *err) {
    return kh_fail(err, KH_E_FORMAT,
                   "'%s' is damaged: %s; remove it, and the same command does its images again",
                   r->shown, why);
}

static kh_status get(reader *r, void *out, size_t count, kh_error *err) {
    if (fread(out, 1, count, r->file) != count) return damaged(r, "it ends early", err);
    if (r->sha && !kh_sha256_add(r->sha, out, count))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return KH_OK;
}

static kh_status open_reader(const char *path, bool has_digest, reader *r, kh_error *err) {
    *r = (reader){.file = fopen(path, "rb")};
    kh_shown(path, strlen(path), r->shown, sizeof r->shown);
    if (!r->file)
        return kh_fail(err, errno == ENOENT ? KH_E_NOT_FOUND : KH_E_IO, "cannot open '%s': %s",
                       r->shown, strerror(errno));
    if (!has_digest || (r->sha = kh_sha256_create())) return KH_OK;
    (void)fclose(r->file);
    return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

static void close_reader(reader *r) {
    kh_sha256_free(r->sha);
    (void)fclose(r->file);
}

static kh_status read_header(reader *r, json_t **out, kh_error *err) {
    char start[sizeof magic];
    uint64_t length;
    KH_TRY(get(r, start, sizeof start, err));
    if (memcmp(start, magic, sizeof magic) != 0) return damaged(r, "it is no state", err);
    KH_TRY(get(r, &length, sizeof length, err));
    if (length > MAX_HEADER_BYTES) return damaged(r, "its header is too long", err);
    char *text = kh_calloc((size_t)length + 1, 1);
    if (!text) return kh_fail(err, KH_E_MEMORY, "no memory for a state's header");
    kh_status status = get(r, text, (size_t)length, err);
    if (!status)
        status = kh_json_parse_object(text, (size_t)length, header_limits, r->shown, out, err);
    kh_free(text);
    return status;
}

static kh_status list_of(const reader *r, const json_t *array, kh_broken **list, size_t *count,
                         kh_error *err) {
    size_t i;
    const json_t *item;
    json_array_foreach(array, i, item) {
        size_t id;
        const char *reason = json_string_value(json_array_get(item, 1));
        if (!kh_json_size(json_array_get(item, 0), &id) || !reason)
            return damaged(r, "its list of broken images is none", err);
        KH_TRY(add_to(list, count, id, reason, err));
    }
    return KH_OK;
}

static kh_status head_of(const reader *r, json_t *root, kh_state_head *out, kh_error *err) {
    size_t i;
    json_t *item;
    json_t *fingerprint = json_object_get(root, "fingerprint");
    if (!json_is_object(fingerprint)) return damaged(r, "it does not say whose it is", err);
    out->fingerprint = json_incref(fingerprint);
    json_array_foreach(json_object_get(root, "ranges"), i, item) {
        size_t first, end;
        if (!kh_json_size(json_array_get(item, 0), &first) ||
            !kh_json_size(json_array_get(item, 1), &end))
            return damaged(r, "its ranges are none", err);
        KH_TRY(kh_ranges_add(&out->covered, first, end, err));
    }
    KH_TRY(list_of(r, json_object_get(root, "broken"), &out->broken, &out->broken_count, err));
    return list_of(r, json_object_get(root, "broken_maps"), &out->broken_maps,
                   &out->broken_maps_count, err);
}

kh_status kh_state_understand(const char *text, size_t count, const char *from, kh_state_head *out,
                              kh_error *err) {
    reader r = {0};
    json_t *root = NULL;
    *out = (kh_state_head){0};
    kh_shown(from, strlen(from), r.shown, sizeof r.shown);
    KH_TRY(kh_json_parse_object(text, count, header_limits, r.shown, &root, err));
    const kh_status status = head_of(&r, root, out, err);
    json_decref(root);
    if (status) kh_state_head_clear(out);
    return status;
}

kh_status kh_state_read_head(const char *path, kh_state_head *out, kh_error *err) {
    reader r;
    json_t *root = NULL;
    *out = (kh_state_head){0};
    KH_TRY(open_reader(path, false, &r, err));
    kh_status status = read_header(&r, &root, err);
    if (!status) status = head_of(&r, root, out, err);
    json_decref(root);
    close_reader(&r);
    if (status) kh_state_head_clear(out);
    return status;
}

static kh_status check_pieces(const reader *r, const json_t *root, const kh_piece *pieces,
                              size_t count, kh_error *err) {
    const json_t *list = json_object_get(root, "pieces");
    bool is_same = json_array_size(list) == count;
    for (size_t i = 0; i < count && is_same; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_array_get(item, 0));
        size_t rule = 0, n = 0, k = 0;
        is_same = name && strcmp(name, pieces[i].name) == 0 &&
                  kh_json_size(json_array_get(item, 1), &rule) && rule == pieces[i].rule &&
                  kh_json_size(json_array_get(item, 2), &n) && n == pieces[i].count &&
                  kh_json_size(json_array_get(item, 3), &k) && k == pieces[i].k;
    }
    if (is_same) return KH_OK;
    return kh_fail(err, KH_E_ARG, "'%s' holds the state of other lenses", r->shown);
}

static kh_status absorb_piece(reader *r, const kh_piece *piece, unsigned char *buffer,
                              kh_error *err) {
    const size_t bytes = kh_piece_element_bytes(piece->rule);
    const size_t step = kh_piece_step(piece, CHUNK_BYTES);
    for (size_t first = 0; first < piece->count; first += step) {
        const size_t n = piece->count - first < step ? piece->count - first : step;
        KH_TRY(get(r, buffer, n * bytes, err));
        KH_TRY(kh_piece_absorb(piece, first, buffer, n, err));
    }
    return KH_OK;
}

kh_status kh_state_absorb(const char *path, const kh_piece *pieces, size_t count, kh_error *err) {
    reader r;
    json_t *root = NULL;
    KH_TRY(open_reader(path, true, &r, err));
    unsigned char *buffer = kh_calloc(CHUNK_BYTES, 1);
    kh_status status =
        buffer ? read_header(&r, &root, err) : kh_fail(err, KH_E_MEMORY, "no memory to read");
    if (!status) status = check_pieces(&r, root, pieces, count, err);
    for (size_t i = 0; i < count && !status; i++)
        status = absorb_piece(&r, &pieces[i], buffer, err);
    char ours[65], theirs[65] = "";
    if (!status && !kh_sha256_finish(r.sha, ours))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    if (!status && (fread(theirs, 1, 64, r.file) != 64 || strcmp(ours, theirs) != 0))
        status = damaged(&r, "its digest is wrong", err);
    if (!status && fgetc(r.file) != EOF) status = damaged(&r, "something follows it", err);
    kh_free(buffer);
    json_decref(root);
    close_reader(&r);
    return status;
}

kh_status kh_state_verify(const char *path, kh_error *err) {
    enum { DIGEST = 64 };
    reader r;
    struct stat info;
    char ours[DIGEST + 1] = "", theirs[DIGEST + 1] = "";
    KH_TRY(open_reader(path, true, &r, err));
    const bool has_size = fstat(fileno(r.file), &info) == 0;
    kh_status status = KH_OK;
    if (!has_size || info.st_size < DIGEST)
        status = damaged(&r, "it ends early", err);
    else
        status =
            kh_sha256_add_file(r.sha, fileno(r.file), (uint64_t)info.st_size - DIGEST, path, err);
    if (!status && !kh_sha256_finish(r.sha, ours))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    if (!status && (pread(fileno(r.file), theirs, DIGEST, info.st_size - DIGEST) != DIGEST ||
                    strcmp(ours, theirs) != 0))
        status = damaged(&r, "its digest is wrong", err);
    close_reader(&r);
    return status;
}
