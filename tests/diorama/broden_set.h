/* diorama/broden_set.h: what the tests read of a data set, with code of their own. */
#ifndef KH_TEST_BRODEN_SET_H
#define KH_TEST_BRODEN_SET_H

#include "keyhole/diorama.h"
#include "keyhole/io.h"

/* A CSV file without quotes, as the data sets have them. */
typedef struct csv_table {
    char *text;
    char *(*cells)[16];
    size_t rows; /* without the head, which is cells[0] */
} csv_table;

/* Fails the test when the file is missing or a row has another number of cells than the head. */
csv_table csv_read(const char *folder, const char *name);
void csv_clear(csv_table *table);
/* Cell of row 1.. under the head's `column`; fails the test when there is no such column. */
const char *csv_cell(const csv_table *table, size_t row, const char *column);
size_t csv_size(const csv_table *table, size_t row, const char *column);

/* sha256 over the relative paths and bytes of all files below, in the order of their paths. */
void folder_digest(const char *folder, char out[65]);
size_t folder_files(const char *folder);

/* Pixels of images/`name`; fails the test unless it is size x size. Free with kh_image_clear. */
kh_image read_picture(const char *folder, const char *name, size_t size);

#endif
