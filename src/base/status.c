#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *kh_status_name(kh_status status) {
    switch (status) {
    case KH_OK:
        return "KH_OK";
    case KH_E_ARG:
        return "KH_E_ARG";
    case KH_E_SHAPE:
        return "KH_E_SHAPE";
    case KH_E_FORMAT:
        return "KH_E_FORMAT";
    case KH_E_LIMIT:
        return "KH_E_LIMIT";
    case KH_E_MEMORY:
        return "KH_E_MEMORY";
    case KH_E_IO:
        return "KH_E_IO";
    case KH_E_NOT_FOUND:
        return "KH_E_NOT_FOUND";
    case KH_E_UNSUPPORTED:
        return "KH_E_UNSUPPORTED";
    case KH_E_NUMERIC:
        return "KH_E_NUMERIC";
    case KH_E_STOPPED:
        return "KH_E_STOPPED";
    case KH_E_NETWORK:
        return "KH_E_NETWORK";
    }
    return "KH_E_?";
}

kh_status kh_fail(kh_error *err, kh_status code, const char *format, ...) {
    if (!err) return code;
    err->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return code;
}

kh_status kh_error_context(kh_error *err, kh_status code, const char *format, ...) {
    if (!err) return code;
    char context[sizeof err->text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    char joined[sizeof err->text];
    int used = snprintf(joined, sizeof joined, "%s: ", context);
    size_t at = used < 0 ? 0 : (size_t)used;
    if (at > sizeof joined - 1) at = sizeof joined - 1;
    size_t rest = strlen(err->text);
    if (rest > sizeof joined - 1 - at) rest = sizeof joined - 1 - at;
    memcpy(joined + at, err->text, rest);
    joined[at + rest] = '\0';
    memcpy(err->text, joined, at + rest + 1);
    return err->code ? err->code : code;
}

kh_limits kh_limits_default(void) {
    const kh_limits limits = {
        .max_header_bytes = 100000000u,
        .max_tensors = 100000u,
        .max_config_bytes = (size_t)16 << 20,
        .max_index_bytes = (size_t)64 << 20,
        .max_image_bytes = (uint64_t)256 << 20,
        .max_image_pixels = 178956970u,
        .max_weights_bytes = (uint64_t)64 << 30,
        .max_label_bytes = (size_t)64 << 20,
    };
    return limits;
}

const char *kh_version(void) {
    return KH_VERSION;
}
