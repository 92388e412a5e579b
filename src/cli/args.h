/* cli/args.h: turns argv into a command's settings. */
#ifndef KH_CLI_ARGS_H
#define KH_CLI_ARGS_H

#include "cli/command.h"

/* Options may stand anywhere; "--" ends them; --name=value and --name value are the same.
 * Operands are moved to the front of argv (argv[0..*operand_count-1]). Returns KH_OK, or KH_E_ARG
 * with a sentence that says what was wrong and what is possible. */
kh_status kh_args_parse(const kh_command *command, int argc, char **argv, void *settings,
                        size_t *operand_count, kh_error *err);

#endif
