/* cli/units.h: which units of which blocks an option names. */
#ifndef KH_CLI_UNITS_H
#define KH_CLI_UNITS_H

#include "cli/command.h"

/* blocks "8-11,3" or NULL for all; units "0:100" (FIRST:END) or NULL for all `width`; *out [count],
 * free with free(). Errors: KH_E_ARG with what is possible; KH_E_MEMORY. */
kh_status kh_units_of_ranges(const char *blocks, const char *units, size_t block_count,
                             size_t width, kh_neuron **out, size_t *count, kh_error *err);

/* "b10n5,b11n7"; `what` names the units in messages. */
kh_status kh_units_of_list(const char *list, size_t block_count, size_t width, const char *what,
                           kh_neuron **out, size_t *count, kh_error *err);

#endif
