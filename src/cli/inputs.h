/* cli/inputs.h: operands that name images: files, folders, @lists, or - for a list on standard
 * input. */
#ifndef KH_CLI_INPUTS_H
#define KH_CLI_INPUTS_H

#include "cli/command.h"

typedef struct kh_inputs {
    char **paths;
    size_t count;
    size_t capacity;
} kh_inputs;

/* Files as they are; folders are walked in sorted order and give their .jpg .jpeg .png .webp files.
 * Errors: KH_E_NOT_FOUND, KH_E_IO, a folder without images. Pair: kh_inputs_clear. */
kh_status kh_inputs_collect(char *const *operands, size_t count, kh_inputs *out, kh_error *err);
void kh_inputs_clear(kh_inputs *inputs);

/* The class an image path claims to show: a wnid at the start of its name ("n01440764_tench.JPEG")
 * or the name of its folder (a wnid or a class name). False when neither is a class. */
bool kh_input_truth(const kh_classes *classes, const char *path, size_t *index);

#endif
