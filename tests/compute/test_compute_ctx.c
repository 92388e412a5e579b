#define _GNU_SOURCE
#include <sched.h>

#include "compute/compute_test.h"

static void defaults_give_the_best_isa(void **state) {
    (void)state;
    kh_error err;
    kh_ctx *ctx;
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    assert_string_equal(kh_ctx_device(ctx), "cpu");
    assert_int_equal(kh_ctx_threads(ctx), kh_cores_available());
    bool known = false;
    for (size_t i = 0; i < ISAS; i++)
        known |= strcmp(kh_ctx_isa(ctx), all_isas[i]) == 0;
    assert_true(known);
    assert_string_equal(kh_ctx_backend(ctx)->name, "cpu");
    assert_int_equal(kh_pool_threads(kh_ctx_pool(ctx)), kh_ctx_threads(ctx));
    kh_ctx_free(ctx);
    kh_ctx_free(NULL);
}

static void unknown_devices_and_isas_are_named(void **state) {
    (void)state;
    kh_error err;
    kh_ctx *ctx;
    kh_ctx_options options = {.device = "tpu"};
    kh_assert_fails(kh_ctx_create(&options, &ctx, &err), KH_E_UNSUPPORTED,
                    "device 'tpu' is unknown");
    assert_null(ctx);
    options = (kh_ctx_options){.isa = "sse9"};
    kh_assert_fails(kh_ctx_create(&options, &ctx, &err), KH_E_UNSUPPORTED, "isa 'sse9'");
    options = (kh_ctx_options){.device = "reference", .isa = "avx2"};
    kh_assert_fails(kh_ctx_create(&options, &ctx, &err), KH_E_UNSUPPORTED, "\"plain\"");
    options = (kh_ctx_options){.threads = 5000};
    kh_assert_fails(kh_ctx_create(&options, &ctx, &err), KH_E_ARG, "5000 threads");
    assert_int_equal(kh_ctx_create(&options, &ctx, NULL), KH_E_ARG);
}

static void every_failed_allocation_is_an_error(void **state) {
    (void)state;
    kh_error err;
    kh_ctx *ctx = NULL;
    const kh_ctx_options options = {.threads = 2};
    size_t failures = 0;
    for (size_t n = 1; n < 20 && !ctx; n++) {
        kh_alloc_fail_after(n);
        const kh_status status = kh_ctx_create(&options, &ctx, &err);
        if (!status) break;
        assert_int_equal(status, KH_E_MEMORY);
        failures++;
    }
    kh_alloc_fail_after(0);
    assert_non_null(ctx);
    assert_true(failures >= 3); /* context, pool, scratch at least */
    kh_ctx_free(ctx);
}

static void a_pinned_caller_is_released(void **state) {
    (void)state;
    cpu_set_t before, during, after;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    kh_error err;
    kh_ctx *ctx;
    const kh_ctx_options options = {.threads = 2, .pin_caller = true};
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    assert_int_equal(sched_getaffinity(0, sizeof during, &during), 0);
    assert_int_equal(CPU_COUNT(&during), 1);
    kh_ctx_free(ctx);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
}

static void the_peak_is_a_speed(void **state) {
    (void)state;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 1) : open_reference();
        if (!ctx) continue;
        const double peak = kh_ctx_peak_gflops(ctx, 0.01);
        assert_true(peak > 0.05 &&
                    peak < 2000); /* slow under valgrind, fast on nothing yet built */
        kh_ctx_free(ctx);
    }
}

static void memory_goes_up_and_down(void **state) {
    (void)state;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 1) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        float host[5] = {1, 2, 3, 4, 5}, back[5] = {0};
        float *memory = b->alloc(ctx, 7);
        assert_non_null(memory);
        b->upload(ctx, memory + 1, host, 5);
        b->download(ctx, back, memory + 1, 5);
        assert_memory_equal(host, back, sizeof host);
        b->download(ctx, back, memory + 6, 1);
        assert_true(back[0] == 0.0f); /* zeroed by alloc */
        b->release(ctx, memory);
        b->release(ctx, NULL);
        assert_null(b->alloc(ctx, SIZE_MAX / 2));
        kh_ctx_free(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_give_the_best_isa),
        cmocka_unit_test(unknown_devices_and_isas_are_named),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(a_pinned_caller_is_released),
        cmocka_unit_test(the_peak_is_a_speed),
        cmocka_unit_test(memory_goes_up_and_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
