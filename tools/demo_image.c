/* demo_image FILE.png: draws the picture `make demo` looks at until keyhole has a world of its own:
 * a house with a lit keyhole on a hill at dusk. Nothing here is random. */
#include <cairo.h>
#include <stdio.h>

static const double pi = 3.14159265358979323846;

static void sky(cairo_t *on) {
    cairo_pattern_t *dusk = cairo_pattern_create_linear(0, 0, 0, 320);
    cairo_pattern_add_color_stop_rgb(dusk, 0.0, 0.13, 0.16, 0.38);
    cairo_pattern_add_color_stop_rgb(dusk, 0.7, 0.85, 0.52, 0.45);
    cairo_pattern_add_color_stop_rgb(dusk, 1.0, 0.98, 0.80, 0.55);
    cairo_set_source(on, dusk);
    cairo_paint(on);
    cairo_pattern_destroy(dusk);
    cairo_set_source_rgb(on, 1.0, 0.96, 0.82);
    cairo_arc(on, 400, 80, 26, 0, 2 * pi);
    cairo_fill(on);
    for (int star = 0; star < 40; star++) { /* anywhere that looks scattered */
        cairo_arc(on, (star * 193) % 500, (star * star * 31) % 150, 1.2, 0, 2 * pi);
        cairo_fill(on);
    }
}

static void hills(cairo_t *on) {
    static const double shades[3][4] = {
        {240, 0.30, 0.26, 0.38}, {275, 0.20, 0.26, 0.26}, {310, 0.12, 0.22, 0.16}};
    for (int hill = 0; hill < 3; hill++) {
        const double top = shades[hill][0];
        cairo_set_source_rgb(on, shades[hill][1], shades[hill][2], shades[hill][3]);
        cairo_move_to(on, 0, top + 30);
        cairo_curve_to(on, 150, top - 50, 260, top + 60, 500, top - 10);
        cairo_line_to(on, 500, 375);
        cairo_line_to(on, 0, 375);
        cairo_fill(on);
    }
}

static void house(cairo_t *on) {
    cairo_set_source_rgb(on, 0.72, 0.33, 0.26);
    cairo_rectangle(on, 150, 190, 150, 130);
    cairo_fill(on);
    cairo_set_source_rgb(on, 0.30, 0.18, 0.20);
    cairo_move_to(on, 130, 195);
    cairo_line_to(on, 225, 120);
    cairo_line_to(on, 320, 195);
    cairo_fill(on);
    cairo_set_source_rgb(on, 0.24, 0.30, 0.42);
    cairo_rectangle(on, 195, 225, 60, 95);
    cairo_fill(on);
    cairo_set_source_rgb(on, 1.0, 0.90, 0.45);
    cairo_arc(on, 225, 262, 9, 0, 2 * pi);
    cairo_fill(on);
    cairo_move_to(on, 225, 258);
    cairo_line_to(on, 233, 292);
    cairo_line_to(on, 217, 292);
    cairo_fill(on);
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: demo_image FILE.png\n"), 2;
    cairo_surface_t *picture = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 500, 375);
    cairo_t *on = cairo_create(picture);
    sky(on);
    hills(on);
    house(on);
    const cairo_status_t status = cairo_surface_write_to_png(picture, argv[1]);
    cairo_destroy(on);
    cairo_surface_destroy(picture);
    if (status) fprintf(stderr, "demo_image: %s: %s\n", argv[1], cairo_status_to_string(status));
    return status ? 1 : 0;
}
