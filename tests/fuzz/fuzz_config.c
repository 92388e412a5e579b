/* config.json and preprocessor_config.json from strangers: the first byte chooses which reader gets
 * the rest. What is taken must be within the limits everything after it relies on. */
#include "fuzz/fuzz.h"

#include "base/json.h"
#include "vit/config.h"

#include <stdlib.h>
#include <string.h>

static void check(kh_status status, const kh_error *err, kh_config *config) {
    if (status) {
        if (err->code != status || !err->text[0] || config->labels) abort();
        return;
    }
    kh_error again;
    if (kh_config_check(config, &again)) abort();
    if (!config->preprocess.height || !config->preprocess.width) abort();
    if (config->labels && kh_classes_count(config->labels) != config->classes) abort();
    if (!memchr(config->architecture, 0, sizeof config->architecture)) abort();
    kh_config_clear(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count == 0) return 0;
    const kh_json_limits limits = {.max_depth = 32, .max_values = 100000};
    const kh_warner silent = {NULL, NULL};
    kh_error err = {0};
    kh_config config;
    kh_preprocess how;
    json_t *root = NULL;
    if (kh_json_parse_object((const char *)bytes + 1, count - 1, limits, "input", &root, &err))
        return 0;
    memset(&config, 0, sizeof config);
    switch (bytes[0]) {
    case 't':
        check(kh_config_timm(root, NULL, silent, &config, &err), &err, &config);
        break;
    case 'a':
        check(kh_config_timm(root, "vit_base_patch16_clip_224", silent, &config, &err), &err,
              &config);
        break;
    case 'h':
        check(kh_config_hf(root, NULL, silent, &config, &err), &err, &config);
        break;
    case 'b': /* both halves in one object */
        check(kh_config_hf(root, json_object_get(root, "processor"), silent, &config, &err), &err,
              &config);
        break;
    default:
        if (!kh_preprocess_hf(root, "vit", &how, &err) && (!how.height || !how.width)) abort();
    }
    json_decref(root);
    return 0;
}
