/* store/npy_header.h: what every .npy file of ours begins with. */
#ifndef KH_STORE_NPY_HEADER_H
#define KH_STORE_NPY_HEADER_H

#include <stddef.h>

#include "base/text.h"

/* Appends magic, version 1.0 and the padded dict; type as numpy writes it ("<f4"). */
bool kh_npy_header(kh_text *out, const char *type, const size_t *shape, size_t rank);

#endif
