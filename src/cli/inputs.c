#include "cli/inputs.h"

kh_status kh_inputs_collect(char *const *operands, size_t count, kh_inputs *out, kh_error *err) {
    *out = (kh_inputs){0};
    KH_TRY(kh_source_open(operands, count, NULL, &out->source, err));
    out->count = kh_source_count(out->source);
    return KH_OK;
}

void kh_inputs_clear(kh_inputs *inputs) {
    kh_source_free(inputs->source);
    *inputs = (kh_inputs){0};
}
