/* dream/loss.h: from what a pass handed out to a loss and its gradient seeds. */
#ifndef KH_DREAM_LOSS_H
#define KH_DREAM_LOSS_H

#include "dream/wants.h"

/* Everything a batch's losses read and write. Seeds are dense, one array per seed site, zeroed. */
typedef struct kh_loss_batch {
    const kh_wants *wants;
    const kh_pass *pass;
    float *const *seeds;
} kh_loss_batch;

/* Adds one dream's seeds for its views; sets its view_loss and stats (but the gradient norm). */
kh_status kh_loss_dream(const kh_loss_batch *b, kh_dream *d, kh_error *err);

/* GELU in double: value, derivative and Phi. */
double kh_gelu(double h);
double kh_gelu_slope(double h);
double kh_gelu_phi(double h);

/* Adds `weight` times the diversity of hidden vectors [images, tokens, neurons] of one view, image
 * i at hidden[i], and its gradient at seeds[i]. first_token: 1 leaves the class token out. Returns
 * the diversity itself (not times weight); *cosine gets the mean over pairs i != i' where it is
 * defined.
 */
kh_status kh_diversity(kh_dream_diversity kind, size_t images, size_t tokens, size_t neurons,
                       size_t first_token, const float *const *hidden, double weight,
                       float *const *seeds, double *value, double *cosine, kh_error *err);

#endif
