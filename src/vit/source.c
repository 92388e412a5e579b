#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "vit/load.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void kh_model_source_clear(kh_model_source *source) {
    if (!source) return;
    kh_free(source->folder);
    kh_free(source->weights);
    source->folder = source->weights = NULL;
}

static bool is_pickle(const char *name) {
    static const char *const endings[] = {".bin",  ".pth", ".pt", ".npz",
                                          ".ckpt", ".pkl", ".h5", ".msgpack"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (kh_ends_with(name, endings[i])) return true;
    return false;
}

/* What lies in a folder, as far as choosing weights goes. */
typedef struct folder_look {
    char first[256];  /* alphabetically first *.safetensors */
    char pickle[256]; /* one file that would have to be converted */
    size_t safetensors, entries;
} folder_look;

static kh_status look_into(const char *folder, folder_look *out, kh_error *err) {
    memset(out, 0, sizeof *out);
    DIR *dir = opendir(folder);
    char shown[KH_SHOWN_BYTES];
    kh_shown(folder, strlen(folder), shown, sizeof shown);
    if (!dir) return kh_fail(err, KH_E_IO, "cannot list folder %s: %s", shown, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (name[0] == '.') continue;
        out->entries++;
        if (kh_ends_with(name, ".safetensors")) {
            out->safetensors++;
            if (!out->first[0] || strcmp(name, out->first) < 0)
                (void)snprintf(out->first, sizeof out->first, "%s", name);
        }
        if (is_pickle(name)) (void)snprintf(out->pickle, sizeof out->pickle, "%s", name);
    }
    (void)closedir(dir);
    return KH_OK;
}

#define CONVERT                                                                                    \
    "pickle and npz weights are not read (they can run code when opened); convert them once with " \
    "safetensors.torch.save_file, or pull a safetensors version"

static kh_status choose_weights(kh_model_source *s, kh_warner warner, kh_error *err) {
    static const char *const names[] = {"model.safetensors", "open_clip_model.safetensors",
                                        "open_clip_pytorch_model.safetensors",
                                        "model.safetensors.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = kh_path_join(s->folder, names[i]);
        if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
        if (kh_file_exists(path)) {
            s->weights = path;
            return KH_OK;
        }
        kh_free(path);
    }
    folder_look look;
    KH_TRY(look_into(s->folder, &look, err));
    char shown[KH_SHOWN_BYTES], file[KH_SHOWN_BYTES];
    kh_shown(s->folder, strlen(s->folder), shown, sizeof shown);
    if (look.safetensors) {
        kh_shown(look.first, strlen(look.first), file, sizeof file);
        if (look.safetensors > 1)
            kh_warn(warner, "%zu .safetensors files and no model.safetensors in %s; reading %s",
                    look.safetensors, shown, file);
        s->weights = kh_path_join(s->folder, look.first);
        return s->weights ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a path");
    }
    if (look.pickle[0])
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has only %s: " CONVERT, shown,
                       kh_shown(look.pickle, strlen(look.pickle), file, sizeof file));
    return kh_fail(err, KH_E_NOT_FOUND,
                   "no weights in %s: expected model.safetensors beside config.json among its %zu "
                   "entries; is it the model's folder?",
                   shown, look.entries);
}

static kh_status set_folder_of(const char *file, kh_model_source *s, kh_error *err) {
    const char *base = kh_path_base(file);
    const size_t length = (size_t)(base - file);
    if (length == 0)
        s->folder = kh_strdup(".");
    else {
        s->folder = kh_strdup(file);
        if (s->folder) s->folder[length > 1 ? length - 1 : 1] = '\0';
    }
    return s->folder ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a path");
}

static kh_status from_file(const char *file, kh_warner warner, kh_model_source *s, kh_error *err) {
    const char *name = kh_path_base(file);
    char shown[KH_SHOWN_BYTES];
    kh_shown(file, strlen(file), shown, sizeof shown);
    if (is_pickle(name)) return kh_fail(err, KH_E_UNSUPPORTED, "%s: " CONVERT, shown);
    KH_TRY(set_folder_of(file, s, err));
    if (strcmp(name, "config.json") == 0) return choose_weights(s, warner, err);
    if (kh_ends_with(name, ".safetensors") || kh_ends_with(name, ".safetensors.index.json")) {
        s->weights = kh_strdup(file);
        return s->weights ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a path");
    }
    return kh_fail(
        err, KH_E_ARG,
        "%s is not a model: expected a folder with config.json and model.safetensors, or "
        "a .safetensors file",
        shown);
}

/* "owner/name", optionally with "hf-hub:" in front */
static const char *hub_id(const char *model) {
    if (kh_starts_with(model, "hf-hub:")) model += strlen("hf-hub:");
    const char *slash = strchr(model, '/');
    if (!slash || slash == model || !slash[1] || strchr(slash + 1, '/')) return NULL;
    return model[0] == '.' || model[0] == '~' ? NULL : model;
}

static kh_status from_hub(const char *model, kh_warner warner, kh_model_source *s, kh_error *err) {
    char folder[4096], shown[KH_SHOWN_BYTES];
    kh_shown(model, strlen(model), shown, sizeof shown);
    const char *id = hub_id(model);
    if (!id) {
        const bool is_known = strchr(model, '/') == NULL && strlen(model) < 96;
        return kh_fail(
            err, KH_E_NOT_FOUND,
            "no model '%s': expected a folder, a .safetensors file, a hub id such as "
            "timm/vit_base_patch16_224.augreg_in21k_ft_in1k%s, demo, or random:ARCHITECTURE",
            shown, is_known ? " (with its owner)" : "");
    }
    const kh_status status = kh_hub_find(id, NULL, folder, sizeof folder, NULL);
    if (status == KH_E_NOT_FOUND)
        return kh_fail(err, KH_E_NOT_FOUND,
                       "no folder '%s', and no such model was pulled; to download it: keyhole pull "
                       "%s",
                       shown, shown);
    if (status) return kh_hub_find(id, NULL, folder, sizeof folder, err);
    s->folder = kh_strdup(folder);
    if (!s->folder) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    return choose_weights(s, warner, err);
}

/* "ARCH[@SEED]" or "FOLDER[@SEED]" */
static kh_status from_random(const char *text, kh_model_source *s, kh_error *err) {
    s->is_random = true;
    char shown[KH_SHOWN_BYTES];
    kh_shown(text, strlen(text), shown, sizeof shown);
    const char *at = strrchr(text, '@');
    const size_t length = at ? (size_t)(at - text) : strlen(text);
    if (at && !kh_parse_u64(at + 1, &s->seed))
        return kh_fail(err, KH_E_ARG, "random:%s: the seed behind '@' is not a whole number",
                       shown);
    char *name = kh_strdup(text);
    if (!name) return kh_fail(err, KH_E_MEMORY, "no memory for a name");
    name[length] = '\0';
    if (kh_model_is_demo(name)) {
        const kh_status found = kh_model_demo_find(name, &s->folder, err);
        kh_free(name);
        return found;
    }
    if (kh_is_directory(name)) {
        s->folder = name;
        return KH_OK;
    }
    kh_status status = KH_OK;
    if (length == 0 || length >= sizeof s->architecture)
        status = kh_fail(err, KH_E_ARG, "random:%s: expected random:ARCHITECTURE[@SEED]", shown);
    else
        memcpy(s->architecture, name, length + 1);
    kh_free(name);
    return status;
}

kh_status kh_model_source_find(const char *model, kh_warner warner, kh_model_source *out,
                               kh_error *err) {
    memset(out, 0, sizeof *out);
    kh_status status;
    if (kh_starts_with(model, "random:")) {
        status = from_random(model + strlen("random:"), out, err);
    } else if (kh_model_is_demo(model)) { /* a folder of that name is ./demo */
        status = kh_model_demo_find(model, &out->folder, err);
        if (!status) status = choose_weights(out, warner, err);
    } else if (kh_is_directory(model)) {
        out->folder = kh_strdup(model);
        status = out->folder ? choose_weights(out, warner, err)
                             : kh_fail(err, KH_E_MEMORY, "no memory for a path");
    } else if (kh_file_exists(model)) {
        status = from_file(model, warner, out, err);
    } else {
        status = from_hub(model, warner, out, err);
    }
    if (status) kh_model_source_clear(out);
    return status;
}
