#include "base/sorted.h"

int kh_compare_doubles(const void *left, const void *right) {
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double kh_sorted_quantile(const double *sorted, size_t count, double q) {
    const double at = q * (double)(count - 1);
    const size_t low = (size_t)at;
    if (low + 1 >= count) return sorted[count - 1];
    return sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low]);
}
