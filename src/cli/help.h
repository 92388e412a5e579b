/* cli/help.h: everything a person can read about the commands, grown from their tables. */
#ifndef KH_CLI_HELP_H
#define KH_CLI_HELP_H

#include "cli/command.h"

#include <stdio.h>

void kh_help_overview(FILE *to);
void kh_help_command(FILE *to, const kh_command *command);

/* The manual page in roff, of one command or (NULL) of keyhole itself. */
void kh_help_man(FILE *to, const kh_command *command);

/* A completion script; shell is "bash", "zsh" or "fish". False when unknown. */
bool kh_help_completion(FILE *to, const char *shell);

const kh_command *kh_command_find(const char *name);

#endif
