/* Configurations: what is understood, what is refused, and in which words. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "vit/config.h"

static json_t *parse(const char *text) {
    json_error_t where;
    json_t *root = json_loads(text, 0, &where);
    if (!root) fail_msg("%s in %s", where.text, text);
    return root;
}

typedef struct heard {
    size_t count;
    char last[512];
} heard;

static void hear(void *user, const char *text) {
    heard *h = user;
    h->count++;
    (void)snprintf(h->last, sizeof h->last, "%s", text);
}

static kh_config timm(const char *text) {
    kh_error err;
    kh_config c;
    json_t *root = parse(text);
    kh_assert_ok(kh_config_timm(root, NULL, (kh_warner){NULL, NULL}, &c, &err));
    json_decref(root);
    return c;
}

static kh_config hf(const char *text, const char *processor) {
    kh_error err;
    kh_config c;
    json_t *root = parse(text), *how = processor ? parse(processor) : NULL;
    kh_assert_ok(kh_config_hf(root, how, (kh_warner){NULL, NULL}, &c, &err));
    json_decref(root);
    json_decref(how);
    return c;
}

/* ---- timm ------------------------------------------------------------------------------------ */

static void a_bare_name_brings_timm_defaults(void **state) {
    (void)state;
    kh_config c = timm("{\"architecture\": \"vit_large_patch16_384\"}");
    assert_int_equal(c.dim, 1024);
    assert_int_equal(c.height, 384);
    assert_int_equal(c.classes, 1000);
    assert_int_equal(c.preprocess.height, 384);
    /* a config.json without a pretrained_cfg is one: missing fields are timm's, not the family's */
    assert_true(c.preprocess.crop_pct == 0.875 && c.preprocess.mean[0] == 0.485);
    assert_int_equal(c.preprocess.filter, KH_FILTER_BICUBIC);
    assert_null(c.labels);
}

static void owner_and_tag_are_split_off_the_name(void **state) {
    (void)state;
    kh_config c = timm("{\"architecture\": \"timm/vit_base_patch16_224.orig_in21k_ft_in1k\"}");
    assert_string_equal(c.architecture, "vit_base_patch16_224");
    assert_string_equal(c.tag, "orig_in21k_ft_in1k");
    c = timm(
        "{\"architecture\": \"vit_base_patch16_224.a\", \"pretrained_cfg\": {\"tag\": \"b\"}}");
    assert_string_equal(c.tag, "b");
}

static void model_args_overrule_the_registry(void **state) {
    (void)state;
    kh_config c = timm(
        "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"img_size\": [64, 96],"
        "\"patch_size\": 8, \"embed_dim\": 48, \"depth\": 3, \"num_heads\": 6, \"qkv_bias\": false,"
        "\"qk_norm\": true, \"proj_bias\": false, \"init_values\": 1e-5, \"class_token\": true,"
        "\"reg_tokens\": 2, \"no_embed_class\": true, \"act_layer\": \"gelu_tanh\","
        "\"drop_path_rate\": 0.1, \"global_pool\": \"avg\", \"num_classes\": 7}}");
    assert_true(c.height == 64 && c.width == 96 && c.patch == 8 && c.dim == 48 && c.blocks == 3);
    assert_true(c.heads == 6 && !c.qkv_bias && c.qk_norm && !c.proj_bias && c.layer_scale);
    assert_true(c.registers == 2 && !c.pos_has_prefix && c.classes == 7);
    assert_int_equal(c.act, KH_ACT_GELU_TANH);
    assert_int_equal(c.pool, KH_POOL_AVG_FC);
    c = timm(
        "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"global_pool\": \"avg\","
        "\"fc_norm\": false, \"pre_norm\": true, \"norm_layer\": \"layernorm\"}}");
    assert_int_equal(c.pool, KH_POOL_AVG);
    assert_true(c.norm_pre && !c.patch_bias && c.eps == 1e-6);
    c = timm(
        "{\"architecture\": \"deit3_base_patch16_224\", \"model_args\": {\"init_values\": null}}");
    assert_false(c.layer_scale);
    c = timm("{\"architecture\": \"vit_base_patch16_siglip_gap_224\", \"model_args\": {"
             "\"global_pool\": \"avg\"}}");
    assert_int_equal(c.pool, KH_POOL_AVG); /* the family's fc_norm=False stays */
}

static void a_fixed_input_size_is_the_image_size(void **state) {
    (void)state;
    kh_config c = timm("{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {"
                       "\"input_size\": [3, 192, 256], \"fixed_input_size\": true}}");
    assert_true(c.height == 192 && c.width == 256);
    c = timm("{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {"
             "\"input_size\": [3, 192, 256], \"fixed_input_size\": false}}");
    assert_true(c.height == 224 && c.width == 224);
}

static void top_level_classes_win_over_the_pretrained_ones(void **state) {
    (void)state;
    kh_config c = timm("{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 3,"
                       "\"label_names\": [\"a\", \"b\", \"n01440764\"],"
                       "\"label_descriptions\": {\"a\": \"an a\", \"n01440764\": \"tench\"},"
                       "\"pretrained_cfg\": {\"num_classes\": 1000, \"label_names\": [\"x\"]}}");
    assert_int_equal(c.classes, 3);
    assert_string_equal(kh_classes_get(c.labels, 0).name, "an a");
    assert_string_equal(kh_classes_get(c.labels, 1).name, "b");
    assert_null(kh_classes_get(c.labels, 1).wnid);
    assert_string_equal(kh_classes_get(c.labels, 2).wnid, "n01440764");
    kh_config_clear(&c);
    c = timm("{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 9,"
             "\"label_names\": {\"4\": \"four\"}}");
    assert_string_equal(kh_classes_get(c.labels, 4).name, "four");
    assert_string_equal(kh_classes_get(c.labels, 5).name, "class_5");
    kh_config_clear(&c);
}

static void clip_heads_are_projections_unless_trained_on_classes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool projection;
    } cases[] = {
        {"{\"architecture\": \"vit_base_patch16_clip_224.openai\", \"num_classes\": 512}", true},
        {"{\"architecture\": \"vit_base_patch16_clip_224.openai_ft_in1k\", \"num_classes\": 1000}",
         false},
        {"{\"architecture\": \"vit_base_patch16_clip_224.openai\", \"num_classes\": 10}", false},
        {"{\"architecture\": \"vit_base_patch16_clip_quickgelu_224\", \"num_classes\": 512}", true},
        {"{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 512}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_config c = timm(cases[i].text);
        if (c.head_is_projection != cases[i].projection) fail_msg("%s", cases[i].text);
    }
}

static void informational_fields_that_disagree_are_mentioned(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"{\"architecture\": \"vit_base_patch16_224\", \"global_pool\": \"avg\"}",
         "global_pool 'avg'"},
        {"{\"architecture\": \"vit_base_patch16_224\", \"num_features\": 384}", "num_features 384"},
        {"{\"architecture\": \"vit_base_patch16_224\", \"crop_mode\": \"middle\"}", "crop_mode"},
    };
    for (size_t i = 0; i < 3; i++) {
        kh_error err;
        kh_config c;
        heard h = {0};
        json_t *root = parse(texts[i][0]);
        kh_assert_ok(kh_config_timm(root, NULL, (kh_warner){hear, &h}, &c, &err));
        json_decref(root);
        assert_int_equal(h.count, 1);
        if (!strstr(h.last, texts[i][1])) fail_msg("%s", h.last);
    }
}

static void a_strangers_text_brings_no_control_characters(void **state) {
    (void)state;
    kh_error err;
    kh_config c;
    heard h = {0};
    json_t *root = parse("{\"architecture\": \"vit_base_patch16_224\", \"global_pool\": "
                         "\"\\u001b[33mavg\", \"tag\": \"\\u001b[31mred\"}");
    kh_assert_ok(kh_config_timm(root, NULL, (kh_warner){hear, &h}, &c, &err));
    json_decref(root);
    assert_string_equal(c.tag, "\\x1b[31mred");
    if (!strstr(h.last, "'\\x1b[33mavg'")) fail_msg("%s", h.last);
    root = parse("{\"architecture\": \"vit_base_patch16_224\", \"crop_mode\": \"\\u009b1m\"}");
    kh_assert_ok(kh_config_timm(root, NULL, (kh_warner){hear, &h}, &c, &err));
    json_decref(root);
    if (!strstr(h.last, "crop_mode '\\xc2\\x9b1m'")) fail_msg("%s", h.last);
}

static void impossible_timm_configs_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *args;
        kh_status status;
        const char *part;
    } cases[] = {
        {"\"depth\": 0", KH_E_LIMIT, "'depth' is 0, expected 1 to 256"},
        {"\"depth\": 257", KH_E_LIMIT, "257"},
        {"\"depth\": -1", KH_E_FORMAT, "'depth' is not a whole number"},
        {"\"depth\": 1.5", KH_E_FORMAT, "'depth' is not a whole number"},
        {"\"depth\": \"12\"", KH_E_FORMAT, "'depth'"},
        {"\"depth\": 18446744073709551615", KH_E_FORMAT, "depth"},
        {"\"embed_dim\": 15", KH_E_LIMIT, "embed_dim"},
        {"\"embed_dim\": 8193", KH_E_LIMIT, "embed_dim"},
        {"\"num_heads\": 7", KH_E_SHAPE, "7 heads do not divide"},
        {"\"num_heads\": 0", KH_E_LIMIT, "num_heads"},
        {"\"patch_size\": 65", KH_E_LIMIT, "patch_size"},
        {"\"patch_size\": [16, 8]", KH_E_UNSUPPORTED, "16x8"},
        {"\"patch_size\": [16]", KH_E_FORMAT, "patch_size"},
        {"\"img_size\": 4097", KH_E_LIMIT, "img_size"},
        {"\"img_size\": 8", KH_E_SHAPE, "smaller than one patch"},
        {"\"img_size\": 4096, \"patch_size\": 2", KH_E_LIMIT, "tokens"},
        {"\"num_classes\": 1000001", KH_E_LIMIT, "num_classes"},
        {"\"in_chans\": 1", KH_E_UNSUPPORTED, "in_chans is 1"},
        {"\"global_pool\": \"max\"", KH_E_UNSUPPORTED, "global_pool 'max'"},
        {"\"global_pool\": \"\\u001b[31m\"", KH_E_UNSUPPORTED, "\\x1b[31m"},
        {"\"class_token\": false", KH_E_UNSUPPORTED, "class token"},
        {"\"fc_norm\": true", KH_E_UNSUPPORTED, "fc_norm without"},
        {"\"final_norm\": false", KH_E_UNSUPPORTED, "final_norm"},
        {"\"pool_include_prefix\": true", KH_E_UNSUPPORTED, "pool_include_prefix"},
        {"\"dynamic_img_pad\": true", KH_E_UNSUPPORTED, "dynamic_img_pad"},
        {"\"pos_embed\": \"none\"", KH_E_UNSUPPORTED, "pos_embed"},
        {"\"act_layer\": \"relu\"", KH_E_UNSUPPORTED, "unknown activation 'relu'"},
        {"\"norm_layer\": \"rmsnorm\"", KH_E_UNSUPPORTED, "norm_layer"},
        {"\"block_fn\": \"ParallelScalingBlock\"", KH_E_UNSUPPORTED, "'block_fn'"},
        {"\"qkv_bias\": 1", KH_E_FORMAT, "'qkv_bias' is not true or false"},
        {"\"reg_tokens\": 65", KH_E_LIMIT, "reg_tokens"},
        {"\"mlp_ratio\": 0", KH_E_LIMIT, "mlp_ratio"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        kh_error err = {0};
        kh_config c;
        (void)snprintf(text, sizeof text,
                       "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {%s}}",
                       cases[i].args);
        json_error_t where;
        json_t *root = json_loads(text, 0, &where);
        if (!root) continue; /* an integer beyond 63 bits does not even parse */
        kh_assert_fails(kh_config_timm(root, NULL, (kh_warner){NULL, NULL}, &c, &err),
                        cases[i].status, cases[i].part);
        assert_null(c.labels);
        json_decref(root);
    }
}

static void impossible_pretrained_cfgs_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *cfg;
        kh_status status;
        const char *part;
    } cases[] = {
        {"\"input_size\": [1, 224, 224]", KH_E_UNSUPPORTED, "1 image channels"},
        {"\"input_size\": [3, 224]", KH_E_FORMAT, "input_size"},
        {"\"input_size\": [3, 0, 224]", KH_E_LIMIT, "input_size"},
        {"\"interpolation\": \"nearest\"", KH_E_UNSUPPORTED, "'nearest'"},
        {"\"mean\": [0.5, 0.5]", KH_E_FORMAT, "three numbers"},
        {"\"std\": [0.5, 0.5, 0]", KH_E_LIMIT, "above 0"},
        {"\"std\": [0.5, null, 0.5]", KH_E_FORMAT, "'std' is not a number"},
        {"\"crop_pct\": -1", KH_E_LIMIT, "crop_pct"},
        {"\"tag\": 5", KH_E_FORMAT, "'tag' is not a string"},
        {"\"num_classes\": null, \"label_names\": [\"a\"]", KH_E_SHAPE, "1 entries for 1000"},
        {"\"label_names\": 3", KH_E_FORMAT, "label_names"},
        {"\"label_names\": {\"1000\": \"a\"}", KH_E_FORMAT, "'1000' is not a class number"},
        {"\"label_names\": {\"-1\": \"a\"}", KH_E_FORMAT, "'-1'"},
        {"\"label_names\": {\"1\": 2}", KH_E_FORMAT, "not a string"},
        {"\"label_names\": {}, \"label_descriptions\": []", KH_E_FORMAT, "label_descriptions"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        kh_error err = {0};
        kh_config c;
        (void)snprintf(text, sizeof text,
                       "{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {%s}}",
                       cases[i].cfg);
        json_t *root = parse(text);
        kh_assert_fails(kh_config_timm(root, NULL, (kh_warner){NULL, NULL}, &c, &err),
                        cases[i].status, cases[i].part);
        json_decref(root);
    }
}

static void a_config_of_something_else_says_so(void **state) {
    (void)state;
    kh_error err = {0};
    kh_config c;
    json_t *root = parse("{\"layers\": 3}");
    kh_assert_fails(kh_config_timm(root, NULL, (kh_warner){NULL, NULL}, &c, &err), KH_E_FORMAT,
                    "is this a model's config.json?");
    json_decref(root);
}

/* ---- transformers ---------------------------------------------------------------------------- */

static void class_defaults_fill_what_transformers_leaves_out(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t dim, neurons, patch, prefix;
        double eps;
        kh_activation act;
        kh_pool_kind pool;
    } cases[] = {
        {"{\"model_type\": \"vit\"}", 768, 3072, 16, 1, 1e-12, KH_ACT_GELU, KH_POOL_TOKEN},
        {"{\"model_type\": \"deit\"}", 768, 3072, 16, 2, 1e-12, KH_ACT_GELU, KH_POOL_TOKEN},
        {"{\"model_type\": \"dinov2\"}", 768, 3072, 14, 1, 1e-6, KH_ACT_GELU, KH_POOL_TOKEN},
        {"{\"model_type\": \"dinov2\", \"hidden_size\": 1536, \"num_attention_heads\": 24,"
         " \"use_swiglu_ffn\": true}",
         1536, 4096, 14, 1, 1e-6, KH_ACT_SILU, KH_POOL_TOKEN},
        {"{\"model_type\": \"dinov2_with_registers\"}", 768, 3072, 16, 5, 1e-6, KH_ACT_GELU,
         KH_POOL_TOKEN},
        {"{\"model_type\": \"clip_vision_model\"}", 768, 3072, 32, 1, 1e-5, KH_ACT_QUICK_GELU,
         KH_POOL_TOKEN},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"hidden_act\": \"gelu\"}}", 768, 3072, 32,
         1, 1e-5, KH_ACT_GELU, KH_POOL_TOKEN},
        {"{\"model_type\": \"siglip_vision_model\"}", 768, 3072, 16, 0, 1e-6, KH_ACT_GELU_TANH,
         KH_POOL_MAP},
        {"{\"model_type\": \"siglip\", \"vision_config\": {\"vision_use_head\": false}}", 768, 3072,
         16, 0, 1e-6, KH_ACT_GELU_TANH, KH_POOL_AVG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const kh_config c = hf(cases[i].text, NULL);
        if (c.dim != cases[i].dim || c.neurons != cases[i].neurons || c.patch != cases[i].patch ||
            kh_config_prefix(&c) != cases[i].prefix || c.eps != cases[i].eps ||
            c.act != cases[i].act || c.pool != cases[i].pool || c.classes != 0)
            fail_msg("%s", cases[i].text);
    }
}

static void a_classifier_without_labels_has_two_classes(void **state) {
    (void)state;
    const kh_config c =
        hf("{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"]}", NULL);
    assert_int_equal(c.classes, 2);
}

static void trivial_label_maps_name_nothing(void **state) {
    (void)state;
    kh_config c = hf("{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"],"
                     "\"id2label\": {\"0\": \"LABEL_0\", \"1\": \"LABEL_1\", \"2\": \"LABEL_2\"}}",
                     NULL);
    assert_int_equal(c.classes, 3);
    assert_null(c.labels);
    c = hf("{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"],"
           "\"id2label\": {\"1\": \"dog\", \"0\": \"cat\"}}",
           NULL);
    assert_string_equal(kh_classes_get(c.labels, 0).name, "cat");
    kh_config_clear(&c);
}

static void processors_follow_their_class(void **state) {
    (void)state;
    static const struct {
        const char *type, *text;
        size_t edge, resize, crop, height;
        kh_filter filter;
        double mean;
    } cases[] = {
        {"vit", "{}", 0, 224, 0, 224, KH_FILTER_BILINEAR, 0.5},
        {"deit", "{}", 0, 256, 224, 224, KH_FILTER_BICUBIC, 0.5},
        {"clip", "{}", 224, 0, 224, 224, KH_FILTER_BICUBIC, 0.48145466},
        {"dinov2", "{\"size\": {\"shortest_edge\": 256}}", 256, 0, 224, 224, KH_FILTER_BICUBIC,
         0.48145466},
        {"siglip", "{}", 0, 224, 0, 224, KH_FILTER_BICUBIC, 0.5},
        /* the file's class wins over the model's, old and fast spellings too */
        {"vit",
         "{\"image_processor_type\": \"CLIPImageProcessorFast\", \"size\": 336, "
         "\"crop_size\": 336}",
         336, 0, 336, 336, KH_FILTER_BICUBIC, 0.48145466},
        {"clip",
         "{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 384, "
         "\"resample\": 1, \"image_mean\": [0.1, 0.2, 0.3]}",
         0, 384, 0, 384, KH_FILTER_LANCZOS, 0.1},
        {"deit", "{\"do_center_crop\": false, \"size\": {\"height\": 128, \"width\": 64}}", 0, 128,
         0, 128, KH_FILTER_BICUBIC, 0.5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_error err;
        kh_preprocess how;
        json_t *root = parse(cases[i].text);
        kh_assert_ok(kh_preprocess_hf(root, cases[i].type, &how, &err));
        json_decref(root);
        const size_t crop = how.do_crop ? how.crop_height : 0;
        if (how.crop != KH_CROP_HF || how.shortest_edge != cases[i].edge ||
            (!how.shortest_edge && how.resize_height != cases[i].resize) || crop != cases[i].crop ||
            how.height != cases[i].height || how.filter != cases[i].filter ||
            how.mean[0] != cases[i].mean)
            fail_msg("%s %s", cases[i].type, cases[i].text);
        assert_string_equal(how.preset, "hf");
        assert_true(how.rescale_factor == 1.0 / 255.0);
    }
}

static void impossible_processors_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *type, *text;
        kh_status status;
        const char *part;
    } cases[] = {
        {"vit", "{\"image_processor_type\": \"ConvNextImageProcessor\"}", KH_E_UNSUPPORTED,
         "'ConvNextImageProcessor'"},
        {"swin", "{}", KH_E_UNSUPPORTED, "image processor ''"},
        {"siglip", "{\"size\": 224}", KH_E_FORMAT, "height and width"},
        {"vit", "{\"size\": {\"longest_edge\": 224}}", KH_E_UNSUPPORTED, "longest_edge"},
        {"vit", "{\"size\": {}}", KH_E_FORMAT, "neither shortest_edge"},
        {"vit", "{\"size\": {\"height\": 224}}", KH_E_FORMAT, "neither shortest_edge"},
        {"vit", "{\"size\": []}", KH_E_FORMAT, "neither a number nor an object"},
        {"vit", "{\"size\": 0}", KH_E_LIMIT, "size"},
        {"vit", "{\"resample\": 0}", KH_E_UNSUPPORTED, "nearest"},
        {"vit", "{\"resample\": 6}", KH_E_LIMIT, "resample"},
        {"vit", "{\"do_center_crop\": true}", KH_E_FORMAT, "no crop_size"},
        {"clip", "{\"do_center_crop\": false}", KH_E_UNSUPPORTED, "different sizes"},
        {"clip", "{\"image_std\": [1, 1, 0]}", KH_E_LIMIT, "above 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_error err = {0};
        kh_preprocess how;
        json_t *root = parse(cases[i].text);
        kh_assert_fails(kh_preprocess_hf(root, cases[i].type, &how, &err), cases[i].status,
                        cases[i].part);
        json_decref(root);
    }
}

static void impossible_transformers_configs_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        kh_status status;
        const char *part;
    } cases[] = {
        {"{\"model_type\": \"swin\"}", KH_E_UNSUPPORTED, "model_type 'swin'"},
        {"{\"model_type\": 7}", KH_E_FORMAT, "'model_type' is not a string"},
        {"{\"model_type\": \"clip\"}", KH_E_FORMAT, "no 'vision_config'"},
        {"{\"model_type\": \"vit\", \"hidden_act\": \"relu\"}", KH_E_UNSUPPORTED, "'relu'"},
        {"{\"model_type\": \"vit\", \"num_attention_heads\": 5}", KH_E_SHAPE, "5 heads"},
        {"{\"model_type\": \"vit\", \"num_channels\": 1}", KH_E_UNSUPPORTED, "1 image channels"},
        {"{\"model_type\": \"vit\", \"layer_norm_eps\": 0}", KH_E_LIMIT, "epsilon is 0"},
        {"{\"model_type\": \"vit\", \"hidden_size\": 1000000}", KH_E_LIMIT, "hidden_size"},
        {"{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"], "
         "\"id2label\": []}",
         KH_E_FORMAT, "id2label"},
        {"{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"], "
         "\"id2label\": {\"0\": \"a\", \"7\": \"b\"}}",
         KH_E_FORMAT, "'7' is not a class number below 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_error err = {0};
        kh_config c;
        json_t *root = parse(cases[i].text);
        kh_assert_fails(kh_config_hf(root, NULL, (kh_warner){NULL, NULL}, &c, &err),
                        cases[i].status, cases[i].part);
        json_decref(root);
    }
}

static void activations_have_their_aliases(void **state) {
    (void)state;
    static const char *const same[][2] = {
        {"gelu", "gelu"},           {"gelu_pytorch_tanh", "gelu_tanh"}, {"gelu_new", "gelu_tanh"},
        {"gelu_fast", "gelu_tanh"}, {"quick_gelu", "quick_gelu"},       {"swish", "silu"},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        kh_activation act;
        assert_true(kh_activation_parse(same[i][0], &act));
        assert_string_equal(kh_activation_name(act), same[i][1]);
    }
    kh_activation act;
    assert_false(kh_activation_parse("relu", &act));
}

static void labels_survive_failing_allocations(void **state) {
    (void)state;
    json_t *root = parse("{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 3,"
                         "\"label_names\": [\"a\", \"b\", \"c\"]}");
    for (size_t n = 1;; n++) {
        kh_error err = {0};
        kh_config c;
        kh_alloc_fail_after(n);
        const kh_status status = kh_config_timm(root, NULL, (kh_warner){NULL, NULL}, &c, &err);
        kh_alloc_fail_after(0);
        if (!status) {
            kh_config_clear(&c);
            assert_true(n > 2);
            break;
        }
        assert_int_equal(status, KH_E_MEMORY);
    }
    json_decref(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_name_brings_timm_defaults),
        cmocka_unit_test(owner_and_tag_are_split_off_the_name),
        cmocka_unit_test(model_args_overrule_the_registry),
        cmocka_unit_test(a_fixed_input_size_is_the_image_size),
        cmocka_unit_test(top_level_classes_win_over_the_pretrained_ones),
        cmocka_unit_test(clip_heads_are_projections_unless_trained_on_classes),
        cmocka_unit_test(informational_fields_that_disagree_are_mentioned),
        cmocka_unit_test(a_strangers_text_brings_no_control_characters),
        cmocka_unit_test(impossible_timm_configs_are_refused),
        cmocka_unit_test(impossible_pretrained_cfgs_are_refused),
        cmocka_unit_test(a_config_of_something_else_says_so),
        cmocka_unit_test(class_defaults_fill_what_transformers_leaves_out),
        cmocka_unit_test(a_classifier_without_labels_has_two_classes),
        cmocka_unit_test(trivial_label_maps_name_nothing),
        cmocka_unit_test(processors_follow_their_class),
        cmocka_unit_test(impossible_processors_are_refused),
        cmocka_unit_test(impossible_transformers_configs_are_refused),
        cmocka_unit_test(activations_have_their_aliases),
        cmocka_unit_test(labels_survive_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
