#include "cli/tables.h"

#include "cli/outdir.h"

#include <stdio.h>
#include <string.h>

enum { MOST_COLUMNS = 40 };

kh_status kh_tables_open(kh_tables *t, const char *folder, kh_manifest *manifest, kh_error *err) {
    char path[4096];
    *t = (kh_tables){.folder = folder, .manifest = manifest, .err = err};
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "run.sqlite"));
    KH_TRY(kh_store_db_create(path, &t->db, err));
    kh_store_manifest_file(manifest, "run.sqlite", NULL, 0, "every .csv as a table of its name");
    return KH_OK;
}

static void end_csv(kh_tables *t) {
    if (t->csv && !t->status)
        t->status = kh_store_csv_close(t->csv, t->err);
    else
        kh_store_csv_abort(t->csv);
    t->csv = NULL;
}

/* "class:i mean:r" to its names in `text` */
static size_t split(const char *columns, char *text, const char **names) {
    size_t count = 0;
    (void)strcpy(text, columns);
    for (char *at = text; *at && count < MOST_COLUMNS;) {
        names[count++] = at;
        at += strcspn(at, ":");
        if (*at) *at++ = '\0';
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return count;
}

void kh_tables_begin(kh_tables *t, const char *name, const char *columns, const char *meaning) {
    char path[4096], file[128], text[2048];
    const char *names[MOST_COLUMNS];
    end_csv(t);
    if (t->status) return;
    (void)snprintf(file, sizeof file, "%s.csv", name);
    if (strlen(columns) >= sizeof text) {
        t->status = kh_fail(t->err, KH_E_LIMIT, "table %s has too many columns", name);
        return;
    }
    t->status = kh_outdir_path(t->folder, path, sizeof path, t->err, "%s", file);
    if (!t->status)
        t->status = kh_store_csv_open(path, names, split(columns, text, names), &t->csv, t->err);
    kh_store_db_table(t->db, name, columns);
    kh_store_manifest_file(t->manifest, file, NULL, 0, meaning);
}

void kh_tables_integer(kh_tables *t, int64_t value) {
    if (t->status) return;
    kh_store_csv_i64(t->csv, value);
    kh_store_db_integer(t->db, value);
}

void kh_tables_index(kh_tables *t, size_t value) {
    kh_tables_integer(t, value == KH_NO_CLASS ? -1 : (int64_t)value);
}

void kh_tables_real(kh_tables *t, double value) {
    if (t->status) return;
    kh_store_csv_f64(t->csv, value);
    kh_store_db_real(t->db, value);
}

void kh_tables_text(kh_tables *t, const char *value) {
    if (t->status) return;
    kh_store_csv_text(t->csv, value);
    kh_store_db_text(t->db, value);
}

void kh_tables_row(kh_tables *t) {
    if (t->status) return;
    kh_store_csv_end(t->csv);
    kh_store_db_row(t->db);
}

kh_status kh_tables_close(kh_tables *t) {
    end_csv(t);
    if (t->db && !t->status)
        t->status = kh_store_db_close(t->db, t->err);
    else
        kh_store_db_abort(t->db);
    t->db = NULL;
    return t->status;
}
