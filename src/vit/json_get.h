/* vit/json_get.h: typed reading of one key of a configuration. An absent or null key leaves *out as
 * it was; a value of the wrong kind is an error that names the file and the key. */
#ifndef KH_VIT_JSON_GET_H
#define KH_VIT_JSON_GET_H

#include <jansson.h>

#include "base/status.h"

/* Whole number in least..most. */
kh_status kh_get_size(const json_t *object, const char *what, const char *key, size_t least,
                      size_t most, size_t *out, kh_error *err);
kh_status kh_get_bool(const json_t *object, const char *what, const char *key, bool *out,
                      kh_error *err);
kh_status kh_get_double(const json_t *object, const char *what, const char *key, double least,
                        double most, double *out, kh_error *err);
/* Copies at most room - 1 bytes; a longer text is an error. */
kh_status kh_get_text(const json_t *object, const char *what, const char *key, char *out,
                      size_t room, kh_error *err);
/* n or [height, width], each in least..most. */
kh_status kh_get_size_pair(const json_t *object, const char *what, const char *key, size_t least,
                           size_t most, size_t *height, size_t *width, kh_error *err);
kh_status kh_get_triple(const json_t *object, const char *what, const char *key, double out[3],
                        kh_error *err);
/* The value, or NULL when absent or null. */
const json_t *kh_get(const json_t *object, const char *key);

#endif
