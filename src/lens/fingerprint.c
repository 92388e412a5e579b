#include "lens/fingerprint.h"

enum { COLUMNS = 9, ROWS = 8 };

/* Mean grey of a cell; sums in double, pixels in order. */
static double cell_grey(const float *tensor, size_t height, size_t width, const kh_preprocess *how,
                        size_t row, size_t column) {
    static const double weight[3] = {0.299, 0.587, 0.114};
    const size_t top = row * height / ROWS, bottom = (row + 1) * height / ROWS;
    const size_t left = column * width / COLUMNS, right = (column + 1) * width / COLUMNS;
    double grey = 0;
    for (size_t c = 0; c < 3; c++) {
        double sum = 0;
        for (size_t y = top; y < bottom; y++)
            for (size_t x = left; x < right; x++)
                sum += (double)tensor[(c * height + y) * width + x];
        const double pixels = (double)((bottom - top) * (right - left));
        grey += weight[c] * (pixels > 0 ? sum / pixels * how->std[c] + how->mean[c] : 0);
    }
    return grey;
}

uint64_t kh_fingerprint(const float *tensor, size_t height, size_t width,
                        const kh_preprocess *how) {
    uint64_t bits = 0;
    for (size_t row = 0; row < ROWS; row++) {
        double before = cell_grey(tensor, height, width, how, row, 0);
        for (size_t column = 1; column < COLUMNS; column++) {
            const double grey = cell_grey(tensor, height, width, how, row, column);
            bits = bits << 1 | (grey > before);
            before = grey;
        }
    }
    return bits;
}
