#include "store/sink.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUFFER_BYTES ((size_t)64 << 10)

struct kh_sink {
    kh_file_writer writer;
    size_t used;
    kh_error failure; /* code KH_OK: none yet */
    unsigned char buffer[BUFFER_BYTES];
};

kh_status kh_sink_open(const char *path, kh_sink **out, kh_error *err) {
    *out = NULL;
    kh_sink *sink = kh_calloc(1, sizeof *sink);
    if (!sink) return kh_fail(err, KH_E_MEMORY, "no memory to write a file");
    const kh_status status = kh_file_begin(&sink->writer, path, err);
    if (status) {
        kh_free(sink);
        return status;
    }
    *out = sink;
    return KH_OK;
}

static void put(kh_sink *sink, const void *bytes, size_t count) {
    if (!sink->failure.code && count)
        (void)kh_file_put(&sink->writer, bytes, count, &sink->failure);
}

static void flush(kh_sink *sink) {
    put(sink, sink->buffer, sink->used);
    sink->used = 0;
}

void kh_sink_write(kh_sink *sink, const void *bytes, size_t count) {
    if (sink->failure.code || count == 0) return;
    if (count > BUFFER_BYTES - sink->used) flush(sink);
    if (count > BUFFER_BYTES) {
        put(sink, bytes, count);
        return;
    }
    memcpy(sink->buffer + sink->used, bytes, count);
    sink->used += count;
}

void kh_sink_refuse(kh_sink *sink, kh_status code, const char *format, ...) {
    if (sink->failure.code) return;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)kh_fail(&sink->failure, code, "%s", text);
}

kh_status kh_sink_close(kh_sink *sink, kh_error *err) {
    flush(sink);
    kh_status status = sink->failure.code;
    if (status) {
        if (err) *err = sink->failure;
        (void)kh_file_end(&sink->writer, false, NULL);
    } else {
        status = kh_file_end(&sink->writer, true, err);
    }
    kh_free(sink);
    return status;
}

void kh_sink_abort(kh_sink *sink) {
    if (!sink) return;
    (void)kh_file_end(&sink->writer, false, NULL);
    kh_free(sink);
}
