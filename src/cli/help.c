#include "cli/help.h"

#include <string.h>

enum { WRAP_COLUMNS = 79, HELP_INDENT = 26 };

const kh_command *kh_command_find(const char *name) {
    for (const kh_command *const *c = kh_commands; *c; c++)
        if (strcmp((*c)->name, name) == 0) return *c;
    return NULL;
}

/* Prints text wrapped at WRAP_COLUMNS; continuation lines start at `indent`. */
static void wrapped(FILE *to, const char *text, int column, int indent) {
    int gap = 0; /* a blank is owed before the next word */
    while (*text) {
        const char *end = text + strcspn(text, " \n");
        const int width = (int)(end - text);
        if (column + gap + width > WRAP_COLUMNS && column > indent) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
            gap = 0;
        }
        fprintf(to, "%*s%.*s", gap, "", width, text);
        column += gap + width;
        gap = *end == ' ';
        if (*end == '\n') {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
        }
        text = *end ? end + 1 : end;
    }
    fputc('\n', to);
}

static int print_option_name(FILE *to, const kh_option *o) {
    int column = fprintf(to, "  ");
    column += o->letter ? fprintf(to, "-%c, ", o->letter) : fprintf(to, "    ");
    column += fprintf(to, "--%s", o->name);
    if (o->value) column += fprintf(to, " %s", o->value);
    return column;
}

void kh_help_command(FILE *to, const kh_command *command) {
    fprintf(to, "keyhole %s: %s\n\nUsage: keyhole %s %s%s[options]\n\n", command->name,
            command->summary, command->name, command->operands, command->operands[0] ? " " : "");
    if (command->description) {
        wrapped(to, command->description, 0, 0);
        fputc('\n', to);
    }
    fprintf(to, "Options\n");
    for (const kh_option *o = command->options; o->name; o++) {
        if (o->kind == KH_OPT_SECTION) {
            fprintf(to, "\n%s\n", o->name);
            continue;
        }
        int column = print_option_name(to, o);
        if (column > HELP_INDENT - 2) {
            fputc('\n', to);
            column = 0;
        }
        fprintf(to, "%*s", HELP_INDENT - column, "");
        wrapped(to, o->help, HELP_INDENT, HELP_INDENT);
    }
    fprintf(to, "  -h, --help              This text.\n");
    if (command->examples) fprintf(to, "\nExamples\n%s", command->examples);
    fprintf(
        to,
        "\nBlocks, neurons, classes and ranks count from 0. Results go to standard output,"
        " progress\nand warnings to standard error. Exit status: 0 done, 1 failed, 2 misused.\n");
}

void kh_help_overview(FILE *to) {
    fprintf(to,
            "keyhole %s: opens up the MLP layers of Vision Transformers\n\n"
            "Usage: keyhole COMMAND MODEL [INPUT...] [options]\n\nCommands\n",
            kh_version());
    for (const kh_command *const *c = kh_commands; *c; c++)
        fprintf(to, "  %-12s %s\n", (*c)->name, (*c)->summary);
    fprintf(
        to,
        "\nMODEL is a timm or transformers folder, a .safetensors file beside its config.json,"
        "\na pulled hub id (timm/vit_base_patch16_224.augreg_in21k_ft_in1k), demo (the model that\n"
        "comes with keyhole; demo:images are images for it), or random:ARCH (deterministic\n"
        "random weights of a registered architecture).\n\n"
        "'keyhole COMMAND --help' says more; 'keyhole --version' prints the version.\n");
}

/* roff: a leading '.' or '\'' would be a request, '-' a hyphen, '\' an escape */
static void roff(FILE *to, const char *text) {
    bool line_start = true;
    for (const char *p = text; *p; p++) {
        if (line_start && (*p == '.' || *p == '\'')) fputs("\\&", to);
        if (*p == '\\')
            fputs("\\e", to);
        else if (*p == '-')
            fputs("\\-", to);
        else
            fputc(*p, to);
        line_start = *p == '\n';
    }
}

static void roff_options(FILE *to, const kh_command *command) {
    fprintf(to, ".SH OPTIONS\n");
    for (const kh_option *o = command->options; o->name; o++) {
        if (o->kind == KH_OPT_SECTION) {
            fprintf(to, ".SS \"%s\"\n", o->name);
            continue;
        }
        fprintf(to, ".TP\n");
        if (o->letter) fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
        fprintf(to, "\\fB\\-\\-");
        roff(to, o->name);
        fprintf(to, "\\fR");
        if (o->value) {
            fprintf(to, " \\fI");
            roff(to, o->value);
            fprintf(to, "\\fR");
        }
        fputc('\n', to);
        roff(to, o->help);
        fputc('\n', to);
    }
}

static void roff_status(FILE *to) {
    fprintf(to, ".SH \"EXIT STATUS\"\n0 done, 1 failed, 2 misused.\n");
}

void kh_help_man(FILE *to, const kh_command *command) {
    if (!command) {
        fprintf(
            to,
            ".TH KEYHOLE 1 \"\" \"keyhole %s\" \"User Commands\"\n.SH NAME\nkeyhole \\- opens up"
            " the MLP layers of Vision Transformers\n.SH SYNOPSIS\n\\fBkeyhole\\fR"
            " \\fICOMMAND\\fR \\fIMODEL\\fR [\\fIINPUT\\fR...] [options]\n.SH COMMANDS\n",
            kh_version());
        for (const kh_command *const *c = kh_commands; *c; c++) {
            fprintf(to, ".TP\n\\fBkeyhole\\-%s\\fR(1)\n", (*c)->name);
            roff(to, (*c)->summary);
            fputc('\n', to);
        }
        roff_status(to);
        return;
    }
    fprintf(to,
            ".TH KEYHOLE\\-%s 1 \"\" \"keyhole %s\" \"User Commands\"\n.SH NAME\nkeyhole\\-%s \\- ",
            command->name, kh_version(), command->name);
    roff(to, command->summary);
    fprintf(to, "\n.SH SYNOPSIS\n\\fBkeyhole %s\\fR ", command->name);
    roff(to, command->operands);
    fprintf(to, " [options]\n");
    if (command->description) {
        fprintf(to, ".SH DESCRIPTION\n");
        roff(to, command->description);
        fputc('\n', to);
    }
    roff_options(to, command);
    if (command->examples) {
        fprintf(to, ".SH EXAMPLES\n.nf\n");
        roff(to, command->examples);
        fprintf(to, ".fi\n");
    }
    roff_status(to);
    fprintf(to, ".SH \"SEE ALSO\"\n\\fBkeyhole\\fR(1)\n");
}

static void bash_words(FILE *to, const kh_command *command) {
    for (const kh_option *o = command->options; o->name; o++)
        if (o->kind != KH_OPT_SECTION) fprintf(to, "--%s ", o->name);
    fprintf(to, "--help");
}

static void bash_completion(FILE *to) {
    fprintf(to, "_keyhole() {\n    local word=${COMP_WORDS[COMP_CWORD]} words=\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (const kh_command *const *c = kh_commands; *c; c++)
        fprintf(to, "%s ", (*c)->name);
    fprintf(to, "--help --version'\n    else\n        case ${COMP_WORDS[1]} in\n");
    for (const kh_command *const *c = kh_commands; *c; c++) {
        fprintf(to, "        %s) words='", (*c)->name);
        bash_words(to, *c);
        fprintf(to, "' ;;\n");
    }
    fprintf(to, "        esac\n    fi\n    case $word in\n    -*) ;;\n"
                "    *) [ \"$COMP_CWORD\" -gt 1 ] && words= ;;\n    esac\n"
                "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                "    [ -n \"$words\" ] || compopt -o default\n}\ncomplete -F _keyhole keyhole\n");
}

/* Single-quoted shell text: a quote inside would end it. */
static void shell_quoted(FILE *to, const char *text, const char *also_escape) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            fputs("'\\''", to);
        else if (strchr(also_escape, *p))
            fprintf(to, "\\%c", *p);
        else
            fputc(*p, to);
    }
}

static void zsh_completion(FILE *to) {
    fprintf(to, "#compdef keyhole\n_keyhole() {\n    if (( CURRENT == 2 )); then\n"
                "        local -a commands=(\n");
    for (const kh_command *const *c = kh_commands; *c; c++) {
        fprintf(to, "            '%s:", (*c)->name);
        shell_quoted(to, (*c)->summary, ":");
        fprintf(to, "'\n");
    }
    fprintf(to, "        )\n        _describe command commands\n        return\n    fi\n"
                "    local -a options\n    case $words[2] in\n");
    for (const kh_command *const *c = kh_commands; *c; c++) {
        fprintf(to, "    %s) options=(", (*c)->name);
        for (const kh_option *o = (*c)->options; o->name; o++) {
            if (o->kind == KH_OPT_SECTION) continue;
            fprintf(to, " '--%s[", o->name);
            shell_quoted(to, o->help, "[]:");
            fprintf(to, "]%s'", o->kind == KH_OPT_FLAG ? "" : ":value:_files");
        }
        fprintf(to, ") ;;\n");
    }
    fprintf(to, "    esac\n    shift words\n    (( CURRENT-- ))\n"
                "    _arguments $options '*:file:_files'\n}\n_keyhole \"$@\"\n");
}

static void fish_completion(FILE *to) {
    for (const kh_command *const *c = kh_commands; *c; c++) {
        fprintf(to, "complete -c keyhole -n __fish_use_subcommand -a %s -d '", (*c)->name);
        shell_quoted(to, (*c)->summary, "");
        fprintf(to, "'\n");
        for (const kh_option *o = (*c)->options; o->name; o++) {
            if (o->kind == KH_OPT_SECTION) continue;
            fprintf(to, "complete -c keyhole -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                    (*c)->name, o->name, o->kind == KH_OPT_FLAG ? "" : " -r");
            shell_quoted(to, o->help, "");
            fprintf(to, "'\n");
        }
    }
}

bool kh_help_completion(FILE *to, const char *shell) {
    if (strcmp(shell, "bash") == 0)
        bash_completion(to);
    else if (strcmp(shell, "zsh") == 0)
        zsh_completion(to);
    else if (strcmp(shell, "fish") == 0)
        fish_completion(to);
    else
        return false;
    return true;
}
