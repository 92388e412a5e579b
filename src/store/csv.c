/* Tables as text: RFC 4180 quoting, numbers that read back exactly. */
#include "keyhole/store.h"

#include "base/alloc.h"
#include "store/sink.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A process may have set a locale with another decimal sign; files always get a point. */
static void force_point(char *text) {
    char *to = text;
    bool has_point = false;
    for (const char *from = text; *from; from++) {
        if (strchr("0123456789+-e", *from))
            *to++ = *from;
        else if (!has_point)
            *to++ = '.', has_point = true;
    }
    *to = '\0';
}

static char *format_number(double value, int digits, char *out, size_t room) {
    if (isnan(value)) {
        (void)snprintf(out, room, "nan");
    } else if (isinf(value)) {
        (void)snprintf(out, room, "%s", value < 0 ? "-inf" : "inf");
    } else {
        (void)snprintf(out, room, "%.*g", digits, value);
        force_point(out);
    }
    return out;
}

char *kh_store_f32(float value, char *out, size_t room) {
    return format_number((double)value, 9, out, room);
}

char *kh_store_f64(double value, char *out, size_t room) {
    return format_number(value, 17, out, room);
}

struct kh_csv {
    kh_sink *file;
    size_t columns, cells, rows;
};

static void put(kh_csv *csv, const char *text) {
    kh_sink_write(csv->file, text, strlen(text));
}

static void begin_cell(kh_csv *csv) {
    if (csv->cells++) put(csv, ",");
}

kh_status kh_store_csv_open(const char *path, const char *const *columns, size_t count,
                            kh_csv **out, kh_error *err) {
    *out = NULL;
    if (count == 0) return kh_fail(err, KH_E_ARG, "a table needs at least one column");
    kh_csv *csv = kh_calloc(1, sizeof *csv);
    if (!csv) return kh_fail(err, KH_E_MEMORY, "no memory for a table");
    csv->columns = count;
    const kh_status status = kh_sink_open(path, &csv->file, err);
    if (status) {
        kh_free(csv);
        return status;
    }
    for (size_t i = 0; i < count; i++)
        kh_store_csv_text(csv, columns[i]);
    kh_store_csv_end(csv);
    csv->rows = 0;
    *out = csv;
    return KH_OK;
}

void kh_store_csv_text(kh_csv *csv, const char *text) {
    begin_cell(csv);
    if (!text) text = "";
    const size_t length = strlen(text);
    const bool is_plain = strcspn(text, ",\"\r\n") == length;
    /* a row of one empty cell would read as no row at all */
    if (is_plain && (length || csv->columns > 1)) {
        put(csv, text);
        return;
    }
    put(csv, "\"");
    for (const char *p = text; *p;) {
        const size_t piece = strcspn(p, "\"");
        kh_sink_write(csv->file, p, piece);
        p += piece;
        if (*p == '"') {
            put(csv, "\"\"");
            p++;
        }
    }
    put(csv, "\"");
}

void kh_store_csv_size(kh_csv *csv, size_t value) {
    char text[32];
    begin_cell(csv);
    (void)snprintf(text, sizeof text, "%zu", value);
    put(csv, text);
}

void kh_store_csv_i64(kh_csv *csv, int64_t value) {
    char text[32];
    begin_cell(csv);
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    put(csv, text);
}

void kh_store_csv_f32(kh_csv *csv, float value) {
    char text[32];
    begin_cell(csv);
    put(csv, kh_store_f32(value, text, sizeof text));
}

void kh_store_csv_f64(kh_csv *csv, double value) {
    char text[32];
    begin_cell(csv);
    put(csv, kh_store_f64(value, text, sizeof text));
}

void kh_store_csv_end(kh_csv *csv) {
    if (csv->cells != csv->columns)
        kh_sink_refuse(csv->file, KH_E_SHAPE, "row %zu of a table has %zu cells for %zu columns",
                       csv->rows, csv->cells, csv->columns);
    put(csv, "\n");
    csv->cells = 0;
    csv->rows++;
}

kh_status kh_store_csv_close(kh_csv *csv, kh_error *err) {
    if (csv->cells)
        kh_sink_refuse(csv->file, KH_E_SHAPE, "row %zu of a table was not ended", csv->rows);
    const kh_status status = kh_sink_close(csv->file, err);
    kh_free(csv);
    return status;
}

void kh_store_csv_abort(kh_csv *csv) {
    if (!csv) return;
    kh_sink_abort(csv->file);
    kh_free(csv);
}
