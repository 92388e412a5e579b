/* cli/commands.h: one name per cmd_<name>.c. */
#ifndef KH_CLI_COMMANDS_H
#define KH_CLI_COMMANDS_H

#include "cli/command.h"

extern const kh_command kh_cmd_info, kh_cmd_pull, kh_cmd_verify, kh_cmd_classify, kh_cmd_align,
    kh_cmd_look, kh_cmd_ablate, kh_cmd_atlas, kh_cmd_merge, kh_cmd_export, kh_cmd_perturb,
    kh_cmd_status, kh_cmd_diorama, kh_cmd_dream, kh_cmd_truth, kh_cmd_reproduce, kh_cmd_pairs,
    kh_cmd_share, kh_cmd_figures, kh_cmd_exemplars, kh_cmd_bench, kh_cmd_selftest;

#endif
