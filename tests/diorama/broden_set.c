#define _XOPEN_SOURCE 700 /* nftw */
#include "diorama/broden_set.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/sha256.h"
#include "support/kh_test.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- tables ---------------------------------------------------------------------------------- */

static size_t split(char *line, char *cells[16]) {
    size_t count = 0;
    for (char *at = line; at && count < 16; count++) {
        cells[count] = at;
        at = strchr(at, ',');
        if (at) *at++ = '\0';
    }
    return count;
}

csv_table csv_read(const char *folder, const char *name) {
    csv_table table = {0};
    char path[1024];
    kh_error err;
    size_t bytes;
    unsigned char *text;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    kh_assert_ok(kh_file_read(path, 1u << 24, &text, &bytes, &err));
    table.text = (char *)text;
    size_t lines = 0, columns = 0;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    assert_true(lines >= 1 && text[bytes - 1] == '\n');
    assert_null(strchr(table.text, '"'));
    table.cells = kh_calloc(lines, sizeof *table.cells);
    assert_non_null(table.cells);
    char *at = table.text;
    for (size_t i = 0; i < lines; i++) {
        char *end = strchr(at, '\n');
        *end = '\0';
        const size_t count = split(at, table.cells[i]);
        if (i == 0) columns = count;
        assert_int_equal(count, columns);
        at = end + 1;
    }
    table.rows = lines - 1;
    return table;
}

void csv_clear(csv_table *table) {
    kh_free(table->text);
    kh_free(table->cells);
    *table = (csv_table){0};
}

const char *csv_cell(const csv_table *table, size_t row, const char *column) {
    for (size_t i = 0; i < 16 && table->cells[0][i]; i++)
        if (strcmp(table->cells[0][i], column) == 0) return table->cells[row][i];
    fail_msg("no column '%s'", column);
    return "";
}

size_t csv_size(const csv_table *table, size_t row, const char *column) {
    const char *cell = csv_cell(table, row, column);
    char *end;
    const size_t value = strtoul(cell, &end, 10);
    assert_true(*cell && !*end);
    return value;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum { MOST_FILES = 8192 };
static char *found[MOST_FILES];
static size_t found_count;

static int note_file(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info;
    (void)where;
    if (kind != FTW_F) return 0;
    assert_true(found_count < MOST_FILES);
    found[found_count++] = kh_strdup(path);
    return 0;
}

static int by_name(const void *a, const void *b) {
    char *const *left = a, *const *right = b;
    return strcmp(*left, *right);
}

static void find_files(const char *folder) {
    found_count = 0;
    assert_int_equal(nftw(folder, note_file, 16, FTW_PHYS), 0);
    qsort(found, found_count, sizeof *found, by_name);
}

static void forget_files(void) {
    for (size_t i = 0; i < found_count; i++)
        kh_free(found[i]);
}

size_t folder_files(const char *folder) {
    find_files(folder);
    forget_files();
    return found_count;
}

void folder_digest(const char *folder, char out[65]) {
    kh_error err;
    kh_sha256 *sha = kh_sha256_create();
    find_files(folder);
    for (size_t i = 0; i < found_count; i++) {
        struct stat info;
        const char *name = found[i] + strlen(folder);
        assert_true(kh_sha256_add(sha, name, strlen(name) + 1));
        const int fd = open(found[i], O_RDONLY);
        assert_true(fd >= 0 && fstat(fd, &info) == 0);
        kh_assert_ok(kh_sha256_add_file(sha, fd, (uint64_t)info.st_size, name, &err));
        (void)close(fd);
    }
    forget_files();
    assert_true(kh_sha256_finish(sha, out));
    kh_sha256_free(sha);
}

kh_image read_picture(const char *folder, const char *name, size_t size) {
    char path[1024];
    kh_error err;
    kh_image image;
    (void)snprintf(path, sizeof path, "%s/images/%s", folder, name);
    kh_assert_ok(kh_image_read(path, NULL, NULL, &image, &err));
    assert_int_equal(image.width, size);
    assert_int_equal(image.height, size);
    return image;
}
