/* base/status.h: how failures travel. The one who detects writes the message, the others pass it
 * on. */
#ifndef KH_BASE_STATUS_H
#define KH_BASE_STATUS_H

#include "keyhole/base.h"

/* Writes code and text to err (if any) and returns the code, so `return kh_fail(...)` reads well.
 */
kh_status kh_fail(kh_error *err, kh_status code, const char *format, ...) KH_PRINTF(3, 4);

/* Puts "context: " in front of a message that is already there; returns err's code or `code`. */
kh_status kh_error_context(kh_error *err, kh_status code, const char *format, ...) KH_PRINTF(3, 4);

#define KH_TRY(call)                                                                               \
    do {                                                                                           \
        const kh_status kh_try_status_ = (call);                                                   \
        if (kh_try_status_) return kh_try_status_;                                                 \
    } while (0)

/* Like KH_TRY inside a function with a `done:` label and a `status` variable. */
#define KH_GO(call)                                                                                \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status) goto done;                                                                     \
    } while (0)

#endif
