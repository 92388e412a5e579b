/* Data sets: the files are what the renderer says, in Broden's layout, whole or not at all. */
#define _POSIX_C_SOURCE 200809L
#include "diorama/broden_set.h"
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 48, SCENES = 70, PIXELS = SIZE * SIZE };

static kh_diorama_set some_set(void) {
    return (kh_diorama_set){.seed = 11, .start = 5, .count = SCENES, .size = SIZE, .threads = 1};
}

static const char *write_to(const char *name, const kh_diorama_set *set) {
    kh_error err;
    bool was_there = true;
    const char *folder = kh_test_folder(name);
    kh_assert_ok(kh_diorama_write(set, folder, &was_there, &err));
    assert_false(was_there);
    return folder;
}

static const char *path_in(const char *folder, const char *name) {
    static char path[2048];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* The set all tests read from, and what it holds, rendered again. */
typedef struct fixture {
    const char *folder;
    uint8_t (*rgb)[PIXELS][3];
    uint16_t (*labels)[KH_DIORAMA_CATEGORIES][PIXELS];
    kh_diorama_scene *scenes;
} fixture;

static int setup(void **state) {
    static fixture f;
    kh_error err;
    const kh_diorama_set set = some_set();
    f.folder = write_to("set", &set);
    f.rgb = kh_calloc(SCENES, sizeof *f.rgb);
    f.labels = kh_calloc(SCENES, sizeof *f.labels);
    f.scenes = kh_calloc(SCENES, sizeof *f.scenes);
    kh_diorama *diorama;
    kh_assert_ok(kh_diorama_new(SIZE, set.seed, 0, &diorama, &err));
    for (size_t i = 0; i < SCENES; i++)
        kh_assert_ok(kh_diorama_render(diorama, set.start + i, f.rgb[i][0], f.labels[i][0],
                                       &f.scenes[i], &err));
    kh_diorama_free(diorama);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    kh_free(f->rgb);
    kh_free(f->labels);
    kh_free(f->scenes);
    return 0;
}

/* ---- what is in the files -------------------------------------------------------------------- */

static void index_lists_every_picture_and_its_maps(void **state) {
    const fixture *f = *state;
    csv_table t = csv_read(f->folder, "index.csv");
    assert_int_equal(t.rows, SCENES);
    size_t val = 0;
    for (size_t i = 0; i < SCENES; i++) {
        char want[128];
        const char *class_name = kh_diorama_class_name(f->scenes[i].class_index);
        (void)snprintf(want, sizeof want, "scenes/%s/%06zu.png", class_name, 5 + i);
        assert_string_equal(csv_cell(&t, i + 1, "image"), want);
        assert_int_equal(csv_size(&t, i + 1, "sh"), SIZE);
        assert_int_equal(csv_size(&t, i + 1, "iw"), SIZE);
        val += strcmp(csv_cell(&t, i + 1, "split"), "val") == 0;
        kh_image picture = read_picture(f->folder, want, SIZE);
        assert_memory_equal(picture.rgb, f->rgb[i], sizeof f->rgb[i]);
        kh_image_clear(&picture);
    }
    assert_in_range(val, SCENES / 5 - 2, SCENES / 5 + 2);
    csv_clear(&t);
}

static void label_maps_are_the_renderers(void **state) {
    const fixture *f = *state;
    csv_table t = csv_read(f->folder, "index.csv");
    for (size_t i = 0; i < SCENES; i++) {
        for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
            const char *category = kh_diorama_category_name((kh_diorama_category)c);
            kh_image map = read_picture(f->folder, csv_cell(&t, i + 1, category), SIZE);
            for (size_t p = 0; p < PIXELS; p++) {
                const unsigned label = map.rgb[3 * p] + 256u * map.rgb[3 * p + 1];
                assert_int_equal(label, f->labels[i][c][p]);
                assert_int_equal(map.rgb[3 * p + 2], 0);
                if (label) assert_int_equal(kh_diorama_label_category(label), c);
            }
            kh_image_clear(&map);
        }
    }
    csv_clear(&t);
}

static void scenes_say_what_is_shown(void **state) {
    const fixture *f = *state;
    csv_table t = csv_read(f->folder, "scenes.csv");
    assert_int_equal(t.rows, SCENES);
    for (size_t i = 0; i < SCENES; i++) {
        const kh_diorama_scene *s = &f->scenes[i];
        assert_int_equal(csv_size(&t, i + 1, "index"), 5 + i);
        assert_int_equal(csv_size(&t, i + 1, "class"), (5 + i) % kh_diorama_class_count());
        assert_string_equal(csv_cell(&t, i + 1, "background"),
                            kh_diorama_label_name(s->background));
        assert_float_equal(strtod(csv_cell(&t, i + 1, "visible"), NULL), s->visible, 5.1e-7);
        assert_float_equal(strtod(csv_cell(&t, i + 1, "scale"), NULL), s->scale, 5.1e-7);
        assert_int_equal(csv_size(&t, i + 1, "y1"), s->box[3]);
    }
    csv_clear(&t);
}

/* Images and pixels of a label, counted in the renderer's maps. */
static void recount(const fixture *f, size_t label, size_t *images, size_t *pixels) {
    *images = *pixels = 0;
    for (size_t i = 0; i < SCENES; i++) {
        const size_t before = *pixels;
        for (size_t p = 0; p < KH_DIORAMA_CATEGORIES * PIXELS; p++)
            *pixels += f->labels[i][p / PIXELS][p % PIXELS] == label;
        *images += *pixels > before;
    }
}

static void label_sums_are_recounted(void **state) {
    const fixture *f = *state;
    csv_table t = csv_read(f->folder, "label.csv");
    assert_int_equal(t.rows, kh_diorama_label_count());
    for (size_t l = 1; l <= t.rows; l++) {
        size_t images, pixels;
        char want[80];
        recount(f, l, &images, &pixels);
        assert_int_equal(csv_size(&t, l, "number"), l);
        assert_string_equal(csv_cell(&t, l, "name"), kh_diorama_label_name(l));
        assert_int_equal(csv_size(&t, l, "frequency"), images);
        (void)snprintf(want, sizeof want, "%s(%zu)",
                       kh_diorama_category_name(kh_diorama_label_category(l)), images);
        assert_string_equal(csv_cell(&t, l, "category"), want);
        assert_float_equal(strtod(csv_cell(&t, l, "coverage"), NULL), (double)pixels / PIXELS,
                           5.1e-7);
    }
    csv_clear(&t);
}

/* c_<category>.csv numbers its labels 1, 2, ... from the most frequent; category.csv sums them. */
static void categories_repeat_the_labels(void **state) {
    const fixture *f = *state;
    csv_table all = csv_read(f->folder, "category.csv"), labels = csv_read(f->folder, "label.csv");
    assert_int_equal(all.rows, KH_DIORAMA_CATEGORIES);
    size_t total = 0;
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        char name[80];
        const char *category = csv_cell(&all, c + 1, "name");
        assert_string_equal(category, kh_diorama_category_name((kh_diorama_category)c));
        (void)snprintf(name, sizeof name, "c_%s.csv", category);
        csv_table t = csv_read(f->folder, name);
        size_t sum = 0, before = SIZE_MAX;
        for (size_t i = 1; i <= t.rows; i++) {
            const size_t number = csv_size(&t, i, "number"), images = csv_size(&t, i, "frequency");
            assert_int_equal(csv_size(&t, i, "code"), i);
            assert_int_equal(kh_diorama_label_category(number), c);
            assert_in_range(number, csv_size(&all, c + 1, "first"), csv_size(&all, c + 1, "last"));
            assert_int_equal(images, csv_size(&labels, number, "frequency"));
            assert_string_equal(csv_cell(&t, i, "coverage"), csv_cell(&labels, number, "coverage"));
            assert_true(images <= before);
            before = images;
            sum += images;
        }
        assert_int_equal(t.rows, csv_size(&all, c + 1, "count"));
        assert_int_equal(sum, csv_size(&all, c + 1, "frequency"));
        total += t.rows;
        csv_clear(&t);
    }
    assert_int_equal(total, kh_diorama_label_count());
    csv_clear(&all);
    csv_clear(&labels);
}

static size_t label_named(const char *name, kh_diorama_category category) {
    for (size_t l = 1; l <= kh_diorama_label_count(); l++)
        if (kh_diorama_label_category(l) == category && strcmp(kh_diorama_label_name(l), name) == 0)
            return l;
    assert_string_equal(name, ""); /* distractors have no parts */
    return 0;
}

/* Pixels with a region's four labels, and their box. */
static size_t look_for(uint16_t (*labels)[PIXELS], const size_t want[4], size_t box[4]) {
    size_t count = 0;
    box[0] = box[1] = SIZE;
    box[2] = box[3] = 0;
    for (size_t p = 0; p < PIXELS; p++) {
        bool is_it = true;
        for (size_t c = 0; c < 4; c++)
            is_it = is_it && labels[c][p] == want[c];
        if (!is_it) continue;
        const size_t x = p % SIZE, y = p / SIZE;
        count++;
        if (x < box[0]) box[0] = x;
        if (y < box[1]) box[1] = y;
        if (x + 1 > box[2]) box[2] = x + 1;
        if (y + 1 > box[3]) box[3] = y + 1;
    }
    return count;
}

static void captions_fit_the_pixels(void **state) {
    const fixture *f = *state;
    static const char *const edges[] = {"x0", "y0", "x1", "y1"};
    csv_table t = csv_read(f->folder, "captions.csv");
    size_t row = 1;
    for (size_t i = 0; i < SCENES; i++) {
        for (size_t r = 0; r < f->scenes[i].regions; r++, row++) {
            size_t want[4], box[4];
            for (size_t c = 0; c < 4; c++)
                want[c] =
                    label_named(csv_cell(&t, row, kh_diorama_category_name((kh_diorama_category)c)),
                                (kh_diorama_category)c);
            assert_int_equal(csv_size(&t, row, "region"), r);
            assert_string_equal(csv_cell(&t, row, "caption"), f->scenes[i].region[r].caption);
            assert_non_null(strstr(csv_cell(&t, row, "caption"), csv_cell(&t, row, "object")));
            assert_int_equal(csv_size(&t, row, "pixels"), look_for(f->labels[i], want, box));
            for (size_t e = 0; e < 4; e++)
                assert_int_equal(csv_size(&t, row, edges[e]), box[e]);
        }
    }
    assert_int_equal(row - 1, t.rows);
    assert_true(t.rows > 2 * SCENES);
    csv_clear(&t);
}

/* ---- which files there are ------------------------------------------------------------------- */

static void threads_do_not_change_a_byte(void **state) {
    const fixture *f = *state;
    char one[65], other[65];
    kh_diorama_set set = some_set();
    set.threads = 2;
    folder_digest(f->folder, one);
    folder_digest(write_to("threads2", &set), other);
    assert_string_equal(one, other);
    set.threads = 3;
    folder_digest(write_to("threads3", &set), other);
    assert_string_equal(one, other);
    set.seed = 12; /* the digest sees the pictures */
    folder_digest(write_to("seed12", &set), other);
    assert_string_not_equal(one, other);
}

static void the_same_set_is_left_alone(void **state) {
    const fixture *f = *state;
    kh_error err;
    struct stat before, after;
    bool was_there = false;
    kh_diorama_set set = some_set();
    set.threads = 2;
    assert_int_equal(stat(path_in(f->folder, "index.csv"), &before), 0);
    kh_assert_ok(kh_diorama_write(&set, f->folder, &was_there, &err));
    assert_true(was_there);
    assert_int_equal(stat(path_in(f->folder, "index.csv"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino); /* a file written anew has another */
    set.seed = 12;
    kh_assert_fails(kh_diorama_write(&set, f->folder, NULL, &err), KH_E_ARG, "seed 11, not 12");
    set = some_set();
    set.flags = KH_DIORAMA_NO_SHORTCUTS;
    kh_assert_fails(kh_diorama_write(&set, f->folder, NULL, &err), KH_E_ARG, "--overwrite");
}

static void overwriting_leaves_nothing_behind(void **state) {
    (void)state;
    kh_error err;
    char one[65], other[65];
    kh_diorama_set set = some_set();
    const char *folder = write_to("overwritten", &set);
    set.count = 7;
    set.overwrite = true;
    kh_assert_ok(kh_diorama_write(&set, folder, NULL, &err));
    folder_digest(folder, one);
    folder_digest(write_to("fresh", &set), other);
    assert_string_equal(one, other);
    set.no_labels = true;
    kh_assert_ok(kh_diorama_write(&set, folder, NULL, &err));
    assert_int_equal(folder_files(folder), 7 + 5); /* index, scenes, classes, labels, manifest */
    assert_false(kh_file_exists(path_in(folder, "captions.csv")));
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    assert_string_equal(what, "scenes");
    assert_true(done > 0 && done < total);
    return false;
}

static void a_stopped_run_is_begun_anew(void **state) {
    const fixture *f = *state;
    kh_error err;
    char one[65], other[65];
    kh_diorama_set set = some_set();
    set.progress = stop_at_once;
    const char *folder = kh_test_folder("stopped");
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_STOPPED, "of 70");
    assert_false(kh_file_exists(path_in(folder, "manifest.json")));
    assert_false(kh_file_exists(path_in(folder, "index.csv")));
    assert_true(kh_file_exists(path_in(folder, "unfinished")));
    set = some_set();
    kh_assert_ok(kh_diorama_write(&set, folder, NULL, &err));
    folder_digest(f->folder, one);
    folder_digest(folder, other);
    assert_string_equal(one, other);
}

static void files_of_others_are_not_touched(void **state) {
    (void)state;
    kh_error err;
    kh_diorama_set set = some_set();
    set.overwrite = true;
    const char *folder = kh_test_folder("others");
    kh_assert_ok(kh_file_write(path_in(folder, "index.csv"), "mine\n", 5, &err));
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "no set of scenes");
    assert_int_equal(unlink(path_in(folder, "index.csv")), 0);
    kh_assert_ok(kh_file_write(path_in(folder, "manifest.json"), "{}\n", 3, &err));
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "no set of scenes");
    assert_int_equal(folder_files(folder), 1);
}

/* ---- which scenes ---------------------------------------------------------------------------- */

static void chosen_classes_keep_their_indices(void **state) {
    (void)state;
    const size_t all = kh_diorama_class_count(), classes[] = {2, 6};
    kh_diorama_set set = some_set();
    set.classes = classes;
    set.class_count = 2;
    set.start = 3; /* behind the first 2 */
    set.count = 5;
    csv_table t = csv_read(write_to("chosen", &set), "scenes.csv");
    const size_t want[] = {6, all + 2, all + 6, 2 * all + 2, 2 * all + 6};
    assert_int_equal(t.rows, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(csv_size(&t, i + 1, "index"), want[i]);
    csv_clear(&t);
}

static void impossible_sets_are_refused(void **state) {
    (void)state;
    kh_error err;
    const char *folder = kh_test_folder("impossible");
    const size_t twice[] = {3, 3}, beyond[] = {1, 1000};
    kh_diorama_set set = some_set();
    set.count = 0;
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "1 to");
    set = some_set();
    set.size = 8;
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "");
    set = some_set();
    set.class_count = 2;
    set.classes = twice;
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "ascending");
    set.classes = beyond;
    kh_assert_fails(kh_diorama_write(&set, folder, NULL, &err), KH_E_ARG, "below");
    set = some_set();
    kh_assert_fails(kh_diorama_write(&set, "/proc/no/such", NULL, &err), KH_E_NOT_FOUND, "/proc");
    assert_int_equal(folder_files(folder), 0);
}

static void the_estimate_is_near(void **state) {
    (void)state;
    kh_error err;
    kh_diorama_cost cost;
    kh_diorama_set set = some_set();
    kh_assert_ok(kh_diorama_estimate(&set, &cost, &err));
    assert_int_equal(cost.files, 6 * SCENES);
    assert_true(cost.bytes >= 6 * SCENES * 4096.0 && cost.bytes <= 12 * SCENES * 4096.0);
    assert_true(cost.seconds > 0);
}

static void demo_images_are_rendered_once(void **state) {
    (void)state;
    kh_error err;
    char folder[1024], again[1024], small[8];
    const char *cache = kh_test_folder("cache");
    assert_int_equal(setenv("KEYHOLE_CACHE", cache, 1), 0);
    kh_assert_ok(kh_diorama_demo_images(folder, sizeof folder, &err));
    assert_int_equal(folder_files(folder), 4 * kh_diorama_class_count());
    struct stat before, after;
    const char *first = path_in(folder, "hound/000000.png");
    assert_int_equal(stat(first, &before), 0);
    kh_assert_ok(kh_diorama_demo_images(again, sizeof again, &err));
    assert_string_equal(folder, again);
    assert_int_equal(stat(first, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    kh_assert_fails(kh_diorama_demo_images(small, sizeof small, &err), KH_E_ARG, "fit");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_lists_every_picture_and_its_maps),
        cmocka_unit_test(label_maps_are_the_renderers),
        cmocka_unit_test(scenes_say_what_is_shown),
        cmocka_unit_test(label_sums_are_recounted),
        cmocka_unit_test(categories_repeat_the_labels),
        cmocka_unit_test(captions_fit_the_pixels),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(the_same_set_is_left_alone),
        cmocka_unit_test(overwriting_leaves_nothing_behind),
        cmocka_unit_test(a_stopped_run_is_begun_anew),
        cmocka_unit_test(files_of_others_are_not_touched),
        cmocka_unit_test(chosen_classes_keep_their_indices),
        cmocka_unit_test(impossible_sets_are_refused),
        cmocka_unit_test(the_estimate_is_near),
        cmocka_unit_test(demo_images_are_rendered_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
