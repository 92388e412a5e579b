/* The tables of a data set. Columns are those of Broden where it has the table, see
 * docs/diorama.md. Fractions have six digits and a point in every locale. */
#include "diorama/broden.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ----------------------------------------------------------------------------------- */

static void add_text(kh_text *out, const char *cell) {
    if (!cell[strcspn(cell, ",\"\r\n")]) {
        kh_text_add(out, cell);
        return;
    }
    kh_text_add(out, "\"");
    for (const char *p = cell; *p; p++)
        kh_text_add_bytes(out, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    kh_text_add(out, "\"");
}

static void add_fraction(kh_text *out, double value) {
    const long long millionths = llround(value * 1e6);
    kh_text_addf(out, ",%lld.%06lld", millionths / 1000000, millionths % 1000000);
}

static void add_box(kh_text *out, const uint32_t box[4]) {
    const bool is_empty = box[2] <= box[0];
    for (size_t i = 0; i < 4; i++)
        kh_text_addf(out, ",%u", is_empty ? 0 : box[i]);
}

static const char *name_of(size_t label) {
    return label ? kh_diorama_label_name(label) : "";
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* A fifth of every class, also of small sets. */
static const char *split_of(const kh_diorama_scene *scene) {
    const uint64_t turn = scene->index / kh_diorama_class_count();
    return (turn + scene->class_index) % 5 == 4 ? "val" : "train";
}

static void add_index(const kh_broden *b, kh_text *out, const kh_diorama_scene *scene) {
    char name[256];
    const uint32_t size = b->set.size;
    kh_broden_picture(scene, name, sizeof name);
    add_text(out, name);
    kh_text_addf(out, ",%s,%u,%u,%u,%u", split_of(scene), size, size, size, size);
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        kh_broden_map(scene, c, name, sizeof name);
        kh_text_add(out, ",");
        if (!b->set.no_labels) add_text(out, name);
    }
    kh_text_add(out, "\n");
}

static void add_scene(kh_text *out, const kh_diorama_scene *scene) {
    char name[256];
    kh_broden_picture(scene, name, sizeof name);
    add_text(out, name);
    kh_text_addf(out, ",%" PRIu64 ",%zu,", scene->index, scene->class_index);
    add_text(out, kh_diorama_class_name(scene->class_index));
    kh_text_add(out, ",");
    add_text(out, name_of(scene->background));
    add_fraction(out, scene->scale);
    add_fraction(out, scene->visible);
    add_box(out, scene->box);
    kh_text_add(out, "\n");
}

static void add_captions(kh_text *out, const kh_broden_row *row) {
    char name[256];
    kh_broden_picture(&row->scene, name, sizeof name);
    for (size_t i = 0; i < row->scene.regions; i++) {
        const kh_diorama_region *r = &row->scene.region[i];
        const char *const cells[] = {name_of(r->object), name_of(r->part), name_of(r->material),
                                     name_of(r->colour), r->caption};
        add_text(out, name);
        kh_text_addf(out, ",%zu", i);
        for (size_t c = 0; c < sizeof cells / sizeof *cells; c++) {
            kh_text_add(out, ",");
            add_text(out, cells[c]);
        }
        kh_text_addf(out, ",%u", r->pixels);
        add_box(out, row->boxes[i]);
        kh_text_add(out, "\n");
    }
}

/* ---- tables that grow ------------------------------------------------------------------------ */

static kh_status flush_table(kh_broden_table *table, kh_error *err) {
    if (table->text.failed) return kh_fail(err, KH_E_MEMORY, "no memory for a table");
    KH_TRY(kh_file_put(&table->file, table->text.data, table->text.length, err));
    table->text.length = 0;
    return KH_OK;
}

static void add_index_head(kh_text *out) {
    kh_text_add(out, "image,split,ih,iw,sh,sw");
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++)
        kh_text_addf(out, ",%s", kh_diorama_category_name((kh_diorama_category)c));
    kh_text_add(out, "\n");
}

kh_status kh_broden_tables_begin(const kh_broden *b, kh_broden_tables *t, kh_error *err) {
    static const char *const names[] = {[KH_BRODEN_INDEX] = "index.csv",
                                        [KH_BRODEN_SCENES] = "scenes.csv",
                                        [KH_BRODEN_CAPTIONS] = "captions.csv"};
    *t = (kh_broden_tables){0};
    t->images = kh_calloc(b->labels + 1, sizeof *t->images);
    t->pixels = kh_calloc(b->labels + 1, sizeof *t->pixels);
    kh_status status = KH_OK;
    if (!t->images || !t->pixels) status = kh_fail(err, KH_E_MEMORY, "no memory for the tables");
    for (size_t i = 0; i < KH_BRODEN_TABLES && !status; i++) {
        char path[4096];
        if (i == KH_BRODEN_CAPTIONS && b->set.no_labels) continue;
        (void)snprintf(path, sizeof path, "%s/%s", b->folder, names[i]);
        status = kh_file_begin(&t->table[i].file, path, err);
        t->table[i].is_open = !status;
    }
    if (status) {
        (void)kh_broden_tables_end(b, t, false, NULL);
        return status;
    }
    add_index_head(&t->table[KH_BRODEN_INDEX].text);
    kh_text_add(&t->table[KH_BRODEN_SCENES].text,
                "image,index,class,name,background,scale,visible,x0,y0,x1,y1\n");
    kh_text_add(&t->table[KH_BRODEN_CAPTIONS].text,
                "image,region,object,part,material,color,caption,pixels,x0,y0,x1,y1\n");
    return KH_OK;
}

kh_status kh_broden_tables_add(const kh_broden *b, kh_broden_tables *t, const kh_broden_row *row,
                               kh_error *err) {
    add_index(b, &t->table[KH_BRODEN_INDEX].text, &row->scene);
    add_scene(&t->table[KH_BRODEN_SCENES].text, &row->scene);
    if (!b->set.no_labels) {
        add_captions(&t->table[KH_BRODEN_CAPTIONS].text, row);
        for (size_t l = 1; l <= b->labels; l++) {
            t->images[l] += row->counts[l] > 0;
            t->pixels[l] += row->counts[l];
        }
    }
    for (size_t i = 0; i < KH_BRODEN_TABLES; i++)
        if (t->table[i].text.length > 1u << 16) KH_TRY(flush_table(&t->table[i], err));
    return KH_OK;
}

/* ---- tables of sums -------------------------------------------------------------------------- */

static kh_status write_text(const kh_broden *b, const char *name, kh_text *text, kh_error *err) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", b->folder, name);
    const kh_status status = text->failed ? kh_fail(err, KH_E_MEMORY, "no memory for %s", name)
                                          : kh_file_write_lazy(path, text->data, text->length, err);
    kh_text_clear(text);
    return status;
}

static double coverage(const kh_broden *b, const kh_broden_tables *t, size_t label) {
    return (double)t->pixels[label] / (double)b->pixels;
}

static kh_status write_labels(const kh_broden *b, const kh_broden_tables *t, kh_error *err) {
    kh_text out = {0};
    kh_text_add(&out, "number,name,category,frequency,coverage,syns\n");
    for (size_t l = 1; l <= b->labels; l++) {
        kh_text_addf(&out, "%zu,", l);
        add_text(&out, kh_diorama_label_name(l));
        kh_text_addf(&out, ",%s(%" PRIu64 "),%" PRIu64,
                     kh_diorama_category_name(kh_diorama_label_category(l)), t->images[l],
                     t->images[l]);
        add_fraction(&out, coverage(b, t, l));
        kh_text_add(&out, ",\n");
    }
    return write_text(b, "label.csv", &out, err);
}

static kh_status write_categories(const kh_broden *b, const kh_broden_tables *t, kh_error *err) {
    kh_text out = {0};
    kh_text_add(&out, "name,first,last,count,frequency\n");
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        size_t first = 0, last = 0, count = 0;
        uint64_t frequency = 0;
        for (size_t l = 1; l <= b->labels; l++) {
            if (kh_diorama_label_category(l) != (kh_diorama_category)c) continue;
            if (!first) first = l;
            last = l;
            count++;
            frequency += t->images[l];
        }
        kh_text_addf(&out, "%s,%zu,%zu,%zu,%" PRIu64 "\n",
                     kh_diorama_category_name((kh_diorama_category)c), first, last, count,
                     frequency);
    }
    return write_text(b, "category.csv", &out, err);
}

typedef struct entry {
    size_t label;
    uint64_t images, pixels;
} entry;

static int by_frequency(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->images != b->images) return a->images > b->images ? -1 : 1;
    if (a->pixels != b->pixels) return a->pixels > b->pixels ? -1 : 1;
    return a->label < b->label ? -1 : a->label > b->label;
}

/* c_<category>.csv: the labels of one category, most frequent first. */
static kh_status write_category(const kh_broden *b, const kh_broden_tables *t,
                                kh_diorama_category category, entry *entries, kh_error *err) {
    size_t count = 0;
    for (size_t l = 1; l <= b->labels; l++)
        if (kh_diorama_label_category(l) == category)
            entries[count++] = (entry){l, t->images[l], t->pixels[l]};
    qsort(entries, count, sizeof *entries, by_frequency);
    kh_text out = {0};
    kh_text_add(&out, "code,number,name,frequency,coverage\n");
    for (size_t i = 0; i < count; i++) {
        kh_text_addf(&out, "%zu,%zu,", i + 1, entries[i].label);
        add_text(&out, kh_diorama_label_name(entries[i].label));
        kh_text_addf(&out, ",%" PRIu64, entries[i].images);
        add_fraction(&out, coverage(b, t, entries[i].label));
        kh_text_add(&out, "\n");
    }
    char name[80];
    (void)snprintf(name, sizeof name, "c_%s.csv", kh_diorama_category_name(category));
    return write_text(b, name, &out, err);
}

static kh_status write_category_files(const kh_broden *b, const kh_broden_tables *t,
                                      kh_error *err) {
    entry *entries = kh_calloc(b->labels, sizeof *entries);
    if (!entries) return kh_fail(err, KH_E_MEMORY, "no memory for the tables");
    kh_status status = KH_OK;
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES && !status; c++)
        status = write_category(b, t, (kh_diorama_category)c, entries, err);
    kh_free(entries);
    return status;
}

/* classes.csv, and labels.txt: one class a line, what --labels and timm's --class-map read. */
static kh_status write_classes(const kh_broden *b, kh_error *err) {
    kh_text table = {0}, names = {0};
    kh_text_add(&table, "class,wnid,name,label,relative,shortcut\n");
    for (size_t c = 0; c < kh_diorama_class_count(); c++) {
        const char *name = kh_diorama_class_name(c);
        kh_text_addf(&names, "%s\n", name);
        kh_text_addf(&table, "%zu,%s,", c, kh_diorama_class_wnid(c));
        add_text(&table, name);
        kh_text_addf(&table, ",%zu,%d,", kh_diorama_class_label(c),
                     kh_diorama_class_is_relative(c));
        add_text(&table, name_of(kh_diorama_class_shortcut(c)));
        kh_text_add(&table, "\n");
    }
    const kh_status status = write_text(b, "classes.csv", &table, err);
    const kh_status other = write_text(b, "labels.txt", &names, status ? NULL : err);
    return status ? status : other;
}

static kh_status write_sums(const kh_broden *b, const kh_broden_tables *t, kh_error *err) {
    KH_TRY(write_classes(b, err));
    if (b->set.no_labels) return KH_OK;
    KH_TRY(write_labels(b, t, err));
    KH_TRY(write_categories(b, t, err));
    return write_category_files(b, t, err);
}

kh_status kh_broden_tables_end(const kh_broden *b, kh_broden_tables *t, bool keep, kh_error *err) {
    kh_status status = KH_OK;
    for (size_t i = 0; i < KH_BRODEN_TABLES; i++) {
        kh_broden_table *table = &t->table[i];
        if (table->is_open) {
            if (keep && !status) status = flush_table(table, err);
            table->file.is_lazy = true;
            const kh_status end = kh_file_end(&table->file, keep && !status, status ? NULL : err);
            if (!status) status = end;
        }
        kh_text_clear(&table->text);
    }
    if (keep && !status) status = write_sums(b, t, err);
    kh_free(t->images);
    kh_free(t->pixels);
    *t = (kh_broden_tables){0};
    return status;
}
