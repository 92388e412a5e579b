/* KissFFT's complex transforms in double and by their definition: what the double build of the
 * painting code stands on, since the packaged library has float only. */
#include "dream/real.h"

#include <kiss_fft.h>

#include <math.h>
#include <stdlib.h>

struct kiss_fft_state {
    size_t length;
    double turn; /* 2 pi / length, negative forwards */
};

kiss_fft_cfg kiss_fft_alloc(int length, int is_inverse, void *memory, size_t *bytes) {
    const size_t needed = sizeof(struct kiss_fft_state);
    if (bytes && (!memory || *bytes < needed)) {
        *bytes = needed;
        return NULL;
    }
    kiss_fft_cfg plan = memory ? memory : malloc(needed);
    if (!plan) return NULL;
    plan->length = (size_t)length;
    plan->turn = (is_inverse ? 2 : -2) * 3.14159265358979323846 / (double)length;
    return plan;
}

void kiss_fft_stride(kiss_fft_cfg plan, const kiss_fft_cpx *in, kiss_fft_cpx *out, int stride) {
    const size_t n = plan->length;
    for (size_t k = 0; k < n; k++) {
        kiss_fft_cpx sum = {0, 0};
        for (size_t j = 0; j < n; j++) {
            const kiss_fft_cpx x = in[j * (size_t)stride];
            const double angle = plan->turn * (double)(k * j % n), c = cos(angle), s = sin(angle);
            sum.r += x.r * c - x.i * s;
            sum.i += x.r * s + x.i * c;
        }
        out[k] = sum;
    }
}

void kiss_fft(kiss_fft_cfg plan, const kiss_fft_cpx *in, kiss_fft_cpx *out) {
    kiss_fft_stride(plan, in, out, 1);
}
