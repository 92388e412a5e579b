/* Images that a run could not read: of a complete one from its tables, else from its states. And
 * their label maps. */
#include "atlas/job.h"
#include "atlas/shards.h"

#include "base/file.h"
#include "keyhole/store.h"

static kh_status from_tables(const char *run, kh_atlas_broken_fn each, void *user, kh_error *err) {
    char path[KH_ATLAS_PATH];
    kh_answer *a = NULL;
    KH_TRY(kh_atlas_path(path, err, run, "run.sqlite"));
    KH_TRY(
        kh_store_db_ask(path, "SELECT image, reason FROM broken ORDER BY image", NULL, 0, &a, err));
    for (size_t row = 0; row < kh_answer_rows(a); row++) {
        const char *reason = kh_answer_text(a, row, 1);
        each(user, (size_t)kh_answer_number(a, row, 0), reason ? reason : "");
    }
    kh_answer_free(a);
    return KH_OK;
}

static kh_status from_states(const char *run, kh_atlas_broken_fn each, void *user, kh_error *err) {
    kh_shards shards = {0};
    const kh_status status = kh_shards_list(run, &shards, err);
    for (size_t i = 0; i < shards.count && !status; i++) {
        const kh_state_head *head = &shards.items[i].head;
        for (size_t k = 0; k < head->broken_count; k++)
            each(user, (size_t)head->broken[k].id, head->broken[k].reason);
    }
    kh_shards_clear(&shards);
    return status;
}

kh_status kh_atlas_broken(const char *run, kh_atlas_broken_fn each, void *user, kh_error *err) {
    char manifest[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(manifest, err, run, "manifest.json"));
    return kh_file_exists(manifest) ? from_tables(run, each, user, err)
                                    : from_states(run, each, user, err);
}

/* ids are in order */
static bool is_listed(const kh_broken *list, size_t count, uint64_t id) {
    size_t first = 0;
    for (size_t end = count; first < end;) {
        const size_t middle = first + (end - first) / 2;
        if (list[middle].id < id)
            first = middle + 1;
        else
            end = middle;
    }
    return first < count && list[first].id == id;
}

kh_status kh_atlas_check_maps(const kh_atlas_job *job, kh_error *err) {
    const kh_state_head *head = &job->head;
    size_t map, found = 0;
    if (head->broken_maps_count == 0) return KH_OK;
    for (size_t i = 0; i < job->setup.images; i++)
        found +=
            !is_listed(head->broken, head->broken_count, i) &&
            kh_label_set_find(job->options->label_set, kh_source_get(job->source, i).name, &map);
    if (found > head->broken_maps_count) return KH_OK;
    return kh_fail(
        err, KH_E_FORMAT,
        "of no image the label maps could be read, the first of %zu: %s; put them right, "
        "and the same command (every --shard again) does the pass once more",
        found, head->broken_maps[0].reason);
}
