/* cli/command.h: a command is one table: usage, --help, the manual page, completion and parsing all
 * grow from it. */
#ifndef KH_CLI_COMMAND_H
#define KH_CLI_COMMAND_H

#include "base/status.h"
#include "keyhole.h"

typedef enum kh_option_kind {
    KH_OPT_FLAG,   /* bool */
    KH_OPT_TEXT,   /* const char *, points into argv */
    KH_OPT_SIZE,   /* size_t */
    KH_OPT_NUMBER, /* double, finite */
    KH_OPT_SECTION /* a heading in --help, no option */
} kh_option_kind;

typedef struct kh_option {
    kh_option_kind kind;
    const char *name;  /* "topk", without dashes */
    char letter;       /* 'k', or 0 */
    size_t offset;     /* of the value in the command's settings */
    const char *value; /* "K" in help; choices are written "cpu|reference" and are enforced */
    const char *help;  /* one sentence; the default is said in it */
} kh_option;

enum { KH_EXIT_DONE = 0, KH_EXIT_FAILED = 1, KH_EXIT_MISUSED = 2 };

typedef struct kh_command {
    const char *name;
    const char *summary;      /* one line */
    const char *operands;     /* "MODEL IMAGE..." */
    const char *description;  /* paragraphs for --help and the manual page */
    const char *examples;     /* lines "command  # what it does" */
    const kh_option *options; /* ends with name NULL */
    size_t settings_bytes;
    void (*defaults)(void *settings);
    size_t min_operands, max_operands;
    /* Returns an exit code; err carries the message when it is not KH_EXIT_DONE. */
    int (*run)(const void *settings, size_t operand_count, char **operands, kh_error *err);
} kh_command;

/* All commands, NULL after the last. */
extern const kh_command *const kh_commands[];

/* Settings every command that computes has first in its own struct. */
typedef struct kh_common {
    const char *device, *isa;
    size_t threads;
    bool json, quiet;
} kh_common;

/* Settings of commands that take a MODEL. */
typedef struct kh_model_settings {
    const char *labels, *preset, *activation, *architecture, *size;
} kh_model_settings;

#define KH_COMMON_OPTIONS(type)                                                                    \
    {KH_OPT_SECTION, "Common options", 0, 0, NULL, NULL},                                          \
        {KH_OPT_TEXT,                                                                              \
         "device",                                                                                 \
         0,                                                                                        \
         offsetof(type, common.device),                                                            \
         "cpu|reference",                                                                          \
         "Where to compute; reference is slow plain loops, the definition. Default: cpu."},        \
        {KH_OPT_TEXT,                                                                              \
         "isa",                                                                                    \
         0,                                                                                        \
         offsetof(type, common.isa),                                                               \
         "avx512|avx2|neon|plain",                                                                 \
         "Instruction set of the cpu device. Default: the best this processor has."},              \
        {KH_OPT_SIZE, "threads",                                                                   \
         't',         offsetof(type, common.threads),                                              \
         "N",         "Threads. Results do not depend on it. Default: one per core."},             \
        {KH_OPT_FLAG, "json",                                                                      \
         0,           offsetof(type, common.json),                                                 \
         NULL,        "Print one JSON document instead of text."},                                 \
    {                                                                                              \
        KH_OPT_FLAG, "quiet", 'q', offsetof(type, common.quiet), NULL,                             \
            "No progress and no warnings on standard error."                                       \
    }

#define KH_MODEL_OPTIONS(type)                                                                     \
    {KH_OPT_SECTION, "Model options", 0, 0, NULL, NULL},                                           \
        {KH_OPT_TEXT,                                                                              \
         "labels",                                                                                 \
         0,                                                                                        \
         offsetof(type, model.labels),                                                             \
         "FILE",                                                                                   \
         "Class names: one per line, 'wnid names' lines, or JSON. Default: the checkpoint's."},    \
        {KH_OPT_TEXT,                                                                              \
         "preset",                                                                                 \
         0,                                                                                        \
         offsetof(type, model.preset),                                                             \
         "squash224|timm|hf",                                                                      \
         "Preprocessing instead of the checkpoint's own."},                                        \
        {KH_OPT_TEXT,                                                                              \
         "size",                                                                                   \
         0,                                                                                        \
         offsetof(type, model.size),                                                               \
         "S|HxW",                                                                                  \
         "Input size in pixels; position embeddings are resampled. Default: the checkpoint's."},   \
        {KH_OPT_TEXT,                                                                              \
         "act",                                                                                    \
         0,                                                                                        \
         offsetof(type, model.activation),                                                         \
         "gelu|gelu_tanh|quick_gelu|silu",                                                         \
         "Activation function instead of the family's."},                                          \
    {                                                                                              \
        KH_OPT_TEXT, "architecture", 0, offsetof(type, model.architecture), "NAME",                \
            "timm architecture name, for a checkpoint without config.json."                        \
    }

#endif
