/* base/file.h: whole files in, whole files out; a reader never sees half a result. */
#ifndef KH_BASE_FILE_H
#define KH_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Reads a regular file (or pipe) of at most max_bytes; *out has one extra NUL byte. Free with
 * kh_free. */
kh_status kh_file_read(const char *path, uint64_t max_bytes, unsigned char **out, size_t *out_bytes,
                       kh_error *err);

/* Writes path.partial, flushes it to the disk, renames it over path. On failure path is untouched
 * and the partial file is removed. A path such as /dev/stdout or /dev/full is written in place. */
kh_status kh_file_write(const char *path, const void *bytes, size_t count, kh_error *err);

/* The same in pieces, for files too large to hold: begin, put..., then end (which flushes and
 * renames when keep is true, and removes the partial file when keep is false or anything failed).
 */
typedef struct kh_file_writer {
    char *path;
    char *partial; /* NULL: written in place */
    int fd;
    bool is_lazy; /* set after begin: end renames without flushing; see kh_folder_flush */
} kh_file_writer;

kh_status kh_file_begin(kh_file_writer *writer, const char *path, kh_error *err);
kh_status kh_file_put(kh_file_writer *writer, const void *bytes, size_t count, kh_error *err);
kh_status kh_file_end(kh_file_writer *writer, bool keep, kh_error *err);

/* Like kh_file_write without waiting for the disk: for thousands of small files, which one
 * kh_folder_flush makes safe before the file that says that they are there. */
kh_status kh_file_write_lazy(const char *path, const void *bytes, size_t count, kh_error *err);
/* Everything written to the file system of this folder is on the disk when it returns. */
kh_status kh_folder_flush(const char *folder, kh_error *err);

kh_status kh_make_directories(const char *path, kh_error *err);

bool kh_file_exists(const char *path);
bool kh_is_directory(const char *path);

/* directory + "/" + name; free with kh_free, NULL when out of memory. */
char *kh_path_join(const char *directory, const char *name);
/* The part after the last '/'. Points into path. */
const char *kh_path_base(const char *path);

#endif
