/* io/classes.h: inside the class lists. */
#ifndef KH_IO_CLASSES_H
#define KH_IO_CLASSES_H

#include "base/status.h"
#include "keyhole/io.h"

struct kh_classes {
    size_t count;
    kh_class *items; /* [count]; they point into pool or into constant memory */
    char *pool;
};

extern const kh_class kh_imagenet_names[1000];

/* "n" (or the demo world's "d") and eight digits, nothing else. */
bool kh_is_wnid(const char *text, size_t length);
/* The built-in name of a wnid, or NULL. */
const char *kh_imagenet_name(const char *wnid, size_t length);

/* A label file already in memory; `what` names it in messages. */
kh_status kh_classes_parse(const char *bytes, size_t size, size_t count, const kh_limits *limits,
                           const char *what, kh_classes **out, kh_error *err);

#endif
