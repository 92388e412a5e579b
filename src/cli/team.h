/* cli/team.h: the processes that mpirun or srun started together, as one team. MPI lives in a
 * module of its own, keyhole_mpi.so (team_mpi.c), which is loaded only by a process that was
 * started with others: alone, keyhole neither needs MPI nor waits for it. */
#ifndef KH_CLI_TEAM_H
#define KH_CLI_TEAM_H

#include "cli/command.h"

/* What the module exports, under the name kh_team_mpi. */
typedef struct kh_team_module {
    size_t bytes; /* of this struct, so that another version's module is noticed */
    /* False: MPI does not start. Sets team to size 1 when there are no others. Also keeps to this
     * process's share of the node's cores. */
    bool (*join)(kh_team *team, kh_warn_fn warn, void *user);
    void (*leave)(void);
} kh_team_module;

typedef struct kh_launch {
    kh_team team; /* size 1: alone */
    const kh_team_module *module;
} kh_launch;

/* Before any thread and any context: finds the other processes. Pair: kh_launch_end, on success and
 * on failure.
 *
 * Errors: KH_E_UNSUPPORTED started with others, but this build or this launcher cannot join them:
 * each would do the whole run. */
kh_status kh_launch_begin(kh_launch *launch, kh_warn_fn warn, void *user, kh_error *err);
void kh_launch_end(kh_launch *launch);

#endif
