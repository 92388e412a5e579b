/* An index of shards, and a hub's list of files: no name in them leads out of a folder. */
#include "fuzz/fuzz.h"

#include "io/hub.h"
#include "io/tensors.h"

#include <stdlib.h>
#include <string.h>

static void check_name(const char *name) {
    if (strchr(name, '/') || strchr(name, '\\') || name[0] == '.' || !*name) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const kh_limits limits = kh_limits_default();
    kh_error err;
    kh_tensor_index index;
    if (!kh_tensor_index_parse((const char *)bytes, count, &limits, "input", &index, &err)) {
        for (size_t i = 0; i < index.count; i++) {
            check_name(index.lines[i].file);
            if (i && strcmp(index.lines[i - 1].tensor, index.lines[i].tensor) >= 0) abort();
        }
        for (size_t i = 1; i < index.file_count; i++)
            if (strcmp(index.files[i - 1], index.files[i]) >= 0) abort();
        kh_tensor_index_clear(&index);
    }
    kh_hub_list list;
    if (!kh_hub_list_parse((const char *)bytes, count, &list, &err)) {
        for (size_t i = 0; i < list.count; i++)
            check_name(list.files[i].name);
        (void)kh_hub_list_weights(&list);
        kh_hub_list_clear(&list);
    }
    return 0;
}
