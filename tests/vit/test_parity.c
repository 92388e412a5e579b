/* Recorded models of every family, and the golden numbers of tiny models in float64. */
#include "vit/parity.h"

#include "vit/reference.h"

/* ---- tiny models in float64
 * ----------------------------------------------------------------------- */

typedef struct golden_row {
    const char *name;
    ref_config config;
    size_t parameters;
    double logits[4], norm, pixel, gradient_norm;
} golden_row;

#define BASE                                                                                       \
    .dim = 24, .blocks = 2, .heads = 3, .patch = 8, .height = 32, .width = 32, .classes = 10
#define PLAIN                                                                                      \
    BASE, .neurons = 96, .patch_bias = true, .qkv_bias = true, .eps = 1e-6, .activation = "gelu"

static const golden_row golden_rows[] = {
    {"plain",
     {PLAIN, .class_token = true, .pos_has_prefix = true},
     19810,
     {-0.813476204, 0.295591078, -0.859266534, -1.383790391},
     2.764987493,
     -7.002907938e-3,
     1.619246854},
    {"distilled",
     {PLAIN, .class_token = true, .distill_token = true, .pos_has_prefix = true,
      .pool = KH_POOL_DISTILL},
     20108,
     {-0.854954238, 0.017774677, -0.936671058, -0.040498397},
     1.697830204,
     -6.766246716e-3,
     0.9645737416},
    {"deit3",
     {PLAIN, .class_token = true, .layer_scale = true},
     19882,
     {-2.218248128, -0.402785782, 0.163229193, -0.614906440},
     3.358144832,
     -1.643650407e-3,
     1.258111422},
    {"mae_ft",
     {PLAIN, .class_token = true, .pos_has_prefix = true, .pool = KH_POOL_AVG_FC},
     19810,
     {-0.659265616, 0.019646278, -0.621762495, -0.975575976},
     2.376742694,
     -1.659836091e-3,
     1.901356606},
    {"dinov2",
     {PLAIN, .class_token = true, .layer_scale = true, .pos_has_prefix = true},
     19906,
     {-1.704701613, -0.901559560, 0.077861090, 0.206556275},
     2.836124214,
     7.164513521e-3,
     0.6243333721},
    {"clip_quick",
     {BASE, .neurons = 96, .qkv_bias = true, .class_token = true, .pos_has_prefix = true,
      .norm_pre = true, .eps = 1e-5, .activation = "quick_gelu"},
     19834,
     {-1.986574349, -0.663554912, -0.702033815, -1.025394093},
     3.531873517,
     -6.539428077e-3,
     0.9100449189},
    {"siglip_map",
     {BASE, .neurons = 96, .patch_bias = true, .qkv_bias = true, .eps = 1e-6, .pool = KH_POOL_MAP,
      .activation = "gelu_tanh"},
     26962,
     {-0.366928060, -1.309976288, 0.303909597, -0.112003812},
     2.384029034,
     1.383303403e-3,
     0.7949059446},
    {"siglip_gap",
     {PLAIN, .pool = KH_POOL_AVG},
     19762,
     {-0.572050723, 0.064240832, -0.042231125, -0.531163265},
     1.349518833,
     -2.300512098e-3,
     1.332699366},
    {"rpn",
     {BASE, .neurons = 96, .patch_bias = true, .eps = 1e-6, .activation = "gelu", .post_norm = true,
      .pool = KH_POOL_AVG_FC},
     19618,
     {-0.393778141, 0.230909920, -0.193387617, -1.613550660},
     2.050000607,
     -2.232333963e-3,
     2.072163188},
    {"dinov2_reg_swiglu",
     {BASE, .patch_bias = true, .qkv_bias = true, .eps = 1e-6, .class_token = true, .registers = 4,
      .layer_scale = true, .gated = true, .neurons = 64, .activation = "silu"},
     20042,
     {-0.006380848, -0.208197589, -0.386394856, -0.028816566},
     1.624108714,
     -1.425132289e-2,
     0.4730062962},
};

enum { PIXELS = 3 * 32 * 32 };

static void fill_image(double *image) {
    const size_t shape[] = {1, 3, 32, 32};
    ref_formula("image", 4, shape, image);
}

static double length_of(const double *x, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

static void near(const char *row, const char *what, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol))
        fail_msg("%s: %s is %.12g, expected %.12g", row, what, got, want);
}

static void float64_path_has_the_golden_numbers(void **state) {
    (void)state;
    static double image[PIXELS], gradient[PIXELS];
    fill_image(image);
    for (size_t r = 0; r < sizeof golden_rows / sizeof golden_rows[0]; r++) {
        const golden_row *row = &golden_rows[r];
        ref_model *m = ref_from_formula(&row->config);
        assert_int_equal(ref_parameters(m), row->parameters);
        double logits[10];
        const double seed[10] = {[3] = 1};
        ref_forward(m, image, NULL, NULL, logits);
        ref_gradient(m, image, seed, gradient);
        for (size_t c = 0; c < 4; c++)
            near(row->name, "logit", logits[c], row->logits[c], 1e-8);
        near(row->name, "|logits|", length_of(logits, 10), row->norm, 1e-8);
        near(row->name, "g[1][10][20]", gradient[(32 + 10) * 32 + 20], row->pixel, 1e-8);
        near(row->name, "|g|", length_of(gradient, PIXELS), row->gradient_norm, 1e-8);
        ref_close(m);
    }
}

static void float64_gradient_meets_finite_differences(void **state) {
    (void)state;
    static double image[PIXELS], gradient[PIXELS];
    fill_image(image);
    for (size_t r = 0; r < sizeof golden_rows / sizeof golden_rows[0]; r++) {
        ref_model *m = ref_from_formula(&golden_rows[r].config);
        const double seed[10] = {[3] = 1}, step = 1e-5;
        ref_gradient(m, image, seed, gradient);
        double largest = 0;
        for (size_t i = 0; i < PIXELS; i++)
            largest = fmax(largest, fabs(gradient[i]));
        for (size_t k = 0; k < 50; k++) {
            const size_t at = (k * 1663 + 7 * r) % PIXELS;
            const double old = image[at];
            double up[10], down[10];
            image[at] = old + step;
            ref_forward(m, image, NULL, NULL, up);
            image[at] = old - step;
            ref_forward(m, image, NULL, NULL, down);
            image[at] = old;
            near(golden_rows[r].name, "finite difference", gradient[at],
                 (up[3] - down[3]) / (2 * step), 1e-6 * largest);
        }
        ref_close(m);
    }
}

static void keep_unit(void *user, const char *site, double *values, size_t count) {
    (void)count;
    double *out = user;
    if (strcmp(site, "blocks.1.mlp.hook_pre") == 0) *out = values[5 * 96 + 7];
}

static void float64_path_has_the_golden_activation(void **state) {
    (void)state;
    static double image[PIXELS];
    fill_image(image);
    ref_model *m = ref_from_formula(&golden_rows[0].config);
    double logits[10], unit = NAN;
    ref_forward(m, image, keep_unit, &unit, logits);
    near("plain", "U of block 1, token 5, unit 7", unit, -0.8011557020, 1e-9);
    ref_close(m);
}

/* ---- the library against recordings
 * -------------------------------------------------------------- */

static void check(kh_ctx *ctx, const char *name) {
    parity_check_case(ctx, name, 2e-5, 1e-4);
}

static void every_recorded_family_agrees(void **state) {
    (void)state;
    parity_each_case("full_", false, check);
}

/* The float64 path on a loaded model's own weights says the same as the recording. (transformers'
 * DINOv2 with registers is not among them: its class token and position are added, and rounded, at
 * load.) */
static void float64_path_agrees_with_recorded_logits(void **state) {
    (void)state;
    kh_error err;
    static const char *const names[] = {
        "vit_base",          "vit_base_qk_norm", "deit_base_distilled",
        "hf_dinov2",         "hf_clip_classes",  "siglip_base32",
        "dinov2_reg4_giant", "rpn_base",         "vit_base_nonsquare"};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        kh_tensors *golden = NULL;
        kh_model *model = parity_open(parity_contexts()[0], names[k], &golden);
        const kh_model_info *info = kh_model_get_info(model);
        const size_t pixels = 3 * info->image_height * info->image_width;
        kh_tensor_info t;
        assert_true(kh_tensors_find(golden, "logits_f64", &t));
        float *image = parity_input(golden, model, t.shape[0]);
        double *exact = malloc(pixels * sizeof *exact), *want = malloc(t.count * sizeof *want);
        double *got = malloc(info->classes * sizeof *got);
        for (size_t i = 0; i < pixels; i++)
            exact[i] = (double)image[i];
        kh_assert_ok(kh_tensors_read_f64(golden, "logits_f64", false, want, t.count, &err));
        ref_model *m = ref_from_model(model);
        ref_forward(m, exact, NULL, NULL, got);
        for (size_t c = 0; c < info->classes; c++)
            near(names[k], "logit", got[c], want[c], 1e-8);
        ref_close(m);
        free(image);
        free(exact);
        free(want);
        free(got);
        kh_model_close(model);
        kh_tensors_close(golden);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float64_path_has_the_golden_numbers),
        cmocka_unit_test(float64_gradient_meets_finite_differences),
        cmocka_unit_test(float64_path_has_the_golden_activation),
        cmocka_unit_test(float64_path_agrees_with_recorded_logits),
        cmocka_unit_test(every_recorded_family_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
