/* The registry against what timm itself says about every name (tests/data/golden/registry.json). */
#include "support/kh_test.h"

#include "vit/formula.h"
#include "vit/registry.h"

#include <jansson.h>

static json_t *root;

static int setup(void **state) {
    (void)state;
    json_error_t where;
    root = json_load_file(golden_path("registry.json", NULL), 0, &where);
    if (!root) print_error("registry.json: %s\n", where.text);
    return root ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    json_decref(root);
    return 0;
}

static size_t number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("registry.json has no number '%s'", key);
    return (size_t)json_integer_value(value);
}

static bool flag(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_boolean(value)) fail_msg("registry.json has no flag '%s'", key);
    return json_is_true(value);
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    if (!value) fail_msg("registry.json has no text '%s'", key);
    return value;
}

/* Parameters by arithmetic of its own. */
static uint64_t parameters(const kh_config *c, size_t neurons) {
    const uint64_t d = c->dim, m = neurons;
    const uint64_t grid = (c->height / c->patch) * (c->width / c->patch);
    const uint64_t prefix = kh_config_prefix(c);
    const uint64_t fc1 = c->gated ? 2 * m : m;
    const uint64_t qkv = 3 * d * d + (c->qkv_bias ? 3 * d : 0);
    uint64_t block = 4 * d + qkv + d * d + d + fc1 * d + fc1 + m * d + d;
    if (c->layer_scale) block += 2 * d;
    uint64_t sum = prefix * d + (grid + (c->pos_has_prefix ? prefix : 0)) * d + c->blocks * block;
    sum +=
        3 * c->patch * c->patch * d + (c->patch_bias ? d : 0) + (c->norm_pre ? 2 * d : 0) + 2 * d;
    if (c->pool == KH_POOL_MAP) sum += d + 4 * d * d + 4 * d + 2 * d + 2 * m * d + m + d;
    return sum + (c->pool == KH_POOL_DISTILL ? 2 : 1) * (c->classes * d + c->classes);
}

static void check_one(const kh_architecture *a) {
    kh_error err;
    kh_config c;
    const json_t *want = json_object_get(json_object_get(root, "plain"), a->name);
    if (!want) fail_msg("timm does not know %s", a->name);
    kh_assert_ok(kh_config_registered(a->name, &c, &err));
    size_t neurons = (size_t)((double)c.dim * c.mlp_ratio);
    if (c.gated) neurons /= 2;
    const char *pool = c.pool == KH_POOL_MAP                               ? "map"
                       : c.pool == KH_POOL_AVG || c.pool == KH_POOL_AVG_FC ? "avg"
                                                                           : "token";
    const json_t *image = json_object_get(want, "img_size");
    const char *filter = c.preprocess.filter == KH_FILTER_BILINEAR ? "bilinear" : "bicubic";
    bool good = c.dim == number(want, "dim") && c.blocks == number(want, "depth") &&
                c.heads == number(want, "heads") && neurons == number(want, "neurons") &&
                c.gated == flag(want, "swiglu") && c.patch == number(want, "patch") &&
                c.height == (size_t)json_integer_value(json_array_get(image, 0)) &&
                c.width == (size_t)json_integer_value(json_array_get(image, 1));
    if (!good) fail_msg("%s: sizes differ from timm's", a->name);
    good = strcmp(kh_activation_name(c.act), text(want, "act")) == 0 &&
           c.eps == json_real_value(json_object_get(want, "eps")) &&
           c.qkv_bias == flag(want, "qkv_bias") && c.qk_norm == flag(want, "qk_norm") &&
           c.layer_scale == flag(want, "layer_scale") && c.post_norm == flag(want, "post_norm") &&
           c.norm_pre == flag(want, "norm_pre") && c.patch_bias == flag(want, "patch_bias");
    if (!good) fail_msg("%s: the block differs from timm's", a->name);
    good = c.class_token == flag(want, "cls") && c.distill_token == flag(want, "dist") &&
           c.registers == number(want, "reg") && strcmp(pool, text(want, "pool")) == 0 &&
           (c.pool == KH_POOL_AVG_FC) == flag(want, "fc_norm") &&
           !flag(want, "pool_include_prefix") &&
           (kh_config_prefix(&c) == 0 || c.pos_has_prefix == flag(want, "prefix_positions"));
    if (!good) fail_msg("%s: tokens or pooling differ from timm's", a->name);
    if (c.classes != number(want, "num_classes")) fail_msg("%s: %zu classes", a->name, c.classes);
    if (parameters(&c, neurons) != number(want, "parameters"))
        fail_msg("%s: %llu parameters", a->name, (unsigned long long)parameters(&c, neurons));
    good = strcmp(filter, text(want, "interpolation")) == 0 &&
           c.preprocess.crop_pct == json_number_value(json_object_get(want, "crop_pct"));
    if (!good) fail_msg("%s: preprocessing differs from timm's", a->name);
}

static void every_name_agrees_with_timm(void **state) {
    (void)state;
    assert_true(kh_registry_count() >= 138);
    for (size_t i = 0; i < kh_registry_count(); i++)
        check_one(kh_registry_get(i));
}

/* A default tag may use other means than its family; the family's own must be those of most
 * members. */
static void means_are_those_of_most_members_of_a_family(void **state) {
    (void)state;
    size_t same = 0;
    for (size_t i = 0; i < kh_registry_count(); i++) {
        const kh_architecture *a = kh_registry_get(i);
        kh_error err;
        kh_config c;
        kh_assert_ok(kh_config_registered(a->name, &c, &err));
        const json_t *want = json_object_get(json_object_get(root, "plain"), a->name);
        const json_t *mean = json_object_get(want, "mean"), *std = json_object_get(want, "std");
        bool is_same = true;
        for (size_t k = 0; k < 3; k++)
            is_same = is_same &&
                      c.preprocess.mean[k] == json_number_value(json_array_get(mean, k)) &&
                      c.preprocess.std[k] == json_number_value(json_array_get(std, k));
        same += is_same;
    }
    /* not: small_patch8 (DINO), large_patch14_clip_224 and _336 (laion), three I-JEPA gap models */
    assert_int_equal(same, kh_registry_count() - 6);
}

static void names_are_sorted_and_found(void **state) {
    (void)state;
    for (size_t i = 0; i < kh_registry_count(); i++) {
        const char *name = kh_model_architecture_name(i);
        assert_ptr_equal(kh_registry_find(name), kh_registry_get(i));
        if (i) assert_true(strcmp(kh_model_architecture_name(i - 1), name) < 0);
    }
    assert_null(kh_model_architecture_name(kh_registry_count()));
    assert_null(kh_registry_find("vit_base_patch16_22"));
    assert_null(kh_registry_find(""));
}

/* Names we do not register although timm builds them from the same class. */
static void every_plain_name_is_registered_or_has_a_reason(void **state) {
    (void)state;
    const char *name;
    json_t *value;
    json_t *plain = json_object_get(root, "plain");
    json_object_foreach(plain, name, value) {
        if (!kh_registry_find(name) && !kh_unsupported_name(name))
            fail_msg("%s is neither registered nor explained", name);
        if (kh_registry_find(name) && kh_unsupported_name(name))
            fail_msg("%s is registered but called unsupported", name);
    }
}

static void every_other_name_is_explained(void **state) {
    (void)state;
    const char *name;
    json_t *value;
    json_t *other = json_object_get(root, "other");
    json_object_foreach(other, name, value) {
        kh_error err;
        kh_config c;
        if (!kh_unsupported_name(name))
            fail_msg("%s (%s) is not explained", name, json_string_value(value));
        kh_assert_fails(kh_config_registered(name, &c, &err), KH_E_UNSUPPORTED,
                        "unsupported architecture");
        assert_non_null(strstr(err.text, kh_unsupported_name(name)));
    }
}

static void unknown_names_get_neighbours_and_a_way_out(void **state) {
    (void)state;
    kh_error err;
    kh_config c;
    kh_assert_fails(kh_config_registered("vit_base_patch16_225", &c, &err), KH_E_UNSUPPORTED,
                    "vit_base_patch16_224");
    assert_non_null(strstr(err.text, "num_heads"));
    kh_assert_fails(kh_config_registered("resnet50", &c, &err), KH_E_UNSUPPORTED,
                    "unknown architecture 'resnet50'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_agrees_with_timm),
        cmocka_unit_test(means_are_those_of_most_members_of_a_family),
        cmocka_unit_test(names_are_sorted_and_found),
        cmocka_unit_test(every_plain_name_is_registered_or_has_a_reason),
        cmocka_unit_test(every_other_name_is_explained),
        cmocka_unit_test(unknown_names_get_neighbours_and_a_way_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
