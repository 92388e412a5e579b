/* keyhole/store.h: result files: CSV and SQLite tables, .npy arrays, manifest.json.
 *
 * Every file is written beside its name and renamed into place only when complete and on the disk,
 * so a reader finds the old file or the whole new one. A full disk is reported and leaves nothing
 * behind. A path that exists and is no regular file (/dev/stdout, a pipe) is written in place. */
#ifndef KEYHOLE_STORE_H
#define KEYHOLE_STORE_H

#include "keyhole/base.h"
#include "keyhole/vit.h" /* kh_model_info: a plain record */

#ifdef __cplusplus
extern "C" {
#endif

/* ---- numbers as text ----------------------------------------------------------------------- */

/* Shortest fixed formats that read back as the same number: %.9g and %.17g, "nan", "inf", "-inf",
 * always with a point. room >= 32. Returns out. */
KH_API char *kh_store_f32(float value, char *out, size_t room);
KH_API char *kh_store_f64(double value, char *out, size_t room);

/* ---- CSV (RFC 4180; lines end in LF) ------------------------------------------------------- */

/* A table being written. The first failure is kept; cells and rows after it do nothing, and close
 * reports it. Cells are quoted when they need it. */
typedef struct kh_csv kh_csv;

/* Writes the header row. Errors: KH_E_IO, KH_E_NOT_FOUND no such folder, KH_E_MEMORY. */
KH_API kh_status kh_store_csv_open(const char *path, const char *const *columns, size_t count,
                                   kh_csv **out, kh_error *err);
KH_API void kh_store_csv_text(kh_csv *csv, const char *text); /* NULL: an empty cell */
KH_API void kh_store_csv_size(kh_csv *csv, size_t value);
KH_API void kh_store_csv_i64(kh_csv *csv, int64_t value);
KH_API void kh_store_csv_f32(kh_csv *csv, float value);
KH_API void kh_store_csv_f64(kh_csv *csv, double value);
/* Ends the row; a row with more or fewer cells than columns is KH_E_SHAPE at close. */
KH_API void kh_store_csv_end(kh_csv *csv);
/* Flushes and renames into place, or removes what was written. Frees csv either way. */
KH_API kh_status kh_store_csv_close(kh_csv *csv, kh_error *err);
/* Removes what was written and frees; NULL is fine. */
KH_API void kh_store_csv_abort(kh_csv *csv);

/* ---- .npy (version 1.0, little-endian, C order) -------------------------------------------- */

typedef enum kh_npy_type {
    KH_NPY_F32, /* '<f4' */
    KH_NPY_F64, /* '<f8' */
    KH_NPY_I32, /* '<i4' */
    KH_NPY_I64, /* '<i8' */
    KH_NPY_U8   /* '|u1' */
} kh_npy_type;

/* rank <= 8. Errors: KH_E_ARG rank; KH_E_LIMIT shape overflows; KH_E_IO, KH_E_MEMORY. */
KH_API kh_status kh_store_npy(const char *path, kh_npy_type type, const size_t *shape, size_t rank,
                              const void *data, kh_error *err);

/* The same in pieces. */
typedef struct kh_npy kh_npy;
KH_API kh_status kh_store_npy_open(const char *path, kh_npy_type type, const size_t *shape,
                                   size_t rank, kh_npy **out, kh_error *err);
/* `elements` more of them; the first failure is kept for close. */
KH_API void kh_store_npy_add(kh_npy *npy, const void *data, size_t elements);
/* KH_E_SHAPE when the elements do not fill the shape exactly. Frees npy either way. */
KH_API kh_status kh_store_npy_close(kh_npy *npy, kh_error *err);
KH_API void kh_store_npy_abort(kh_npy *npy);

/* Bytes ('|u1') in any order: `count` from byte `first` on; those that never come are 0. The first
 * failure is kept for close, which frees npy either way. Errors: as above. */
typedef struct kh_npy_bytes kh_npy_bytes;
KH_API kh_status kh_store_npy_bytes_open(const char *path, const size_t *shape, size_t rank,
                                         kh_npy_bytes **out, kh_error *err);
KH_API void kh_store_npy_bytes_put(kh_npy_bytes *npy, size_t first, const uint8_t *data,
                                   size_t count);
KH_API kh_status kh_store_npy_bytes_close(kh_npy_bytes *npy, kh_error *err);
KH_API void kh_store_npy_bytes_abort(kh_npy_bytes *npy);

/* Reading such files of float32 back: their shape, and `count` elements from `first` on. Errors:
 * KH_E_NOT_FOUND, KH_E_IO, KH_E_FORMAT another type or a damaged file, KH_E_SHAPE beyond its end.
 */
KH_API kh_status kh_store_npy_shape(const char *path, size_t shape[8], size_t *rank, kh_error *err);
KH_API kh_status kh_store_npy_floats(const char *path, size_t first, size_t count, float *out,
                                     kh_error *err);

/* ---- SQLite ------------------------------------------------------------------------------- */

/* Tables being written into one SQLite file. The first failure is kept; calls after it do nothing,
 * and close reports it. */
typedef struct kh_db kh_db;

/* Errors: KH_E_IO, KH_E_NOT_FOUND no such folder, KH_E_MEMORY. */
KH_API kh_status kh_store_db_create(const char *path, kh_db **out, kh_error *err);
/* Begins a table; rows of the one before are complete. columns: "class:i mean:r name:t" (integer,
 * real, text). Names are letters, digits and '_'. */
KH_API void kh_store_db_table(kh_db *db, const char *name, const char *columns);
/* The cells of a row, in the order of the columns. NaN and a NULL text become NULL. */
KH_API void kh_store_db_integer(kh_db *db, int64_t value);
KH_API void kh_store_db_real(kh_db *db, double value);
KH_API void kh_store_db_text(kh_db *db, const char *text);
/* Ends the row; one with more or fewer cells than columns is KH_E_SHAPE at close. */
KH_API void kh_store_db_row(kh_db *db);
/* Completes the file and renames it into place, or removes what was written. Frees db either way.
 */
KH_API kh_status kh_store_db_close(kh_db *db, kh_error *err);
KH_API void kh_store_db_abort(kh_db *db);

/* Every table by name: `begin` hears the name, then `see` its columns and its rows in the order
 * they were written, as bytes that are the same whenever the contents are: for a digest. false from
 * either stops with KH_E_STOPPED. */
typedef bool (*kh_table_fn)(void *user, const char *name);
typedef bool (*kh_bytes_fn)(void *user, const void *bytes, size_t count);
KH_API kh_status kh_store_db_scan(const char *path, kh_table_fn begin, kh_bytes_fn see, void *user,
                                  kh_error *err);

/* One number: the first cell of the first row of a query with at most one integer parameter (bound
 * to ?1). KH_E_NOT_FOUND when it has no row. */
KH_API kh_status kh_store_db_number(const char *path, const char *query, int64_t parameter,
                                    double *out, kh_error *err);

/* All rows of a query with `count` integer parameters (bound to ?1, ?2, ...). At most 64 million
 * cells. Errors: KH_E_NOT_FOUND no such file; KH_E_FORMAT no database, no such table or column;
 * KH_E_LIMIT; KH_E_MEMORY. Pair: kh_answer_free. */
typedef struct kh_answer kh_answer;
KH_API kh_status kh_store_db_ask(const char *path, const char *query, const int64_t *parameters,
                                 size_t count, kh_answer **out, kh_error *err);
KH_API void kh_answer_free(kh_answer *answer);
KH_API size_t kh_answer_rows(const kh_answer *answer);
/* NaN for NULL, for a text and beyond the last cell. */
KH_API double kh_answer_number(const kh_answer *answer, size_t row, size_t column);
/* NULL for NULL, for a number and beyond the last cell; else valid as long as the answer. */
KH_API const char *kh_answer_text(const kh_answer *answer, size_t row, size_t column);

/* ---- manifest.json ------------------------------------------------------------------------- */

/* What a result was made from and how. Keys with dots nest: "model.tag". Order of keys is kept. The
 * first failure is kept for write. */
typedef struct kh_manifest kh_manifest;

/* Starts with {"format": 1, "keyhole": version, "analysis": analysis}. */
KH_API kh_status kh_store_manifest_create(const char *analysis, kh_manifest **out, kh_error *err);
KH_API void kh_store_manifest_text(kh_manifest *manifest, const char *key, const char *text);
KH_API void kh_store_manifest_size(kh_manifest *manifest, const char *key, uint64_t value);
KH_API void kh_store_manifest_i64(kh_manifest *manifest, const char *key, int64_t value);
KH_API void kh_store_manifest_f64(kh_manifest *manifest, const char *key,
                                  double value); /* null if not finite */
KH_API void kh_store_manifest_bool(kh_manifest *manifest, const char *key, bool value);
KH_API void kh_store_manifest_texts(kh_manifest *manifest, const char *key,
                                    const char *const *texts, size_t count);
/* Appends the object {keys[0]: texts[0], ...} to the list `list`, a key without dots. */
KH_API void kh_store_manifest_row(kh_manifest *manifest, const char *list, const char *const *keys,
                                  const char *const *texts, size_t count);
KH_API void kh_store_manifest_f64s(kh_manifest *manifest, const char *key, const double *values,
                                   size_t count);
/* Everything a reader needs to load the same model and prepare the same input: under "model"
 * (source, sha256, architecture, tag, sizes) and "preprocess". */
KH_API void kh_store_manifest_model(kh_manifest *manifest, const kh_model_info *info);
/* Appends to "files": {"name", "shape" (rank 0: none), "meaning"}. */
KH_API void kh_store_manifest_file(kh_manifest *manifest, const char *name, const size_t *shape,
                                   size_t rank, const char *meaning);
/* Writes indented JSON with a newline at the end; the manifest stays usable. */
KH_API kh_status kh_store_manifest_write(const kh_manifest *manifest, const char *path,
                                         kh_error *err);
KH_API void kh_store_manifest_free(kh_manifest *manifest);

#ifdef __cplusplus
}
#endif
#endif
