#define _DEFAULT_SOURCE
#include "io/hub.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "io/tensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* The list of files of a repository; a thousand files are 300 KB. */
#define LIST_BYTES ((size_t)16 << 20)

kh_hub_tuning kh_hub_tuning_default(void) {
    const kh_hub_tuning tuning = {.connect_ms = 20000,
                                  .stall_seconds = 30,
                                  .stall_bytes = 1024,
                                  .retries = 4,
                                  .backoff_ms = 500,
                                  .limits = kh_limits_default()};
    return tuning;
}

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Tells progress at most ten times a second. */
static bool tick(void *user) {
    kh_hub_transfer *t = user;
    if (!t->progress) return true;
    const int64_t now = now_ms();
    if (t->told_ms && now - t->told_ms < 100) return true;
    t->told_ms = now;
    t->told = t->done;
    return t->progress(t->progress_user, "bytes", t->done, t->total);
}

/* ---- one at a time -----------------------------------------------------------------------------
 */

/* Two pulls of one model take turns; the second finds the work done. The lock goes with the
 * process. A file system without locks is tolerated: partial files are named by content and
 * checked. */
static kh_status lock_folder(const kh_hub_place *place, kh_hub_transfer *t, int *out,
                             kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    char *path = kh_path_join(place->folder.data, ".lock");
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    kh_status status = KH_OK;
    if (fd < 0) {
        status = kh_fail(err, KH_E_IO, "cannot create '%s': %s",
                         kh_shown(path, strlen(path), shown, sizeof shown), strerror(errno));
    }
    while (!status && flock(fd, LOCK_EX | LOCK_NB) != 0 &&
           (errno == EWOULDBLOCK || errno == EINTR)) {
        const struct timespec pause = {.tv_nsec = 50000000};
        (void)nanosleep(&pause, NULL);
        if (!tick(t)) status = kh_fail(err, KH_E_STOPPED, "the download was stopped");
    }
    kh_free(path);
    if (status && fd >= 0)
        (void)close(fd);
    else
        *out = fd;
    return status;
}

/* ---- the list of files -------------------------------------------------------------------------
 */

static kh_status take_list(void *user, const kh_http_reply *reply, const unsigned char *bytes,
                           size_t count, kh_error *err) {
    (void)reply;
    kh_text *text = user;
    if (count > LIST_BYTES - text->length)
        return kh_fail(err, KH_E_LIMIT, "the hub's list of files is larger than %zu bytes",
                       LIST_BYTES);
    kh_text_add_bytes(text, (const char *)bytes, count);
    return text->failed ? kh_fail(err, KH_E_MEMORY, "no memory for a list of files") : KH_OK;
}

/* A revision in an address: its slashes are not folders. */
static void add_revision(kh_text *out, const char *revision) {
    for (const char *p = revision; *p; p++) {
        if (*p == '/')
            kh_text_add(out, "%2F");
        else
            kh_text_add_bytes(out, p, 1);
    }
}

static kh_status get_list(kh_hub_transfer *t, kh_hub_list *out, kh_error *err) {
    kh_text url = {0}, body = {0};
    kh_status status;
    kh_text_addf(&url, "%s/api/models/%s/revision/", t->place->endpoint.data, t->place->id);
    add_revision(&url, t->place->revision);
    kh_text_add(&url, "?blobs=true");
    if (url.failed) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for an address");
        goto done;
    }
    for (unsigned failures = 0;; failures++) {
        kh_http_reply reply;
        kh_text_clear(&body);
        status = kh_http_get(t->http, url.data, 0, take_list, &body, &reply, err);
        if (!status && reply.code == 200) break;
        if (!status) {
            reply.may_retry = reply.code == 408 || reply.code == 429 || reply.code >= 500;
            status = kh_hub_refused(t, &reply, "the list of files", err);
        }
        if (!reply.may_retry || failures >= t->tuning->retries) goto done;
        KH_GO(kh_http_pause(t->http, t->tuning->backoff_ms << (failures < 6 ? failures : 6), err));
    }
    status = kh_hub_list_parse(body.data ? body.data : "", body.length, out, err);
done:
    kh_text_clear(&url);
    kh_text_clear(&body);
    return status;
}

/* ---- what to take ------------------------------------------------------------------------------
 */

/* config, preprocessor, index and at most KH_TENSOR_MAX_FILES shards */
#define MAX_FILES (KH_TENSOR_MAX_FILES + 4)

typedef struct pull_plan {
    const kh_hub_file *files[MAX_FILES]; /* borrowed from the list */
    size_t count;
} pull_plan;

static kh_status add_to_plan(kh_hub_transfer *t, pull_plan *plan, const kh_hub_file *file,
                             uint64_t limit, kh_error *err) {
    if (file->bytes > limit)
        return kh_fail(err, KH_E_LIMIT, "'%s' of model '%s' has %llu bytes, the limit is %llu",
                       file->name, t->place->id, (unsigned long long)file->bytes,
                       (unsigned long long)limit);
    if (plan->count == MAX_FILES || !kh_add_u64(t->total, file->bytes, &t->total))
        return kh_fail(err, KH_E_LIMIT, "model '%s' has too many files", t->place->id);
    plan->files[plan->count++] = file;
    return KH_OK;
}

static kh_status make_plan(kh_hub_transfer *t, const kh_hub_list *list, pull_plan *plan,
                           kh_error *err) {
    const kh_limits *limits = &t->tuning->limits;
    const kh_hub_file *weights = kh_hub_list_weights(list);
    const kh_hub_file *config = kh_hub_list_find(list, "config.json");
    const kh_hub_file *preprocessor = kh_hub_list_find(list, "preprocessor_config.json");
    if (!weights)
        return kh_fail(err, list->has_pickles ? KH_E_UNSUPPORTED : KH_E_NOT_FOUND,
                       "model '%s' has no safetensors weights%s", t->place->id,
                       list->has_pickles ? "; pickle and npz weights are not read, convert them to "
                                           "safetensors"
                                         : "");
    if (!config)
        return kh_fail(
            err, KH_E_NOT_FOUND,
            "model '%s' has no config.json; it is neither a timm nor a transformers model",
            t->place->id);
    const bool is_index = strcmp(weights->name, KH_HUB_INDEX) == 0;
    KH_TRY(add_to_plan(t, plan, config, limits->max_config_bytes, err));
    if (preprocessor) KH_TRY(add_to_plan(t, plan, preprocessor, limits->max_config_bytes, err));
    return add_to_plan(t, plan, weights,
                       is_index ? limits->max_index_bytes : limits->max_weights_bytes, err);
}

/* The index is here; its shards join the plan. */
static kh_status add_shards(kh_hub_transfer *t, const kh_hub_list *list, pull_plan *plan,
                            kh_error *err) {
    const kh_limits *limits = &t->tuning->limits;
    unsigned char *bytes = NULL;
    size_t count;
    kh_tensor_index index = {0};
    char *path = kh_path_join(t->place->folder.data, KH_HUB_INDEX);
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    kh_status status;
    uint64_t shards = 0;
    KH_GO(kh_file_read(path, limits->max_index_bytes, &bytes, &count, err));
    KH_GO(kh_tensor_index_parse((const char *)bytes, count, limits, KH_HUB_INDEX, &index, err));
    for (size_t i = 0; i < index.file_count; i++) {
        const kh_hub_file *file = kh_hub_list_find(list, index.files[i]);
        char shown[KH_SHOWN_BYTES];
        if (!file) {
            status = kh_fail(err, KH_E_FORMAT,
                             "the index of model '%s' names '%s', which the hub "
                             "does not have",
                             t->place->id,
                             kh_shown(index.files[i], strlen(index.files[i]), shown, sizeof shown));
            goto done;
        }
        if (!kh_add_u64(shards, file->bytes, &shards) || shards > limits->max_weights_bytes) {
            status = kh_fail(err, KH_E_LIMIT, "the weights of model '%s' exceed %llu bytes",
                             t->place->id, (unsigned long long)limits->max_weights_bytes);
            goto done;
        }
        KH_GO(add_to_plan(t, plan, file, limits->max_weights_bytes, err));
    }
done:
    kh_tensor_index_clear(&index);
    kh_free(bytes);
    kh_free(path);
    return status;
}

/* ---- the folder --------------------------------------------------------------------------------
 */

static bool is_planned(const pull_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->count; i++)
        if (strcmp(plan->files[i]->name, name) == 0) return true;
    return false;
}

/* Removes what an earlier commit left: its weights beside the new ones would be taken for them. */
static void remove_leftovers(const kh_hub_place *place, const pull_plan *plan) {
    DIR *folder = opendir(place->folder.data);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const char *name = entry->d_name;
        if (!kh_ends_with(name, ".safetensors") && !kh_ends_with(name, ".json") &&
            !kh_ends_with(name, ".partial"))
            continue;
        if (!is_planned(plan, name)) (void)unlinkat(dirfd(folder), name, 0);
    }
    (void)closedir(folder);
}

static kh_status remove_marker(const kh_hub_place *place, kh_error *err) {
    char *path = kh_path_join(place->folder.data, "complete");
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    const bool removed = unlink(path) == 0 || errno == ENOENT;
    const int saved = errno;
    kh_free(path);
    char shown[KH_SHOWN_BYTES];
    return removed
               ? KH_OK
               : kh_fail(err, KH_E_IO, "cannot replace the model in '%s': %s",
                         kh_shown(place->folder.data, place->folder.length, shown, sizeof shown),
                         strerror(saved));
}

static kh_status pull_files(kh_hub_transfer *t, kh_error *err) {
    kh_hub_list list = {0};
    pull_plan plan = {.count = 0};
    kh_text commit = {0};
    kh_status status;
    KH_GO(get_list(t, &list, err));
    if (list.commit[0])
        kh_text_add(&commit, list.commit);
    else
        add_revision(&commit, t->place->revision);
    if (commit.failed || commit.length >= sizeof t->commit) {
        status = kh_fail(err, KH_E_ARG, "the revision's name is too long");
        goto done;
    }
    memcpy(t->commit, commit.data, commit.length + 1);
    KH_GO(make_plan(t, &list, &plan, err));
    KH_GO(remove_marker(t->place, err));
    for (size_t i = 0; i < plan.count; i++) {
        KH_GO(kh_hub_fetch(t, plan.files[i], err));
        if (strcmp(plan.files[i]->name, KH_HUB_INDEX) == 0)
            KH_GO(add_shards(t, &list, &plan, err)); /* the loop goes on with them */
    }
    remove_leftovers(t->place, &plan);
    KH_GO(kh_hub_marker_write(t->place, t->commit, plan.files, plan.count, err));
    if (t->progress) (void)t->progress(t->progress_user, "bytes", t->total, t->total);
done:
    kh_text_clear(&commit);
    kh_hub_list_clear(&list);
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

static kh_status check_token(const char *token, kh_error *err) {
    for (const char *p = token; p && *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7F)
            return kh_fail(err, KH_E_ARG, "the hub token holds a character that no token has");
    return KH_OK;
}

static kh_status pull_locked(kh_hub_transfer *t, const kh_hub_options *options, const char *token,
                             kh_error *err) {
    int lock = -1;
    KH_TRY(kh_make_directories(t->place->folder.data, err));
    KH_TRY(lock_folder(t->place, t, &lock, err));
    kh_status status = KH_OK;
    /* whoever held the lock may have done it */
    if (options->force || !kh_hub_is_complete(t->place)) {
        status = kh_http_create(t->place->endpoint.data, token, t->tuning, tick, t, &t->http, err);
        if (!status) status = pull_files(t, err);
        kh_http_free(t->http);
    }
    (void)close(lock);
    return status;
}

kh_status kh_hub_pull_tuned(const char *id, const kh_hub_options *options,
                            const kh_hub_tuning *tuning, char *out, size_t out_bytes,
                            kh_error *err) {
    static const kh_hub_options none;
    if (!options) options = &none;
    kh_hub_place place;
    KH_TRY(kh_hub_place_init(&place, id, options, err));
    const char *token = options->token ? options->token : getenv("HF_TOKEN");
    if (token && !*token) token = NULL;
    kh_hub_transfer transfer = {.place = &place,
                                .tuning = tuning,
                                .has_token = token != NULL,
                                .progress = options->progress,
                                .progress_user = options->progress_user};
    kh_status status;
    if (place.folder.length >= out_bytes) {
        status = kh_fail(err, KH_E_ARG, "a path of %zu bytes does not fit in %zu",
                         place.folder.length + 1, out_bytes);
        goto done;
    }
    if (options->force || !kh_hub_is_complete(&place)) {
        KH_GO(check_token(token, err));
        KH_GO(pull_locked(&transfer, options, token, err));
    }
    status = KH_OK;
    memcpy(out, place.folder.data, place.folder.length + 1);
done:
    kh_hub_place_clear(&place);
    return status;
}

kh_status kh_hub_pull(const char *id, const kh_hub_options *options, char *out, size_t out_bytes,
                      kh_error *err) {
    const kh_hub_tuning tuning = kh_hub_tuning_default();
    return kh_hub_pull_tuned(id, options, &tuning, out, out_bytes, err);
}
