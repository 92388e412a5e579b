/* The rows of a query over one of our SQLite files, held in memory. */
#include "keyhole/store.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>

enum { MAX_CELLS = 64000000 };
#define NO_TEXT SIZE_MAX

struct kh_answer {
    size_t rows, columns, room; /* room: rows that fit */
    double *numbers;            /* [rows, columns]; NaN for NULL and texts */
    size_t *texts;              /* [rows, columns] places in letters, or NO_TEXT */
    char *letters;
    size_t used, letter_room;
};

static kh_status refuse(sqlite3 *file, const char *path, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const int code = file ? sqlite3_errcode(file) : SQLITE_NOMEM;
    return kh_fail(err, code == SQLITE_CANTOPEN ? KH_E_NOT_FOUND : KH_E_FORMAT,
                   "cannot read '%s': %s", kh_shown(path, strlen(path), shown, sizeof shown),
                   file ? sqlite3_errmsg(file) : "out of memory");
}

static kh_status no_memory(kh_error *err) {
    return kh_fail(err, KH_E_MEMORY, "no memory for the answer to a query");
}

static kh_status make_room(kh_answer *a, kh_error *err) {
    if (a->rows < a->room) return KH_OK;
    const size_t room = a->room ? 2 * a->room : 64;
    if (room > MAX_CELLS / (a->columns ? a->columns : 1))
        return kh_fail(err, KH_E_LIMIT, "the answer to a query has more than %d cells", MAX_CELLS);
    double *numbers = kh_realloc(a->numbers, room * a->columns, sizeof *numbers);
    if (!numbers) return no_memory(err);
    a->numbers = numbers;
    size_t *texts = kh_realloc(a->texts, room * a->columns, sizeof *texts);
    if (!texts) return no_memory(err);
    a->texts = texts;
    a->room = room;
    return KH_OK;
}

static kh_status keep_text(kh_answer *a, const char *text, size_t *place, kh_error *err) {
    const size_t bytes = strlen(text) + 1;
    size_t need;
    if (!kh_add(a->used, bytes, &need)) return no_memory(err);
    if (need > a->letter_room) {
        const size_t room = 2 * need + 256;
        char *letters = kh_realloc(a->letters, room, 1);
        if (!letters) return no_memory(err);
        a->letters = letters;
        a->letter_room = room;
    }
    memcpy(a->letters + a->used, text, bytes);
    *place = a->used;
    a->used += bytes;
    return KH_OK;
}

static kh_status take_row(kh_answer *a, sqlite3_stmt *from, kh_error *err) {
    KH_TRY(make_room(a, err));
    for (size_t c = 0; c < a->columns; c++) {
        const size_t at = a->rows * a->columns + c;
        const int type = sqlite3_column_type(from, (int)c);
        const bool is_number = type == SQLITE_INTEGER || type == SQLITE_FLOAT;
        a->numbers[at] = is_number ? sqlite3_column_double(from, (int)c) : (double)NAN;
        a->texts[at] = NO_TEXT;
        if (type != SQLITE_TEXT) continue;
        const char *text = (const char *)sqlite3_column_text(from, (int)c);
        if (!text) return no_memory(err);
        KH_TRY(keep_text(a, text, &a->texts[at], err));
    }
    a->rows++;
    return KH_OK;
}

kh_status kh_store_db_ask(const char *path, const char *query, const int64_t *parameters,
                          size_t count, kh_answer **out, kh_error *err) {
    sqlite3 *file = NULL;
    sqlite3_stmt *from = NULL;
    kh_status status = KH_OK;
    *out = NULL;
    kh_answer *a = kh_calloc(1, sizeof *a);
    if (!a) return no_memory(err);
    if (sqlite3_open_v2(path, &file, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ||
        sqlite3_prepare_v2(file, query, -1, &from, NULL))
        status = refuse(file, path, err);
    for (size_t i = 0; i < count && !status; i++)
        if (sqlite3_bind_int64(from, (int)i + 1, parameters[i])) status = refuse(file, path, err);
    a->columns = status ? 0 : (size_t)sqlite3_column_count(from);
    while (!status) {
        const int step = sqlite3_step(from);
        if (step == SQLITE_ROW)
            status = take_row(a, from, err);
        else if (step == SQLITE_DONE)
            break;
        else
            status = refuse(file, path, err);
    }
    (void)sqlite3_finalize(from);
    (void)sqlite3_close(file);
    if (status)
        kh_answer_free(a);
    else
        *out = a;
    return status;
}

void kh_answer_free(kh_answer *a) {
    if (!a) return;
    kh_free(a->numbers);
    kh_free(a->texts);
    kh_free(a->letters);
    kh_free(a);
}

size_t kh_answer_rows(const kh_answer *a) {
    return a->rows;
}

double kh_answer_number(const kh_answer *a, size_t row, size_t column) {
    return row < a->rows && column < a->columns ? a->numbers[row * a->columns + column]
                                                : (double)NAN;
}

const char *kh_answer_text(const kh_answer *a, size_t row, size_t column) {
    if (row >= a->rows || column >= a->columns) return NULL;
    const size_t place = a->texts[row * a->columns + column];
    return place == NO_TEXT ? NULL : a->letters + place;
}
