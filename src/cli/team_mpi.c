/* keyhole_mpi.so: a team of MPI processes. See team.h. */
#define _GNU_SOURCE
#include "cli/team.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- messages ------------------------------------------------------------------------------ */

/* MPI ends the whole job by itself when it fails, so these do not. */
static kh_status send(void *user, size_t to, kh_team_kind kind, const void *bytes, size_t count,
                      kh_error *err) {
    (void)user;
    (void)err;
    (void)MPI_Send(bytes, (int)count, MPI_BYTE, (int)to, (int)kind, MPI_COMM_WORLD);
    return KH_OK;
}

static bool poll(void *user, size_t from, kh_team_kind kind) {
    int is_there = 0;
    (void)user;
    (void)MPI_Iprobe((int)from, (int)kind, MPI_COMM_WORLD, &is_there, MPI_STATUS_IGNORE);
    return is_there != 0;
}

/* MPI_Recv would spin on a core that another rank may need for minutes. */
static kh_status receive(void *user, size_t from, kh_team_kind kind, void *bytes, size_t count,
                         kh_error *err) {
    enum { SPINS = 200 };
    const struct timespec nap = {0, 200000};
    (void)err;
    for (size_t spin = 0; !poll(user, from, kind); spin++)
        if (spin >= SPINS) (void)nanosleep(&nap, NULL);
    (void)MPI_Recv(bytes, (int)count, MPI_BYTE, (int)from, (int)kind, MPI_COMM_WORLD,
                   MPI_STATUS_IGNORE);
    return KH_OK;
}

/* ---- cores --------------------------------------------------------------------------------- */

/* The index-th of `size` equal parts of these cores; at least one. */
static void take_slice(const cpu_set_t *all, size_t index, size_t size) {
    const size_t count = (size_t)CPU_COUNT(all), first = index * count / size;
    size_t end = (index + 1) * count / size, at = 0;
    if (end <= first) end = first + 1;
    cpu_set_t mine;
    CPU_ZERO(&mine);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, all)) continue;
        if (at >= first && at < end) CPU_SET(cpu, &mine);
        at++;
    }
    (void)sched_setaffinity(0, sizeof mine, &mine);
}

/* Ranks of a node that may all use the same cores divide them; where the launcher has already bound
 * each to its own, that stays. */
static void divide_cores(kh_warn_fn warn, void *user) {
    MPI_Comm node;
    int index = 0, size = 1;
    cpu_set_t mine, first;
    CPU_ZERO(&mine);
    (void)MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    (void)MPI_Comm_rank(node, &index);
    (void)MPI_Comm_size(node, &size);
    int is_same = sched_getaffinity(0, sizeof mine, &mine) == 0, all_same = 0;
    first = mine;
    (void)MPI_Bcast(&first, (int)sizeof first, MPI_BYTE, 0, node);
    is_same = is_same && CPU_EQUAL(&mine, &first);
    (void)MPI_Allreduce(&is_same, &all_same, 1, MPI_INT, MPI_LAND, node);
    (void)MPI_Comm_free(&node);
    if (all_same) {
        take_slice(&mine, (size_t)index, (size_t)size);
        return;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (index > 0 || (long)CPU_COUNT(&mine) * size * 2 > online) return;
    char text[256];
    (void)snprintf(text, sizeof text,
                   "each of the %d processes on this node is bound to %d of its %ld cores; mpirun "
                   "--bind-to none leaves the division to keyhole",
                   size, CPU_COUNT(&mine), online);
    warn(user, text);
}

/* ---- joining ------------------------------------------------------------------------------- */

static bool join(kh_team *team, kh_warn_fn warn, void *user) {
    int given = 0, rank = 0, size = 1;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS) return false;
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &size);
    *team = (kh_team){
        .rank = (size_t)rank, .size = (size_t)size, .send = send, .receive = receive, .poll = poll};
    if (size > 1) divide_cores(warn, user);
    return true;
}

static void leave(void) {
    (void)MPI_Finalize();
}

extern KH_API const kh_team_module kh_team_mpi;
const kh_team_module kh_team_mpi = {sizeof kh_team_mpi, join, leave};
