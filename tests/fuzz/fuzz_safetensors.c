/* A weight file from a stranger: refused, or everything in it is where its header says. */
#define _GNU_SOURCE
#include "fuzz/fuzz.h"

#include "io/tensors.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check_header(const kh_tensor_header *header, uint64_t data_bytes) {
    uint64_t total = 0;
    for (size_t i = 0; i < header->count; i++) {
        const kh_tensor_entry *e = &header->entries[i];
        if (i && strcmp(header->entries[i - 1].name, e->name) >= 0) abort();
        if (e->begin > e->end || e->end > data_bytes || e->rank > KH_TENSOR_MAX_RANK) abort();
        if ((e->end - e->begin) * 8 != (uint64_t)e->count * e->dtype->bits) abort();
        total += e->end - e->begin;
    }
    if (total != data_bytes) abort();
}

static void read_everything(const kh_tensors *t) {
    char digest[65];
    if (kh_tensors_sha256(t, digest, NULL)) abort();
    (void)kh_tensors_metadata(t, "format");
    for (size_t i = 0; i < kh_tensors_count(t); i++) {
        const kh_tensor_info info = kh_tensors_get(t, i);
        kh_tensor_info found;
        if (!kh_tensors_find(t, info.name, &found) || found.count != info.count) abort();
        if (info.count > 1u << 20) continue; /* empty dimensions of other types can be large */
        double *out = kh_calloc(info.count, sizeof *out);
        float *single = kh_alloc_floats(info.count);
        if (!out || !single) abort();
        (void)kh_tensors_read_f64(t, info.name, false, out, info.count, NULL);
        (void)kh_tensors_read(t, info.name, true, single, info.count, NULL);
        kh_free(out);
        kh_free(single);
    }
}

static void open_file(const uint8_t *bytes, size_t count) {
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, count) != (ssize_t)count) abort();
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    kh_tensors *t = NULL;
    if (kh_tensors_open(path, NULL, &t, NULL)) abort(); /* the header was right */
    read_everything(t);
    kh_tensors_close(t);
    (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const kh_limits limits = kh_limits_default();
    kh_tensor_header header;
    kh_error err;
    size_t length;
    const size_t have = count < 8 ? count : 8;
    if (kh_tensor_header_length(bytes, have, count, &limits, "input", &length, &err) == KH_OK) {
        const uint64_t data_bytes = count - 8 - length;
        const char *text = (const char *)bytes + 8;
        if (!kh_tensor_header_parse(text, length, data_bytes, &limits, "input", &header, &err)) {
            check_header(&header, data_bytes);
            kh_tensor_header_clear(&header);
            open_file(bytes, count);
        }
    }
    /* the same bytes as bare header text: mutations need not keep the length right */
    if (!kh_tensor_header_parse((const char *)bytes, count, 8, &limits, "input", &header, &err)) {
        check_header(&header, 8);
        kh_tensor_header_clear(&header);
    }
    return 0;
}
