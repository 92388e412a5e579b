/* Marks on exemplars: an outline, the patch of the maximum, and the legend of both. */
#include "cli/exemplar_marks.h"

#include <math.h>
#include <string.h>

size_t kh_marks_peak(const float *map, size_t patches) {
    size_t best = 0;
    for (size_t t = 1; t < patches; t++)
        if (map[t] > map[best]) best = t;
    return best;
}

static void outline(const float *up, double threshold, size_t width, size_t height, uint8_t *rgb) {
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const bool is_in = (double)up[y * width + x] > threshold;
            bool has_other = false;
            for (size_t k = 0; k < 9 && !has_other; k++) {
                const size_t v = y + k / 3, u = x + k % 3; /* both one too large */
                if (v < 1 || u < 1 || v > height || u > width) continue;
                has_other = ((double)up[(v - 1) * width + u - 1] > threshold) != is_in;
            }
            if (has_other) memset(rgb + 3 * (y * width + x), is_in ? 255 : 0, 3);
        }
}

/* Pixels [first, last] that a cell of the grid covers along one side. */
static void span(size_t cell, size_t cells, double seen, size_t side, size_t *first, size_t *last) {
    const double step = seen * (double)side / (double)cells;
    const double end = ceil((double)(cell + 1) * step - 1e-9);
    *first = (size_t)((double)cell * step + 1e-9);
    *last = end < (double)side ? (size_t)end : side;
    *last -= *last > *first; /* the last one inside */
}

static void put(size_t x, size_t y, size_t width, size_t height, const uint8_t *ink, uint8_t *rgb) {
    if (x < width && y < height) memcpy(rgb + 3 * (y * width + x), ink, 3);
}

/* A ring of one px. Below 0 wraps round and is outside, like what lies beyond the other edges. */
static void ring(size_t x0, size_t x1, size_t y0, size_t y1, size_t width, size_t height,
                 const uint8_t *ink, uint8_t *rgb) {
    for (size_t x = x0; x != x1 + 1; x++) {
        put(x, y0, width, height, ink, rgb);
        put(x, y1, width, height, ink, rgb);
    }
    for (size_t y = y0; y != y1 + 1; y++) {
        put(x0, y, width, height, ink, rgb);
        put(x1, y, width, height, ink, rgb);
    }
}

static void box(size_t peak, kh_grid grid, size_t width, size_t height, uint8_t *rgb) {
    static const uint8_t yellow[3] = {255, 230, 0}, black[3] = {0, 0, 0};
    size_t x0, x1, y0, y1;
    span(peak % grid.width, grid.width, grid.seen_width, width, &x0, &x1);
    span(peak / grid.width, grid.height, grid.seen_height, height, &y0, &y1);
    ring(x0 - 1, x1 + 1, y0 - 1, y1 + 1, width, height, black, rgb);
    ring(x0, x1, y0, y1, width, height, yellow, rgb);
}

void kh_marks_draw(const float *map, kh_grid grid, double threshold, size_t width, size_t height,
                   float *up, uint8_t *rgb) {
    kh_lens_upsample(map, grid, height, width, up);
    outline(up, threshold, width, height, rgb);
    box(kh_marks_peak(map, grid.height * grid.width), grid, width, height, rgb);
}

kh_status kh_marks_add_legend(kh_figure *figure, bool has_threshold, bool has_class,
                              kh_error *err) {
    enum { SIDE = 40, CELLS = 5, SWATCHES = 3 };
    static const char *const says[SWATCHES] = {"the patch of the maximum, on every picture",
                                               "above the neuron's threshold",
                                               "shows the class that the neuron promotes most"};
    static const float blob[CELLS * CELLS] = {
        [6] = 1, [7] = 1, [8] = 1, [11] = 1, [12] = 1, [13] = 1, [17] = 1};
    uint8_t rgb[SWATCHES][3 * SIDE * SIDE];
    float up[SIDE * SIDE];
    const kh_grid grid = {CELLS, CELLS, 1, 1};
    kh_figure_panel panels[SWATCHES];
    size_t count = 0;
    memset(rgb, 160, sizeof rgb);
    box(12, grid, SIDE, SIDE, rgb[0]);
    kh_lens_upsample(blob, grid, SIDE, SIDE, up);
    outline(up, 0.5, SIDE, SIDE, rgb[1]);
    for (size_t i = 0; i < SWATCHES; i++) {
        if ((i == 1 && !has_threshold) || (i == 2 && !has_class)) continue;
        panels[count++] = (kh_figure_panel){.rgb = rgb[i],
                                            .width = SIDE,
                                            .height = SIDE,
                                            .caption = says[i],
                                            .frame = i == 2 ? KH_FRAME_GOOD : KH_FRAME_THIN};
    }
    const kh_figure_grid legend = {.panels = panels,
                                   .rows = 1,
                                   .columns = count,
                                   .cell_width = 170,
                                   .cell_height = SIDE,
                                   .title = "Marks"};
    return kh_figure_add_grid(figure, &legend, err);
}
