/* fuzz/image_target.h: what the three image targets share. */
#ifndef KH_FUZZ_IMAGE_TARGET_H
#define KH_FUZZ_IMAGE_TARGET_H

#include "fuzz/fuzz.h"

/* Decodes, preprocesses and frees; inputs without the magic belong to another target. */
int fuzz_image(const uint8_t *data, size_t size, const char *magic, size_t magic_bytes);

#endif
