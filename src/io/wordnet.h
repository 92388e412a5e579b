/* io/wordnet.h: data.noun from memory; the public calls are in keyhole/io.h. */
#ifndef KH_IO_WORDNET_H
#define KH_IO_WORDNET_H

#include "base/status.h"
#include "keyhole/io.h"

/* text [length], of a file called `what`. */
kh_status kh_wordnet_parse(const char *text, size_t length, const char *what, kh_wordnet **out,
                           kh_error *err);

#endif
