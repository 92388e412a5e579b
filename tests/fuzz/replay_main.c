/* Runs a fuzz target over files and folders, for builds without libFuzzer. */
#define _DEFAULT_SOURCE
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static size_t replayed;

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        return 1;
    }
    const long size = ftell(file);
    rewind(file);
    /* exactly as large as the input, so that a read past its end is seen */
    uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
    const size_t count = bytes && size > 0 ? fread(bytes, 1, (size_t)size, file) : 0;
    (void)fclose(file);
    if (size < 0 || count != (size_t)size) {
        (void)fprintf(stderr, "%s: cannot read\n", path);
        free(bytes);
        return 1;
    }
    (void)LLVMFuzzerTestOneInput(bytes, count);
    free(bytes);
    replayed++;
    return 0;
}

static int replay_folder(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        perror(path);
        return 1;
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char file[4096];
        if (entry->d_name[0] == '.') continue;
        (void)snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        struct stat info;
        if (stat(file, &info) == 0 && S_ISREG(info.st_mode)) failed |= replay_file(file);
    }
    (void)closedir(folder);
    return failed;
}

int main(int count, char **arguments) {
    int failed = 0;
    for (int i = 1; i < count; i++) {
        struct stat info;
        const int is_folder = stat(arguments[i], &info) == 0 && S_ISDIR(info.st_mode);
        failed |= is_folder ? replay_folder(arguments[i]) : replay_file(arguments[i]);
    }
    (void)printf("%zu inputs replayed\n", replayed);
    return failed || replayed == 0;
}
