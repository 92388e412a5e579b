#include "support/kh_test.h"

#include "figure/near.h"

#include "figure/lettering.h"

static kh_letters letters;

static int open_fonts(void **state) {
    kh_error err;
    (void)state;
    return kh_letters_init(&letters, "sans-serif", &err) ? -1 : 0;
}

static int close_fonts(void **state) {
    (void)state;
    kh_letters_clear(&letters);
    return 0;
}

static void foreign_bytes_become_drawable(void **state) {
    (void)state;
    char out[64];
    (void)kh_letters_clean("a\xff"
                           "b\t\x01"
                           "c\n",
                           out, sizeof out);
    assert_string_equal(out, "a\xEF\xBF\xBD"
                             "b  c\n");
    (void)kh_letters_clean("\xC0\xAF|\xED\xA0\x80|\xEF\xBF\xBF", out, sizeof out); /* overlong,
                                                                    surrogate, noncharacter */
    assert_null(strstr(out, "\xC0"));
    assert_null(strstr(out, "\xED"));
    assert_null(strstr(out, "\xEF\xBF\xBF"));
    assert_int_equal(kh_letters_clean("金閣寺", NULL, 0), 9);
    (void)kh_letters_clean("cut \xE9\x87", out, sizeof out); /* ends inside a character */
    assert_string_equal(out, "cut \xEF\xBF\xBD\xEF\xBF\xBD");
    (void)kh_letters_clean("too long for the room", out, 8);
    assert_true(strlen(out) < 8);
}

static void width_is_the_sum_of_letters(void **state) {
    (void)state;
    const double ab = kh_letters_width(&letters, &kh_style_body, "AV", 2);
    const double a = kh_letters_width(&letters, &kh_style_body, "A", 1);
    const double b = kh_letters_width(&letters, &kh_style_body, "V", 1);
    assert_true(a > 3 && a < 20);
    assert_near(ab, a + b, 1e-9);
    assert_near(kh_letters_width(&letters, &kh_style_body, "", 0), 0, 0);
}

static void long_text_wraps_to_the_lines_it_needs(void **state) {
    (void)state;
    const char *text = "one two three four five six seven eight nine ten";
    const double whole = kh_letters_width(&letters, &kh_style_body, text, strlen(text));
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, text, whole + 1, 0), 1);
    const size_t lines = kh_letters_lines(&letters, &kh_style_body, text, whole / 3, 0);
    assert_in_range(lines, 3, 5);
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, text, whole / 3, 2), 2);
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, "a\nb\n\nc", 100, 0), 4);
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, NULL, 100, 0), 0);
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, "", 100, 0), 0);
    /* a word without breaks, and a width below one letter, still end */
    assert_in_range(kh_letters_lines(&letters, &kh_style_body, "aaaaaaaaaaaaaaaaaaaa", 30, 0), 3,
                    10);
    assert_int_equal(kh_letters_lines(&letters, &kh_style_body, "abc", 0.5, 0), 3);
}

/* Ink of a paragraph of black text must stay inside [x, x + width] and above y + height. */
static void paragraphs_stay_in_their_box(void **state) {
    (void)state;
    static const char *const texts[] = {
        "a_very_long_file_name_without_any_space_that_must_be_broken_somewhere_0000001.jpeg",
        "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias",
        "日本語のとても長い説明文は折り返されて三行で終わります。それ以上は省略記号になります。",
        "W\nWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"};
    for (size_t t = 0; t < 4; t++) {
        cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 200, 120);
        cairo_t *cr = cairo_create(surface);
        const double used =
            kh_letters_paragraph(&letters, cr, &kh_style_body, 40, 20, 120, 0.5, 3, texts[t]);
        assert_true(used <= 3 * kh_line_height(&kh_style_body));
        cairo_destroy(cr);
        cairo_surface_flush(surface);
        const unsigned char *pixels = cairo_image_surface_get_data(surface);
        const int stride = cairo_image_surface_get_stride(surface);
        size_t ink = 0;
        for (int y = 0; y < 120; y++)
            for (int x = 0; x < 200; x++) {
                const bool is_inside = x >= 38 && x < 162 && y >= 20 && y < 20 + 3 * 16 + 2;
                const unsigned char a = pixels[y * stride + x];
                if (!is_inside) assert_int_equal(a, 0);
                ink += a > 128;
            }
        assert_true(ink > 100);
        cairo_surface_destroy(surface);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_bytes_become_drawable),
        cmocka_unit_test(width_is_the_sum_of_letters),
        cmocka_unit_test(long_text_wraps_to_the_lines_it_needs),
        cmocka_unit_test(paragraphs_stay_in_their_box),
    };
    return cmocka_run_group_tests(tests, open_fonts, close_fonts);
}
