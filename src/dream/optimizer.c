#include "dream/optimizer.h"

#include <math.h>

double kh_optimizer_rate(const kh_dream_settings *s, size_t t) {
    if (s->schedule == KH_SCHEDULE_CONSTANT || s->steps == 0) return s->lr;
    const double done = t - 1 < s->steps ? (double)(t - 1) / (double)s->steps : 1.0;
    return 0.5 * s->lr * (1 + cos(3.14159265358979323846 * done));
}

/* Adam: theta -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 * NAdam (psi 0.004): mu_t = b1 (1 - 0.5 0.96^(t psi)), P_t = mu_1 ... mu_t,
 *     theta -= lr ((1 - mu_t) / (1 - P_t) g + mu_{t+1} / (1 - P_t mu_{t+1}) m) / (sqrt(v / (1 -
 * b2^t)) + eps) */
typedef struct factors {
    float g, m;       /* step sizes, positive */
    float correction; /* sqrt(1 - b2^t) */
} factors;

static double momentum_at(double beta, size_t t) {
    return beta * (1 - 0.5 * pow(0.96, (double)t * 0.004));
}

static factors factors_at(const kh_dream_settings *s, size_t t) {
    const double lr = kh_optimizer_rate(s, t);
    const float correction = (float)sqrt(1 - pow(s->beta2, (double)t));
    if (s->optimizer == KH_OPTIMIZER_ADAM)
        return (factors){0, (float)(lr / (1 - pow(s->beta1, (double)t))), correction};
    double product = 1;
    for (size_t i = 1; i <= t; i++)
        product *= momentum_at(s->beta1, i);
    const double next = momentum_at(s->beta1, t + 1);
    return (factors){(float)(lr * (1 - momentum_at(s->beta1, t)) / (1 - product)),
                     (float)(lr * next / (1 - product * next)), correction};
}

void kh_optimizer_step(const kh_dream_settings *s, size_t t, size_t count, const float *g,
                       float *theta, float *m, float *v) {
    const factors f = factors_at(s, t);
    const float b1 = (float)s->beta1, b2 = (float)s->beta2, eps = (float)s->eps;
    const float c1 = (float)(1 - s->beta1), c2 = (float)(1 - s->beta2);
    for (size_t i = 0; i < count; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * (g[i] * g[i]);
        const float root = sqrtf(v[i]) / f.correction + eps;
        theta[i] -= f.m * (m[i] / root) + f.g * (g[i] / root);
    }
}
