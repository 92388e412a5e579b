#include "diorama/colours.h"

#include <math.h>

typedef struct span {
    double low, high;
} span;

/* Hue in degrees, saturation and value. The ranges stay away from their neighbours, so that
 * lighting does not turn one name into another. */
static const struct {
    span hue, saturation, value;
} looks[KH_COLOURS] = {
    [KH_COLOUR_RED] = {{-8, 5}, {0.75, 0.95}, {0.70, 0.95}},
    [KH_COLOUR_ORANGE] = {{22, 33}, {0.80, 0.98}, {0.90, 1.00}},
    [KH_COLOUR_YELLOW] = {{50, 58}, {0.70, 0.95}, {0.90, 1.00}},
    [KH_COLOUR_GREEN] = {{95, 145}, {0.55, 0.90}, {0.40, 0.78}},
    [KH_COLOUR_CYAN] = {{173, 189}, {0.50, 0.85}, {0.75, 0.95}},
    [KH_COLOUR_BLUE] = {{213, 234}, {0.65, 0.90}, {0.55, 0.90}},
    [KH_COLOUR_PURPLE] = {{268, 287}, {0.50, 0.80}, {0.45, 0.75}},
    [KH_COLOUR_PINK] = {{325, 342}, {0.32, 0.55}, {0.92, 1.00}},
    [KH_COLOUR_BROWN] = {{18, 31}, {0.50, 0.75}, {0.32, 0.46}},
    [KH_COLOUR_WHITE] = {{0, 360}, {0.00, 0.05}, {0.92, 1.00}},
    [KH_COLOUR_GREY] = {{0, 360}, {0.00, 0.06}, {0.40, 0.55}},
    [KH_COLOUR_BLACK] = {{0, 360}, {0.00, 0.15}, {0.05, 0.14}},
};

double kh_between(kh_rng *rng, double low, double high) {
    return low + (high - low) * kh_rng_unit(rng);
}

static double ramp(double hue, double turn) {
    double k = (hue + turn) / 60.0;
    while (k >= 6.0)
        k -= 6.0;
    const double rise = k < 4.0 - k ? k : 4.0 - k;
    return rise < 0.0 ? 0.0 : rise > 1.0 ? 1.0 : rise;
}

void kh_colour_sample(kh_colour colour, kh_rng *rng, double rgb[3]) {
    double hue = kh_between(rng, looks[colour].hue.low, looks[colour].hue.high);
    const double s = kh_between(rng, looks[colour].saturation.low, looks[colour].saturation.high);
    const double v = kh_between(rng, looks[colour].value.low, looks[colour].value.high);
    if (hue < 0) hue += 360;
    static const double turns[3] = {300, 180, 60};
    for (size_t i = 0; i < 3; i++)
        rgb[i] = v - v * s * ramp(hue, turns[i]);
}

double kh_colour_luma(const double rgb[3]) {
    return 0.30 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
}

double kh_colour_distance(const double a[3], const double b[3]) {
    const double luma = kh_colour_luma(a) - kh_colour_luma(b);
    const double red = a[0] - b[0] - luma, blue = a[2] - b[2] - luma;
    return sqrt(luma * luma + 0.30 * red * red + 0.20 * blue * blue);
}

void kh_colour_mix(const double a[3], const double b[3], double share, double out[3]) {
    for (size_t i = 0; i < 3; i++)
        out[i] = a[i] + (b[i] - a[i]) * share;
}
