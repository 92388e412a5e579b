/* support/table.h: expected.txt beside test data: one row a line, cells between tabs. */
#ifndef KH_TEST_SUPPORT_TABLE_H
#define KH_TEST_SUPPORT_TABLE_H

#include <stddef.h>

#define KH_TEST_TABLE_COLUMNS 6

typedef struct kh_test_table {
    char *text;
    char *(*cells)[KH_TEST_TABLE_COLUMNS]; /* missing cells are "" */
    size_t rows;
} kh_test_table;

/* Fails the test when the file cannot be read. Pair: kh_test_table_clear. */
kh_test_table kh_test_table_read(const char *path);
void kh_test_table_clear(kh_test_table *table);

#endif
