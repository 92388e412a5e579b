#include "base/alloc.h"
#include "vit/load.h"

#include <string.h>

/* Matrices being read at the same time; each needs room for the largest. */
#define MAX_TOGETHER 4

typedef struct reading {
    const kh_fill *fill;
    kh_model *model;
    size_t index[MAX_TOGETHER];
    float *weight[MAX_TOGETHER];
    float *bias[MAX_TOGETHER];
    kh_status status[MAX_TOGETHER];
    kh_error err[MAX_TOGETHER];
} reading;

static bool has_bias(const kh_tensor_table *t, size_t index) {
    return index + 1 < t->count && t->items[index + 1].place == KH_PLACE_BIAS;
}

static void read_matrix(void *arg, size_t task, size_t worker) {
    (void)worker;
    reading *r = arg;
    const kh_tensor_table *t = r->model->table;
    const size_t index = r->index[task];
    kh_status *status = &r->status[task];
    *status =
        r->fill->fetch(r->fill->user, index, r->weight[task], t->items[index].count, &r->err[task]);
    if (!*status && has_bias(t, index))
        *status = r->fill->fetch(r->fill->user, index + 1, r->bias[task], t->items[index + 1].count,
                                 &r->err[task]);
}

static kh_status pack_matrix(reading *r, size_t task, kh_error *err) {
    kh_model *m = r->model;
    const kh_parameter *p = &m->table->items[r->index[task]];
    const size_t outs = p->shape[0], ins = p->count / outs;
    if (r->status[task]) {
        if (err) *err = r->err[task];
        return r->status[task];
    }
    const float *bias = has_bias(m->table, r->index[task]) ? r->bias[task] : NULL;
    *p->weight = m->backend->pack(m->home, r->weight[task], bias, outs, ins, false);
    if (!*p->weight)
        return kh_fail(err, KH_E_MEMORY, "no memory for %s [%zu, %zu]", p->name, outs, ins);
    return KH_OK;
}

static kh_status tell(const kh_fill *fill, uint64_t done, uint64_t total, kh_error *err) {
    if (fill->progress && !fill->progress(fill->progress_user, "bytes", done, total))
        return kh_fail(err, KH_E_STOPPED, "stopped while reading weights");
    return KH_OK;
}

static uint64_t total_bytes(const kh_tensor_table *t) {
    uint64_t total = 0;
    for (size_t i = 0; i < t->count; i++)
        total += (uint64_t)t->items[i].count * sizeof(float);
    return total;
}

static kh_status fill_matrices(kh_model *m, const kh_fill *fill, uint64_t *done, kh_error *err) {
    const kh_tensor_table *t = m->table;
    const uint64_t total = total_bytes(t);
    size_t largest = 1, most_rows = 1, together = kh_pool_threads(kh_ctx_pool(m->home));
    if (together > MAX_TOGETHER) together = MAX_TOGETHER;
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].place != KH_PLACE_WEIGHT) continue;
        if (t->items[i].count > largest) largest = t->items[i].count;
        if (t->items[i].shape[0] > most_rows) most_rows = t->items[i].shape[0];
    }
    kh_status status = KH_OK;
    reading *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory to read weights");
    r->fill = fill;
    r->model = m;
    for (size_t k = 0; k < together; k++) {
        r->weight[k] = kh_alloc_floats(largest);
        r->bias[k] = kh_alloc_floats(most_rows);
        if (!r->weight[k] || !r->bias[k]) {
            status = kh_fail(err, KH_E_MEMORY, "no memory for a matrix of %zu floats", largest);
            goto done;
        }
    }
    for (size_t i = 0; i < t->count;) {
        size_t count = 0;
        for (; i < t->count && count < together; i++)
            if (t->items[i].place == KH_PLACE_WEIGHT) r->index[count++] = i;
        kh_pool_run(kh_ctx_pool(m->home), count, read_matrix, r);
        for (size_t k = 0; k < count; k++) {
            KH_GO(pack_matrix(r, k, err));
            const size_t index = r->index[k];
            *done += (uint64_t)t->items[index].count * sizeof(float);
            if (has_bias(t, index)) *done += (uint64_t)t->items[index + 1].count * sizeof(float);
        }
        KH_GO(tell(fill, *done, total, err));
    }
done:
    for (size_t k = 0; k < MAX_TOGETHER; k++) {
        kh_free(r->weight[k]);
        kh_free(r->bias[k]);
    }
    kh_free(r);
    return status;
}

static kh_status fill_vectors(kh_model *m, const kh_fill *fill, uint64_t *done, kh_error *err) {
    const kh_tensor_table *t = m->table;
    const size_t prefix_count = m->info.prefix_tokens * m->info.dim;
    kh_status status = KH_OK;
    size_t most = prefix_count;
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].place == KH_PLACE_VECTOR && t->items[i].count > most)
            most = t->items[i].count;
    float *host = kh_alloc_floats(most + 1);
    float *prefix = kh_alloc_floats(prefix_count + 1);
    if (!host || !prefix) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to read weights");
        goto done;
    }
    for (size_t i = 0; i < t->count; i++) {
        const kh_parameter *p = &t->items[i];
        if (p->place == KH_PLACE_PREFIX) {
            KH_GO(fill->fetch(fill->user, i, prefix + p->first_row * m->info.dim, p->count, err));
        } else if (p->place == KH_PLACE_VECTOR) {
            KH_GO(fill->fetch(fill->user, i, host, p->count, err));
            float *memory = m->backend->alloc(m->home, p->count);
            if (!memory) {
                status = kh_fail(err, KH_E_MEMORY, "no memory for %s", p->name);
                goto done;
            }
            m->backend->upload(m->home, memory, host, p->count);
            if (p->vector)
                *p->vector = memory;
            else
                *p->norm_vector = memory;
        } else {
            continue;
        }
        *done += (uint64_t)p->count * sizeof(float);
    }
    if (prefix_count) {
        m->prefix = m->backend->alloc(m->home, prefix_count);
        if (!m->prefix) {
            status = kh_fail(err, KH_E_MEMORY, "no memory for the class token");
            goto done;
        }
        m->backend->upload(m->home, m->prefix, prefix, prefix_count);
    }
done:
    kh_free(host);
    kh_free(prefix);
    return status;
}

kh_status kh_model_fill(kh_model *model, const kh_fill *fill, kh_error *err) {
    uint64_t done = 0;
    KH_TRY(fill_vectors(model, fill, &done, err));
    return fill_matrices(model, fill, &done, err);
}

void kh_model_release(kh_model *m) {
    const kh_tensor_table *t = m->table;
    for (size_t i = 0; t && i < t->count; i++) {
        const kh_parameter *p = &t->items[i];
        if (p->place == KH_PLACE_WEIGHT && *p->weight) {
            m->backend->weight_free(m->home, *p->weight);
            *p->weight = NULL;
        } else if (p->place == KH_PLACE_VECTOR) {
            /* ours since fill_vectors; const only for those who use it */
            float *memory = p->vector ? *p->vector : (float *)(uintptr_t)*p->norm_vector;
            if (memory) m->backend->release(m->home, memory);
            if (p->vector)
                *p->vector = NULL;
            else
                *p->norm_vector = NULL;
        }
    }
    if (m->prefix) m->backend->release(m->home, m->prefix);
    if (m->pos) m->backend->release(m->home, m->pos);
    if (m->map_pool.q) m->backend->release(m->home, m->map_pool.q);
    m->prefix = m->pos = m->map_pool.q = NULL;
}
