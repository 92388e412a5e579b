/* dream/optimizer.h: Adam and NAdam as PyTorch computes them. */
#ifndef KH_DREAM_OPTIMIZER_H
#define KH_DREAM_OPTIMIZER_H

#include "keyhole/dream.h"

/* One step, t counted from 1: theta, first and second moments m, v (zeros before step 1). */
void kh_optimizer_step(const kh_dream_settings *s, size_t t, size_t count, const float *g,
                       float *theta, float *m, float *v);

/* The step size of step t: lr, or its cosine decay to 0 over s->steps. */
double kh_optimizer_rate(const kh_dream_settings *s, size_t t);

#endif
