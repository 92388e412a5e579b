/* Image sets and loading ahead: order, truth, archives, broken images, bounded memory. */
#define _POSIX_C_SOURCE 200809L
#include "support/kh_test.h"

#include "keyhole/io.h"

#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const class_names[] = {"fish", "bird, fowl", "tent"};

static kh_classes *three_classes(void) {
    static const char *const wnids[] = {"n00000001", "n00000002", "n00000003"};
    kh_classes *classes;
    kh_error err = {0};
    kh_assert_ok(kh_classes_create(3, wnids, class_names, &classes, &err));
    return classes;
}

static void write_bytes(const char *folder, const char *name, const void *bytes, size_t count) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *at = path + strlen(folder) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static void write_text(const char *folder, const char *name, const char *text) {
    write_bytes(folder, name, text, strlen(text));
}

/* A flat picture whose red says who it is. */
static void write_picture(const char *folder, const char *name, uint8_t red) {
    char path[4096];
    uint8_t rgb[4 * 4 * 3];
    kh_error err = {0};
    write_text(folder, name, ""); /* makes the folders */
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = i % 3 ? 0 : red;
    const kh_image image = {4, 4, rgb};
    kh_assert_ok(kh_image_write(path, &image, &err));
}

static char heard[1024]; /* the last warning; "" when there was none */

static void hear(void *user, const char *text) {
    (void)user;
    (void)snprintf(heard, sizeof heard, "%s", text);
}

static kh_source *open_set(const char *operand, const kh_classes *classes, const char *labels) {
    kh_error err = {0};
    kh_source *source;
    char *operands[] = {strdup(operand)};
    const kh_source_options options = {.classes = classes, .label_file = labels, .warn = hear};
    heard[0] = '\0';
    kh_assert_ok(kh_source_open(operands, 1, &options, &source, &err));
    free(operands[0]);
    return source;
}

static void assert_fails_to_open(const char *operand, const kh_classes *classes, const char *labels,
                                 kh_status want, const char *part) {
    kh_error err = {0};
    kh_source *source;
    char *operands[] = {strdup(operand)};
    const kh_source_options options = {.classes = classes, .label_file = labels};
    kh_assert_fails(kh_source_open(operands, 1, &options, &source, &err), want, part);
    assert_null(source);
    free(operands[0]);
}

static void assert_image(const kh_source *source, size_t index, const char *ending, size_t truth) {
    const kh_source_image image = kh_source_get(source, index);
    const size_t length = strlen(image.name), size = strlen(ending);
    if (length < size || strcmp(image.name + length - size, ending) != 0)
        fail_msg("image %zu is %s, expected ...%s", index, image.name, ending);
    assert_int_equal(image.truth, truth);
}

static void class_folders_come_in_byte_order_with_their_truth(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    const char *folder = kh_test_folder("folders");
    write_picture(folder, "n00000002/b.png", 1);
    write_picture(folder, "n00000002/B.png", 2);
    write_picture(folder, "fish/x.png", 3);
    write_picture(folder, "attic/y.png", 4);
    write_text(folder, "fish/notes.txt", "no image");
    write_text(folder, "fish/.hidden.png", "no image");
    kh_source *source = open_set(folder, classes, NULL);
    assert_int_equal(kh_source_count(source), 4);
    assert_image(source, 0, "attic/y.png", KH_NO_CLASS);
    assert_image(source, 1, "fish/x.png", 0);
    assert_image(source, 2, "n00000002/B.png", 1);
    assert_image(source, 3, "n00000002/b.png", 1);
    kh_source_free(source);
    kh_classes_free(classes);
}

static void members_of_archives_show_the_classes_of_their_own_names(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    size_t index = 7;
    assert_true(kh_classes_of_path(classes, "fish/set.tar.gz:n00000002_x.png", &index));
    assert_int_equal(index, 1);
    assert_true(kh_classes_of_path(classes, "fish/set.zip:tent/x.png", &index));
    assert_int_equal(index, 2);
    assert_true(kh_classes_of_path(classes, "fish/set.zip:x.png", &index)); /* else the archive's */
    assert_int_equal(index, 0);
    assert_false(kh_classes_of_path(classes, "set:n00000002_x.png", &index));
    kh_classes_free(classes);
}

static void a_label_file_names_images_or_follows_their_order(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    const char *folder = kh_test_folder("labels");
    char labels[4096];
    write_picture(folder, "set/a b.png", 1);
    write_picture(folder, "set/c.png", 2);
    (void)snprintf(labels, sizeof labels, "%s/labels.csv", folder);
    char set[4096];
    (void)snprintf(set, sizeof set, "%s/set", folder);

    write_text(folder, "labels.csv", "image,label\nc.png,fowl\r\nval/a b.png,2\n");
    kh_source *source = open_set(set, classes, labels);
    assert_image(source, 0, "a b.png", 2);
    assert_image(source, 1, "c.png", 1);
    assert_string_equal(heard, "");
    kh_source_free(source);

    write_text(folder, "labels.csv", "1\n0\n");
    source = open_set(set, classes, labels);
    assert_image(source, 0, "a b.png", 1);
    assert_image(source, 1, "c.png", 0);
    kh_source_free(source);

    write_text(folder, "labels.csv", "1\n0\n2\n");
    assert_fails_to_open(set, classes, labels, KH_E_FORMAT, "3 lines of labels alone, for 2");
    write_text(folder, "labels.csv", "\n\nc.png 1\na/c.png,fowl\n"); /* the same said twice */
    source = open_set(set, classes, labels);
    assert_image(source, 0, "a b.png", KH_NO_CLASS);
    assert_image(source, 1, "c.png", 1);
    assert_non_null(strstr(heard, "1 of 2 images has no line in '"));
    assert_non_null(strstr(heard, "labels.csv', e.g. 'a b.png'"));
    kh_source_free(source);
    write_text(folder, "labels.csv", "a b.png 0\n\nc.png 1\n\nx/c.png 2\n");
    assert_fails_to_open(set, classes, labels, KH_E_FORMAT,
                         "lines 3 and 5 name different classes, 1 and 2, for image 'c.png'");
    write_text(folder, "labels.csv", "c.png 3\n");
    assert_fails_to_open(set, classes, labels, KH_E_FORMAT, "line 1: '3' is no class");
    write_text(folder, "labels.csv", "z.png 1\n");
    assert_fails_to_open(
        set, classes, labels, KH_E_FORMAT,
        "names none of 2 images: its first name is 'z.png', the first image is 'a b.png'");
    kh_classes_free(classes);
}

static void a_list_keeps_its_order_and_its_labels(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    const char *folder = kh_test_folder("list");
    char operand[4096];
    write_text(folder, "list.txt", "z.png tent\nbird/a.png\r\n\nsome day.png\t0\n");
    (void)snprintf(operand, sizeof operand, "@%s/list.txt", folder);
    kh_source *source = open_set(operand, classes, NULL);
    assert_int_equal(kh_source_count(source), 3);
    assert_image(source, 0, "z.png", 2);
    assert_image(source, 1, "bird/a.png", 1);
    assert_image(source, 2, "some day.png", 0);
    kh_source_free(source);
    kh_classes_free(classes);
}

/* ---- archives ------------------------------------------------------------------------------ */

static void add_member(struct archive *archive, const char *name, const void *bytes, size_t count) {
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)count);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, bytes, count), (la_ssize_t)count);
    archive_entry_free(entry);
}

static size_t picture_bytes(const char *folder, uint8_t red, uint8_t *out, size_t room) {
    char path[4096];
    write_picture(folder, "one.png", red);
    (void)snprintf(path, sizeof path, "%s/one.png", folder);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t count = fread(out, 1, room, file);
    (void)fclose(file);
    return count;
}

/* Three pictures with red 30, 20, 10; webdataset labels before and behind their picture. */
static void write_archive(const char *folder, const char *path, bool is_compressed) {
    static const char *const names[] = {"b/0003.x.png", "a/0001.png", "fish/2.jpeg"};
    uint8_t bytes[4096];
    struct archive *archive = archive_write_new();
    if (is_compressed) (void)archive_write_add_filter_gzip(archive);
    (void)archive_write_set_format_pax_restricted(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    add_member(archive, "a/readme.txt", "hello", 5);
    for (size_t i = 0; i < 3; i++) {
        const size_t count = picture_bytes(folder, (uint8_t)(30 - 10 * i), bytes, sizeof bytes);
        if (i == 1) add_member(archive, "a/0001.cls", "2\n", 2);
        add_member(archive, names[i], bytes, count);
        if (i == 0) add_member(archive, "b/0003.cls", "1", 1);
    }
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    (void)archive_write_free(archive);
}

static kh_preprocess plain_4x4(void) {
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = 4;
    how.crop_pct = 1.0;
    return how;
}

static kh_loader *load_all(const kh_source *source, const kh_preprocess *how, size_t threads,
                           size_t ahead) {
    kh_error err = {0};
    kh_loader *loader;
    const kh_loader_options options = {.how = how,
                                       .end = kh_source_count(source),
                                       .threads = threads,
                                       .ahead = ahead,
                                       .keeps_bytes = true};
    kh_assert_ok(kh_loader_create(source, &options, &loader, &err));
    return loader;
}

static void archives_are_read_in_their_order(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    const char *folder = kh_test_folder("archive");
    for (int is_compressed = 0; is_compressed < 2; is_compressed++) {
        char path[4096];
        kh_error err = {0};
        (void)snprintf(path, sizeof path, "%s/%s", folder, is_compressed ? "s.tar.gz" : "s.tar");
        write_archive(folder, path, is_compressed);
        kh_source *source = open_set(path, classes, NULL);
        assert_int_equal(kh_source_count(source), 3);
        assert_image(source, 0, ":b/0003.x.png", 1);
        assert_image(source, 1, ":a/0001.png", 2);
        assert_image(source, 2, ":fish/2.jpeg", 0);
        const kh_preprocess how = plain_4x4();
        for (size_t threads = 1; threads < 4; threads++) {
            kh_loader *loader = load_all(source, &how, threads, 2);
            kh_loaded one;
            bool more;
            for (size_t i = 0; i < 3; i++) {
                kh_assert_ok(kh_loader_next(loader, &one, &more, &err));
                assert_true(more);
                assert_int_equal(one.status, KH_OK);
                assert_int_equal(one.id, i);
                assert_int_equal(one.bytes->rgb[0], 30 - 10 * i);
            }
            kh_assert_ok(kh_loader_next(loader, &one, &more, &err));
            assert_false(more);
            kh_loader_free(loader);
        }
        kh_image image; /* one by itself, out of order */
        kh_assert_ok(kh_source_read_image(source, 1, NULL, &image, &err));
        assert_int_equal(image.rgb[0], 20);
        kh_image_clear(&image);
        kh_source_free(source);
    }
    kh_classes_free(classes);
}

typedef struct text_member {
    const char *name, *text;
} text_member;

static void write_members(const char *path, const text_member *members, size_t count) {
    struct archive *archive = archive_write_new();
    (void)archive_write_set_format_pax_restricted(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        add_member(archive, members[i].name, members[i].text, strlen(members[i].text));
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    (void)archive_write_free(archive);
}

static void labels_of_an_archive_lie_anywhere_in_it(void **state) {
    (void)state;
    static const text_member members[] = {
        {"./12.png", ""},   {"./1.cls", "2"},      {"./fish/5.png", ""}, {"./3.cls", "n00000002"},
        {"./12.cls", "0"},  {"./1.seg.png", ""},   {"./3.png", ""},      {"./4.png", ""},
        {"./1.png", ""},    {"./d/1.cls", "fowl"}, {"./9.cls", "1"},     {"./1.cls", "tent"},
        {"./d/12.png", ""}, {"./d/1.new.png", ""}};
    enum { ALL = sizeof members / sizeof *members };
    kh_classes *classes = three_classes();
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/apart.tar", kh_test_folder("apart"));
    write_members(path, members, ALL);
    kh_source *source = open_set(path, classes, NULL);
    assert_int_equal(kh_source_count(source), 8);
    assert_image(source, 0, ":./12.png", 0);
    assert_image(source, 1, ":./fish/5.png", 0); /* by its folder */
    assert_image(source, 2, ":./1.seg.png", 2);
    assert_image(source, 3, ":./3.png", 1);
    assert_image(source, 4, ":./4.png", KH_NO_CLASS);
    assert_image(source, 5, ":./1.png", 2);
    assert_image(source, 6, ":./d/12.png", KH_NO_CLASS);
    assert_image(source, 7, ":./d/1.new.png", 1);
    assert_non_null(strstr(heard, "2 of 8 images in '"));
    assert_non_null(strstr(heard, "apart.tar' have no .cls member"));
    assert_non_null(strstr(heard, "e.g. './4.png'"));
    kh_source_free(source);

    write_members(path, members, 4); /* no class is asked for */
    source = open_set(path, NULL, NULL);
    assert_string_equal(heard, "");
    kh_source_free(source);
    static const text_member two[] = {
        {"a.1.png", ""}, {"a.1.cls", "2"}, {"a.2.png", ""}, {"a.2.cls", "1"}};
    write_members(path, two, 4);
    assert_fails_to_open(path, classes, NULL, KH_E_FORMAT,
                         "name different classes, such as 1 and 2");
    write_members(path, two, 2);
    source = open_set(path, classes, NULL);
    assert_image(source, 0, ":a.1.png", 2);
    assert_string_equal(heard, "");
    kh_source_free(source);

    kh_error err = {0}; /* names of labels are held in memory, which has its cap */
    kh_limits limits = kh_limits_default();
    limits.max_label_bytes = 1;
    char *operands[] = {path};
    const kh_source_options options = {.classes = classes, .limits = &limits};
    kh_assert_fails(kh_source_open(operands, 1, &options, &source, &err), KH_E_LIMIT,
                    "its .cls members take more than 1 bytes");
    kh_classes_free(classes);
}

static void a_damaged_archive_is_refused(void **state) {
    (void)state;
    const char *folder = kh_test_folder("damaged");
    char path[4096];
    write_text(folder, "junk.tar", "this is no archive, however long one looks at it");
    (void)snprintf(path, sizeof path, "%s/junk.tar", folder);
    assert_fails_to_open(path, NULL, NULL, KH_E_FORMAT, "junk.tar");
    (void)snprintf(path, sizeof path, "%s/absent.tar", folder);
    assert_fails_to_open(path, NULL, NULL, KH_E_NOT_FOUND, "absent.tar");
    (void)snprintf(path, sizeof path, "%s/short.tar", folder);
    write_archive(folder, path, false);
    kh_source *source = open_set(path, NULL, NULL);
    assert_int_equal(truncate(path, 1600), 0); /* after it was listed */
    const kh_preprocess how = plain_4x4();
    kh_loader *loader = load_all(source, &how, 2, 4);
    kh_error err = {0};
    kh_loaded one;
    bool more;
    kh_status status;
    while (!(status = kh_loader_next(loader, &one, &more, &err)) && more)
        ;
    assert_int_equal(status, KH_E_IO);
    assert_non_null(strstr(err.text, "short.tar"));
    kh_loader_free(loader);
    kh_source_free(source);
}

/* ---- loading ------------------------------------------------------------------------------- */

static void loading_keeps_order_and_reports_what_is_broken(void **state) {
    (void)state;
    const char *folder = kh_test_folder("load");
    enum { COUNT = 40 };
    for (int i = 0; i < COUNT; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%02d.png", i);
        if (i % 7 == 3)
            write_text(folder, name, "torn");
        else
            write_picture(folder, name, (uint8_t)(i + 1));
    }
    kh_source *source = open_set(folder, NULL, NULL);
    const kh_preprocess how = plain_4x4();
    for (size_t threads = 1; threads <= 4; threads++)
        for (size_t ahead = 1; ahead < 10; ahead += 4) {
            kh_error err = {0};
            kh_loader *loader = load_all(source, &how, threads, ahead);
            kh_loaded one;
            bool more;
            for (size_t i = 0; i < COUNT; i++) {
                kh_assert_ok(kh_loader_next(loader, &one, &more, &err));
                assert_true(more);
                assert_int_equal(one.id, i);
                if (i % 7 == 3) {
                    assert_int_equal(one.status, KH_E_FORMAT);
                    assert_non_null(one.reason);
                    assert_null(one.floats);
                    continue;
                }
                assert_int_equal(one.status, KH_OK);
                assert_int_equal(one.bytes->rgb[0], i + 1);
                const float want = (float)((((double)i + 1) / 255.0 - 0.485) / 0.229);
                assert_float_equal(one.floats[0], want, 1e-5f);
            }
            kh_assert_ok(kh_loader_next(loader, &one, &more, &err));
            assert_false(more);
            kh_loader_free(loader);
        }
    kh_loader *loader = load_all(source, &how, 3, 2);
    kh_loader_free(loader); /* in the middle of its work */
    kh_source_free(source);
}

static void the_digest_follows_order_names_and_truth_but_not_the_place(void **state) {
    (void)state;
    kh_classes *classes = three_classes();
    char digest[4][65];
    kh_error err = {0};
    for (int i = 0; i < 4; i++) {
        const char *folder = kh_test_folder("digest");
        write_picture(folder, "fish/x.png", 1);
        write_picture(folder, i == 2 ? "tent/z.png" : "tent/y.png", 1);
        kh_source *source = open_set(folder, i == 3 ? NULL : classes, NULL);
        kh_assert_ok(kh_source_sha256(source, digest[i], &err));
        kh_source_free(source);
    }
    assert_string_equal(digest[0], digest[1]);
    assert_string_not_equal(digest[0], digest[2]);
    assert_string_not_equal(digest[0], digest[3]);
    kh_classes_free(classes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_folders_come_in_byte_order_with_their_truth),
        cmocka_unit_test(members_of_archives_show_the_classes_of_their_own_names),
        cmocka_unit_test(a_label_file_names_images_or_follows_their_order),
        cmocka_unit_test(a_list_keeps_its_order_and_its_labels),
        cmocka_unit_test(archives_are_read_in_their_order),
        cmocka_unit_test(labels_of_an_archive_lie_anywhere_in_it),
        cmocka_unit_test(a_damaged_archive_is_refused),
        cmocka_unit_test(loading_keeps_order_and_reports_what_is_broken),
        cmocka_unit_test(the_digest_follows_order_names_and_truth_but_not_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
