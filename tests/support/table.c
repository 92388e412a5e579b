#include "support/table.h"
#include "support/kh_test.h"

kh_test_table kh_test_table_read(const char *path) {
    static char empty[1] = "";
    kh_test_table table = {0};
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    (void)fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    table.text = calloc(bytes + 1, 1);
    if (fread(table.text, 1, bytes, file) != bytes) fail_msg("cannot read %s", path);
    (void)fclose(file);
    size_t lines = 1;
    for (size_t i = 0; i < bytes; i++)
        lines += table.text[i] == '\n';
    table.cells = calloc(lines, sizeof *table.cells);
    for (char *line = table.text; *line;) {
        char *end = strchr(line, '\n');
        if (end) *end = '\0';
        char **row = table.cells[table.rows++];
        for (size_t i = 0; i < KH_TEST_TABLE_COLUMNS; i++)
            row[i] = empty;
        char *cell = line;
        for (size_t i = 0; i < KH_TEST_TABLE_COLUMNS && cell; i++) {
            row[i] = cell;
            cell = strchr(cell, '\t');
            if (cell) *cell++ = '\0';
        }
        if (!end) break;
        line = end + 1;
    }
    return table;
}

void kh_test_table_clear(kh_test_table *table) {
    free(table->text);
    free(table->cells);
    *table = (kh_test_table){0};
}
