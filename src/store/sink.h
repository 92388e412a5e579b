/* store/sink.h: kh_file_writer with a buffer and a memory for its first failure.
 *
 * After a failure writes do nothing; close reports it and removes the partial file. */
#ifndef KH_STORE_SINK_H
#define KH_STORE_SINK_H

#include <stddef.h>

#include "base/status.h"

typedef struct kh_sink kh_sink;

kh_status kh_sink_open(const char *path, kh_sink **out, kh_error *err);
void kh_sink_write(kh_sink *sink, const void *bytes, size_t count);
/* Notes a failure of the caller's own (a row too short), as if writing had failed. */
void kh_sink_refuse(kh_sink *sink, kh_status code, const char *format, ...) KH_PRINTF(3, 4);
/* Frees sink either way. */
kh_status kh_sink_close(kh_sink *sink, kh_error *err);
/* Removes what was written; NULL is fine. */
void kh_sink_abort(kh_sink *sink);

#endif
