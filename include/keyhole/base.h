/* keyhole/base.h: status codes, errors, limits and callbacks shared by every room. */
#ifndef KEYHOLE_BASE_H
#define KEYHOLE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KH_API              __attribute__((visibility("default")))
#define KH_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#else
#define KH_API
#define KH_PRINTF(fmt, arg)
#endif

#define KH_VERSION "0.1.0"

/* Result of every function that can fail. KH_OK is zero; test with `if (status)`. */
typedef enum kh_status {
    KH_OK = 0,
    KH_E_ARG,         /* the caller passed something impossible */
    KH_E_SHAPE,       /* sizes do not fit together */
    KH_E_FORMAT,      /* bytes from outside are malformed */
    KH_E_LIMIT,       /* larger than a kh_limits cap */
    KH_E_MEMORY,      /* out of memory */
    KH_E_IO,          /* the operating system refused to read or write */
    KH_E_NOT_FOUND,   /* file, class, site or tensor does not exist */
    KH_E_UNSUPPORTED, /* understood, but keyhole cannot do it */
    KH_E_NUMERIC,     /* NaN or infinity where a number was promised */
    KH_E_STOPPED,     /* a progress callback asked to stop */
    KH_E_NETWORK      /* a download failed */
} kh_status;

/* A short stable name such as "KH_E_FORMAT". */
KH_API const char *kh_status_name(kh_status status);

/* Filled by the function that detects a failure; the caller owns it. NULL is welcome everywhere. */
typedef struct kh_error {
    kh_status code;
    char text[1024]; /* one or more sentences: what we got, what we expected, what may help */
} kh_error;

/* Caps on input from strangers. kh_limits_default() fills in the documented values. */
typedef struct kh_limits {
    uint64_t max_header_bytes;  /* safetensors header; 100000000 */
    size_t max_tensors;         /* tensors in one file; 100000 */
    size_t max_config_bytes;    /* config.json; 16 MiB */
    size_t max_index_bytes;     /* model.safetensors.index.json; 64 MiB */
    uint64_t max_image_bytes;   /* encoded image file; 256 MiB */
    uint64_t max_image_pixels;  /* 178956970, Pillow's hard limit */
    uint64_t max_weights_bytes; /* all weight files together; 64 GiB */
    size_t max_label_bytes;     /* label files; 64 MiB */
} kh_limits;

KH_API kh_limits kh_limits_default(void);

/* Called now and then during long work. done/total count `what` ("bytes", "images").
 * Return false to stop: the function then ends with KH_E_STOPPED. */
typedef bool (*kh_progress_fn)(void *user, const char *what, uint64_t done, uint64_t total);

/* Called for facts a person should hear about that are not failures. One line, no newline. */
typedef void (*kh_warn_fn)(void *user, const char *text);

/* Version of the library at run time, e.g. "0.1.0". */
KH_API const char *kh_version(void);

#ifdef __cplusplus
}
#endif
#endif
