/* MODEL `demo`: the checkpoint that comes with keyhole, in the source tree or where it was
 * installed. */
#define _POSIX_C_SOURCE 200809L
#include "vit/load.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* From <prefix>/bin or build/release the data are two folders up; tests lie deeper. */
enum { MOST_FOLDERS_UP = 4 };

/* "demo" means "demo:model"; NULL when it is no such name. */
static const char *checkpoint_name(const char *model) {
    if (strcmp(model, "demo") == 0) return "model";
    return kh_starts_with(model, "demo:") ? model + strlen("demo:") : NULL;
}

bool kh_model_is_demo(const char *model) {
    return checkpoint_name(model) != NULL;
}

static bool has_config(const char *folder) {
    char *path = folder ? kh_path_join(folder, "config.json") : NULL;
    const bool has = path && kh_file_exists(path);
    kh_free(path);
    return has;
}

/* The places asked so far, for the message that none had it. */
typedef struct search {
    const char *name;
    kh_text asked;
    char *found;
} search;

/* place/name, or the place itself when it is a checkpoint. */
static bool ask(search *s, const char *place, bool may_be_checkpoint) {
    char shown[KH_SHOWN_BYTES];
    kh_text_addf(&s->asked, "%s'%s'", s->asked.length ? ", " : "",
                 kh_shown(place, strlen(place), shown, sizeof shown));
    char *inner = kh_path_join(place, s->name);
    if (has_config(inner)) {
        s->found = inner;
        return true;
    }
    kh_free(inner);
    if (may_be_checkpoint && strcmp(s->name, "model") == 0 && has_config(place))
        s->found = kh_strdup(place);
    return s->found != NULL;
}

/* Beside the program: <up>/share/keyhole/demo of an installation, <up>/demo of a source tree. */
static bool ask_beside_program(search *s) {
    char at[3072], place[4096];
    const ssize_t length = readlink("/proc/self/exe", at, sizeof at - 1);
    if (length <= 0) return false;
    at[length] = '\0';
    char *slash = strrchr(at, '/');
    for (int up = 0; up < MOST_FOLDERS_UP && slash && slash != at; up++) {
        *slash = '\0';
        static const char *const below[] = {"share/keyhole/demo", "demo"};
        for (size_t i = 0; i < 2; i++) {
            (void)snprintf(place, sizeof place, "%s/%s", at, below[i]);
            if (kh_is_directory(place) && ask(s, place, false)) return true;
        }
        slash = strrchr(at, '/');
    }
    return false;
}

kh_status kh_model_demo_find(const char *model, char **folder, kh_error *err) {
    search s = {.name = checkpoint_name(model)};
    char shown[KH_SHOWN_BYTES];
    *folder = NULL;
    kh_shown(model, strlen(model), shown, sizeof shown);
    if (strcmp(s.name, "images") == 0)
        return kh_fail(err, KH_E_ARG, "demo:images are images; the model is called demo");
    const size_t plain = strspn(s.name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    if (plain == 0 || s.name[plain])
        return kh_fail(err, KH_E_ARG, "'%s' is no demo model: expected demo or demo:NAME", shown);
    const char *given = getenv("KEYHOLE_DEMO");
    if (given && *given)
        (void)ask(&s, given, true);
    else if (!ask_beside_program(&s))
        (void)ask(&s, KH_DEMO_DIR, false);
    kh_status status = KH_OK;
    if (!s.found)
        status = kh_fail(err, KH_E_NOT_FOUND,
                         "the checkpoint of '%s' is not here (no %s/config.json in %s); set "
                         "KEYHOLE_DEMO to the demo folder of keyhole's source tree",
                         shown, s.name, s.asked.data ? s.asked.data : "");
    kh_text_clear(&s.asked);
    *folder = s.found;
    return status;
}
