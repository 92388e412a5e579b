/* Label files from strangers, and queries. The first byte is the model's number of classes. */
#include "fuzz/fuzz.h"

#include "io/classes.h"

#include <stdlib.h>
#include <string.h>

#define MAX_QUERIES 4

/* A class's own name finds it or is ambiguous; it is never unknown. */
static void look_up(const kh_classes *classes, size_t index) {
    const char *name = kh_classes_get(classes, index).name;
    size_t found = SIZE_MAX;
    kh_error err;
    const kh_status status = kh_classes_find(classes, name, &found, &err);
    if (status == KH_OK && found >= kh_classes_count(classes)) abort();
    if (status == KH_E_NOT_FOUND && name[strspn(name, "0123456789")] != '\0' &&
        !kh_is_wnid(name, strlen(name)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const size_t count = data[0];
    const char *text = (const char *)data + 1;
    const size_t length = size - 1;
    const kh_limits limits = kh_limits_default();
    kh_classes *classes;
    kh_error err;
    if (kh_classes_parse(text, length, count, &limits, "labels", &classes, &err)) {
        if (classes || !err.text[0]) abort();
        return 0;
    }
    if (count && kh_classes_count(classes) != count) abort();
    for (size_t i = 0; i < kh_classes_count(classes); i++)
        if (!kh_classes_get(classes, i).name) abort();
    if (kh_classes_count(classes) <= 2000)
        for (size_t i = 0; i < MAX_QUERIES && i < kh_classes_count(classes); i++)
            look_up(classes, i);
    kh_classes_free(classes);
    return 0;
}
