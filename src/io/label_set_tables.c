/* The tables of a set of label maps: Broden's CSV files, or a folder of maps with a list of names.
 */
#include "io/label_set.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "io/sha256.h"
#include "io/source.h"

#include <string.h>

enum { MAX_CELLS = 64, MAX_TABLE_BYTES = 1 << 30 };

typedef struct table {
    unsigned char *bytes;
    char *next;
    const char *name;
    size_t line;
    char *cells[MAX_CELLS];
    size_t count;
} table;

static kh_status bad_line(const table *t, const char *why, kh_error *err) {
    return kh_fail(err, KH_E_FORMAT, "%s, line %zu: %s", t->name, t->line, why);
}

static kh_status open_table(kh_label_set *set, const char *name, kh_sha256 *sha, table *t,
                            kh_error *err) {
    size_t count;
    *t = (table){.name = name};
    char *path = kh_path_join(set->folder, name);
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const kh_status status = kh_file_read(path, MAX_TABLE_BYTES, &t->bytes, &count, err);
    kh_free(path);
    if (status) return status;
    t->next = (char *)t->bytes;
    if (!kh_sha256_add(sha, t->bytes, count))
        return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    return KH_OK;
}

/* One cell of RFC 4180 in place; *at moves to the separator behind it. */
static char *take_cell(char **at) {
    char *from = *at, *to = from, *start = from;
    if (*from != '"') {
        *at = from + strcspn(from, ",\r\n");
        return start;
    }
    for (from++; *from; from++) {
        if (*from == '"' && from[1] != '"') break;
        if (*from == '"') from++;
        *to++ = *from;
    }
    *at = *from ? from + 1 : from;
    if (to < *at) *to = '\0';
    return start;
}

/* The next row into cells; false behind the last. */
static bool next_row(table *t) {
    t->count = 0;
    while (*t->next == '\n' || *t->next == '\r')
        t->next++;
    if (!*t->next) return false;
    t->line++;
    for (char *at = t->next;;) {
        char *cell = take_cell(&at);
        const char separator = *at;
        *at = '\0';
        if (t->count < MAX_CELLS) t->cells[t->count++] = cell;
        if (separator) at++;
        t->next = at;
        if (separator != ',') return true;
    }
}

static size_t column_of(const table *t, const char *name) {
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->cells[i], name) == 0) return i;
    return SIZE_MAX;
}

static size_t category_named(const kh_label_set *set, const char *name, size_t length) {
    for (size_t c = 0; c < set->category_count; c++)
        if (strlen(set->categories[c]) == length && memcmp(set->categories[c], name, length) == 0)
            return c;
    return SIZE_MAX;
}

static kh_status add_category(kh_label_set *set, const char *name, kh_error *err) {
    if (set->category_count == KH_LABEL_CATEGORIES)
        return kh_fail(err, KH_E_LIMIT, "more than %d categories of labels", KH_LABEL_CATEGORIES);
    char *copy = kh_strdup(name);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a category");
    set->categories[set->category_count++] = copy;
    return KH_OK;
}

static kh_status read_categories(kh_label_set *set, kh_sha256 *sha, kh_error *err) {
    table t;
    kh_status status = open_table(set, "category.csv", sha, &t, err);
    if (!status && (!next_row(&t) || column_of(&t, "name") != 0))
        status = bad_line(&t, "expected the column name first", err);
    while (!status && next_row(&t))
        status = add_category(set, t.cells[0], err);
    kh_free(t.bytes);
    return status;
}

/* "color(87);object(3)": the category with the largest number, the later one among equals. */
static size_t main_category(const kh_label_set *set, const char *cell) {
    size_t best = SIZE_MAX, most = 0;
    for (const char *at = cell; *at;) {
        const size_t item = strcspn(at, ";"), name = strcspn(at, "(;");
        size_t count = 0;
        for (const char *d = at + name + 1; name < item && *d >= '0' && *d <= '9'; d++)
            count = count * 10 + (size_t)(*d - '0');
        const size_t c = category_named(set, at, name);
        if (c != SIZE_MAX && (best == SIZE_MAX || count >= most)) {
            best = c;
            most = count;
        }
        at += item + (at[item] == ';');
    }
    return best;
}

static kh_status add_label(kh_label_set *set, size_t number, const char *name, size_t category,
                           kh_error *err) {
    char *copy = kh_strdup(name);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a label");
    kh_free(set->names[number]);
    set->names[number] = copy;
    set->category_of[number] = (uint8_t)category;
    if (number > set->label_count) set->label_count = number;
    return KH_OK;
}

static kh_status read_labels(kh_label_set *set, kh_sha256 *sha, kh_error *err) {
    table t;
    size_t number_at = SIZE_MAX, name_at = SIZE_MAX, category_at = SIZE_MAX;
    kh_status status = open_table(set, "label.csv", sha, &t, err);
    if (!status && next_row(&t)) {
        number_at = column_of(&t, "number");
        name_at = column_of(&t, "name");
        category_at = column_of(&t, "category");
    }
    if (!status && (number_at == SIZE_MAX || name_at == SIZE_MAX || category_at == SIZE_MAX))
        status = bad_line(&t, "expected the columns number, name and category", err);
    const size_t columns = t.count;
    while (!status && next_row(&t)) {
        size_t number;
        if (t.count < columns || !kh_parse_size(t.cells[number_at], &number) || number == 0 ||
            number > KH_LABELS) {
            status = bad_line(&t, "expected a label's number, from 1 to 65535", err);
            break;
        }
        const size_t category = main_category(set, t.cells[category_at]);
        status = category == SIZE_MAX
                     ? bad_line(&t, "a category that category.csv does not list", err)
                     : add_label(set, number, t.cells[name_at], category, err);
    }
    kh_free(t.bytes);
    return status;
}

static kh_status new_image(kh_label_set *set, const char *path, kh_labelled_image **out,
                           kh_error *err) {
    if (set->image_count == set->image_capacity) {
        const size_t capacity = set->image_capacity ? 2 * set->image_capacity : 256;
        kh_labelled_image *grown = kh_realloc(set->images, capacity, sizeof *grown);
        if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", capacity);
        set->images = grown;
        set->image_capacity = capacity;
    }
    *out = &set->images[set->image_count];
    **out = (kh_labelled_image){.key = kh_label_key(path)};
    if (!(*out)->key) return kh_fail(err, KH_E_MEMORY, "no memory for an image's name");
    set->image_count++;
    return KH_OK;
}

/* Maps of a Broden folder lie below images/. */
static char *below_images(const char *cell) {
    kh_text text = {0};
    for (const char *at = cell; *at;) {
        const size_t length = strcspn(at, ";");
        const bool is_number = strspn(at, "0123456789") == length;
        kh_text_addf(&text, "%s%s%.*s", text.length ? ";" : "", is_number ? "" : "images/",
                     (int)length, at);
        at += length + (at[length] == ';');
    }
    if (!text.data && !text.failed) kh_text_add(&text, "");
    return text.failed ? NULL : text.data;
}

static kh_status read_index(kh_label_set *set, kh_sha256 *sha, kh_error *err) {
    table t;
    size_t columns[KH_LABEL_CATEGORIES], image_at = SIZE_MAX, height_at = 0, width_at = 0;
    kh_status status = open_table(set, "index.csv", sha, &t, err);
    if (!status && next_row(&t)) {
        image_at = column_of(&t, "image");
        height_at = column_of(&t, "ih");
        width_at = column_of(&t, "iw");
        for (size_t c = 0; c < set->category_count; c++)
            columns[c] = column_of(&t, set->categories[c]);
    }
    if (!status && (image_at == SIZE_MAX || height_at == SIZE_MAX || width_at == SIZE_MAX))
        status = bad_line(&t, "expected the columns image, ih and iw", err);
    const size_t count = t.count;
    while (!status && next_row(&t)) {
        kh_labelled_image *image = NULL;
        if (t.count < count) {
            status = bad_line(&t, "a cell is missing", err);
            break;
        }
        status = new_image(set, t.cells[image_at], &image, err);
        if (!status && (!kh_parse_size(t.cells[height_at], &image->height) ||
                        !kh_parse_size(t.cells[width_at], &image->width)))
            status = bad_line(&t, "ih and iw are no numbers", err);
        for (size_t c = 0; c < set->category_count && !status; c++)
            if (columns[c] != SIZE_MAX && !(image->cells[c] = below_images(t.cells[columns[c]])))
                status = kh_fail(err, KH_E_MEMORY, "no memory for label maps");
    }
    kh_free(t.bytes);
    return status;
}

kh_status kh_label_set_read_broden(kh_label_set *set, kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    if (!sha) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_status status = read_categories(set, sha, err);
    if (!status) status = read_labels(set, sha, err);
    if (!status) status = read_index(set, sha, err);
    if (!status) status = kh_label_set_read_kinds(set, sha, err);
    if (!status && !kh_sha256_finish(sha, set->sha256))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_sha256_free(sha);
    return status;
}

/* ---- a folder of maps ---------------------------------------------------------------------- */

#define NAMES_EXPECTED                                                                             \
    "it has to hold the wnid or name of label 1, 2, ... on each line; for ImageNet-S it is a copy" \
    " of its ImageNetS_categories_*.txt"

static const char *shown_folder(const kh_label_set *set, char *out) {
    return kh_shown(set->folder, strlen(set->folder), out, KH_SHOWN_BYTES);
}

static kh_status require_names(const kh_label_set *set, kh_error *err) {
    char *path = kh_path_join(set->folder, "labels.txt"), shown[KH_SHOWN_BYTES];
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const bool is_there = kh_file_exists(path);
    kh_free(path);
    if (is_there) return KH_OK;
    return kh_fail(err, KH_E_NOT_FOUND,
                   "'%s' has no index.csv, as Broden has, so it needs labels.txt: " NAMES_EXPECTED,
                   shown_folder(set, shown));
}

static kh_status read_names(kh_label_set *set, kh_sha256 *sha, kh_error *err) {
    table t;
    char shown[KH_SHOWN_BYTES];
    size_t number = 0;
    KH_TRY(open_table(set, "labels.txt", sha, &t, err));
    kh_status status = KH_OK;
    for (char *next = t.next; next && !status;) {
        char *line = next, *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end) *end = '\0';
        line[strcspn(line, "\r")] = '\0';
        number++;
        if (*line == '\0') continue; /* a number without a name */
        status = number <= KH_LABELS ? add_label(set, number, line, 0, err)
                                     : kh_fail(err, KH_E_LIMIT, "labels.txt: too many labels");
    }
    kh_free(t.bytes);
    if (!status && set->label_count == 0)
        status = kh_fail(err, KH_E_FORMAT, "'%s/labels.txt' is empty; " NAMES_EXPECTED,
                         shown_folder(set, shown));
    set->is_named_by_list = true;
    return status;
}

kh_status kh_label_set_read_masks(kh_label_set *set, kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    if (!sha) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_source *files = NULL;
    char *operands[] = {set->folder};
    const size_t prefix = strlen(set->folder);
    kh_status status = add_category(set, "object", err);
    if (!status) status = require_names(set, err);
    if (!status) status = read_names(set, sha, err);
    if (!status) status = kh_label_set_read_kinds(set, sha, err);
    if (!status) status = kh_source_open(operands, 1, NULL, &files, err);
    for (size_t i = 0; !status && i < kh_source_count(files); i++) {
        kh_labelled_image *image = NULL;
        const char *name = kh_source_get(files, i).name + prefix;
        while (*name == '/')
            name++;
        status = new_image(set, name, &image, err);
        if (!status && !(image->cells[0] = kh_strdup(name)))
            status = kh_fail(err, KH_E_MEMORY, "no memory for label maps");
        if (!status && !kh_sha256_add(sha, name, strlen(name) + 1))
            status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    }
    if (!status && !kh_sha256_finish(sha, set->sha256))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_source_free(files);
    kh_sha256_free(sha);
    return status;
}
