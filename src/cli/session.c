#define _POSIX_C_SOURCE 200809L
#include "cli/session.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static kh_ctx_options ctx_options(const kh_common *common) {
    const kh_ctx_options options = {
        .device = common->device,
        .isa = common->isa,
        .threads = common->threads,
        .pin_caller = true, /* this process is ours alone */
    };
    return options;
}

kh_status kh_session_open(kh_session *session, const kh_common *common, kh_error *err) {
    *session = (kh_session){.common = *common};
    session->shows_progress = !common->quiet && isatty(STDERR_FILENO);
    const kh_ctx_options options = ctx_options(common);
    return kh_ctx_create(&options, &session->ctx, err);
}

/* "224" or "224x336" (height first) */
static kh_status parse_size(const char *text, size_t *height, size_t *width, kh_error *err) {
    const char *x = strchr(text, 'x');
    char first[24];
    const size_t length = x ? (size_t)(x - text) : strlen(text);
    if (length < sizeof first) {
        memcpy(first, text, length);
        first[length] = '\0';
        if (kh_parse_size(first, height) && kh_parse_size(x ? x + 1 : first, width) && *height &&
            *width)
            return KH_OK;
    }
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "--size '%s': expected pixels as S or HEIGHTxWIDTH",
                   kh_shown(text, strlen(text), shown, sizeof shown));
}

kh_status kh_session_model(kh_session *session, const char *model,
                           const kh_model_settings *settings, kh_error *err) {
    kh_model_options options = {
        .activation = settings->activation,
        .labels_path = settings->labels,
        .preset = settings->preset,
        .architecture = settings->architecture,
        .warn = kh_session_warn,
        .warn_user = session,
        .progress = kh_session_progress,
        .progress_user = session,
    };
    if (settings->size) KH_TRY(parse_size(settings->size, &options.height, &options.width, err));
    return kh_model_open(session->ctx, model, &options, &session->model, err);
}

void kh_session_close(kh_session *session) {
    kh_model_close(session->model);
    kh_ctx_free(session->ctx);
    *session = (kh_session){0};
}

void kh_session_warn(void *user, const char *text) {
    kh_session *session = user;
    session->warnings++;
    (void)snprintf(session->last_warning, sizeof session->last_warning, "%s", text);
    if (!session->common.quiet) fprintf(stderr, "keyhole: warning: %s\n", text);
}

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool kh_session_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    static double started, shown;
    const kh_session *session = user;
    if (!session->shows_progress) return true;
    const double now = seconds_now();
    if (done == 0 || started <= 0.0) started = now;
    if (done < total && now - shown < 0.2) return true;
    shown = now;
    const double rate = now > started ? (double)done / (now - started) : 0.0;
    const double left = rate > 0.0 && total > done ? (double)(total - done) / rate : 0.0;
    fprintf(stderr, "\r\033[K%s %llu of %llu, %.3g/s, %.0f s left", what, (unsigned long long)done,
            (unsigned long long)total, rate, left);
    if (done >= total) {
        fprintf(stderr, "\r\033[K");
        started = 0.0;
    }
    return true;
}

bool kh_print_json(json_t *root, kh_error *err) {
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text) {
        (void)kh_fail(err, KH_E_MEMORY, "no memory for the JSON output");
        return false;
    }
    puts(text);
    free(text);
    return true;
}

json_t *kh_json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

void kh_class_label(const kh_classes *classes, size_t index, char *out, size_t out_bytes) {
    const kh_class c = kh_classes_get(classes, index);
    (void)snprintf(out, out_bytes, "%zu %s%s%s", index, c.wnid ? c.wnid : "", c.wnid ? " " : "",
                   c.name);
}

void kh_class_short(const kh_classes *classes, size_t index, char *out, size_t out_bytes) {
    const kh_class c = kh_classes_get(classes, index);
    const size_t bytes = strcspn(c.name, ",");
    bool is_shared = false; /* ImageNet has two cranes: the bird and the machine */
    for (size_t i = 0; i < kh_classes_count(classes) && !is_shared; i++) {
        const char *other = i == index ? "" : kh_classes_get(classes, i).name;
        is_shared = strcspn(other, ",") == bytes && strncmp(other, c.name, bytes) == 0;
    }
    if (is_shared && bytes > 0)
        (void)snprintf(out, out_bytes, "%.*s (%zu)", (int)(bytes < 60 ? bytes : 60), c.name, index);
    else
        (void)snprintf(out, out_bytes, "%.*s", (int)bytes, c.name);
}

static json_t *preprocess_json(const kh_preprocess *how) {
    static const char *const filters[] = {"bilinear", "bicubic", "lanczos", "box", "hamming"};
    static const char *const crops[] = {"center", "squash", "border", "hf"};
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:f, s:[fff], s:[fff]}", "preset", how->preset,
                     "height", (json_int_t)how->height, "width", (json_int_t)how->width, "crop",
                     crops[how->crop], "filter", filters[how->filter], "crop_pct", how->crop_pct,
                     "mean", how->mean[0], how->mean[1], how->mean[2], "std", how->std[0],
                     how->std[1], how->std[2]);
}

json_t *kh_model_receipt(const kh_model *model) {
    const kh_model_info *info = kh_model_get_info(model);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o*}", "source", info->source, "architecture",
                     info->architecture, "tag", info->tag, "sha256", info->sha256,
                     "keyhole_version", kh_version(), "preprocess",
                     preprocess_json(&info->preprocess));
}

/* The checkpoint's settings may override what the architecture's name says: is there a part "224"
 * behind "_patch16"? */
static bool is_said(const char *architecture, size_t patch, size_t px) {
    const char *at = strstr(architecture, "_patch");
    if (!at) return false;
    char *end;
    if (strtoul(at + strlen("_patch"), &end, 10) != patch) return false;
    while (*end == '_') {
        at = end + 1;
        if (strtoul(at, &end, 10) == px && end > at && (*end == '_' || *end == '\0')) return true;
        end += strcspn(end, "_");
    }
    return false;
}

void kh_model_sizes(const char *architecture, size_t patch, size_t height, size_t width, char *out,
                    size_t out_bytes) {
    out[0] = '\0';
    if (height == width && is_said(architecture, patch, height)) return;
    if (height == width)
        (void)snprintf(out, out_bytes, " (patch %zu, %zu px)", patch, height);
    else
        (void)snprintf(out, out_bytes, " (patch %zu, %zu x %zu px)", patch, width, height);
}

void kh_footnote(const kh_footnote_facts *f, char *out, size_t out_bytes) {
    (void)snprintf(out, out_bytes, "%s%s%s%s · %s%.12s · preprocessing %s · %s · keyhole %s",
                   f->architecture, *f->tag ? "." : "", f->tag, f->sizes,
                   *f->sha256 ? "weights sha256 " : "random weights", f->sha256, f->preset,
                   f->settings, kh_version());
}

void kh_model_footnote(const kh_model *model, const char *settings, char *out, size_t out_bytes) {
    const kh_model_info *info = kh_model_get_info(model);
    char sizes[96];
    kh_model_sizes(info->architecture, info->patch, info->image_height, info->image_width, sizes,
                   sizeof sizes);
    kh_footnote(&(kh_footnote_facts){info->architecture, info->tag, sizes, info->sha256,
                                     info->preprocess.preset, settings},
                out, out_bytes);
}
