/* data.noun from strangers. */
#include "fuzz/fuzz.h"

#include "io/wordnet.h"

#include <stdlib.h>
#include <string.h>

/* A synset is deeper than what it is a kind of; nothing is more like it than itself. */
static void look_at(const kh_wordnet *w, size_t a, size_t b) {
    const size_t both[] = {a, b};
    size_t lowest, found;
    const kh_synset s = kh_wordnet_get(w, a);
    if (!kh_wordnet_find(w, s.wnid, &found) || found != a || s.depth == 0) abort();
    const double likeness = kh_wordnet_likeness(w, a, b);
    if (!kh_wordnet_lowest(w, both, 2, &lowest)) {
        if (likeness >= 0 || likeness < 0) abort();
        return;
    }
    if (kh_wordnet_get(w, lowest).depth > s.depth) abort();
    if (!(likeness > 0 && likeness <= 1) || (a != b && !(likeness < 1))) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kh_wordnet *w;
    kh_error err;
    if (kh_wordnet_parse((const char *)data, size, "data.noun", &w, &err)) {
        if (w || !err.text[0]) abort();
        return 0;
    }
    const size_t count = kh_wordnet_count(w);
    for (size_t i = 0; i < 64; i++)
        look_at(w, i * 7 % count, i * i % count);
    kh_wordnet_close(w);
    return 0;
}
