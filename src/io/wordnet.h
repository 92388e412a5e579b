/* io/wordnet.h: data.noun from memory; the public calls are in keyhole/io.h. */
#ifndef KH_IO_WORDNET_H
#define KH_IO_WORDNET_H

#include "base/status.h"
#include "keyhole/io.h"

/* text [length], of a file called `what`. */
kh_status kh_wordnet_parse(const char *text, size_t length, const char *what, kh_wordnet **out,
                           kh_error *err);

/* Everything a synset is a kind of, itself among it, in the order of the wnids. */
size_t kh_wordnet_above_count(const kh_wordnet *wordnet, size_t synset);
size_t kh_wordnet_above(const kh_wordnet *wordnet, size_t synset, size_t i);

#endif
