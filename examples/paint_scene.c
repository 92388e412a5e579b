/* Paints a small picture without any file of ours or yours: a red disk over a striped ground.
 *
 *     paint_scene OUT.png [SIDE]
 *
 * Useful as a first input where no photograph is at hand. */
#include <keyhole.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void paint(kh_image *image) {
    const double side = (double)image->width;
    for (size_t y = 0; y < image->height; y++) {
        for (size_t x = 0; x < image->width; x++) {
            uint8_t *pixel = image->rgb + 3 * (y * image->width + x);
            const double u = ((double)x + 0.5) / side, v = ((double)y + 0.5) / side;
            const bool on_ground = v > 0.65;
            const bool on_stripe = on_ground && fmod(12.0 * u + 4.0 * v, 1.0) < 0.5;
            const bool in_disk = hypot(u - 0.45, v - 0.5) < 0.25;
            pixel[0] = in_disk ? 210 : on_stripe ? 120 : on_ground ? 90 : 150;
            pixel[1] = in_disk ? 60 : on_stripe ? 160 : on_ground ? 130 : 190;
            pixel[2] = in_disk ? 50 : on_stripe ? 70 : on_ground ? 60 : 235;
        }
    }
}

int main(int argc, char **argv) {
    const size_t side = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 256;
    if (argc < 2 || side < 8 || side > 4096) {
        fprintf(stderr, "usage: paint_scene OUT.png [SIDE from 8 to 4096]\n");
        return 2;
    }
    kh_image image = {.width = side, .height = side, .rgb = malloc(3 * side * side)};
    kh_error err = {KH_OK, ""};
    if (!image.rgb) return 1;
    paint(&image);
    const kh_status status = kh_image_write(argv[1], &image, &err);
    if (status) fprintf(stderr, "paint_scene: %s\n", err.text);
    kh_image_clear(&image);
    return status ? 1 : 0;
}
