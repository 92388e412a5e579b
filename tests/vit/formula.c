#include "vit/formula.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t mixed(uint32_t hash, uint32_t i) {
    uint32_t z = (i + 1u) * 0x9E3779B1u + hash;
    z ^= z >> 15;
    z *= 0x2C1B3C6Du;
    z ^= z >> 12;
    z *= 0x297A2D39u;
    return z ^ (z >> 15);
}

static bool ends(const char *text, const char *with) {
    const size_t n = strlen(text), m = strlen(with);
    return n >= m && strcmp(text + n - m, with) == 0;
}

void formula_tensor(const char *name, size_t rank, const size_t *shape, float *out, size_t count) {
    static const char *const tokens[] = {"cls_token", "dist_token",       "reg_token",
                                         "pos_embed", "attn_pool.latent", "register_tokens"};
    uint32_t hash = 0x811C9DC5u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint32_t)(unsigned char)*c) * 0x01000193u;
    double offset = 0, scale = sqrt(3.0 / (double)(count / shape[0]));
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        if (strcmp(name, tokens[i]) == 0) scale = 0.5;
    if (strcmp(name, "image") == 0) scale = 1;
    if (ends(name, "gamma")) scale = 0.5;
    if (ends(name, ".bias")) scale = 0.1;
    if (rank == 1 && ends(name, ".weight")) {
        offset = 1;
        scale = 0.2;
    }
    for (size_t i = 0; i < count; i++)
        out[i] =
            (float)(offset + scale * (2.0 * (double)mixed(hash, (uint32_t)i) / 4294967296.0 - 1.0));
}

const char *golden_path(const char *folder, const char *file) {
    static char paths[4][1024];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/golden/%s%s%s", KH_TEST_DATA, folder, file ? "/" : "",
                   file ? file : "");
    return path;
}
