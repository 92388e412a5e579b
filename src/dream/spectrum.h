/* dream/spectrum.h: half spectra of real planes and back, and the scale that makes natural images
 * easy. */
#ifndef KH_DREAM_SPECTRUM_H
#define KH_DREAM_SPECTRUM_H

#include <stddef.h>

#include "base/status.h"
#include "dream/real.h"

/* Plans for planes of height x width; read only after creation, may be shared by threads. */
typedef struct kh_spectrum kh_spectrum;

kh_status kh_spectrum_create(size_t height, size_t width, kh_spectrum **out, kh_error *err);
void kh_spectrum_free(kh_spectrum *s);

size_t kh_spectrum_columns(const kh_spectrum *s); /* width / 2 + 1 */
size_t kh_spectrum_scratch(const kh_spectrum *s); /* floats a call needs */

/* x[y][X] = sum_kx c_kx Re(e^{2 pi i kx X / w} sum_ky e^{2 pi i ky y / h} z[ky][kx]), c_kx = 1 for
 * kx = 0 and (even w) kx = w / 2, else 2. No factor. z [h, columns] of (re, im), x [h, w]. */
void kh_spectrum_to_plane(const kh_spectrum *s, const kh_real *z, kh_real *x, kh_real *scratch);

/* z[ky][kx] = sum x[y][X] e^{-2 pi i (kx X / w + ky y / h)}. No factor. The adjoint of to_plane is
 * this times c_kx. */
void kh_spectrum_from_plane(const kh_spectrum *s, const kh_real *x, kh_real *z, kh_real *scratch);

/* 1 or 2, as above. */
kh_real kh_spectrum_weight(const kh_spectrum *s, size_t kx);

/* True where Im cannot be seen in a plane: ky in {0, h/2} and kx in {0, w/2}. */
bool kh_spectrum_is_real(const kh_spectrum *s, size_t ky, size_t kx);

/* out[ky][kx] = 1 / max(f, 1 / max(w, h))^decay, f the length of the frequency in cycles per pixel.
 */
void kh_spectrum_scale(size_t height, size_t width, double decay, kh_real *out);

#endif
