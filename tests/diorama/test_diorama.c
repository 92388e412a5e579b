/* Scenes: the same from every handle, and their truth in agreement with itself. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "keyhole/diorama.h"

enum { SIZE = 96, PIXELS = SIZE * SIZE };
/* Shares are tested in fewer scenes where each takes a sanitizer ten times longer. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SCENES_OF_SHARES = 250, SCENES_OF_EACH_CLASS = 25 };
#else
enum { SCENES_OF_SHARES = 1000, SCENES_OF_EACH_CLASS = 100 };
#endif

typedef struct picture {
    uint8_t rgb[PIXELS * 3];
    uint16_t labels[KH_DIORAMA_CATEGORIES][PIXELS];
    kh_diorama_scene scene;
} picture;

static kh_diorama *make(uint32_t size, uint64_t seed, uint32_t flags) {
    kh_error err = {0};
    kh_diorama *d = NULL;
    kh_assert_ok(kh_diorama_new(size, seed, flags, &d, &err));
    return d;
}

static void render(kh_diorama *d, uint64_t index, picture *p) {
    kh_error err = {0};
    memset(p, 0xA5, sizeof *p); /* every byte must be written */
    kh_assert_ok(kh_diorama_render(d, index, p->rgb, p->labels[0], &p->scene, &err));
}

/* ---- names ----------------------------------------------------------------------------------- */

static void labels_are_numbered_by_category_without_gaps(void **state) {
    (void)state;
    const size_t count = kh_diorama_label_count();
    assert_int_equal(count, 25 + 7 + 49 + 6 + 12 + 10);
    kh_diorama_category last = KH_DIORAMA_OBJECT;
    for (size_t a = 1; a <= count; a++) {
        const kh_diorama_category category = kh_diorama_label_category(a);
        assert_true(category >= last && category < KH_DIORAMA_CATEGORIES);
        last = category;
        assert_non_null(kh_diorama_label_name(a));
        for (size_t b = 1; b < a; b++)
            assert_true(kh_diorama_label_category(b) != category ||
                        strcmp(kh_diorama_label_name(a), kh_diorama_label_name(b)));
    }
    assert_int_equal(last, KH_DIORAMA_BACKGROUND);
    assert_null(kh_diorama_label_name(0));
    assert_null(kh_diorama_label_name(count + 1));
    assert_int_equal(kh_diorama_label_category(0), KH_DIORAMA_CATEGORIES);
    assert_string_equal(kh_diorama_category_name(KH_DIORAMA_COLOUR), "color");
    assert_null(kh_diorama_category_name(KH_DIORAMA_CATEGORIES));
}

static void six_classes_are_relatives_and_four_have_shortcuts(void **state) {
    (void)state;
    assert_int_equal(kh_diorama_class_count(), 25);
    size_t relatives = 0, shortcuts = 0;
    for (size_t c = 0; c < 25; c++) {
        relatives += kh_diorama_class_is_relative(c);
        shortcuts += kh_diorama_class_shortcut(c) != 0;
        assert_string_equal(kh_diorama_class_name(c),
                            kh_diorama_label_name(kh_diorama_class_label(c)));
        for (size_t b = 0; b < c; b++)
            assert_string_not_equal(kh_diorama_class_wnid(b), kh_diorama_class_wnid(c));
    }
    assert_int_equal(relatives, 6);
    assert_int_equal(shortcuts, 4);
    assert_string_equal(kh_diorama_label_name(kh_diorama_class_shortcut(11)), "water");
    assert_null(kh_diorama_class_name(25));
    assert_null(kh_diorama_class_wnid(25));
    assert_int_equal(kh_diorama_class_label(25), 0);
    assert_int_equal(kh_diorama_class_shortcut(25), 0);
}

/* ---- the same bytes -------------------------------------------------------------------------- */

static void a_used_handle_draws_what_a_fresh_one_draws(void **state) {
    (void)state;
    static picture fresh, used;
    kh_diorama *old = make(SIZE, 11, 0);
    for (uint64_t i = 40; i-- > 0;) { /* backwards */
        kh_diorama *d = make(SIZE, 11, 0);
        render(d, i * 977, &fresh);
        render(old, i * 977, &used);
        assert_memory_equal(&fresh, &used, sizeof fresh);
        kh_diorama_free(d);
    }
    kh_diorama_free(old);
}

static void outputs_do_not_depend_on_each_other(void **state) {
    (void)state;
    kh_error err = {0};
    static picture all, one;
    kh_diorama *d = make(SIZE, 12, 0);
    render(d, 7, &all);
    kh_assert_ok(kh_diorama_render(d, 7, one.rgb, NULL, NULL, &err));
    kh_assert_ok(kh_diorama_render(d, 7, NULL, one.labels[0], NULL, &err));
    kh_assert_ok(kh_diorama_render(d, 7, NULL, NULL, &one.scene, &err));
    kh_assert_ok(kh_diorama_render(d, 7, NULL, NULL, NULL, &err));
    assert_memory_equal(&all, &one, sizeof all);
    kh_diorama_free(d);
}

typedef struct crew {
    kh_diorama *handle[2];
    picture *out;
} crew;

static void draw(void *arg, size_t task, size_t worker) {
    const crew *c = arg;
    (void)kh_diorama_render(c->handle[worker], task, c->out[task].rgb, c->out[task].labels[0],
                            &c->out[task].scene, NULL);
}

static void two_threads_draw_what_one_draws(void **state) {
    (void)state;
    enum { SCENES = 100 };
    kh_error err = {0};
    picture *out = calloc(SCENES, sizeof *out);
    assert_non_null(out);
    crew c = {{make(SIZE, 13, 0), make(SIZE, 13, 0)}, out};
    kh_pool *pool = NULL;
    kh_assert_ok(kh_pool_create(2, &pool, &err));
    kh_pool_run(pool, SCENES, draw, &c);
    kh_pool_free(pool);
    static picture alone;
    for (size_t i = 0; i < SCENES; i++) {
        render(c.handle[0], i, &alone);
        assert_memory_equal(&alone, &out[i], sizeof alone);
    }
    kh_diorama_free(c.handle[0]);
    kh_diorama_free(c.handle[1]);
    free(out);
}

static void seeds_and_indices_give_different_pictures(void **state) {
    (void)state;
    static picture a, b;
    kh_diorama *d = make(SIZE, 1, 0), *e = make(SIZE, 2, 0);
    render(d, 5, &a);
    render(e, 5, &b);
    assert_memory_not_equal(a.rgb, b.rgb, sizeof a.rgb);
    render(d, 5 + 25, &b);
    assert_memory_not_equal(a.rgb, b.rgb, sizeof a.rgb);
    assert_int_equal(a.scene.class_index, b.scene.class_index);
    render(d, UINT64_MAX, &b);
    assert_int_equal(b.scene.class_index, UINT64_MAX % 25);
    kh_diorama_free(d);
    kh_diorama_free(e);
}

/* ---- truth ----------------------------------------------------------------------------------- */

/* Every pixel is either of a thing or of the background, and each map holds labels of its kind. */
static void check_maps(const picture *p) {
    for (size_t i = 0; i < PIXELS; i++) {
        for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++)
            assert_true(p->labels[c][i] == 0 ||
                        kh_diorama_label_category(p->labels[c][i]) == (kh_diorama_category)c);
        const bool thing = p->labels[KH_DIORAMA_OBJECT][i] != 0;
        assert_true(thing != (p->labels[KH_DIORAMA_BACKGROUND][i] != 0));
        assert_true(thing == (p->labels[KH_DIORAMA_MATERIAL][i] != 0));
        assert_true(p->labels[KH_DIORAMA_COLOUR][i] != 0);
        const bool ours =
            p->labels[KH_DIORAMA_OBJECT][i] == kh_diorama_class_label(p->scene.class_index);
        assert_true(ours == (p->labels[KH_DIORAMA_PART][i] != 0));
    }
}

static void check_regions(const picture *p) {
    const kh_diorama_scene *s = &p->scene;
    assert_true(s->regions > 0 && s->regions < KH_DIORAMA_MAX_REGIONS);
    size_t things = 0, sum = 0;
    uint32_t box[4] = {SIZE, SIZE, 0, 0};
    for (size_t i = 0; i < PIXELS; i++) {
        const uint32_t x = (uint32_t)(i % SIZE), y = (uint32_t)(i / SIZE);
        things += p->labels[KH_DIORAMA_OBJECT][i] != 0;
        if (!p->labels[KH_DIORAMA_PART][i]) continue;
        if (x < box[0]) box[0] = x;
        if (y < box[1]) box[1] = y;
        if (x >= box[2]) box[2] = x + 1;
        if (y >= box[3]) box[3] = y + 1;
    }
    assert_memory_equal(box, s->box, sizeof box);
    for (size_t r = 0; r < s->regions; r++) {
        const kh_diorama_region *region = &s->region[r];
        size_t pixels = 0;
        for (size_t i = 0; i < PIXELS; i++)
            pixels += p->labels[KH_DIORAMA_OBJECT][i] == region->object &&
                      p->labels[KH_DIORAMA_PART][i] == region->part &&
                      p->labels[KH_DIORAMA_MATERIAL][i] == region->material &&
                      p->labels[KH_DIORAMA_COLOUR][i] == region->colour;
        assert_int_equal(region->pixels, pixels);
        assert_true(pixels > 0);
        sum += pixels;

        char words[80] = "";
        if (strcmp(kh_diorama_label_name(region->material), "plain")) {
            strcat(words, kh_diorama_label_name(region->material));
            strcat(words, " ");
        }
        strcat(words, kh_diorama_label_name(region->colour));
        strcat(words, " ");
        strcat(words, kh_diorama_label_name(region->object));
        if (region->part) {
            strcat(words, " ");
            strcat(words, kh_diorama_label_name(region->part));
        }
        assert_string_equal(region->caption, words);
    }
    assert_int_equal(sum, things);
}

static void maps_and_regions_tell_the_same(void **state) {
    (void)state;
    static picture p;
    kh_diorama *d = make(SIZE, 21, 0);
    for (uint64_t i = 0; i < 200; i++) {
        render(d, i, &p);
        check_maps(&p);
        check_regions(&p);
        assert_int_equal(p.scene.index, i);
        assert_int_equal(p.scene.class_index, i % 25);
    }
    kh_diorama_free(d);
}

static void objects_are_as_large_and_as_visible_as_it_says(void **state) {
    (void)state;
    enum { SCENES = SCENES_OF_SHARES };
    static picture p;
    kh_diorama *d = make(SIZE, 22, 0);
    size_t occluded = 0;
    double smallest = 1, largest = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        render(d, i, &p);
        const kh_diorama_scene *s = &p.scene;
        assert_true(s->visible >= 0.6 && s->visible <= 1);
        assert_true(s->scale >= 0.3 && s->scale <= 0.8);
        smallest = s->scale < smallest ? s->scale : smallest;
        largest = s->scale > largest ? s->scale : largest;
        occluded += s->visible < 1;
        const uint32_t width = s->box[2] - s->box[0], height = s->box[3] - s->box[1];
        const double longer = width > height ? width : height;
        /* a pixel counts when its middle is inside: at most one more than the length. Tips thinner
         * than a pixel may be missed, and a thing behind others may miss more. */
        assert_true(longer <= s->scale * SIZE + 1.5);
        if (s->visible >= 1) assert_true(longer >= s->scale * SIZE - 4);
    }
    assert_true(smallest < 0.34 && largest > 0.77);
    /* 35 % of the scenes have something before the object; 5 standard deviations, and it may cover
     * nothing */
    const double sigma = sqrt(0.35 * 0.65 / SCENES);
    assert_true((double)occluded / SCENES > 0.35 - 0.02 - 5 * sigma);
    assert_true((double)occluded / SCENES < 0.35 + 5 * sigma);
    kh_diorama_free(d);
}

static void a_scene_is_the_same_scene_at_every_size(void **state) {
    (void)state;
    kh_error err = {0};
    kh_diorama *small = make(SIZE, 23, 0), *large = make(2 * SIZE, 23, 0);
    for (uint64_t i = 0; i < 50; i++) {
        kh_diorama_scene a, b;
        kh_assert_ok(kh_diorama_render(small, i, NULL, NULL, &a, &err));
        kh_assert_ok(kh_diorama_render(large, i, NULL, NULL, &b, &err));
        assert_int_equal(a.background, b.background);
        assert_true(fabs(a.scale - b.scale) < 1e-9);
        for (size_t k = 0; k < 4; k++)
            assert_true(fabs(2.0 * a.box[k] - b.box[k]) <= 6);
    }
    kh_diorama_free(small);
    kh_diorama_free(large);
}

/* What a colour is called, written down apart from the ranges they are drawn from. */
static const char *name_of(const double rgb[3]) {
    const double most = fmax(rgb[0], fmax(rgb[1], rgb[2])) / 255;
    const double chroma = most - fmin(rgb[0], fmin(rgb[1], rgb[2])) / 255;
    if (chroma < 0.22 * most || most < 0.22)
        return most < 0.28 ? "black" : most < 0.64 ? "grey" : "white";
    const double scale = 255 * chroma;
    double hue = rgb[0] >= 255 * most   ? (rgb[1] - rgb[2]) / scale
                 : rgb[1] >= 255 * most ? 2 + (rgb[2] - rgb[0]) / scale
                                        : 4 + (rgb[0] - rgb[1]) / scale;
    hue = 60 * hue + (hue < 0 ? 360 : 0);
    if (hue < 12 || hue >= 347) return "red";
    if (hue < 42) return most < 0.62 ? "brown" : "orange";
    if (hue < 76) return "yellow";
    if (hue < 160) return "green";
    if (hue < 201) return "cyan";
    if (hue < 252) return "blue";
    return hue < 305 ? "purple" : "pink";
}

static void pixels_have_the_colour_of_their_label(void **state) {
    (void)state;
    static picture p;
    kh_diorama *d = make(SIZE, 24, 0);
    size_t asked = 0, right = 0;
    for (uint64_t i = 0; i < 400; i++) {
        render(d, i, &p);
        for (size_t r = 0; r < p.scene.regions; r++) {
            const kh_diorama_region *region = &p.scene.region[r];
            if (region->pixels < 100 || strcmp(kh_diorama_label_name(region->material), "plain"))
                continue;
            double sum[3] = {0, 0, 0};
            for (size_t k = 0; k < PIXELS; k++)
                if (p.labels[KH_DIORAMA_OBJECT][k] == region->object &&
                    p.labels[KH_DIORAMA_PART][k] == region->part &&
                    p.labels[KH_DIORAMA_MATERIAL][k] == region->material &&
                    p.labels[KH_DIORAMA_COLOUR][k] == region->colour)
                    for (size_t c = 0; c < 3; c++)
                        sum[c] += p.rgb[3 * k + c];
            for (size_t c = 0; c < 3; c++)
                sum[c] /= region->pixels;
            asked += 1;
            right += !strcmp(name_of(sum), kh_diorama_label_name(region->colour));
        }
    }
    print_message("%zu of %zu plain regions look like their colour's name\n", right, asked);
    assert_true(asked > 400);
    assert_true((double)right / (double)asked > 0.97);
    kh_diorama_free(d);
}

/* ---- shortcuts ------------------------------------------------------------------------------- */

/* counts[class][background label] over the scenes of a small picture */
static void count_backgrounds(uint32_t flags, size_t scenes, size_t counts[25][128]) {
    kh_error err = {0};
    kh_diorama *d = make(32, 31, flags);
    kh_diorama_scene s;
    memset(counts, 0, 25 * sizeof counts[0]);
    for (uint64_t i = 0; i < scenes; i++) {
        kh_assert_ok(kh_diorama_render(d, i, NULL, NULL, &s, &err));
        assert_int_equal(kh_diorama_label_category(s.background), KH_DIORAMA_BACKGROUND);
        counts[s.class_index][s.background] += 1;
    }
    kh_diorama_free(d);
}

static void near_share(size_t hits, size_t of, double share) {
    const double sigma = sqrt(share * (1 - share) / (double)of);
    assert_true(fabs((double)hits / (double)of - share) < 4.5 * sigma);
}

static void shortcuts_are_planted_and_can_be_taken_out(void **state) {
    (void)state;
    enum { EACH = SCENES_OF_EACH_CLASS };
    static size_t with[25][128], without[25][128];
    count_backgrounds(0, 25 * EACH, with);
    count_backgrounds(KH_DIORAMA_NO_SHORTCUTS, 25 * EACH, without);
    const size_t first = kh_diorama_label_count() - 9;
    for (size_t c = 0; c < 25; c++) {
        const size_t own = kh_diorama_class_shortcut(c);
        for (size_t b = first; b < first + 10; b++) {
            near_share(with[c][b], EACH, own == 0 ? 0.1 : own == b ? 0.9 : 0.1 / 9);
            near_share(without[c][b], EACH, 0.1);
        }
    }
}

static void classes_without_a_shortcut_do_not_see_the_flag(void **state) {
    (void)state;
    static picture a, b;
    kh_diorama *d = make(SIZE, 32, 0), *e = make(SIZE, 32, KH_DIORAMA_NO_SHORTCUTS);
    for (uint64_t i = 0; i < 50; i++) {
        render(d, i, &a);
        render(e, i, &b);
        if (!kh_diorama_class_shortcut(i % 25))
            assert_memory_equal(&a, &b, sizeof a);
        else
            assert_true(a.scene.scale >= b.scene.scale && a.scene.scale <= b.scene.scale);
    }
    kh_diorama_free(d);
    kh_diorama_free(e);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void impossible_sizes_and_flags_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_diorama *d = NULL;
    kh_assert_fails(kh_diorama_new(31, 1, 0, &d, &err), KH_E_ARG, "size 31");
    kh_assert_fails(kh_diorama_new(1025, 1, 0, &d, &err), KH_E_ARG, "size 1025");
    kh_assert_fails(kh_diorama_new(0, 1, 0, &d, &err), KH_E_ARG, "size 0");
    kh_assert_fails(kh_diorama_new(96, 1, 2, &d, &err), KH_E_ARG, "flags");
    assert_null(d);
    kh_diorama_free(NULL);
    d = make(32, 1, 0);
    kh_assert_ok(kh_diorama_render(d, 0, NULL, NULL, NULL, &err));
    kh_diorama_free(d);
    d = make(1024, 1, 0);
    kh_assert_ok(kh_diorama_render(d, 0, NULL, NULL, NULL, &err));
    kh_diorama_free(d);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    size_t refusals = 0;
    for (size_t n = 1;; n++) {
        kh_error err = {0};
        kh_diorama *d = NULL;
        kh_alloc_fail_after(n);
        const kh_status status = kh_diorama_new(32, 1, 0, &d, &err);
        kh_alloc_fail_after(0);
        if (!status) {
            kh_diorama_free(d);
            break;
        }
        assert_int_equal(status, KH_E_MEMORY);
        assert_null(d);
        refusals += 1;
    }
    assert_int_equal(refusals, 5); /* handle, three pictures, tiles */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_numbered_by_category_without_gaps),
        cmocka_unit_test(six_classes_are_relatives_and_four_have_shortcuts),
        cmocka_unit_test(a_used_handle_draws_what_a_fresh_one_draws),
        cmocka_unit_test(outputs_do_not_depend_on_each_other),
        cmocka_unit_test(two_threads_draw_what_one_draws),
        cmocka_unit_test(seeds_and_indices_give_different_pictures),
        cmocka_unit_test(maps_and_regions_tell_the_same),
        cmocka_unit_test(objects_are_as_large_and_as_visible_as_it_says),
        cmocka_unit_test(a_scene_is_the_same_scene_at_every_size),
        cmocka_unit_test(pixels_have_the_colour_of_their_label),
        cmocka_unit_test(shortcuts_are_planted_and_can_be_taken_out),
        cmocka_unit_test(classes_without_a_shortcut_do_not_see_the_flag),
        cmocka_unit_test(impossible_sizes_and_flags_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
