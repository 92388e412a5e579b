/* Colour tables. The sequential and diverging ones are our own: a few anchor hues joined by
 * straight lines in Oklab (B. Ottosson 2020, a perceptual space given by two 3x3 matrices), so that
 * equal steps of value are equal steps of lightness and the picture survives in grey. */
#include "figure/colours.h"

#include <math.h>

const uint32_t kh_hues[KH_HUES] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7,
                                   0x56b4e9, 0xe69f00, 0x000000, 0x8c7a00};

typedef struct lab {
    double lightness, a, b;
} lab;

static uint8_t encode(double linear) {
    const double v = linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
    return (uint8_t)lrint(255 * (v < 0 ? 0 : v > 1 ? 1 : v));
}

static void lab_to_rgb(lab c, uint8_t rgb[3]) {
    const double l = pow(c.lightness + 0.3963377774 * c.a + 0.2158037573 * c.b, 3);
    const double m = pow(c.lightness - 0.1055613458 * c.a - 0.0638541728 * c.b, 3);
    const double s = pow(c.lightness - 0.0894841775 * c.a - 1.2914855480 * c.b, 3);
    rgb[0] = encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
    rgb[1] = encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
    rgb[2] = encode(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

/* Straight lines between anchors that stand at equal distances; at runs 0..1. */
static lab between(const lab *anchors, size_t count, double at) {
    const double place = at * (double)(count - 1);
    size_t i = (size_t)place;
    if (i > count - 2) i = count - 2;
    const double w = place - (double)i;
    const lab from = anchors[i], to = anchors[i + 1];
    const lab mix = {from.lightness + w * (to.lightness - from.lightness),
                     from.a + w * (to.a - from.a), from.b + w * (to.b - from.b)};
    return mix;
}

/* Lightness rises evenly from 0.24 to 0.94. */
static const lab sequential[] = {
    {0.24, 0.045, -0.075}, {0.38, 0.010, -0.110}, {0.52, -0.045, -0.075},
    {0.66, -0.095, 0.020}, {0.80, -0.110, 0.120}, {0.94, -0.035, 0.180},
};
static const lab diverging_low[] = {{0.38, -0.020, -0.135}, {0.68, -0.040, -0.085}, {1.0, 0, 0}};
static const lab diverging_high[] = {{1.0, 0, 0}, {0.68, 0.120, 0.060}, {0.42, 0.150, 0.075}};

void kh_figure_colour_table(kh_figure_colours which, uint8_t table[256][3]) {
    for (size_t i = 0; i < 256; i++) {
        const double at = (double)i / 255;
        if (which == KH_COLOURS_GREY)
            table[i][0] = table[i][1] = table[i][2] = (uint8_t)i;
        else if (which == KH_COLOURS_SEQUENTIAL)
            lab_to_rgb(between(sequential, 6, at), table[i]);
        else
            lab_to_rgb(i < 128 ? between(diverging_low, 3, at * 2)
                               : between(diverging_high, 3, at * 2 - 1),
                       table[i]);
    }
}

uint32_t kh_shade(uint32_t rgb, double towards_white) {
    uint32_t out = 0;
    for (unsigned shift = 0; shift < 24; shift += 8) {
        const double v = (double)((rgb >> shift) & 255);
        out |= (uint32_t)lrint(v + (255 - v) * towards_white) << shift;
    }
    return out;
}

uint32_t kh_ink_on(uint32_t rgb) {
    const double r = (double)((rgb >> 16) & 255) / 255, g = (double)((rgb >> 8) & 255) / 255,
                 b = (double)(rgb & 255) / 255;
    const double luminance = 0.2126 * pow(r, 2.2) + 0.7152 * pow(g, 2.2) + 0.0722 * pow(b, 2.2);
    return luminance > 0.18 ? 0x000000 : 0xffffff; /* equal contrast near 0.18 */
}

uint32_t kh_series_colour(size_t index, size_t count, bool is_ordered) {
    if (!is_ordered || count < 2) return kh_hues[index % KH_HUES];
    return kh_shade(0x00527f, 0.72 * (double)index / (double)(count - 1));
}

uint32_t kh_table_colour(const uint8_t (*table)[3], double at) {
    const long i = lrint(255 * (at < 0 ? 0 : at > 1 ? 1 : at));
    return (uint32_t)table[i][0] << 16 | (uint32_t)table[i][1] << 8 | table[i][2];
}
