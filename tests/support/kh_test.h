/* support/kh_test.h: what every test includes. */
#ifndef KH_TEST_SUPPORT_H
#define KH_TEST_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "keyhole/base.h"

/* Fails, naming the worst element, unless |got - want| <= atol + rtol * |want| everywhere. NaN
 * fails. */
void kh_assert_close_at(const float *got, const float *want, size_t count, double rtol, double atol,
                        const char *what, const char *file, int line);
#define kh_assert_close(got, want, count, rtol, atol)                                              \
    kh_assert_close_at(got, want, count, rtol, atol, #got, __FILE__, __LINE__)

/* Fails with the message of err unless status is KH_OK. */
void kh_assert_ok_at(kh_status status, const kh_error *err, const char *file, int line);
#define kh_assert_ok(call) kh_assert_ok_at(call, &err, __FILE__, __LINE__)

/* Fails unless the code is as wanted and the message contains `part`. */
void kh_assert_fails_at(kh_status status, kh_status want, const kh_error *err, const char *part,
                        const char *file, int line);
#define kh_assert_fails(call, want, part)                                                          \
    kh_assert_fails_at(call, want, &err, part, __FILE__, __LINE__)

/* count deterministic floats in [-scale, scale). */
void kh_test_fill(float *out, size_t count, uint64_t seed, float scale);

/* A fresh folder under the build tree that is removed at exit; valid until the next call + 7. */
const char *kh_test_folder(const char *name);

#endif
