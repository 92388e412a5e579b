/* cli/tables.h: the same tables as .csv files and in run.sqlite. */
#ifndef KH_CLI_TABLES_H
#define KH_CLI_TABLES_H

#include "cli/command.h"

typedef struct kh_tables {
    const char *folder;
    kh_manifest *manifest; /* every file is listed there */
    kh_db *db;
    kh_csv *csv;
    const char *columns; /* of the table at hand */
    kh_status status;    /* the first failure; calls after it do nothing */
    kh_error *err;
} kh_tables;

/* Makes folder/run.sqlite. Pair: kh_tables_close. */
kh_status kh_tables_open(kh_tables *tables, const char *folder, kh_manifest *manifest,
                         kh_error *err);
/* Begins folder/<name>.csv and the table of that name; the one before is complete. columns as for
 * kh_store_db_table. */
void kh_tables_begin(kh_tables *tables, const char *name, const char *columns, const char *meaning);
void kh_tables_integer(kh_tables *tables, int64_t value);
/* An index, or -1 for KH_NO_CLASS. */
void kh_tables_index(kh_tables *tables, size_t value);
void kh_tables_real(kh_tables *tables, double value);
void kh_tables_text(kh_tables *tables, const char *value);
void kh_tables_row(kh_tables *tables);
/* Completes (or, after a failure, removes) what is open. */
kh_status kh_tables_close(kh_tables *tables);

#endif
