/* Full-size models with the formula's weights against PyTorch's numbers. */
#include "vit/parity.h"

static void check(kh_ctx *ctx, const char *name) {
    if (ctx == parity_contexts()[0]) return; /* the plain loops would take minutes */
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
