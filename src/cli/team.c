#define _POSIX_C_SOURCE 200809L
#include "cli/team.h"

#include "base/file.h"
#include "base/status.h"
#include "base/text.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef KEYHOLE_MPI_FOLDER
#define KEYHOLE_MPI_FOLDER "../lib/keyhole" /* from the program, when it is installed */
#endif

/* What the launchers say: Open MPI, MPICH and its children, Slurm's srun. */
static size_t launched_size(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        size_t size;
        if (text && kh_parse_size(text, &size) && size > 0) return size;
    }
    return getenv("PMIX_RANK") || getenv("PMI_RANK") ? 0 : 1; /* 0: MPI has to say */
}

static kh_status cannot_join(size_t size, const char *why, kh_error *err) {
    return kh_fail(
        err, KH_E_UNSUPPORTED,
        "started as one of %zu processes, but %s; each would do the whole run. Give each "
        "its --shard I/N and join them with keyhole merge",
        size, why);
}

/* keyhole_mpi.so beside the program or where it is installed. */
static bool find_module(char out[4096]) {
    static const char *const folders[] = {".", KEYHOLE_MPI_FOLDER};
    char program[2048];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = '\0';
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        (void)snprintf(out, 4096, "%s/%.1024s/keyhole_mpi.so", program, folders[i]);
        if (kh_file_exists(out)) return true;
    }
    return false;
}

static const kh_team_module *load_module(size_t expected, kh_error *err) {
    char path[4096];
    if (!find_module(path)) {
        if (expected > 1) (void)cannot_join(expected, "this keyhole was built without MPI", err);
        return NULL;
    }
    /* parts of Open MPI look for the symbols of others */
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    const kh_team_module *module = library ? dlsym(library, "kh_team_mpi") : NULL;
    if (module && module->bytes == sizeof *module) return module;
    const char *why = module ? "it belongs to another version" : dlerror();
    (void)kh_fail(err, KH_E_UNSUPPORTED, "'%.300s' cannot be used: %.300s", path, why);
    return NULL;
}

kh_status kh_launch_begin(kh_launch *launch, kh_warn_fn warn, void *user, kh_error *err) {
    *launch = (kh_launch){.team = {.size = 1}};
    const size_t expected = launched_size();
    if (expected == 1) return KH_OK;
    kh_error why = {KH_OK, ""};
    const kh_team_module *module = load_module(expected, &why);
    if (!module) return why.code ? kh_fail(err, why.code, "%s", why.text) : KH_OK;
    if (!module->join(&launch->team, warn, user))
        return kh_fail(err, KH_E_UNSUPPORTED, "MPI does not start");
    launch->module = module;
    if (launch->team.size == 1 && expected > 1)
        return cannot_join(expected, "the launcher and the MPI of this keyhole are strangers", err);
    return KH_OK;
}

void kh_launch_end(kh_launch *launch) {
    if (launch->module) launch->module->leave();
    *launch = (kh_launch){.team = {.size = 1}};
}
