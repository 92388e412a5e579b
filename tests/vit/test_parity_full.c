/* Full-size models with the formula's weights against PyTorch's numbers. */
#include "vit/parity.h"

static void check(kh_ctx *ctx, const char *name) {
    kh_ctx **all = parity_contexts();
    if (ctx == all[0]) return; /* the reference's loops would take minutes */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    size_t last = 0; /* the small models see the others; numbers are compared in other builds */
    while (all[last + 1])
        last++;
    if (ctx != all[last]) return;
#endif
#ifdef __SANITIZE_THREAD__
    static size_t seen; /* one of them shows how threads share a full-size model */
    if (seen++) return;
#endif
    parity_check_case(ctx, name, 1e-4, 1e-4);
}

static void full_size_models_agree(void **state) {
    (void)state;
    parity_each_case("full_", true, check);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(full_size_models_agree)};
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
