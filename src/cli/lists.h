/* cli/lists.h: values of options that name several classes or blocks. */
#ifndef KH_CLI_LISTS_H
#define KH_CLI_LISTS_H

#include "cli/command.h"

/* "207,goldfish,n02123045" to indices; *out is freed with kh_free. */
kh_status kh_class_list(const kh_classes *classes, const char *text, size_t **out, size_t *count,
                        kh_error *err);

/* "3,8-11" to flags chosen[blocks]; NULL means all. KH_E_ARG what is no block, or not understood.
 */
kh_status kh_block_list(const char *text, size_t blocks, bool *chosen, kh_error *err);

/* "3" or "8-11": *first <= *last. */
bool kh_parse_range(const char *text, size_t *first, size_t *last);

#endif
