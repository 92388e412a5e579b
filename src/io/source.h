/* io/source.h: inside the image sets. */
#ifndef KH_IO_SOURCE_H
#define KH_IO_SOURCE_H

#include "base/status.h"
#include "keyhole/io.h"

typedef struct kh_source_item {
    char *name;
    size_t truth;
    size_t archive; /* index into archives, or SIZE_MAX: a file */
    size_t member;  /* which image of the archive */
} kh_source_item;

struct kh_source {
    kh_source_item *items;
    size_t count, capacity;
    char **archives;
    size_t archive_count;
    const kh_classes *classes; /* these three only while it is being opened */
    kh_warn_fn warn;
    void *warn_user;
    kh_limits limits;
};

/* Ending of an image file we read, in letters of either case. */
bool kh_is_image_name(const char *name);
bool kh_is_archive_name(const char *name);
/* "a/b.png" of "set.tar:a/b.png"; a name that is no archive's as it is. Points into name. */
const char *kh_member_name(const char *name);

/* Tells who opens the set, if they listen. */
void kh_source_warn(const kh_source *source, const char *text);

/* Takes over nothing: name is copied. */
kh_status kh_source_add(kh_source *source, const char *name, size_t truth, kh_error *err);

/* What was named must be there: KH_E_NOT_FOUND with the path and, where there is one, what it may
 * have meant; KH_E_IO. */
kh_status kh_source_check_operand(const char *operand, kh_error *err);

/* What an operand of each kind adds. */
kh_status kh_source_add_folder(kh_source *source, const char *path, kh_error *err);
kh_status kh_source_add_list(kh_source *source, const char *path, kh_error *err);
kh_status kh_source_add_archive(kh_source *source, const char *path, kh_error *err);

/* "207", a wnid or a whole class name. */
bool kh_label_class(const kh_classes *classes, const char *text, size_t *index);
/* Truths from a label file, over those that paths claim. */
kh_status kh_source_read_labels(kh_source *source, const char *path, kh_error *err);

/* Reads members of archives one behind the other. Belongs to one loader. Start with {0}. */
typedef struct kh_archive_cursor {
    void *archive; /* struct archive */
    size_t which;  /* index into archives */
    size_t next;   /* image member the cursor stands before */
} kh_archive_cursor;

/* Bytes of an archive's image; free with kh_free. Going back starts from the beginning again. */
kh_status kh_archive_read_image(kh_archive_cursor *cursor, const kh_source *source,
                                const kh_source_item *item, unsigned char **out, size_t *count,
                                kh_error *err);
void kh_archive_cursor_clear(kh_archive_cursor *cursor);

#endif
