/* Reading SQLite files of our own: everything in one order, or one number. */
#include "keyhole/store.h"

#include "base/status.h"
#include "base/text.h"

#include <sqlite3.h>
#include <string.h>

static kh_status refuse(sqlite3 *file, const char *path, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const int code = file ? sqlite3_errcode(file) : SQLITE_NOMEM;
    const bool is_absent = code == SQLITE_CANTOPEN;
    return kh_fail(err, is_absent ? KH_E_NOT_FOUND : KH_E_FORMAT, "cannot read '%s': %s",
                   kh_shown(path, strlen(path), shown, sizeof shown),
                   file ? sqlite3_errmsg(file) : "out of memory");
}

static kh_status open_file(const char *path, sqlite3 **out, kh_error *err) {
    const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, out, flags, NULL) == SQLITE_OK) return KH_OK;
    const kh_status status = refuse(*out, path, err);
    (void)sqlite3_close(*out);
    *out = NULL;
    return status;
}

static bool see_cell(sqlite3_stmt *row, int column, kh_bytes_fn see, void *user) {
    const int type = sqlite3_column_type(row, column);
    const unsigned char tag = (unsigned char)type;
    if (!see(user, &tag, 1)) return false;
    if (type == SQLITE_INTEGER) {
        const int64_t value = sqlite3_column_int64(row, column);
        return see(user, &value, sizeof value);
    }
    if (type == SQLITE_FLOAT) {
        const double value = sqlite3_column_double(row, column);
        return see(user, &value, sizeof value);
    }
    if (type == SQLITE_TEXT) {
        const unsigned char *text = sqlite3_column_text(row, column);
        return text && see(user, text, (size_t)sqlite3_column_bytes(row, column) + 1);
    }
    return true;
}

static kh_status scan_table(sqlite3 *file, const char *path, const char *name, kh_bytes_fn see,
                            void *user, kh_error *err) {
    kh_text sql = {0};
    sqlite3_stmt *rows = NULL;
    kh_text_addf(&sql, "SELECT * FROM \"%s\" ORDER BY rowid", name);
    kh_status status = KH_OK;
    if (sql.failed || sqlite3_prepare_v2(file, sql.data, -1, &rows, NULL) != SQLITE_OK)
        status = refuse(file, path, err);
    bool ok = true;
    const int columns = status ? 0 : sqlite3_column_count(rows);
    for (int i = 0; i < columns && ok; i++) {
        const char *column = sqlite3_column_name(rows, i);
        ok = column && see(user, column, strlen(column) + 1);
    }
    int step = SQLITE_DONE;
    while (!status && ok && (step = sqlite3_step(rows)) == SQLITE_ROW)
        for (int i = 0; i < columns && ok; i++)
            ok = see_cell(rows, i, see, user);
    if (!status && ok && step != SQLITE_DONE) status = refuse(file, path, err);
    if (!status && !ok) status = kh_fail(err, KH_E_STOPPED, "reading '%s' was stopped", path);
    (void)sqlite3_finalize(rows);
    kh_text_clear(&sql);
    return status;
}

kh_status kh_store_db_scan(const char *path, kh_table_fn begin, kh_bytes_fn see, void *user,
                           kh_error *err) {
    sqlite3 *file;
    sqlite3_stmt *tables = NULL;
    KH_TRY(open_file(path, &file, err));
    static const char list[] = "SELECT name FROM sqlite_master WHERE type='table' ORDER BY name";
    kh_status status = KH_OK;
    if (sqlite3_prepare_v2(file, list, -1, &tables, NULL) != SQLITE_OK)
        status = refuse(file, path, err);
    int step = SQLITE_DONE;
    while (!status && (step = sqlite3_step(tables)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(tables, 0);
        if (!name || !begin(user, name))
            status = kh_fail(err, KH_E_STOPPED, "reading '%s' was stopped", path);
        else
            status = scan_table(file, path, name, see, user, err);
    }
    if (!status && step != SQLITE_DONE) status = refuse(file, path, err);
    (void)sqlite3_finalize(tables);
    (void)sqlite3_close(file);
    return status;
}

kh_status kh_store_db_number(const char *path, const char *query, int64_t parameter, double *out,
                             kh_error *err) {
    sqlite3 *file;
    sqlite3_stmt *row = NULL;
    KH_TRY(open_file(path, &file, err));
    kh_status status = KH_OK;
    if (sqlite3_prepare_v2(file, query, -1, &row, NULL) != SQLITE_OK ||
        (sqlite3_bind_parameter_count(row) > 0 &&
         sqlite3_bind_int64(row, 1, parameter) != SQLITE_OK))
        status = refuse(file, path, err);
    if (!status) {
        const int step = sqlite3_step(row);
        if (step == SQLITE_ROW)
            *out = sqlite3_column_double(row, 0);
        else if (step == SQLITE_DONE)
            status = kh_fail(err, KH_E_NOT_FOUND, "no row answers: %s", query);
        else
            status = refuse(file, path, err);
    }
    (void)sqlite3_finalize(row);
    (void)sqlite3_close(file);
    return status;
}
