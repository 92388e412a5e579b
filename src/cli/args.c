#include "cli/args.h"

#include "base/text.h"

#include <string.h>

static const kh_option *find_long(const kh_command *command, const char *name, size_t length) {
    for (const kh_option *o = command->options; o->name; o++)
        if (o->kind != KH_OPT_SECTION && strlen(o->name) == length &&
            memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static const kh_option *find_letter(const kh_command *command, char letter) {
    for (const kh_option *o = command->options; o->name; o++)
        if (o->kind != KH_OPT_SECTION && o->letter == letter) return o;
    return NULL;
}

/* "cpu|reference" are choices when every part is lower case; "S|HxW" only shows forms. */
static bool is_choice_list(const char *value) {
    if (!value || !strchr(value, '|')) return false;
    for (const char *p = value; *p; p++)
        if (*p >= 'A' && *p <= 'Z') return false;
    return true;
}

static bool is_choice(const char *choices, const char *text) {
    const size_t length = strlen(text);
    for (const char *p = choices; length;) {
        const char *end = strchr(p, '|');
        const size_t size = end ? (size_t)(end - p) : strlen(p);
        if (size == length && memcmp(p, text, size) == 0) return true;
        if (!end) return false;
        p = end + 1;
    }
    return false;
}

static kh_status store(const kh_option *option, const char *text, void *settings, kh_error *err) {
    unsigned char *at = (unsigned char *)settings + option->offset;
    char shown[KH_SHOWN_BYTES];
    kh_shown(text, strlen(text), shown, sizeof shown);
    switch (option->kind) {
    case KH_OPT_TEXT:
        if (is_choice_list(option->value) && !is_choice(option->value, text))
            return kh_fail(err, KH_E_ARG, "--%s '%s': expected one of %s", option->name, shown,
                           option->value);
        memcpy(at, &text, sizeof text);
        return KH_OK;
    case KH_OPT_SIZE: {
        size_t value;
        if (!kh_parse_size(text, &value) || value > INT64_MAX) /* manifests are JSON */
            return kh_fail(err, KH_E_ARG, "--%s '%s': expected a whole number, 0 or more",
                           option->name, shown);
        memcpy(at, &value, sizeof value);
        return KH_OK;
    }
    case KH_OPT_NUMBER: {
        double value;
        if (!kh_parse_double(text, &value))
            return kh_fail(err, KH_E_ARG, "--%s '%s': expected a number", option->name, shown);
        memcpy(at, &value, sizeof value);
        return KH_OK;
    }
    case KH_OPT_FLAG:
    case KH_OPT_SECTION:
        break;
    }
    return kh_fail(err, KH_E_ARG, "--%s takes no value", option->name);
}

static void set_flag(const kh_option *option, void *settings) {
    const bool yes = true;
    memcpy((unsigned char *)settings + option->offset, &yes, sizeof yes);
}

static kh_status unknown(const kh_command *command, const char *text, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "unknown option '%s'; see 'keyhole %s --help'",
                   kh_shown(text, strlen(text), shown, sizeof shown), command->name);
}

/* One option that starts at argv[*i]; advances *i over a value of its own. */
static kh_status parse_option(const kh_command *command, int argc, char **argv, int *i,
                              void *settings, kh_error *err) {
    const char *text = argv[*i];
    const kh_option *option;
    const char *value = NULL;
    if (text[1] == '-') {
        const char *equals = strchr(text, '=');
        const size_t length = equals ? (size_t)(equals - text - 2) : strlen(text + 2);
        option = find_long(command, text + 2, length);
        if (equals) value = equals + 1;
    } else {
        option = find_letter(command, text[1]);
        if (text[2]) value = text + 2;
    }
    if (!option) return unknown(command, text, err);
    if (option->kind == KH_OPT_FLAG) {
        if (value) return kh_fail(err, KH_E_ARG, "--%s takes no value", option->name);
        set_flag(option, settings);
        return KH_OK;
    }
    if (!value) {
        if (*i + 1 >= argc)
            return kh_fail(err, KH_E_ARG, "--%s needs a value (%s)", option->name, option->value);
        value = argv[++*i];
    }
    return store(option, value, settings, err);
}

kh_status kh_args_parse(const kh_command *command, int argc, char **argv, void *settings,
                        size_t *operand_count, kh_error *err) {
    size_t count = 0;
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *text = argv[i];
        if (!only_operands && strcmp(text, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && text[0] == '-' && text[1]) {
            KH_TRY(parse_option(command, argc, argv, &i, settings, err));
        } else {
            argv[count++] = argv[i];
        }
    }
    *operand_count = count;
    if (count < command->min_operands)
        return kh_fail(err, KH_E_ARG, "missing operand: keyhole %s %s", command->name,
                       command->operands);
    if (count > command->max_operands) {
        char shown[KH_SHOWN_BYTES];
        const char *extra = argv[command->max_operands];
        (void)kh_shown(extra, strlen(extra), shown, sizeof shown);
        if (command->max_operands == 0)
            return kh_fail(err, KH_E_ARG, "unexpected '%s': it takes options alone", shown);
        return kh_fail(err, KH_E_ARG, "unexpected '%s': keyhole %s %s", shown, command->name,
                       command->operands);
    }
    return KH_OK;
}
