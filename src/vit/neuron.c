#include "base/status.h"
#include "base/text.h"
#include "keyhole/vit.h"

#include <stdio.h>
#include <string.h>

/* Digits up to a character of `stop` (or the end); moves *text behind them. */
static bool read_number(const char **text, const char *before, size_t *out) {
    char digits[24];
    const size_t length = strcspn(*text, before);
    if (length == 0 || length >= sizeof digits) return false;
    memcpy(digits, *text, length);
    digits[length] = '\0';
    *text += length;
    return kh_parse_size(digits, out);
}

static bool skip(const char **text, const char *piece) {
    if (!kh_starts_with(*text, piece)) return false;
    *text += strlen(piece);
    return true;
}

/* "b10n1198" */
static bool parse_short(const char *text, kh_neuron *out) {
    return skip(&text, "b") && read_number(&text, "n", &out->block) && skip(&text, "n") &&
           read_number(&text, "", &out->index) && *text == '\0';
}

/* "10:1198" */
static bool parse_pair(const char *text, kh_neuron *out) {
    return read_number(&text, ":", &out->block) && skip(&text, ":") &&
           read_number(&text, "", &out->index) && *text == '\0';
}

/* "blocks.10.mlp.fc1[1198]" */
static bool parse_path(const char *text, kh_neuron *out) {
    return skip(&text, "blocks.") && read_number(&text, ".", &out->block) &&
           skip(&text, ".mlp.fc1[") && read_number(&text, "]", &out->index) &&
           strcmp(text, "]") == 0;
}

kh_status kh_neuron_parse(const char *text, kh_neuron *out, kh_error *err) {
    if (!text || !out) return kh_fail(err, KH_E_ARG, "no neuron given");
    kh_neuron neuron = {0, 0};
    if (parse_short(text, &neuron) || parse_pair(text, &neuron) || parse_path(text, &neuron)) {
        *out = neuron;
        return KH_OK;
    }
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG,
                   "'%s' is not a key neuron; write b10n1198, 10:1198 or blocks.10.mlp.fc1[1198] "
                   "(block 10, neuron 1198, both from zero)",
                   kh_shown(text, strlen(text), shown, sizeof shown));
}

void kh_neuron_format(kh_neuron neuron, char *out, size_t out_bytes) {
    if (out_bytes) (void)snprintf(out, out_bytes, "b%zun%zu", neuron.block, neuron.index);
}
