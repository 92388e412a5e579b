/* Superclasses: which classes belong together, from a file, and where they ended up. */
#include "cli/lists.h"
#include "cli/share.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

enum { MAX_GROUPS = 100000 };
#define NO_GROUP SIZE_MAX

static kh_status find_group(kh_share_result *r, const char *name, size_t *out, kh_error *err) {
    for (*out = 0; *out < r->groups; ++*out)
        if (strcmp(r->group_names[*out], name) == 0) return KH_OK;
    char **names =
        r->groups < MAX_GROUPS ? kh_realloc(r->group_names, r->groups + 1, sizeof *names) : NULL;
    if (names) r->group_names = names;
    if (!names || !(names[r->groups] = kh_strdup(name)))
        return kh_fail(err, KH_E_MEMORY, "no memory for superclasses");
    r->groups++;
    return KH_OK;
}

/* "151-268\tdog" cut in two, in place; NULL when it is not two parts. */
static char *cut(char *line) {
    char *at = strpbrk(line, "\t,");
    if (!at) at = strpbrk(line, " ");
    if (!at) return NULL;
    *at++ = '\0';
    at += strspn(at, " \t");
    for (size_t end = strlen(line); end > 0 && line[end - 1] == ' ';)
        line[--end] = '\0';
    return *at && *line ? at : NULL;
}

static kh_status take_line(kh_share_result *r, const kh_classes *classes, char *line, size_t number,
                           kh_error *err) {
    size_t first, last, group;
    line[strcspn(line, "#\r")] = '\0';
    line += strspn(line, " \t");
    for (size_t end = strlen(line); end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t');)
        line[--end] = '\0';
    if (!*line) return KH_OK;
    char *name = cut(line);
    if (!name)
        return kh_fail(
            err, KH_E_FORMAT,
            "line %zu: expected a class, or classes like 151-268, a tab and a superclass", number);
    if (!kh_parse_range(line, &first, &last)) {
        KH_TRY(kh_classes_find(classes, line, &first, err));
        last = first;
    }
    if (last >= r->classes)
        return kh_fail(err, KH_E_FORMAT, "line %zu: class %zu, the model has %zu", number, last,
                       r->classes);
    KH_TRY(find_group(r, name, &group, err));
    for (size_t c = first; c <= last; c++) {
        if (r->group[c] != NO_GROUP)
            return kh_fail(err, KH_E_FORMAT, "line %zu: class %zu is in a superclass already",
                           number, c);
        r->group[c] = group;
    }
    return KH_OK;
}

kh_status kh_share_read_groups(kh_share_result *r, const kh_classes *classes, const char *path,
                               kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count = 0, number = 0, other;
    KH_TRY(kh_file_read(path, 16u << 20, &bytes, &count, err));
    kh_status status = KH_OK;
    if (!(r->group = kh_calloc(r->classes, sizeof *r->group)))
        status = kh_fail(err, KH_E_MEMORY, "no memory for superclasses");
    for (size_t c = 0; c < r->classes && !status; c++)
        r->group[c] = NO_GROUP;
    for (char *line = (char *)bytes, *next; line && !status; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        status = take_line(r, classes, line, ++number, err);
    }
    for (size_t c = 0; c < r->classes && !status; c++)
        if (r->group[c] == NO_GROUP) {
            status = find_group(r, "other", &other, err);
            r->group[c] = other;
        }
    kh_free(bytes);
    return status;
}

kh_status kh_share_look_at_group(const kh_share_result *r, size_t method, size_t group,
                                 kh_share_group *out, kh_error *err) {
    size_t *members = kh_calloc(r->classes, sizeof *members);
    if (!members) return kh_fail(err, KH_E_MEMORY, "no memory for a superclass");
    double within = 0, across = 0;
    size_t inside = 0, outside = 0;
    *out = (kh_share_group){0};
    for (size_t c = 0; c < r->classes; c++) {
        if (r->group[c] != group) continue;
        out->classes++;
        members[r->label[method][c]]++;
        for (size_t d = 0; d < r->classes; d++) {
            const double likeness = (double)r->likeness[c * r->classes + d];
            if (r->group[d] != group)
                across += likeness, outside++;
            else if (d != c)
                within += likeness, inside++;
        }
    }
    for (size_t l = 0; l < r->classes; l++)
        if (members[l] > out->in_best) out->best = l, out->in_best = members[l];
    for (size_t c = 0; c < r->classes; c++)
        out->best_size += r->label[method][c] == out->best;
    out->within = inside ? within / (double)inside : (double)NAN;
    out->across = outside ? across / (double)outside : (double)NAN;
    kh_free(members);
    return KH_OK;
}
