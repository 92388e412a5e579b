/* cli/inputs.h: operands that name images, as a set of them. */
#ifndef KH_CLI_INPUTS_H
#define KH_CLI_INPUTS_H

#include "cli/command.h"

typedef struct kh_inputs {
    kh_source *source;
    size_t count;
} kh_inputs;

/* Everything kh_source_open understands, demo:images and demo:images/CLASS; the folder of a set of
 * scenes means its pictures. Pair: kh_inputs_clear.
 */
kh_status kh_inputs_open(char *const *operands, size_t count, const kh_source_options *options,
                         kh_source **out, kh_error *err);
kh_status kh_inputs_collect(char *const *operands, size_t count, const kh_source_options *options,
                            kh_inputs *out, kh_error *err);
void kh_inputs_clear(kh_inputs *inputs);

#endif
