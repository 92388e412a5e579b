/* cli/session.h: what most commands start with: a context, a model, warnings and progress. */
#ifndef KH_CLI_SESSION_H
#define KH_CLI_SESSION_H

#include "cli/command.h"

#include "base/json.h"

typedef struct kh_session {
    kh_ctx *ctx;
    kh_model *model;
    kh_common common;
    bool shows_progress;
    size_t warnings;
    char last_warning[512];
} kh_session;

/* Makes the context. Pair: kh_session_close (which also closes the model). */
kh_status kh_session_open(kh_session *session, const kh_common *common, kh_error *err);
/* Opens the model into session->model. */
kh_status kh_session_model(kh_session *session, const char *model,
                           const kh_model_settings *settings, kh_error *err);
void kh_session_close(kh_session *session);

/* Callbacks with the session as user pointer. Progress shows rate and time left, on a terminal
 * only. */
void kh_session_warn(void *session, const char *text);
bool kh_session_progress(void *session, const char *what, uint64_t done, uint64_t total);

/* Prints a JSON tree to standard output and frees it; false (with err) when out of memory. */
bool kh_print_json(json_t *root, kh_error *err);

/* What to write for a number that JSON lacks: null for NaN and infinities. */
json_t *kh_json_number(double value);

/* "207 n02099601 golden retriever" in out. */
void kh_class_label(const kh_classes *classes, size_t index, char *out, size_t out_bytes);
/* The part of a class name before the first comma, in out; with the index where others share it:
 * "crane (134)". */
void kh_class_short(const kh_classes *classes, size_t index, char *out, size_t out_bytes);

/* Model facts every result carries: source, architecture, tag, sha256, preprocessing, version. */
json_t *kh_model_receipt(const kh_model *model);

/* " (patch 8, 96 px)" in out, or "" where the architecture's name says so already. */
void kh_model_sizes(const char *architecture, size_t patch, size_t height, size_t width, char *out,
                    size_t out_bytes);
/* One line for the foot of a figure: "vit_tiny_patch16_224.tag (patch 8, 96 px) · weights sha256
 * 460d7ce0f401 · preprocessing timm · SETTINGS · keyhole 0.1.0". Every figure of a model ends so.
 */
typedef struct kh_footnote_facts {
    const char *architecture, *tag, *sizes, *sha256, *preset,
        *settings; /* "" where there is none */
} kh_footnote_facts;
void kh_footnote(const kh_footnote_facts *facts, char *out, size_t out_bytes);
void kh_model_footnote(const kh_model *model, const char *settings, char *out, size_t out_bytes);

#endif
