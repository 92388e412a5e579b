/* Downloads against a hub on this machine: what arrives is right, or is not kept. */
#define _DEFAULT_SOURCE
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/hub.h"
#include "io/sha256.h"
#include "support/hub_server.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID     "acme/tiny_patch16.v1"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

enum { WEIGHT_BYTES = 300000 };

static const char config[] = "{\"architecture\":\"vit_tiny_patch16_224\"}\n";
/* git hash-object config.json */
static const char config_blob[] = "7442eb902e819c0004f695b296212db426dc4a7c";
static _Alignas(64) unsigned char weights[WEIGHT_BYTES];
static char weights_sha256[65];

static void digest_of(const void *bytes, size_t count, char out[65]) {
    kh_sha256 *sha = kh_sha256_create();
    assert_true(kh_sha256_add(sha, bytes, count) && kh_sha256_finish(sha, out));
    kh_sha256_free(sha);
}

/* ---- a hub and a cache for every test ----------------------------------------------------------
 */

typedef struct world {
    hub_server hub;
    kh_hub_options options;
    kh_hub_tuning tuning;
    const char *cache;
    char folder[512]; /* of the model */
    char out[512];
} world;

static int open_world(void **state) {
    world *w = calloc(1, sizeof *w);
    w->hub.id = ID;
    w->hub.commit = COMMIT;
    w->hub.files[0] = (hub_server_file){
        .name = "config.json", .bytes = config, .count = sizeof config - 1, .blob_id = config_blob};
    w->hub.files[1] = (hub_server_file){.name = "model.safetensors",
                                        .bytes = weights,
                                        .count = WEIGHT_BYTES,
                                        .is_lfs = true,
                                        .sha256 = weights_sha256};
    w->hub.files[2] = (hub_server_file){.name = "README.md", .bytes = "#", .count = 1};
    assert_true(hub_server_start(&w->hub));
    w->cache = kh_test_folder("hub");
    (void)snprintf(w->folder, sizeof w->folder, "%s/hub/acme--tiny_patch16.v1/main", w->cache);
    w->options = (kh_hub_options){.endpoint = w->hub.endpoint, .cache_dir = w->cache};
    w->tuning = kh_hub_tuning_default();
    w->tuning.stall_seconds = 1;
    w->tuning.backoff_ms = 1;
    *state = w;
    return 0;
}

static int close_world(void **state) {
    world *w = *state;
    hub_server_stop(&w->hub);
    free(w);
    return 0;
}

static kh_status pull(world *w, kh_error *err) {
    return kh_hub_pull_tuned(ID, &w->options, &w->tuning, w->out, sizeof w->out, err);
}

static kh_status find(world *w, kh_error *err) {
    return kh_hub_find(ID, &w->options, w->out, sizeof w->out, err);
}

static void assert_file(const world *w, const char *name, const void *bytes, size_t count) {
    kh_error err = {0};
    unsigned char *got;
    size_t got_count;
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", w->folder, name);
    kh_assert_ok(kh_file_read(path, 1 << 20, &got, &got_count, &err));
    assert_int_equal(got_count, count);
    assert_memory_equal(got, bytes, count);
    kh_free(got);
}

static void assert_pulled(world *w) {
    kh_error err = {0};
    assert_file(w, "config.json", config, sizeof config - 1);
    assert_file(w, "model.safetensors", weights, WEIGHT_BYTES);
    kh_assert_ok(find(w, &err));
    assert_string_equal(w->out, w->folder);
}

/* Number of entries in the model's folder whose name ends so; size of the last one. */
static size_t count_files(const world *w, const char *suffix, size_t *bytes) {
    size_t count = 0;
    DIR *folder = opendir(w->folder);
    if (!folder) return 0;
    for (struct dirent *e; (e = readdir(folder));) {
        if (!kh_ends_with(e->d_name, suffix)) continue;
        struct stat info;
        assert_int_equal(fstatat(dirfd(folder), e->d_name, &info, 0), 0);
        if (bytes) *bytes = (size_t)info.st_size;
        count++;
    }
    (void)closedir(folder);
    return count;
}

static void assert_not_pulled(world *w) {
    kh_error err = {0};
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, "keyhole pull " ID);
    assert_int_equal(count_files(w, "model.safetensors", NULL), 0);
}

/* ---- when all goes well ------------------------------------------------------------------------
 */

static bool remember_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    uint64_t *seen = user;
    assert_string_equal(what, "bytes");
    assert_true(done >= seen[0] && done <= total + (total == 0));
    seen[0] = done;
    seen[1] = total;
    return true;
}

static void a_pulled_model_needs_no_network_again(void **state) {
    world *w = *state;
    kh_error err = {0};
    uint64_t seen[2] = {0};
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, ID);
    w->options.progress = remember_progress;
    w->options.progress_user = seen;
    kh_assert_ok(pull(w, &err));
    assert_string_equal(w->out, w->folder);
    assert_int_equal(seen[0], WEIGHT_BYTES + sizeof config - 1);
    assert_int_equal(seen[1], seen[0]);
    assert_pulled(w);
    assert_int_equal(count_files(w, ".partial", NULL), 0);
    assert_int_equal(count_files(w, "README.md", NULL), 0);
    hub_server_stop(&w->hub);
    kh_assert_ok(pull(w, &err));
    kh_assert_ok(find(w, &err));
    assert_int_equal(w->hub.lists, 1);
    assert_int_equal(w->hub.weights, 1);
    char path[1024]; /* a file that changed its size is noticed */
    (void)snprintf(path, sizeof path, "%s/model.safetensors", w->folder);
    assert_int_equal(truncate(path, 100), 0);
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, ID);
}

static void force_brings_the_new_commit_and_removes_the_old_files(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->hub.files[3] =
        (hub_server_file){.name = "preprocessor_config.json", .bytes = "{}", .count = 2};
    kh_assert_ok(pull(w, &err));
    assert_int_equal(count_files(w, "preprocessor_config.json", NULL), 1);
    w->hub.files[3].name = NULL;
    w->hub.files[1].bytes = config;
    w->hub.files[1].count = 10;
    char sum[65];
    digest_of(config, 10, sum);
    w->hub.files[1].sha256 = sum;
    kh_assert_ok(pull(w, &err)); /* complete: nobody is asked */
    assert_file(w, "model.safetensors", weights, WEIGHT_BYTES);
    w->options.force = true;
    kh_assert_ok(pull(w, &err));
    assert_file(w, "model.safetensors", config, 10);
    assert_int_equal(count_files(w, "preprocessor_config.json", NULL), 0);
    assert_int_equal(w->hub.lists, 2);
    assert_int_equal(w->hub.smalls, 2); /* the config that is there already was not sent again */
}

static void the_token_goes_to_the_hub_only(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->hub.token = "hf_secret";
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "set HF_TOKEN");
    w->options.token = "hf_wrong";
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "the token may not read model '" ID "'");
    assert_null(strstr(err.text, "hf_wrong"));
    w->options.token = "hf_secret";
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.weights, 1);
    assert_int_equal(w->hub.tokens_at_store, 0);
    assert_int_equal(w->hub.tokens_at_hub, 4); /* wrong, list, config, weights' redirect */
    w->options.force = true;
    w->options.token = "hf_a\r\nX-Evil: 1";
    kh_assert_fails(pull(w, &err), KH_E_ARG, "no token has");
}

static void variables_name_hub_token_and_cache(void **state) {
    world *w = *state;
    kh_error err = {0};
    char path[1024];
    w->hub.token = "hf_variable";
    w->options = (kh_hub_options){0};
    assert_int_equal(setenv("HF_ENDPOINT", w->hub.endpoint, 1), 0);
    assert_int_equal(setenv("HF_TOKEN", "hf_variable", 1), 0);
    assert_int_equal(setenv("KEYHOLE_CACHE", w->cache, 1), 0);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    (void)unsetenv("KEYHOLE_CACHE");
    assert_int_equal(setenv("XDG_CACHE_HOME", w->cache, 1), 0);
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, "/keyhole/hub/acme--tiny_patch16.v1/main");
    kh_assert_ok(pull(w, &err));
    (void)snprintf(path, sizeof path, "%s/keyhole/hub/acme--tiny_patch16.v1/main", w->cache);
    assert_string_equal(w->out, path);
    (void)unsetenv("XDG_CACHE_HOME");
    char *home = strdup(getenv("HOME") ? getenv("HOME") : "/");
    assert_int_equal(setenv("HOME", "/nowhere", 1), 0);
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, "/nowhere/.cache/keyhole/hub/");
    (void)unsetenv("HOME");
    kh_assert_fails(find(w, &err), KH_E_ARG, "KEYHOLE_CACHE");
    (void)setenv("HOME", home, 1);
    free(home);
    (void)unsetenv("HF_TOKEN");
    (void)unsetenv("HF_ENDPOINT");
}

/* ---- shards ------------------------------------------------------------------------------------
 */

static void set_index(world *w, const char *text) {
    w->hub.files[1] = (hub_server_file){.name = KH_HUB_INDEX, .bytes = text, .count = strlen(text)};
    w->hub.files[2] = (hub_server_file){.name = "model-00001-of-00002.safetensors",
                                        .bytes = weights,
                                        .count = 5000,
                                        .is_lfs = true};
    w->hub.files[3] = (hub_server_file){.name = "model-00002-of-00002.safetensors",
                                        .bytes = weights + 5000,
                                        .count = 7000,
                                        .is_lfs = true};
    w->hub.files[4] = (hub_server_file){
        .name = "unrelated.safetensors", .bytes = weights, .count = 7, .is_lfs = true};
}

static void shards_come_with_their_index(void **state) {
    world *w = *state;
    kh_error err = {0};
    const char *text = "{\"weight_map\":{\"a\":\"model-00002-of-00002.safetensors\","
                       "\"b\":\"model-00001-of-00002.safetensors\"}}";
    set_index(w, text);
    kh_assert_ok(pull(w, &err));
    assert_file(w, KH_HUB_INDEX, text, strlen(text));
    assert_file(w, "model-00001-of-00002.safetensors", weights, 5000);
    assert_file(w, "model-00002-of-00002.safetensors", weights + 5000, 7000);
    assert_int_equal(count_files(w, "unrelated.safetensors", NULL), 0);
    kh_assert_ok(find(w, &err));
}

static void an_index_cannot_lead_out_of_the_folder(void **state) {
    world *w = *state;
    kh_error err = {0};
    set_index(w, "{\"weight_map\":{\"a\":\"../../evil.safetensors\"}}");
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "expected a plain name");
    set_index(w, "{\"weight_map\":{\"a\":\"model-00003-of-00002.safetensors\"}}");
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "which the hub does not have");
    set_index(w, "{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}}");
    w->tuning.limits.max_weights_bytes = 4999;
    kh_assert_fails(pull(w, &err), KH_E_LIMIT, "exceed 4999 bytes");
    assert_int_equal(w->hub.weights, 0);
}

/* ---- when the hub is strange -------------------------------------------------------------------
 */

static void listed_names_are_not_trusted(void **state) {
    world *w = *state;
    kh_error err = {0};
    static const char *const names[] = {"../evil.safetensors",   "/tmp/evil.safetensors",
                                        "sub/model.safetensors", ".hidden.safetensors",
                                        "-rf.safetensors",       "a b.safetensors",
                                        "a%2fb.safetensors",     "evil.sh"};
    for (size_t i = 0; i < 8; i++)
        w->hub.files[3 + i] =
            (hub_server_file){.name = names[i], .bytes = "x", .count = 1, .is_lfs = true};
    w->hub.files[1].name = "zzz.safetensors"; /* the only plain one */
    kh_assert_ok(pull(w, &err));
    assert_file(w, "zzz.safetensors", weights, WEIGHT_BYTES);
    assert_int_equal(count_files(w, ".safetensors", NULL), 1);
    assert_int_equal(w->hub.weights, 1);
}

static void refusals_say_what_to_do(void **state) {
    world *w = *state;
    kh_error err = {0};
    static const struct {
        int status;
        const char *code;
        kh_status want;
        const char *part;
    } cases[] = {
        {404, "RepoNotFound", KH_E_NOT_FOUND, "no such model or private: '" ID "'"},
        {404, NULL, KH_E_NOT_FOUND, "set HF_TOKEN"},
        {404, "RevisionNotFound", KH_E_NOT_FOUND, "has no revision 'main'"},
        {401, "RepoNotFound", KH_E_NETWORK, "no such model, or it needs a token"},
        {403, NULL, KH_E_NETWORK, "HTTP 403"},
        {403, "GatedRepo", KH_E_NETWORK, "accept its terms at http://127.0.0.1"},
        {429, NULL, KH_E_NETWORK, "come back later"},
        {500, NULL, KH_E_NETWORK, "try again later"},
        {418, NULL, KH_E_NETWORK, "HTTP 418"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        atomic_store(&w->hub.list_status, cases[i].status);
        atomic_store(&w->hub.error_code, cases[i].code);
        kh_assert_fails(pull(w, &err), cases[i].want, cases[i].part);
    }
    atomic_store(&w->hub.list_status, 0);
    kh_assert_ok(pull(w, &err));
}

static void a_short_outage_is_waited_out(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.unavailable, 3);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
}

static void nobody_listening_is_said(void **state) {
    world *w = *state;
    kh_error err = {0};
    hub_server_stop(&w->hub);
    w->tuning.retries = 1;
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "check the network");
    assert_non_null(strstr(err.text, w->hub.endpoint));
    w->options.endpoint = "ftp://127.0.0.1";
    kh_assert_fails(pull(w, &err), KH_E_ARG, "must begin with https://");
}

static void redirects_stay_on_the_web_and_end(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->hub.location = "file:///etc/passwd";
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "cannot download 'file:///etc/passwd'");
    w->hub.location = NULL;
    atomic_store(&w->hub.loops, true);
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "redirects more than");
    assert_not_pulled(w);
}

static void models_without_readable_weights_are_refused(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->hub.files[1].name = "pytorch_model.bin";
    kh_assert_fails(pull(w, &err), KH_E_UNSUPPORTED, "convert them to safetensors");
    w->hub.files[1].name = "weights.txt";
    kh_assert_fails(pull(w, &err), KH_E_NOT_FOUND, "has no safetensors weights");
    w->hub.files[1].name = "model.safetensors";
    w->hub.files[0].name = "settings.json";
    kh_assert_fails(pull(w, &err), KH_E_NOT_FOUND, "has no config.json");
}

static void caps_hold(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->tuning.limits.max_config_bytes = 10;
    kh_assert_fails(pull(w, &err), KH_E_LIMIT, "the limit is 10");
    w->tuning.limits = kh_limits_default();
    w->tuning.limits.max_weights_bytes = WEIGHT_BYTES - 1;
    kh_assert_fails(pull(w, &err), KH_E_LIMIT, "the limit is 299999");
    w->tuning.limits = kh_limits_default();
    atomic_store(&w->hub.long_list, true);
    kh_assert_fails(pull(w, &err), KH_E_LIMIT, "list of files is larger");
    atomic_store(&w->hub.long_list, false);
    w->hub.files[1].listed = 1000; /* more arrives than was listed */
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "longer than the 1000 bytes");
    assert_not_pulled(w);
}

/* ---- resuming ----------------------------------------------------------------------------------
 */

static void a_cut_transfer_goes_on_where_it_ended(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.cuts, 2);
    atomic_store(&w->hub.cut_bytes, 100000);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.weights, 3);
    assert_int_equal(w->hub.ranges, 2);
    assert_int_equal(w->hub.last_range, 200000);
}

static void a_hub_that_always_cuts_is_given_up(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.cuts, 1000);
    atomic_store(&w->hub.cut_bytes, 0);
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "cannot download");
    assert_null(strstr(err.text, "secret")); /* the signature of the address */
    assert_int_equal(w->hub.weights, 5);
    assert_not_pulled(w);
}

static bool stop_half_way(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    (void)what;
    return total == 0 || done < total / 3;
}

static void a_stopped_pull_goes_on_later(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.pause_ms, 5);
    w->options.progress = stop_half_way;
    kh_assert_fails(pull(w, &err), KH_E_STOPPED, "stopped");
    assert_not_pulled(w);
    size_t bytes = 0;
    assert_int_equal(count_files(w, ".partial", &bytes), 1);
    assert_in_range(bytes, WEIGHT_BYTES / 3, WEIGHT_BYTES - 1);
    atomic_store(&w->hub.pause_ms, 0);
    w->options.progress = NULL;
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.ranges, 1);
    assert_int_equal(w->hub.last_range, bytes);
}

static void a_store_without_ranges_starts_again(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.ignores_range, true);
    atomic_store(&w->hub.cuts, 1);
    atomic_store(&w->hub.cut_bytes, 50000);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.weights, 2);
}

static void a_store_with_other_ranges_starts_again(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.wrong_ranges, 1);
    atomic_store(&w->hub.cuts, 1);
    atomic_store(&w->hub.cut_bytes, 50000);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.weights, 3);
}

static void silence_ends_the_transfer(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.stall_bytes, 40000);
    w->tuning.retries = 0;
    kh_assert_fails(pull(w, &err), KH_E_NETWORK, "too slow");
    size_t bytes = 0;
    assert_int_equal(count_files(w, ".partial", &bytes), 1);
    assert_in_range(bytes, 1, 40960);
    atomic_store(&w->hub.stall_bytes, 0);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.last_range, bytes);
}

/* ---- checking ----------------------------------------------------------------------------------
 */

static void wrong_bytes_are_not_kept(void **state) {
    world *w = *state;
    kh_error err = {0};
    atomic_store(&w->hub.corrupts, true);
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "checksum mismatch of 'model.safetensors'");
    assert_non_null(strstr(err.text, weights_sha256));
    assert_int_equal(count_files(w, ".partial", NULL), 0);
    assert_not_pulled(w);
    atomic_store(&w->hub.hides_sums, true); /* the redirect's header still tells */
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "checksum mismatch of 'model.safetensors'");
    assert_not_pulled(w);
    atomic_store(&w->hub.corrupts, false);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
}

static void small_files_are_checked_by_their_blob(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->hub.files[0].blob_id = "0000000000000000000000000000000000000000";
    kh_assert_fails(pull(w, &err), KH_E_FORMAT, "checksum mismatch of 'config.json'");
    assert_not_pulled(w);
}

static void a_damaged_partial_file_is_fetched_anew(void **state) {
    world *w = *state;
    kh_error err = {0};
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/model.safetensors.%.16s.partial", w->folder,
                   weights_sha256);
    kh_assert_ok(kh_make_directories(w->folder, &err));
    kh_assert_ok(kh_file_write(path, config, sizeof config - 1, &err)); /* not what it claims */
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.ranges, 1);
    assert_int_equal(w->hub.weights, 2);
}

static void a_partial_file_that_is_a_link_is_not_followed(void **state) {
    world *w = *state;
    kh_error err = {0};
    char path[1024], victim[1024];
    (void)snprintf(victim, sizeof victim, "%s/victim", w->cache);
    (void)snprintf(path, sizeof path, "%s/model.safetensors.%.16s.partial", w->folder,
                   weights_sha256);
    kh_assert_ok(kh_make_directories(w->folder, &err));
    kh_assert_ok(kh_file_write(victim, "precious", 8, &err));
    assert_int_equal(symlink(victim, path), 0);
    kh_assert_fails(pull(w, &err), KH_E_IO, "cannot create");
    (void)snprintf(path, sizeof path, "%s", victim);
    unsigned char *bytes;
    size_t count;
    kh_assert_ok(kh_file_read(path, 100, &bytes, &count, &err));
    assert_int_equal(count, 8);
    kh_free(bytes);
}

/* ---- the machine -------------------------------------------------------------------------------
 */

/* A limit on the size of files stands for a full disk: both end in a failed write. */
static void a_full_disk_keeps_what_arrived(void **state) {
    world *w = *state;
    kh_error err = {0};
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 65536;
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const kh_status status = pull(w, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, before);
    kh_assert_fails(status, KH_E_IO, "make room for 234464 more bytes");
    size_t bytes = 0;
    assert_int_equal(count_files(w, ".partial", &bytes), 1);
    assert_int_equal(bytes, 65536);
    kh_assert_ok(pull(w, &err));
    assert_pulled(w);
    assert_int_equal(w->hub.last_range, 65536);
}

static void a_cache_that_cannot_be_written_is_named(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->options.cache_dir = "/dev/null/cache";
    kh_assert_fails(pull(w, &err), KH_E_IO, "/dev/null/cache/hub/acme--tiny_patch16.v1/main");
    w->options.cache_dir = w->cache;
    kh_assert_fails(kh_hub_pull_tuned(ID, &w->options, &w->tuning, w->out, 10, &err), KH_E_ARG,
                    "does not fit in 10");
}

static void *pull_in_thread(void *user) {
    world w = {.options = ((world *)user)->options, .tuning = ((world *)user)->tuning};
    kh_error err = {0};
    return pull(&w, &err) ? user : NULL;
}

static void pulls_at_the_same_time_take_turns(void **state) {
    world *w = *state;
    pthread_t threads[4];
    atomic_store(&w->hub.pause_ms, 1);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pull_in_thread, w), 0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_pulled(w);
    assert_int_equal(w->hub.weights, 1);
    assert_int_equal(w->hub.lists, 1);
}

/* ---- names -------------------------------------------------------------------------------------
 */

static void names_that_could_escape_are_refused(void **state) {
    (void)state;
    static const char *const good[] = {"timm/vit_base_patch16_224.augreg_in21k_ft_in1k", "a/b",
                                       "A-1/b_2.c-d"};
    static const char *const bad[] = {"",      "a",     "/a",     "a/",        "a/b/c", "../b",
                                      "a/..",  "a/.b",  "a/b..c", "a--b/c",    "a/-b",  "a b/c",
                                      "a/b?c", "a/b#c", "a/b%2f", "a\\b/c",    "a/b\n", "./a",
                                      "a//b",  "~/a",   "a/b:c",  "\xC3\xA9/b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(kh_hub_id_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kh_hub_id_valid(bad[i])) fail_msg("'%s' was taken", bad[i]);
    assert_true(kh_hub_revision_valid("main"));
    assert_true(kh_hub_revision_valid("refs/pr/1"));
    assert_true(kh_hub_revision_valid(COMMIT));
    static const char *const worse[] = {"", "..", "a/../b", "/a", "a/", "a?b", "a b", "a/b/c/d/e"};
    for (size_t i = 0; i < sizeof worse / sizeof *worse; i++)
        if (kh_hub_revision_valid(worse[i])) fail_msg("'%s' was taken", worse[i]);
    kh_error err = {0};
    char out[512];
    kh_assert_fails(kh_hub_find("../../etc\033", NULL, out, sizeof out, &err), KH_E_ARG,
                    "'../../etc\\x1b' is not a hub model");
    const kh_hub_options options = {.revision = "..", .cache_dir = "/tmp"};
    kh_assert_fails(kh_hub_find(ID, &options, out, sizeof out, &err), KH_E_ARG,
                    "is not a revision");
}

static void another_revision_has_its_own_folder(void **state) {
    world *w = *state;
    kh_error err = {0};
    w->options.revision = "refs/pr/1";
    kh_assert_ok(pull(w, &err));
    assert_true(kh_ends_with(w->out, "/hub/acme--tiny_patch16.v1/refs--pr--1"));
    w->options.revision = NULL;
    kh_assert_fails(find(w, &err), KH_E_NOT_FOUND, "revision main");
}

static void strange_lists_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "not valid JSON"},
        {"<html>", "not valid JSON"},
        {"[]", "not an object"},
        {"{}", "no list of files"},
        {"{\"siblings\":{}}", "no list of files"},
        {"{\"siblings\":[1]}", "nameless"},
        {"{\"siblings\":[{\"rfilename\":1}]}", "nameless"},
        {"{\"siblings\":[{\"rfilename\":\"config.json\"}]}", "no size for 'config.json'"},
        {"{\"siblings\":[{\"rfilename\":\"config.json\",\"size\":-1}]}", "no size"},
        {"{\"siblings\":[{\"rfilename\":\"config.json\",\"size\":1.5}]}", "no size"},
        {"{\"siblings\":[{\"rfilename\":\"config.json\",\"size\":1},"
         "{\"rfilename\":\"config.json\",\"size\":2}]}",
         "twice"},
    };
    kh_hub_list list;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kh_error err = {0};
        kh_assert_fails(kh_hub_list_parse(bad[i][0], strlen(bad[i][0]), &list, &err), KH_E_FORMAT,
                        bad[i][1]);
    }
    kh_error err = {0};
    const char *odd = "{\"sha\":\"../x\",\"siblings\":[{\"rfilename\":\"config.json\",\"size\":1,"
                      "\"blobId\":\"zz\"},{\"rfilename\":\"x.safetensors\",\"size\":2,\"lfs\":"
                      "{\"size\":3,\"sha256\":\"short\"}}]}";
    kh_assert_ok(kh_hub_list_parse(odd, strlen(odd), &list, &err));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.commit, "");
    assert_string_equal(list.files[0].blob_id, "");
    assert_string_equal(list.files[1].sha256, "");
    assert_int_equal(list.files[1].bytes, 3);
    kh_hub_list_clear(&list);
}

static int prepare(void **state) {
    (void)state;
    float *noise = (float *)(void *)weights;
    kh_test_fill(noise, WEIGHT_BYTES / 4, 3, 1.0f);
    digest_of(weights, WEIGHT_BYTES, weights_sha256);
    static const char *const clear[] = {"http_proxy",  "all_proxy",     "ALL_PROXY",     "HF_TOKEN",
                                        "HF_ENDPOINT", "KEYHOLE_CACHE", "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof clear / sizeof *clear; i++)
        (void)unsetenv(clear[i]);
    return 0;
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        with_world(a_pulled_model_needs_no_network_again),
        with_world(force_brings_the_new_commit_and_removes_the_old_files),
        with_world(the_token_goes_to_the_hub_only),
        with_world(variables_name_hub_token_and_cache),
        with_world(shards_come_with_their_index),
        with_world(an_index_cannot_lead_out_of_the_folder),
        with_world(listed_names_are_not_trusted),
        with_world(refusals_say_what_to_do),
        with_world(a_short_outage_is_waited_out),
        with_world(nobody_listening_is_said),
        with_world(redirects_stay_on_the_web_and_end),
        with_world(models_without_readable_weights_are_refused),
        with_world(caps_hold),
        with_world(a_cut_transfer_goes_on_where_it_ended),
        with_world(a_hub_that_always_cuts_is_given_up),
        with_world(a_stopped_pull_goes_on_later),
        with_world(a_store_without_ranges_starts_again),
        with_world(a_store_with_other_ranges_starts_again),
        with_world(silence_ends_the_transfer),
        with_world(wrong_bytes_are_not_kept),
        with_world(small_files_are_checked_by_their_blob),
        with_world(a_damaged_partial_file_is_fetched_anew),
        with_world(a_partial_file_that_is_a_link_is_not_followed),
        with_world(a_full_disk_keeps_what_arrived),
        with_world(a_cache_that_cannot_be_written_is_named),
        with_world(pulls_at_the_same_time_take_turns),
        cmocka_unit_test(names_that_could_escape_are_refused),
        with_world(another_revision_has_its_own_folder),
        cmocka_unit_test(strange_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
