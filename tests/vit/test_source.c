/* Folders as people have them: the wrong one, half of one, foreign prefixes, other architectures.
 */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/vit.h"
#include "vit/formula.h"

#include <sys/stat.h>
#include <unistd.h>

static kh_ctx *ctx;

static int setup(void **state) {
    (void)state;
    kh_error err;
    const kh_ctx_options options = {.device = "reference", .threads = 1};
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    kh_ctx_free(ctx);
    return 0;
}

static const char *path_in(const char *folder, const char *name) {
    static char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put_text(const char *folder, const char *name, const char *text) {
    kh_error err;
    kh_assert_ok(kh_file_write(path_in(folder, name), text, strlen(text), &err));
}

#define TINY(args)                                                                                 \
    "{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 10, \"model_args\": {"          \
    "\"img_size\": 32, \"patch_size\": 8, \"embed_dim\": 24, \"depth\": 2, \"num_heads\": 3" args  \
    "}}"

/* A list of tensors to be written; changed by the tests before. */
enum { MOST = 64 };
typedef struct shelf {
    kh_tensor_out tensors[MOST];
    char names[MOST][96];
    float *data[MOST];
    size_t count;
} shelf;

static void shelf_add(shelf *s, const char *name, size_t rank, const size_t *shape) {
    assert_true(s->count < MOST);
    const size_t i = s->count++;
    size_t count = 1;
    (void)snprintf(s->names[i], sizeof s->names[i], "%s", name);
    s->tensors[i] = (kh_tensor_out){.name = s->names[i], .rank = rank};
    for (size_t k = 0; k < rank; k++) {
        s->tensors[i].shape[k] = shape[k];
        count *= shape[k];
    }
    s->data[i] = kh_alloc_floats(count + 1);
    formula_tensor(name, rank, shape, s->data[i], count);
    s->tensors[i].data = s->data[i];
}

/* Every tensor of the recorded tiny ViT. */
static void shelf_fill(shelf *s) {
    kh_error err;
    kh_model *model;
    memset(s, 0, sizeof *s);
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), NULL, &model, &err));
    for (size_t i = 0; i < kh_model_tensor_count(model); i++) {
        size_t rank, shape[8];
        const char *name = kh_model_tensor_name(model, i);
        assert_true(kh_model_tensor_shape(model, name, &rank, shape));
        shelf_add(s, name, rank, shape);
    }
    kh_model_close(model);
}

static size_t shelf_find(const shelf *s, const char *name) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->names[i], name) == 0) return i;
    fail_msg("no %s", name);
    return 0;
}

static void shelf_drop(shelf *s, const char *name) {
    const size_t i = shelf_find(s, name);
    s->tensors[i].name = NULL;
}

static void shelf_rename(shelf *s, const char *name, const char *to) {
    const size_t i = shelf_find(s, name);
    (void)snprintf(s->names[i], sizeof s->names[i], "%s", to);
}

static void shelf_write(shelf *s, const char *folder, const char *file) {
    kh_error err;
    kh_tensor_out kept[MOST];
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->tensors[i].name) kept[count++] = s->tensors[i];
    kh_assert_ok(kh_tensors_write(path_in(folder, file), kept, count, NULL, NULL, 0, &err));
    for (size_t i = 0; i < s->count; i++)
        kh_free(s->data[i]);
}

static void assert_opens(const char *folder, const kh_model_options *options) {
    kh_error err;
    kh_model *model;
    kh_assert_ok(kh_model_open(ctx, folder, options, &model, &err));
    size_t count = 72 * 24;
    float *got = kh_alloc_floats(count), *want = kh_alloc_floats(count);
    kh_assert_ok(kh_model_tensor_read(model, "blocks.1.attn.qkv.weight", got, count, &err));
    formula_tensor("blocks.1.attn.qkv.weight", 2, (const size_t[]){72, 24}, want, count);
    assert_memory_equal(got, want, count * sizeof *got);
    kh_free(got);
    kh_free(want);
    kh_model_close(model);
}

static void assert_refused(const char *folder, kh_status status, const char *part) {
    kh_error err = {0};
    kh_model *model;
    kh_assert_fails(kh_model_open(ctx, folder, NULL, &model, &err), status, part);
    assert_null(model);
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

/* ---- where the model is ---------------------------------------------------------------------- */

static void missing_things_are_named_with_a_way_out(void **state) {
    (void)state;
    assert_refused("no-such-folder", KH_E_NOT_FOUND, "no model 'no-such-folder'");
    assert_refused("nobody/no-such-model", KH_E_NOT_FOUND, "keyhole pull nobody/no-such-model");
    assert_refused("/no/such/folder", KH_E_NOT_FOUND, "no model '/no/such/folder'");
    assert_refused("", KH_E_ARG, "no model named");
    const char *folder = kh_test_folder("empty");
    assert_refused(folder, KH_E_NOT_FOUND, "expected model.safetensors");
    put_text(folder, "photo.jpg", "x");
    assert_refused(path_in(folder, "photo.jpg"), KH_E_ARG, "is not a model");
}

static void pickles_are_refused_with_the_reason(void **state) {
    (void)state;
    const char *folder = kh_test_folder("pickle");
    put_text(folder, "config.json", TINY(""));
    put_text(folder, "pytorch_model.bin", "x");
    assert_refused(folder, KH_E_UNSUPPORTED, "has only pytorch_model.bin: pickle");
    char file[1024];
    (void)snprintf(file, sizeof file, "%s", path_in(folder, "pytorch_model.bin"));
    assert_refused(file, KH_E_UNSUPPORTED, "convert");
}

static void a_folder_without_config_needs_a_name(void **state) {
    (void)state;
    const char *folder = kh_test_folder("bare");
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(folder, KH_E_NOT_FOUND, "no config.json");
    kh_error err = {0};
    kh_model *model;
    /* named, but of another size: the first tensor that differs is shown */
    const kh_model_options named = {.architecture = "vit_tiny_patch16_224"};
    kh_assert_fails(kh_model_open(ctx, folder, &named, &model, &err), KH_E_FORMAT,
                    "do not fit vit_tiny_patch16_224");
    assert_non_null(strstr(err.text, "missing (blocks.2.norm1.weight"));
}

static void broken_configs_are_named(void **state) {
    (void)state;
    const char *folder = kh_test_folder("broken");
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "model.safetensors");
    put_text(folder, "config.json", "{\"architecture\": ");
    assert_refused(folder, KH_E_FORMAT, "config.json: not valid JSON");
    put_text(folder, "config.json", "[]");
    assert_refused(folder, KH_E_FORMAT, "config.json");
    put_text(folder, "config.json", "{\"architecture\": \"eva02_base_patch14_224\"}");
    assert_refused(folder, KH_E_UNSUPPORTED, "EVA-02");
    put_text(folder, "config.json", "{\"architecture\": \"convnext_base\"}");
    assert_refused(folder, KH_E_UNSUPPORTED, "unknown architecture 'convnext_base'");
    put_text(folder, "config.json", "{\"model_type\": \"vit\"}");
    assert_refused(folder, KH_E_FORMAT, "have timm names, but config.json speaks of transformers");
    put_text(folder, "config.json", TINY(", \"depth\": 3, \"img_size\": 4"));
    assert_refused(folder, KH_E_FORMAT, "duplicate");
    kh_error err = {0};
    kh_model *model;
    kh_limits limits = kh_limits_default();
    limits.max_config_bytes = 8;
    const kh_model_options small = {.limits = &limits};
    put_text(folder, "config.json", TINY(""));
    kh_assert_fails(kh_model_open(ctx, folder, &small, &model, &err), KH_E_LIMIT, "config.json");
}

static void the_first_of_several_weight_files_is_taken_aloud(void **state) {
    (void)state;
    const char *folder = kh_test_folder("several");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "b.safetensors");
    assert_opens(folder, NULL);
    shelf_fill(&s);
    shelf_write(&s, folder, "a.safetensors");
    heard h = {0};
    const kh_model_options options = {.warn = hear, .warn_user = &h};
    assert_opens(folder, &options);
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.last, "reading a.safetensors"));
}

/* ---- what the tensors are called ------------------------------------------------------------- */

static void prefixes_of_wrappers_are_stripped(void **state) {
    (void)state;
    static const char *const prefixes[] = {"module.", "_orig_mod.", "timm_model.",
                                           "module._orig_mod.", "module.module."};
    const char *folder = kh_test_folder("prefix");
    put_text(folder, "config.json", TINY(""));
    for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        shelf s;
        shelf_fill(&s);
        for (size_t i = 0; i < s.count; i++) {
            char name[96];
            (void)snprintf(name, sizeof name, "%s%.60s", prefixes[p], s.names[i]);
            memcpy(s.names[i], name, sizeof name);
        }
        shelf_write(&s, folder, "model.safetensors");
        assert_opens(folder, NULL);
    }
    shelf s;
    shelf_fill(&s);
    for (size_t i = 0; i < s.count; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "student.%.60s", s.names[i]);
        memcpy(s.names[i], name, sizeof name);
    }
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(folder, KH_E_UNSUPPORTED, "student.patch_embed.proj.weight");
}

static void open_clip_trunks_keep_their_head_elsewhere(void **state) {
    (void)state;
    const char *folder = kh_test_folder("trunk");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    for (size_t i = 0; i < s.count; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "visual.trunk.%.60s", s.names[i]);
        memcpy(s.names[i], name, sizeof name);
    }
    shelf_rename(&s, "visual.trunk.head.weight", "visual.head.proj.weight");
    shelf_drop(&s, "visual.trunk.head.bias");
    shelf_add(&s, "text.transformer.resblocks.0.attn.in_proj_weight", 2, (const size_t[]){6, 2});
    shelf_add(&s, "logit_scale", 1, (const size_t[]){1});
    shelf_write(&s, folder, "open_clip_model.safetensors");
    assert_opens(folder, NULL);
    kh_error err;
    kh_model *model;
    float bias[10];
    kh_assert_ok(kh_model_open(ctx, folder, NULL, &model, &err));
    kh_assert_ok(kh_model_tensor_read(model, "head.bias", bias, 10, &err));
    for (size_t i = 0; i < 10; i++)
        assert_true(bias[i] == 0);
    kh_model_close(model);
}

static void harmless_extras_are_ignored(void **state) {
    (void)state;
    const char *folder = kh_test_folder("extras");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    shelf_add(&s, "mask_token", 3, (const size_t[]){1, 1, 24});
    shelf_add(&s, "pre_logits.fc.weight", 2, (const size_t[]){4, 24});
    shelf_write(&s, folder, "model.safetensors");
    assert_opens(folder, NULL);
}

static void a_flat_patch_projection_is_the_same_memory(void **state) {
    (void)state;
    const char *folder = kh_test_folder("flat");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    kh_tensor_out *patch = &s.tensors[shelf_find(&s, "patch_embed.proj.weight")];
    patch->rank = 2;
    patch->shape[1] = 3 * 8 * 8;
    shelf_write(&s, folder, "model.safetensors");
    assert_opens(folder, NULL);
}

static void deit3_gammas_have_old_names(void **state) {
    (void)state;
    const char *folder = kh_test_folder("gamma");
    put_text(folder, "config.json", TINY(", \"init_values\": 1e-6"));
    shelf s;
    shelf_fill(&s);
    shelf_add(&s, "blocks.0.gamma_1", 1, (const size_t[]){24});
    shelf_add(&s, "blocks.0.gamma_2", 1, (const size_t[]){24});
    shelf_add(&s, "blocks.1.gamma_1", 1, (const size_t[]){24});
    shelf_add(&s, "blocks.1.ls2.gamma", 1, (const size_t[]){24});
    shelf_write(&s, folder, "model.safetensors");
    assert_opens(folder, NULL);
    kh_error err;
    kh_model *model;
    float got[24], want[24];
    kh_assert_ok(kh_model_open(ctx, folder, NULL, &model, &err));
    kh_assert_ok(kh_model_tensor_read(model, "blocks.1.ls1.gamma", got, 24, &err));
    formula_tensor("blocks.1.gamma_1", 1, (const size_t[]){24}, want, 24);
    assert_int_equal(memcmp(got, want, sizeof got) != 0, 0);
    kh_model_close(model);
}

static void leading_classes_are_dropped_by_the_label_offset(void **state) {
    (void)state;
    const char *folder = kh_test_folder("offset");
    put_text(
        folder, "config.json",
        "{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {\"label_offset\": 3,"
        "\"num_classes\": 7}, \"model_args\": {\"img_size\": 32, \"patch_size\": 8,"
        "\"embed_dim\": 24, \"depth\": 2, \"num_heads\": 3}}");
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "model.safetensors");
    assert_opens(folder, NULL);
    kh_error err;
    kh_model *model;
    float got[7 * 24], want[10 * 24], bias[7], all[10];
    kh_assert_ok(kh_model_open(ctx, folder, NULL, &model, &err));
    kh_assert_ok(kh_model_tensor_read(model, "head.weight", got, 7 * 24, &err));
    kh_assert_ok(kh_model_tensor_read(model, "head.bias", bias, 7, &err));
    formula_tensor("head.weight", 2, (const size_t[]){10, 24}, want, 10 * 24);
    formula_tensor("head.bias", 1, (const size_t[]){10}, all, 10);
    assert_memory_equal(got, want + 3 * 24, sizeof got);
    assert_memory_equal(bias, all + 3, sizeof bias);
    kh_model_close(model);
}

/* ---- the strict check ------------------------------------------------------------------------ */

static void missing_and_unexpected_tensors_are_listed(void **state) {
    (void)state;
    const char *folder = kh_test_folder("strict");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    shelf_drop(&s, "blocks.1.norm2.bias");
    shelf_drop(&s, "cls_token");
    shelf_add(&s, "extra.weight", 1, (const size_t[]){3});
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(
        folder, KH_E_FORMAT,
        "2 tensors missing (cls_token, blocks.1.norm2.bias), 1 not expected (extra.weight)");
}

static void only_the_first_eight_names_are_shown(void **state) {
    (void)state;
    const char *folder = kh_test_folder("many");
    kh_error err = {0};
    kh_model *model;
    put_text(folder, "config.json",
             "{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 10, \"model_args\": {"
             "\"img_size\": 32, \"patch_size\": 8, \"embed_dim\": 24, \"depth\": 1, "
             "\"num_heads\": 3}}");
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "model.safetensors");
    kh_assert_fails(kh_model_open(ctx, folder, NULL, &model, &err), KH_E_FORMAT,
                    "12 not expected (");
    assert_non_null(strstr(err.text, ", ..."));
    size_t commas = 0;
    for (const char *c = strstr(err.text, "12 not expected"); *c; c++)
        commas += *c == ',';
    assert_int_equal(commas, 8);
}

static void wrong_shapes_are_shown_beside_the_right_ones(void **state) {
    (void)state;
    const char *folder = kh_test_folder("shape");
    put_text(folder, "config.json", TINY(", \"num_classes\": 11"));
    shelf s;
    shelf_fill(&s);
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(folder, KH_E_SHAPE,
                   "'head.weight' is [10,24], but vit_base_patch16_224 needs "
                   "[11,24]");
}

static void pooling_by_the_mean_is_hinted_at(void **state) {
    (void)state;
    const char *folder = kh_test_folder("hint");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    shelf_rename(&s, "norm.weight", "fc_norm.weight");
    shelf_rename(&s, "norm.bias", "fc_norm.bias");
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(folder, KH_E_FORMAT, "set \"global_pool\": \"avg\"");
}

static void known_foreign_blocks_are_named_with_their_evidence(void **state) {
    (void)state;
    static const char *const evidence[][2] = {
        {"blocks.0.attn.rope.freqs", "RoPE"},
        {"blocks.0.attn.q_proj.weight", "EVA-02"},
        {"blocks.0.mlp.fc1_g.weight", "EVA-02"},
        {"blocks.0.attn.relative_position_bias_table", "BEiT"},
        {"blocks.0.attn.norm.weight", "scale norms"},
        {"blocks.0.in_proj.weight", "parallel blocks"},
        {"blocks.0.attns.0.qkv.weight", "parallel blocks"},
        {"blocks.0.attn.lambda_q1", "differential attention"},
        {"patch_embed.backbone.stem.conv.weight", "convolutional stem"},
        {"blocks.0.attn.gate.weight", "gated attention"},
    };
    const char *folder = kh_test_folder("foreign");
    put_text(folder, "config.json", TINY(""));
    for (size_t i = 0; i < sizeof evidence / sizeof evidence[0]; i++) {
        shelf s;
        shelf_fill(&s);
        shelf_add(&s, evidence[i][0], 1, (const size_t[]){2});
        shelf_write(&s, folder, "model.safetensors");
        assert_refused(folder, KH_E_UNSUPPORTED, evidence[i][0]);
        assert_refused(folder, KH_E_UNSUPPORTED, evidence[i][1]);
        assert_refused(folder, KH_E_UNSUPPORTED, "unsupported architecture");
    }
}

static void numbers_that_are_none_are_refused_by_name(void **state) {
    (void)state;
    const char *folder = kh_test_folder("nan");
    put_text(folder, "config.json", TINY(""));
    shelf s;
    shelf_fill(&s);
    s.data[shelf_find(&s, "blocks.1.mlp.fc2.weight")][100] = NAN;
    shelf_write(&s, folder, "model.safetensors");
    assert_refused(folder, KH_E_NUMERIC, "blocks.1.mlp.fc2.weight");
}

/* ---- positions and sizes --------------------------------------------------------------------- */

static void another_square_grid_in_the_file_is_resampled_to_the_config(void **state) {
    (void)state;
    const char *folder = kh_test_folder("grid");
    kh_error err = {0};
    kh_model *a, *b;
    put_text(folder, "config.json",
             "{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 10, \"model_args\": {"
             "\"img_size\": 48, \"patch_size\": 8, \"embed_dim\": 24, \"depth\": 2, "
             "\"num_heads\": 3}}");
    shelf s;
    shelf_fill(&s); /* a 4x4 grid */
    shelf_write(&s, folder, "model.safetensors");
    const kh_model_options larger = {.height = 48};
    kh_assert_ok(kh_model_open(ctx, folder, NULL, &a, &err));
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &larger, &b, &err));
    float x[37 * 24], y[37 * 24];
    kh_assert_ok(kh_model_tensor_read(a, "pos_embed", x, 37 * 24, &err));
    kh_assert_ok(kh_model_tensor_read(b, "pos_embed", y, 37 * 24, &err));
    assert_memory_equal(x, y, sizeof x);
    kh_model_close(a);
    kh_model_close(b);

    put_text(folder, "config.json",
             "{\"architecture\": \"vit_base_patch16_224\", \"num_classes\": 10, \"model_args\": {"
             "\"img_size\": 48, \"patch_size\": 8, \"embed_dim\": 24, \"depth\": 2, "
             "\"num_heads\": 3, \"no_embed_class\": true}}"); /* 17 rows are no square */
    assert_refused(folder, KH_E_SHAPE, "17 rows");
}

static void transformers_folders_do_not_resample_by_themselves(void **state) {
    (void)state;
    const char *folder = kh_test_folder("hfgrid");
    static const char *const files[] = {"model.safetensors", "preprocessor_config.json"};
    kh_error err = {0};
    unsigned char *bytes;
    size_t count;
    for (size_t i = 0; i < 2; i++) {
        kh_assert_ok(kh_file_read(golden_path("hf_vit", files[i]), 1 << 20, &bytes, &count, &err));
        kh_assert_ok(kh_file_write(path_in(folder, files[i]), bytes, count, &err));
        kh_free(bytes);
    }
    put_text(
        folder, "config.json",
        "{\"model_type\": \"vit\", \"architectures\": [\"ViTForImageClassification\"],"
        "\"hidden_size\": 24, \"num_hidden_layers\": 2, \"num_attention_heads\": 3,"
        "\"intermediate_size\": 96, \"image_size\": 48, \"patch_size\": 8, \"num_labels\": 10}");
    assert_refused(folder, KH_E_SHAPE, "preprocessor_config.json makes images of 32x32");
    kh_model *model;
    const kh_model_options sized = {.height = 48, .width = 48};
    kh_assert_fails(kh_model_open(ctx, folder, &sized, &model, &err), KH_E_SHAPE, "17 rows");
}

static void a_dinov2_folder_runs_at_its_processors_crop(void **state) {
    (void)state;
    const char *folder = kh_test_folder("dinocrop");
    static const char *const files[] = {"model.safetensors", "config.json"};
    kh_error err = {0};
    unsigned char *bytes;
    size_t count;
    for (size_t i = 0; i < 2; i++) {
        kh_assert_ok(
            kh_file_read(golden_path("hf_dinov2", files[i]), 1 << 20, &bytes, &count, &err));
        kh_assert_ok(kh_file_write(path_in(folder, files[i]), bytes, count, &err));
        kh_free(bytes);
    }
    put_text(folder, "preprocessor_config.json",
             "{\"image_processor_type\": \"BitImageProcessor\", \"size\": {\"shortest_edge\": 54},"
             "\"crop_size\": {\"height\": 48, \"width\": 48}}");
    kh_model *model;
    kh_assert_ok(kh_model_open(ctx, folder, NULL, &model, &err));
    const kh_model_info *info = kh_model_get_info(model);
    assert_int_equal(info->image_height, 48);
    assert_int_equal(info->grid_width, 6);
    assert_int_equal(info->preprocess.shortest_edge, 54);
    /* the same numbers as asking for that size */
    kh_model *asked;
    const kh_model_options sized = {.height = 48};
    kh_assert_ok(kh_model_open(ctx, golden_path("hf_dinov2_48", NULL), &sized, &asked, &err));
    float x[37 * 24], y[37 * 24];
    kh_assert_ok(kh_model_tensor_read(model, "pos_embed", x, 37 * 24, &err));
    kh_assert_ok(kh_model_tensor_read(asked, "pos_embed", y, 37 * 24, &err));
    assert_memory_equal(x, y, sizeof x);
    kh_model_close(model);
    kh_model_close(asked);
}

static void presets_replace_the_preprocessing(void **state) {
    (void)state;
    kh_error err = {0};
    kh_model *model;
    const kh_model_options squash = {.preset = "squash224"}, hf = {.preset = "hf"};
    const kh_model_options timm = {.preset = "timm"}, wrong = {.preset = "nothing"};
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &squash, &model, &err));
    const kh_preprocess how = kh_model_get_info(model)->preprocess;
    assert_string_equal(how.preset, "squash224");
    assert_true(how.crop == KH_CROP_SQUASH && how.filter == KH_FILTER_BILINEAR && how.height == 32);
    kh_model_close(model);
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &timm, &model, &err));
    kh_model_close(model);
    kh_assert_fails(kh_model_open(ctx, golden_path("vit_base", NULL), &hf, &model, &err),
                    KH_E_NOT_FOUND, "preprocessor_config.json");
    kh_assert_fails(kh_model_open(ctx, golden_path("hf_vit", NULL), &timm, &model, &err),
                    KH_E_NOT_FOUND, "preset 'timm'");
    kh_assert_fails(kh_model_open(ctx, golden_path("vit_base", NULL), &wrong, &model, &err),
                    KH_E_NOT_FOUND, "nothing");
}

static void labels_may_come_from_a_file(void **state) {
    (void)state;
    const char *folder = kh_test_folder("labels");
    put_text(folder, "labels.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", path_in(folder, "labels.txt"));
    kh_error err = {0};
    kh_model *model;
    const kh_model_options options = {.labels_path = path};
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &options, &model, &err));
    assert_string_equal(kh_classes_get(kh_model_classes(model), 9).name, "j");
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_things_are_named_with_a_way_out),
        cmocka_unit_test(pickles_are_refused_with_the_reason),
        cmocka_unit_test(a_folder_without_config_needs_a_name),
        cmocka_unit_test(broken_configs_are_named),
        cmocka_unit_test(the_first_of_several_weight_files_is_taken_aloud),
        cmocka_unit_test(prefixes_of_wrappers_are_stripped),
        cmocka_unit_test(open_clip_trunks_keep_their_head_elsewhere),
        cmocka_unit_test(harmless_extras_are_ignored),
        cmocka_unit_test(a_flat_patch_projection_is_the_same_memory),
        cmocka_unit_test(deit3_gammas_have_old_names),
        cmocka_unit_test(leading_classes_are_dropped_by_the_label_offset),
        cmocka_unit_test(missing_and_unexpected_tensors_are_listed),
        cmocka_unit_test(only_the_first_eight_names_are_shown),
        cmocka_unit_test(wrong_shapes_are_shown_beside_the_right_ones),
        cmocka_unit_test(pooling_by_the_mean_is_hinted_at),
        cmocka_unit_test(known_foreign_blocks_are_named_with_their_evidence),
        cmocka_unit_test(numbers_that_are_none_are_refused_by_name),
        cmocka_unit_test(another_square_grid_in_the_file_is_resampled_to_the_config),
        cmocka_unit_test(transformers_folders_do_not_resample_by_themselves),
        cmocka_unit_test(a_dinov2_folder_runs_at_its_processors_crop),
        cmocka_unit_test(presets_replace_the_preprocessing),
        cmocka_unit_test(labels_may_come_from_a_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
