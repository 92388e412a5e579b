/* Label maps in the layouts of Broden and ImageNet-S. */
#define _POSIX_C_SOURCE 200809L
#include "support/kh_test.h"

#include "keyhole/io.h"

#include <sys/stat.h>

static const char *folder;

static void write_text(const char *name, const char *text) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *at = path + strlen(folder) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("cannot write %s", path);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* 8 x 4 pixels: label `left` in the left half, `right` in the right. */
static void write_map(const char *name, unsigned left, unsigned right) {
    char path[4096];
    uint8_t rgb[8 * 4 * 3] = {0};
    kh_error err = {0};
    write_text(name, "");
    for (size_t p = 0; p < 32; p++) {
        const unsigned label = p % 8 < 4 ? left : right;
        rgb[3 * p] = (uint8_t)(label & 255);
        rgb[3 * p + 1] = (uint8_t)(label >> 8);
        rgb[3 * p + 2] = 77; /* means nothing */
    }
    const kh_image image = {8, 4, rgb};
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    kh_assert_ok(kh_image_write(path, &image, &err));
}

static void write_broden(void) {
    folder = kh_test_folder("broden");
    write_text("category.csv", "name,first,last,count,frequency\nobject,1,2,2,2\ncolor,1,3,1,1\n");
    write_text("label.csv", "number,name,category,frequency,coverage,syns\n"
                            "1,\"tree, \"\"old\"\"\",object(4);color(2),1,0.5,\n"
                            "2,sea,object(3);color(3),1,0.5,\n300,red,color(9),1,1,\n");
    write_text("index.csv", "image,split,ih,iw,sh,sw,object,color\n"
                            "set/a.jpg,train,4,8,4,8,m/a_object.png,300\n"
                            "set/b.jpg,val,4,8,4,8,m/b1.png;m/b2.png,\n"
                            "set/c.jpg,val,4,8,4,8,4,m/absent.png\n");
    write_map("images/m/a_object.png", 1, 0);
    write_map("images/m/b1.png", 0, 2);
    write_map("images/m/b2.png", 1, 1);
}

static kh_label_set *open_set(void) {
    kh_error err = {0};
    kh_label_set *set;
    kh_assert_ok(kh_label_set_open(folder, NULL, &set, &err));
    return set;
}

/* An input as wide as the map and a crop of the middle in between. */
static kh_preprocess input_of(size_t width, size_t height) {
    kh_preprocess how = kh_preprocess_default();
    how.width = width;
    how.height = height;
    how.crop_pct = 1.0;
    return how;
}

static void broden_tables_are_read(void **state) {
    (void)state;
    write_broden();
    kh_label_set *set = open_set();
    assert_int_equal(kh_label_set_labels(set), 300);
    assert_int_equal(kh_label_set_categories(set), 2);
    assert_string_equal(kh_label_set_category(set, 1), "color");
    assert_string_equal(kh_label_set_label(set, 1).name, "tree, \"old\"");
    assert_int_equal(kh_label_set_label(set, 1).category, 0);
    assert_int_equal(kh_label_set_label(set, 2).category, 1); /* equal coverage: the later */
    assert_string_equal(kh_label_set_label(set, 7).name, "");
    size_t index;
    assert_true(kh_label_set_find(set, "/elsewhere/set.tar:set/b.png", &index));
    assert_true(kh_label_set_find(set, "/elsewhere/set/b.png", &index));
    assert_int_equal(index, 1);
    assert_false(kh_label_set_find(set, "other/b.png", &index));
    char digest[65];
    kh_error err = {0};
    kh_assert_ok(kh_label_set_sha256(set, digest, &err));
    assert_int_equal(strlen(digest), 64);
    kh_label_set_close(set);
}

static void maps_follow_the_crop_of_the_input(void **state) {
    (void)state;
    write_broden();
    kh_label_set *set = open_set();
    kh_error err = {0};
    uint16_t out[16];
    bool has;
    const kh_preprocess square = input_of(4, 4); /* the middle four columns */
    kh_assert_ok(kh_label_set_read(set, 0, 0, &square, out, &has, &err));
    assert_true(has);
    for (size_t p = 0; p < 16; p++)
        assert_int_equal(out[p], p % 4 < 2 ? 1 : 0);
    kh_assert_ok(kh_label_set_read(set, 0, 1, &square, out, &has, &err)); /* a number for all */
    for (size_t p = 0; p < 16; p++)
        assert_int_equal(out[p], 300);
    kh_assert_ok(kh_label_set_read(set, 1, 0, &square, out, &has, &err)); /* the first label wins */
    for (size_t p = 0; p < 16; p++)
        assert_int_equal(out[p], p % 4 < 2 ? 1 : 2);
    kh_assert_ok(kh_label_set_read(set, 1, 1, &square, out, &has, &err));
    assert_false(has);
    kh_preprocess border = input_of(4, 4); /* the whole width, fill above and below */
    border.crop = KH_CROP_BORDER;
    kh_assert_ok(kh_label_set_read(set, 0, 1, &border, out, &has, &err));
    for (size_t p = 0; p < 16; p++)
        assert_int_equal(out[p], p / 4 == 1 || p / 4 == 2 ? 300 : 0);
    kh_label_set_close(set);
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    kh_error err = {0};
    kh_label_set *set;
    uint16_t out[16];
    bool has;
    write_broden();
    const kh_preprocess square = input_of(4, 4);
    set = open_set();
    size_t index;
    assert_true(kh_label_set_find(set, "set/c.jpg", &index));
    kh_assert_ok(kh_label_set_read(set, index, 0, &square, out, &has, &err)); /* 4 is unnamed */
    kh_assert_fails(kh_label_set_read(set, index, 1, &square, out, &has, &err), KH_E_NOT_FOUND,
                    "absent.png");
    kh_label_set_close(set);
    write_text("label.csv", "number,name,category\n1,tree,sound(4)\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT,
                    "label.csv, line 2: a category");
    write_text("label.csv", "number,name\n1,tree\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT, "line 1: expected");
    write_text("label.csv", "number,name,category\n70000,tree,object(1)\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT, "from 1 to 65535");
    write_text("label.csv", "number,name,category\n1,tree,object(1)\n");
    write_text("index.csv", "image,split,ih,iw,sh,sw,object,color\nset/a.jpg,train,4\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT,
                    "index.csv, line 2: a cell is missing");
    kh_assert_fails(kh_label_set_open("/nowhere", NULL, &set, &err), KH_E_NOT_FOUND, "/nowhere");
}

static void a_folder_of_masks_needs_only_names(void **state) {
    (void)state;
    folder = kh_test_folder("masks");
    kh_error err = {0};
    kh_label_set *set = NULL;
    write_map("n01440764/x.png", 1, 2);
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_NOT_FOUND,
                    "needs labels.txt: it has to hold the wnid or name of label 1, 2, ...");
    write_text("labels.txt", "\n");
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_FORMAT,
                    "labels.txt' is empty");
    write_text("labels.txt", "tench\ngoldfish\r\n");
    write_map("n01443537/y.png", 1000, 1); /* ImageNet-S: not to be counted */
    write_map("n01443537/z.png", 0, 3);
    set = open_set();
    size_t index;
    uint16_t out[16];
    bool has;
    const kh_preprocess square = input_of(4, 4);
    assert_int_equal(kh_label_set_labels(set), 2);
    assert_string_equal(kh_label_set_label(set, 2).name, "goldfish");
    assert_true(kh_label_set_find(set, "val/n01443537/y.JPEG", &index));
    kh_assert_ok(kh_label_set_read(set, index, 0, &square, out, &has, &err));
    for (size_t p = 0; p < 16; p++)
        assert_int_equal(out[p], p % 4 < 2 ? 0 : 1);
    assert_true(kh_label_set_find(set, "n01443537/z.JPEG", &index));
    kh_assert_fails(kh_label_set_read(set, index, 0, &square, out, &has, &err), KH_E_FORMAT,
                    "label map 'n01443537/z.png' has label 3, but '");
    assert_non_null(strstr(err.text, "labels.txt' has 2 lines, one for each label"));
    kh_label_set_close(set);
    write_text("labels.txt", "tench\n\ngoldfish\n\n"); /* a line is a number, named or not */
    set = open_set();
    assert_int_equal(kh_label_set_labels(set), 3);
    assert_string_equal(kh_label_set_label(set, 2).name, "");
    assert_string_equal(kh_label_set_label(set, 3).name, "goldfish");
    kh_assert_ok(kh_label_set_read(set, index, 0, &square, out, &has, &err));
    assert_int_equal(out[3], 3);
    kh_label_set_close(set);
}

static void labels_are_kinds_of_something(void **state) {
    (void)state;
    kh_error err;
    char before[65], after[65];
    folder = kh_test_folder("kinds");
    write_map("n01440764/x.png", 1, 2);
    write_text("labels.txt",
               "n00000007 tench\nn00000009\nn000000070\nbird\nn00000007\nn00000030\n");
    kh_label_set *set = open_set();
    kh_assert_ok(kh_label_set_sha256(set, before, &err));
    assert_int_equal(kh_label_set_kinds(set), 0);
    kh_label_set_close(set);
    write_text("data.noun", "00000001 03 n 01 thing 0 000 | a gloss\n"
                            "00000003 05 n 01 fish 0 001 @ 00000001 n 0000 | a gloss\n"
                            "00000007 05 n 01 tench 0 001 @ 00000003 n 0000 | a gloss\n"
                            "00000009 05 n 01 goldfish 0 001 @ 00000003 n 0000 | a gloss\n"
                            "00000030 05 n 01 boat 0 001 @ 00000001 n 0000 | a gloss\n");
    set = open_set();
    kh_assert_ok(kh_label_set_sha256(set, after, &err));
    assert_string_not_equal(before, after);
    assert_int_equal(kh_label_set_kinds(set), 3); /* tench: two labels have its name */
    static const char *const names[] = {"thing", "fish", "tench"};
    static const size_t counts[] = {4, 3, 2}, labels[] = {1, 2, 5, 6};
    for (size_t k = 0; k < 3; k++) {
        const kh_label_kind kind = kh_label_set_kind(set, k);
        assert_string_equal(kind.name, names[k]);
        assert_int_equal(kind.depth, k + 1);
        assert_int_equal(kind.count, counts[k]);
        for (size_t i = 0; i < kind.count && k < 2; i++)
            assert_int_equal(kind.labels[i], labels[i]);
    }
    assert_string_equal(kh_label_set_kind(set, 0).wnid, "n00000001");
    assert_int_equal(kh_label_set_kind(set, 2).labels[1], 5);
    kh_label_set_close(set);
}

/* A chain of 300 nouns below 2,000 labels: more than is ever looked at. */
static void too_many_kinds_are_refused(void **state) {
    (void)state;
    enum { NOUNS = 300, LABELS = 2000, LINE = 64 };
    char *text = malloc(NOUNS * LINE + LABELS * 12);
    assert_non_null(text);
    size_t at = 0;
    folder = kh_test_folder("chain");
    write_map("n00000001/x.png", 1, 2);
    for (size_t i = 1; i <= NOUNS; i++) {
        at += (size_t)snprintf(text + at, LINE, "%08zu 03 n 01 w 0 ", i);
        at += (size_t)(i == 1 ? snprintf(text + at, LINE, "000 | a\n")
                              : snprintf(text + at, LINE, "001 @ %08zu n 0000 | a\n", i - 1));
    }
    write_text("data.noun", text);
    at = 0;
    for (size_t l = 0; l < LABELS; l++)
        at += (size_t)snprintf(text + at, 12, "n%08d\n", NOUNS);
    write_text("labels.txt", text);
    kh_error err = {0};
    kh_label_set *set = NULL;
    kh_assert_fails(kh_label_set_open(folder, NULL, &set, &err), KH_E_LIMIT, "hypernyms");
    text[11 * 1000] = '\0'; /* half as many: one kind, the deepest of equal ones */
    write_text("labels.txt", text);
    kh_assert_ok(kh_label_set_open(folder, NULL, &set, &err));
    assert_int_equal(kh_label_set_kinds(set), 1);
    assert_int_equal(kh_label_set_kind(set, 0).depth, NOUNS);
    kh_label_set_close(set);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broden_tables_are_read),
        cmocka_unit_test(maps_follow_the_crop_of_the_input),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(labels_are_kinds_of_something),
        cmocka_unit_test(too_many_kinds_are_refused),
        cmocka_unit_test(a_folder_of_masks_needs_only_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
