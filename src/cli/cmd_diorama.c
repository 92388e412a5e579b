/* keyhole diorama: scenes of the demo world with the truth of every pixel. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/diorama.h"
#include "cli/images.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct settings {
    kh_common common;
    const char *out, *classes, *sheet;
    size_t count, seed, start, size, sheet_scenes;
    bool no_shortcuts, no_labels, overwrite, estimate;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->count = 1000;
    s->seed = 1;
    s->size = 96;
    s->sheet_scenes = 3;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Folder for pictures, label maps and tables."},
    {KH_OPT_SIZE, "count", 'n', offsetof(settings, count), "N", "Scenes. Default: 1000."},
    {KH_OPT_SIZE, "seed", 's', offsetof(settings, seed), "S",
     "Another seed, another world of scenes. Default: 1."},
    {KH_OPT_SIZE, "size", 0, offsetof(settings, size), "PX",
     "Width and height of the pictures, 32 to 1024. Default: 96."},
    {KH_OPT_SIZE, "start", 0, offsetof(settings, start), "I",
     "Index of the first scene; its class is the index modulo the number of classes. Default: 0."},
    {KH_OPT_TEXT, "class", 'c', offsetof(settings, classes), "NAMES",
     "Only scenes of these classes: names or indices, separated by commas. Default: all."},
    {KH_OPT_FLAG, "no-shortcuts", 0, offsetof(settings, no_shortcuts), NULL,
     "Backgrounds independent of the class: the planted shortcuts are gone."},
    {KH_OPT_FLAG, "no-labels", 0, offsetof(settings, no_labels), NULL,
     "Pictures alone, without label maps and captions."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace another set of scenes that is already in DIR, and the FILE of --sheet."},
    {KH_OPT_FLAG, "estimate", 0, offsetof(settings, estimate), NULL,
     "Only say how much disk and time the set would take."},
    {KH_OPT_TEXT, "sheet", 0, offsetof(settings, sheet), "FILE",
     "Draw a contact sheet (.png, .svg, .pdf): every class with its label maps."},
    {KH_OPT_SIZE, "sheet-scenes", 0, offsetof(settings, sheet_scenes), "K",
     "Scenes of each class on the sheet, 1 to 8. Default: 3."},
    {KH_OPT_SECTION, "Common options", 0, 0, NULL, NULL},
    {KH_OPT_SIZE, "threads", 't', offsetof(settings, common.threads), "N",
     "Threads. The files do not depend on it. Default: one per core."},
    {KH_OPT_FLAG, "json", 0, offsetof(settings, common.json), NULL,
     "Print one JSON document instead of text."},
    {KH_OPT_FLAG, "quiet", 'q', offsetof(settings, common.quiet), NULL,
     "No progress on standard error."},
    {0},
};

/* ---- classes --------------------------------------------------------------------------------- */

static kh_status find_class(const char *name, size_t *out, kh_error *err) {
    const size_t count = kh_diorama_class_count();
    if (kh_parse_size(name, out) && *out < count) return KH_OK;
    kh_text all = {0};
    for (*out = 0; *out < count; ++*out) {
        if (strcmp(kh_diorama_class_name(*out), name) == 0 ||
            strcmp(kh_diorama_class_wnid(*out), name) == 0) {
            kh_text_clear(&all);
            return KH_OK;
        }
        kh_text_addf(&all, "%s%s", *out ? ", " : "", kh_diorama_class_name(*out));
    }
    char shown[KH_SHOWN_BYTES];
    const kh_status status =
        kh_fail(err, KH_E_NOT_FOUND, "no class '%s'; there are %s",
                kh_shown(name, strlen(name), shown, sizeof shown), all.data ? all.data : "");
    kh_text_clear(&all);
    return status;
}

/* Marks the named classes and lists them in ascending order. */
static kh_status parse_classes(const char *names, size_t **out, size_t *count, kh_error *err) {
    const size_t all = kh_diorama_class_count();
    char *copy = kh_strdup(names), *rest = NULL;
    bool *wanted = kh_calloc(all, sizeof *wanted);
    size_t *list = kh_calloc(all, sizeof *list);
    kh_status status =
        copy && wanted && list ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for classes");
    for (char *name = status ? NULL : strtok_r(copy, ",", &rest); name && !status;
         name = strtok_r(NULL, ",", &rest)) {
        size_t index;
        status = find_class(name, &index, err);
        if (!status) wanted[index] = true;
    }
    *count = 0;
    for (size_t c = 0; c < all && !status; c++)
        if (wanted[c]) list[(*count)++] = c;
    if (!status && *count == 0) status = kh_fail(err, KH_E_ARG, "--class names no class");
    kh_free(copy);
    kh_free(wanted);
    if (status)
        kh_free(list);
    else
        *out = list;
    return status;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static const char *bytes_in_words(double bytes, char *out, size_t out_bytes) {
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    size_t u = 0;
    for (bytes /= 1e3; bytes >= 1e3 && u < 3; u++)
        bytes /= 1e3;
    (void)snprintf(out, out_bytes, "%.3g %s", bytes, units[u]);
    return out;
}

static kh_status print_estimate(const settings *s, const kh_diorama_set *set, kh_error *err) {
    kh_diorama_cost cost;
    char size[32];
    KH_TRY(kh_diorama_estimate(set, &cost, err));
    if (s->common.json) {
        json_t *root =
            json_pack("{s:I, s:I, s:f, s:f}", "count", (json_int_t)set->count, "files",
                      (json_int_t)cost.files, "bytes", cost.bytes, "thread_seconds", cost.seconds);
        return kh_print_json(root, err) ? KH_OK : KH_E_MEMORY;
    }
    printf("about %s in %llu files; %.0f s on one thread\n",
           bytes_in_words(cost.bytes, size, sizeof size), (unsigned long long)cost.files,
           cost.seconds);
    return KH_OK;
}

/* Before a long run on a terminal: what it will take. */
static kh_status announce(const kh_session *session, const kh_diorama_set *set, kh_error *err) {
    if (!session->shows_progress || set->count < 2000) return KH_OK;
    kh_diorama_cost cost;
    char size[32];
    KH_TRY(kh_diorama_estimate(set, &cost, err));
    fprintf(stderr, "%llu scenes: about %s in %llu files\n", (unsigned long long)set->count,
            bytes_in_words(cost.bytes, size, sizeof size), (unsigned long long)cost.files);
    return KH_OK;
}

static kh_status write_set(const settings *s, kh_session *session, kh_diorama_set *set,
                           kh_error *err) {
    bool was_there = false;
    set->progress = kh_session_progress;
    set->progress_user = session;
    KH_TRY(announce(session, set, err));
    KH_TRY(kh_diorama_write(set, s->out, &was_there, err));
    if (s->common.json) {
        json_t *root = json_pack("{s:o, s:I, s:b}", "out", kh_json_text(s->out), "count",
                                 (json_int_t)set->count, "was_there", was_there);
        return kh_print_json(root, err) ? KH_OK : KH_E_MEMORY;
    }
    printf("%llu scene%s %s ", (unsigned long long)set->count, KH_S(set->count),
           !was_there        ? "in"
           : set->count == 1 ? "was already in"
                             : "were already in");
    kh_print_path(s->out);
    putchar('\n');
    return KH_OK;
}

static kh_status draw_sheet(const settings *s, const kh_diorama_set *set, kh_error *err) {
    KH_TRY(kh_diorama_sheet(set, s->sheet_scenes, s->sheet, err));
    if (s->common.json) return KH_OK; /* whose one document told of the set */
    printf("contact sheet in ");
    kh_print_path(s->sheet);
    putchar('\n');
    return KH_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static kh_status check(const settings *s, kh_error *err) {
    if (!s->out && !s->sheet && !s->estimate)
        return kh_fail(err, KH_E_ARG, "where to? give --out DIR (or --sheet FILE, --estimate)");
    if (s->size < KH_DIORAMA_MIN_SIZE || s->size > KH_DIORAMA_MAX_SIZE)
        return kh_fail(err, KH_E_ARG, "--size is %d to %d", KH_DIORAMA_MIN_SIZE,
                       KH_DIORAMA_MAX_SIZE);
    if (s->count == 0 || s->count > KH_DIORAMA_MAX_COUNT)
        return kh_fail(err, KH_E_ARG, "--count is 1 to %d", KH_DIORAMA_MAX_COUNT);
    if (s->sheet_scenes == 0 || s->sheet_scenes > KH_SHEET_SCENES)
        return kh_fail(err, KH_E_ARG, "--sheet-scenes is 1 to %d", KH_SHEET_SCENES);
    if (s->sheet && !s->overwrite && kh_file_exists(s->sheet))
        return kh_fail(err, KH_E_ARG, "'%s' is there; choose another --sheet or add --overwrite",
                       s->sheet);
    return KH_OK;
}

static int run(const void *from, size_t operand_count, char **operands, kh_error *err) {
    const settings *s = from;
    (void)operand_count;
    (void)operands;
    size_t *classes = NULL, class_count = 0;
    if (check(s, err)) return KH_EXIT_MISUSED;
    if (s->classes && parse_classes(s->classes, &classes, &class_count, err))
        return KH_EXIT_MISUSED;
    /* no compute context: rendering has its own threads */
    kh_session session = {.common = s->common,
                          .shows_progress = !s->common.quiet && isatty(STDERR_FILENO)};
    kh_diorama_set set = {.seed = s->seed,
                          .start = s->start,
                          .count = s->count,
                          .size = (uint32_t)s->size,
                          .flags = s->no_shortcuts ? KH_DIORAMA_NO_SHORTCUTS : 0,
                          .classes = classes,
                          .class_count = class_count,
                          .no_labels = s->no_labels,
                          .overwrite = s->overwrite,
                          .threads = s->common.threads};
    kh_status status = KH_OK;
    if (s->estimate)
        status = print_estimate(s, &set, err);
    else if (s->out)
        status = write_set(s, &session, &set, err);
    if (!status && s->sheet) status = draw_sheet(s, &set, err);
    kh_free(classes);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_diorama = {
    .name = "diorama",
    .summary = "render scenes of the demo world, with the truth of every pixel",
    .operands = "",
    .description =
        "Draws scenes of one object with parts, materials and colours before a varied background,"
        " each the same on every run and number of threads, and writes them as a labelled set:"
        " pictures in class folders (images/scenes), label maps for object, part, material, color"
        " and background in the layout of Broden that Network Dissection reads, a caption for"
        " every region, and manifest.json. A folder that already holds the same set is left"
        " alone. 'demo:images' in place of an image or folder of another command is a small set"
        " that is rendered into the cache when it is needed.",
    .examples = "  keyhole diorama --count 5000 --seed 2 --out scenes\n"
                "  keyhole classify demo scenes --truth\n"
                "  keyhole diorama --sheet classes.png --seed 7\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
