/* keyhole: finds the command, parses its options, runs it, and says how it ended. */
#include "base/alloc.h"
#include "base/text.h"
#include "cli/args.h"
#include "cli/help.h"

#include <errno.h>
#include <string.h>

/* Results are only there when they really reached standard output (a full disk must not pass). */
static int finish(int exit_code) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return exit_code;
    fprintf(stderr, "keyhole: cannot write standard output: %s\n", strerror(errno ? errno : EIO));
    return exit_code == KH_EXIT_DONE ? KH_EXIT_FAILED : exit_code;
}

static bool wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static int run_command(const kh_command *command, int argc, char **argv) {
    if (wants_help(argc, argv)) {
        kh_help_command(stdout, command);
        return KH_EXIT_DONE;
    }
    kh_error err = {KH_OK, ""};
    void *settings = kh_calloc(1, command->settings_bytes);
    if (!settings) {
        fprintf(stderr, "keyhole: out of memory\n");
        return KH_EXIT_FAILED;
    }
    if (command->defaults) command->defaults(settings);
    size_t operands = 0;
    int code = KH_EXIT_MISUSED;
    if (kh_args_parse(command, argc, argv, settings, &operands, &err) == KH_OK)
        code = command->run(settings, operands, argv, &err);
    kh_free(settings);
    if (code != KH_EXIT_DONE && err.text[0])
        fprintf(stderr, "keyhole %s: %s\n", command->name, err.text);
    return code;
}

static int unknown_command(const char *name) {
    char shown[KH_SHOWN_BYTES];
    fprintf(stderr, "keyhole: no command '%s'; 'keyhole --help' lists them\n",
            kh_shown(name, strlen(name), shown, sizeof shown));
    return KH_EXIT_MISUSED;
}

/* keyhole help [COMMAND], keyhole help --man [COMMAND], keyhole help --completion SHELL */
static int run_help(int argc, char **argv) {
    if (argc >= 1 && strcmp(argv[0], "--man") == 0) {
        const kh_command *command = argc > 1 ? kh_command_find(argv[1]) : NULL;
        if (argc > 1 && !command) return unknown_command(argv[1]);
        kh_help_man(stdout, command);
        return KH_EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[0], "--completion") == 0) {
        if (kh_help_completion(stdout, argv[1])) return KH_EXIT_DONE;
        fprintf(stderr, "keyhole help: completion exists for bash, zsh and fish\n");
        return KH_EXIT_MISUSED;
    }
    if (argc == 0) {
        kh_help_overview(stdout);
        return KH_EXIT_DONE;
    }
    const kh_command *command = kh_command_find(argv[0]);
    if (!command) return unknown_command(argv[0]);
    kh_help_command(stdout, command);
    return KH_EXIT_DONE;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        kh_help_overview(stderr);
        return KH_EXIT_MISUSED;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("keyhole %s\n", kh_version());
        return finish(KH_EXIT_DONE);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        kh_help_overview(stdout);
        return finish(KH_EXIT_DONE);
    }
    if (strcmp(name, "help") == 0) return finish(run_help(argc - 2, argv + 2));
    const kh_command *command = kh_command_find(name);
    if (!command) return unknown_command(name);
    return finish(run_command(command, argc - 2, argv + 2));
}
