#include "cli/inputs.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/text.h"

#include <string.h>

#define DEMO "demo:images"

/* A folder of `keyhole diorama` means its pictures: its label maps are images too. */
static kh_status expand_folder(const char *operand, char **out, kh_error *err) {
    char *pictures = kh_path_join(operand, "images/scenes");
    char *index = kh_path_join(operand, "index.csv");
    char *mark = kh_path_join(operand, KH_FOLDER_MARK);
    const bool has_pictures = pictures && kh_is_directory(pictures);
    const bool is_set = has_pictures && index && kh_file_exists(index);
    if (has_pictures && mark && kh_file_exists(mark)) {
        char shown[KH_SHOWN_BYTES];
        kh_free(pictures);
        kh_free(index);
        kh_free(mark);
        return kh_fail(err, KH_E_ARG, "the scenes in '%s' are not complete; run diorama again",
                       kh_shown(operand, strlen(operand), shown, sizeof shown));
    }
    kh_free(mark);
    *out = is_set ? pictures : kh_strdup(operand);
    if (!is_set) kh_free(pictures);
    kh_free(index);
    return *out ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a path");
}

/* demo:images is the folder of its pictures, rendered on first use; demo:images/fish one class. */
static kh_status expand(const char *operand, char **out, kh_error *err) {
    char folder[4096];
    const char *rest = operand + strlen(DEMO);
    if (!kh_starts_with(operand, DEMO) || (*rest != '\0' && *rest != '/'))
        return expand_folder(operand, out, err);
    KH_TRY(kh_diorama_demo_images(folder, sizeof folder, err));
    while (*rest == '/')
        rest++;
    *out = *rest ? kh_path_join(folder, rest) : kh_strdup(folder);
    if (!*out) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    if (kh_file_exists(*out)) return KH_OK;
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_NOT_FOUND,
                   "'%s': the demo images are in folders of their classes, such as " DEMO "/%s",
                   kh_shown(operand, strlen(operand), shown, sizeof shown),
                   kh_diorama_class_name(0));
}

kh_status kh_inputs_open(char *const *operands, size_t count, const kh_source_options *options,
                         kh_source **out, kh_error *err) {
    char **expanded = kh_calloc(count + 1, sizeof *expanded);
    if (!expanded) return kh_fail(err, KH_E_MEMORY, "no memory for paths");
    kh_status status = KH_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = expand(operands[i], &expanded[i], err);
    if (!status) status = kh_source_open(expanded, count, options, out, err);
    for (size_t i = 0; i < count; i++)
        kh_free(expanded[i]);
    kh_free(expanded);
    return status;
}

kh_status kh_inputs_collect(char *const *operands, size_t count, const kh_source_options *options,
                            kh_inputs *out, kh_error *err) {
    *out = (kh_inputs){0};
    KH_TRY(kh_inputs_open(operands, count, options, &out->source, err));
    out->count = kh_source_count(out->source);
    return KH_OK;
}

void kh_inputs_clear(kh_inputs *inputs) {
    kh_source_free(inputs->source);
    *inputs = (kh_inputs){0};
}
