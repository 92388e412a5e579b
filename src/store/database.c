/* SQLite files: written once, in one transaction, beside their name; then only read. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/store.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/status.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct kh_db {
    char *path, *partial;
    sqlite3 *file;
    sqlite3_stmt *insert;
    int columns, cell;
    kh_error failed; /* the first */
};

/* A full disk or a missing right, in SQLite's words. */
static kh_status refuse(sqlite3 *file, const char *path, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const int code = file ? sqlite3_errcode(file) : SQLITE_NOMEM;
    return kh_fail(err, code == SQLITE_NOMEM ? KH_E_MEMORY : KH_E_IO, "cannot write '%s': %s",
                   kh_shown(path, strlen(path), shown, sizeof shown),
                   file ? sqlite3_errmsg(file) : "out of memory");
}

static void keep_failure(kh_db *db) {
    if (!db->failed.code) (void)refuse(db->file, db->path, &db->failed);
}

static bool run(kh_db *db, const char *sql) {
    if (db->failed.code) return false;
    if (sqlite3_exec(db->file, sql, NULL, NULL, NULL) == SQLITE_OK) return true;
    keep_failure(db);
    return false;
}

kh_status kh_store_db_create(const char *path, kh_db **out, kh_error *err) {
    *out = NULL;
    kh_db *db = kh_calloc(1, sizeof *db);
    kh_text partial = {0};
    kh_text_addf(&partial, "%s.%ld.partial", path, (long)getpid());
    if (db) {
        db->partial = partial.data;
        db->path = kh_strdup(path);
    }
    if (!db || partial.failed || !db->path) {
        if (!db) kh_text_clear(&partial);
        kh_store_db_abort(db);
        return kh_fail(err, KH_E_MEMORY, "no memory for a database");
    }
    (void)unlink(db->partial);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(db->partial, &db->file, flags, NULL) != SQLITE_OK) keep_failure(db);
    /* nobody sees the file before it is renamed, so a journal would protect nothing; SQLite's lock
     * says that it is being written (base/partial.h) */
    (void)run(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA page_size=4096;"
                  "BEGIN EXCLUSIVE");
    if (db->failed.code) {
        const kh_status status = kh_fail(err, db->failed.code, "%s", db->failed.text);
        kh_store_db_abort(db);
        return status;
    }
    *out = db;
    return KH_OK;
}

static bool is_plain(const char *name, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (!(name[i] == '_' || (name[i] >= 'a' && name[i] <= 'z') ||
              (name[i] >= '0' && name[i] <= '9')))
            return false;
    return length > 0;
}

/* "class:i mean:r" to " (class INTEGER, mean REAL)"; the number of columns, or 0. */
static int add_columns(kh_text *sql, const char *columns) {
    int count = 0;
    for (const char *at = columns; *at; at += strspn(at, " ")) {
        const size_t length = strcspn(at, " "), name = strcspn(at, ":");
        if (name + 2 != length || !is_plain(at, name)) return 0;
        const char kind = at[name + 1];
        const char *type = kind == 'i' ? "INTEGER" : kind == 'r' ? "REAL" : "TEXT";
        kh_text_addf(sql, "%s\"%.*s\" %s", count++ ? ", " : " (", (int)name, at, type);
        at += length;
    }
    kh_text_add(sql, ")");
    return count;
}

void kh_store_db_table(kh_db *db, const char *name, const char *columns) {
    if (db->failed.code) return;
    (void)sqlite3_finalize(db->insert);
    db->insert = NULL;
    db->cell = 0;
    kh_text create = {0}, insert = {0};
    kh_text_addf(&create, "CREATE TABLE \"%s\"", name);
    db->columns = add_columns(&create, columns);
    kh_text_addf(&insert, "INSERT INTO \"%s\" VALUES (", name);
    for (int i = 0; i < db->columns; i++)
        kh_text_add(&insert, i ? ",?" : "?");
    kh_text_add(&insert, ")");
    if (create.failed || insert.failed)
        (void)kh_fail(&db->failed, KH_E_MEMORY, "no memory for table %s", name);
    else if (!is_plain(name, strlen(name)) || db->columns == 0)
        (void)kh_fail(&db->failed, KH_E_ARG, "table %s (%s) is not described well", name, columns);
    else if (run(db, create.data) &&
             sqlite3_prepare_v2(db->file, insert.data, -1, &db->insert, NULL) != SQLITE_OK)
        keep_failure(db);
    kh_text_clear(&create);
    kh_text_clear(&insert);
}

static bool has_room(kh_db *db) {
    if (db->failed.code) return false;
    if (db->insert && db->cell < db->columns) return true;
    (void)kh_fail(&db->failed, KH_E_SHAPE, "a row of '%s' has more than %d cells", db->path,
                  db->columns);
    return false;
}

void kh_store_db_integer(kh_db *db, int64_t value) {
    if (has_room(db) && sqlite3_bind_int64(db->insert, ++db->cell, value) != SQLITE_OK)
        keep_failure(db);
}

void kh_store_db_real(kh_db *db, double value) {
    /* -0 and 0 read back alike in SQLite's shortest form: keep one of them */
    if (has_room(db) &&
        sqlite3_bind_double(db->insert, ++db->cell, value == 0 ? 0.0 : value) != SQLITE_OK)
        keep_failure(db);
}

void kh_store_db_text(kh_db *db, const char *text) {
    if (!has_room(db)) return;
    char shown[4096];
    const char *safe = text && !kh_utf8_valid(text, strlen(text))
                           ? kh_shown(text, strlen(text), shown, sizeof shown)
                           : text;
    const int done = safe ? sqlite3_bind_text(db->insert, ++db->cell, safe, -1, SQLITE_TRANSIENT)
                          : sqlite3_bind_null(db->insert, ++db->cell);
    if (done != SQLITE_OK) keep_failure(db);
}

void kh_store_db_row(kh_db *db) {
    if (db->failed.code) return;
    if (!db->insert || db->cell != db->columns) {
        (void)kh_fail(&db->failed, KH_E_SHAPE, "a row of '%s' has %d cells for %d columns",
                      db->path, db->cell, db->columns);
        return;
    }
    if (sqlite3_step(db->insert) != SQLITE_DONE || sqlite3_reset(db->insert) != SQLITE_OK)
        keep_failure(db);
    db->cell = 0;
}

/* Of a file whose transaction has ended, and SQLite's lock with it: ours lasts until it has its
 * name. */
static bool flush_and_rename(const kh_db *db, int fd) {
    if (fd < 0) return false;
    const bool ok = (fsync(fd) == 0 || errno == EINVAL) && rename(db->partial, db->path) == 0;
    const int saved = errno;
    (void)close(fd);
    errno = saved;
    return ok;
}

kh_status kh_store_db_close(kh_db *db, kh_error *err) {
    (void)sqlite3_finalize(db->insert);
    db->insert = NULL;
    (void)run(db, "COMMIT");
    const int fd = open(db->partial, O_RDWR | O_CLOEXEC);
    if (fd >= 0) (void)kh_partial_claim(fd);
    if (sqlite3_close(db->file) != SQLITE_OK) keep_failure(db);
    db->file = NULL;
    if (db->failed.code && fd >= 0) (void)close(fd);
    if (!db->failed.code && !flush_and_rename(db, fd))
        (void)kh_fail(&db->failed, KH_E_IO, "cannot write '%s': %s", db->path, strerror(errno));
    const kh_status status = db->failed.code;
    if (status) {
        (void)kh_fail(err, status, "%s", db->failed.text);
    } else {
        kh_free(db->partial);
        db->partial = NULL;
    }
    kh_store_db_abort(db);
    return status;
}

void kh_store_db_abort(kh_db *db) {
    if (!db) return;
    (void)sqlite3_finalize(db->insert);
    (void)sqlite3_close(db->file);
    if (db->partial) (void)unlink(db->partial);
    kh_free(db->partial);
    kh_free(db->path);
    kh_free(db);
}
