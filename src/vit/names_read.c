/* Reading tensors from a file whatever its layout: whole, in pieces, transposed. */
#include "vit/names.h"

#include "base/alloc.h"

#include <string.h>

/* Reads a whole tensor of the file beside the destination and copies a piece of it. */
static kh_status read_piece(const kh_sources *s, const kh_tensor_info *info, size_t begin,
                            float *out, size_t count, kh_error *err) {
    float *whole = kh_alloc_floats(info->count);
    if (!whole) return kh_fail(err, KH_E_MEMORY, "no memory for tensor '%s'", info->name);
    const kh_status status =
        kh_tensors_read(s->tensors, info->name, false, whole, info->count, err);
    if (!status) memcpy(out, whole + begin, count * sizeof *out);
    kh_free(whole);
    return status;
}

static kh_status read_transposed(const kh_sources *s, const kh_tensor_info *info, size_t skip_rows,
                                 float *out, size_t count, kh_error *err) {
    float *whole = kh_alloc_floats(info->count);
    if (!whole) return kh_fail(err, KH_E_MEMORY, "no memory for tensor '%s'", info->name);
    const kh_status status =
        kh_tensors_read(s->tensors, info->name, false, whole, info->count, err);
    const size_t ins = info->shape[0], stored = info->shape[1], outs = count / ins;
    if (!status)
        for (size_t o = 0; o < outs; o++)
            for (size_t i = 0; i < ins; i++)
                out[o * ins + i] = whole[i * stored + o + skip_rows];
    kh_free(whole);
    return status;
}

kh_status kh_sources_read(const kh_sources *s, const kh_tensor_table *table, size_t index,
                          size_t skip_rows, float *out, size_t count, kh_error *err) {
    const kh_source *source = &s->items[index];
    const kh_parameter *p = &table->items[index];
    const kh_tensor_info *info = &source->file[0];
    switch (source->kind) {
    case KH_RULE_ZERO:
        memset(out, 0, count * sizeof *out);
        return KH_OK;
    case KH_RULE_TRANSPOSE:
        return read_transposed(s, info, skip_rows, out, count, err);
    case KH_RULE_FIRST:
        return read_piece(s, info, 0, out, count, err);
    case KH_RULE_REST:
        return read_piece(s, info, info->count / 3, out, count, err);
    case KH_RULE_PLAIN:
        break;
    }
    if (skip_rows && p->place != KH_PLACE_POS) {
        const size_t row = p->count / p->shape[0];
        return read_piece(s, info, skip_rows * row, out, count, err);
    }
    const size_t part = count / source->parts;
    for (size_t i = 0; i < source->parts; i++)
        KH_TRY(kh_tensors_read(s->tensors, source->file[i].name, false, out + i * part, part, err));
    return KH_OK;
}
