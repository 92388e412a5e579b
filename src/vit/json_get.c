#include "vit/json_get.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

const json_t *kh_get(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value) ? NULL : value;
}

static kh_status read_size(const json_t *value, const char *what, const char *key, size_t least,
                           size_t most, size_t *out, kh_error *err) {
    size_t number;
    if (!kh_json_size(value, &number))
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not a whole number", what, key);
    if (number < least || number > most)
        return kh_fail(err, KH_E_LIMIT, "%s: '%s' is %zu, expected %zu to %zu", what, key, number,
                       least, most);
    *out = number;
    return KH_OK;
}

kh_status kh_get_size(const json_t *object, const char *what, const char *key, size_t least,
                      size_t most, size_t *out, kh_error *err) {
    const json_t *value = kh_get(object, key);
    return value ? read_size(value, what, key, least, most, out, err) : KH_OK;
}

kh_status kh_get_bool(const json_t *object, const char *what, const char *key, bool *out,
                      kh_error *err) {
    const json_t *value = kh_get(object, key);
    if (!value) return KH_OK;
    if (!json_is_boolean(value))
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not true or false", what, key);
    *out = json_is_true(value);
    return KH_OK;
}

static kh_status read_double(const json_t *value, const char *what, const char *key, double least,
                             double most, double *out, kh_error *err) {
    if (!json_is_number(value))
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not a number", what, key);
    const double number = json_number_value(value);
    if (!(number >= least && number <= most))
        return kh_fail(err, KH_E_LIMIT, "%s: '%s' is %g, expected %g to %g", what, key, number,
                       least, most);
    *out = number;
    return KH_OK;
}

kh_status kh_get_double(const json_t *object, const char *what, const char *key, double least,
                        double most, double *out, kh_error *err) {
    const json_t *value = kh_get(object, key);
    return value ? read_double(value, what, key, least, most, out, err) : KH_OK;
}

kh_status kh_get_text(const json_t *object, const char *what, const char *key, char *out,
                      size_t room, kh_error *err) {
    const json_t *value = kh_get(object, key);
    if (!value) return KH_OK;
    if (!json_is_string(value))
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not a string", what, key);
    const size_t length = json_string_length(value);
    if (length >= room)
        return kh_fail(err, KH_E_LIMIT, "%s: '%s' is %zu bytes long, expected at most %zu", what,
                       key, length, room - 1);
    memcpy(out, json_string_value(value), length + 1);
    return KH_OK;
}

kh_status kh_get_size_pair(const json_t *object, const char *what, const char *key, size_t least,
                           size_t most, size_t *height, size_t *width, kh_error *err) {
    const json_t *value = kh_get(object, key);
    if (!value) return KH_OK;
    if (!json_is_array(value)) {
        KH_TRY(read_size(value, what, key, least, most, height, err));
        *width = *height;
        return KH_OK;
    }
    if (json_array_size(value) != 2)
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' has %zu entries, expected [height, width]", what,
                       key, json_array_size(value));
    KH_TRY(read_size(json_array_get(value, 0), what, key, least, most, height, err));
    return read_size(json_array_get(value, 1), what, key, least, most, width, err);
}

kh_status kh_get_triple(const json_t *object, const char *what, const char *key, double out[3],
                        kh_error *err) {
    const json_t *value = kh_get(object, key);
    if (!value) return KH_OK;
    if (!json_is_array(value) || json_array_size(value) != 3)
        return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not a list of three numbers", what, key);
    for (size_t i = 0; i < 3; i++)
        KH_TRY(read_double(json_array_get(value, i), what, key, -1e6, 1e6, &out[i], err));
    return KH_OK;
}
