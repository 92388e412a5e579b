#include "lens/identify.h"

#include <math.h>

enum { SITES = 3, GROUPS = 2 };
static const char *const site_names[SITES] = {"residual", "attention", "mlp"};
static const char *const group_names[GROUPS] = {"class_token", "patches"};

/* Identifiability 1 - place / classes at a quantile of the tokens: the sorted value at ceil(q n).
 */
static double at_quantile(const uint32_t *rank, size_t classes, uint64_t n, double q) {
    uint64_t seen = 0; /* from the worst place on */
    for (size_t c = classes; c-- > 0;) {
        seen += rank[c];
        if (n && (double)seen >= ceil(q * (double)n)) return 1 - (double)c / (double)classes;
    }
    return (double)NAN;
}

static void write_ranks(const kh_identify_view *v, const kh_lens_out *out) {
    const size_t classes = v->info->classes;
    out->table(out->user, "identifiability",
               "block:i site:t tokens:t n:i mean:r q25:r q50:r q75:r rate:r images:r");
    for (size_t i = 0; i < v->info->blocks * SITES * GROUPS; i++) {
        const uint32_t *rank = v->rank + i * classes;
        uint64_t n = 0;
        double sum = 0;
        for (size_t c = 0; c < classes; c++) {
            n += rank[c];
            sum += (double)rank[c] * (1 - (double)c / (double)classes);
        }
        if (n == 0) continue;
        const bool is_patches = i % GROUPS == 1;
        out->integer(out->user, (int64_t)(i / (SITES * GROUPS)));
        out->text(out->user, site_names[i / GROUPS % SITES]);
        out->text(out->user, group_names[i % GROUPS]);
        out->integer(out->user, (int64_t)n);
        out->real(out->user, sum / (double)n);
        out->real(out->user, at_quantile(rank, classes, n, 0.25));
        out->real(out->user, at_quantile(rank, classes, n, 0.5));
        out->real(out->user, at_quantile(rank, classes, n, 0.75));
        out->real(out->user, (double)rank[0] / (double)n);
        out->real(out->user,
                  is_patches ? (double)v->with_one[i / GROUPS] / (double)v->labelled : (double)NAN);
        out->row(out->user);
    }
}

static void write_changes(const kh_identify_view *v, const kh_lens_out *out) {
    const size_t patches = v->info->tokens - v->info->prefix_tokens;
    out->table(out->user, "class_change", "block:i layer:t tokens:t n:i rate:r");
    for (size_t i = 2 * GROUPS; i < v->info->blocks * 2 * GROUPS; i++) {
        const bool is_patches = i % GROUPS == 1;
        const size_t each = is_patches ? patches : (size_t)(v->info->prefix_tokens > 0);
        const uint64_t n = v->labelled * each;
        if (n == 0) continue;
        out->integer(out->user, (int64_t)(i / (2 * GROUPS)));
        out->text(out->user, site_names[1 + i / GROUPS % 2]);
        out->text(out->user, group_names[i % GROUPS]);
        out->integer(out->user, (int64_t)n);
        out->real(out->user, (double)v->rises[i] / (double)n);
        out->row(out->user);
    }
    out->table(out->user, "composition",
               "block:i in_previous:i in_attention:i in_mlp:i n:i share:r");
    for (size_t i = 8; i < v->info->blocks * 8; i++) {
        const double n = (double)v->labelled * (double)v->info->tokens;
        out->integer(out->user, (int64_t)(i / 8));
        out->integer(out->user, (int64_t)(i & 1));
        out->integer(out->user, (int64_t)(i >> 1 & 1));
        out->integer(out->user, (int64_t)(i >> 2 & 1));
        out->integer(out->user, (int64_t)v->same[i]);
        out->real(out->user, n > 0 ? (double)v->same[i] / n : (double)NAN);
        out->row(out->user);
    }
}

/* Images of a class, from any counter that sees each of its tokens once. */
static uint64_t total_of(const uint64_t *votes, size_t classes, size_t which) {
    uint64_t total = 0;
    for (size_t c = 0; c < classes; c++)
        total += votes[2 * c + which];
    return total;
}

/* The MLP over its own input: block 0 has one too, but as elsewhere the first is left out. */
static void write_input_changes(const kh_identify_view *v, const kh_lens_out *out) {
    const size_t patches = v->info->tokens - v->info->prefix_tokens;
    out->table(out->user, "class_change_input", "block:i tokens:t n:i rate:r");
    for (size_t i = GROUPS; i < v->info->blocks * GROUPS; i++) {
        const size_t each = i % GROUPS == 1 ? patches : (size_t)(v->info->prefix_tokens > 0);
        const uint64_t n = v->labelled * each;
        if (n == 0) continue;
        out->integer(out->user, (int64_t)(i / GROUPS));
        out->text(out->user, group_names[i % GROUPS]);
        out->integer(out->user, (int64_t)n);
        out->real(out->user, (double)v->rises_input[i] / (double)n);
        out->row(out->user);
    }
}

/* Were the blocks' votes independent, class by class: 1 - prod (1 - p_b(c) p_o(c)). */
static double expected_agreement(const kh_identify_view *v, size_t b, size_t o, double tokens) {
    const size_t classes = v->info->classes;
    double none = 1;
    for (size_t c = 0; c < classes; c++)
        none *= 1 - (double)v->voted[b * classes + c] / tokens *
                        ((double)v->voted[o * classes + c] / tokens);
    return 1 - none;
}

static void write_votes(const kh_identify_view *v, const kh_lens_out *out) {
    const size_t blocks = v->info->blocks;
    const double n = (double)v->labelled * (double)v->info->tokens;
    out->table(out->user, "vote_match", "block:i other:i observed:r expected:r difference:r");
    for (size_t b = 0; b < blocks && n > 0; b++)
        for (size_t o = b; o < blocks; o++) {
            const double observed = (double)v->agree[b * blocks + o] / n;
            const double expected = expected_agreement(v, b, o, n);
            out->integer(out->user, (int64_t)b);
            out->integer(out->user, (int64_t)o);
            out->real(out->user, observed);
            out->real(out->user, expected);
            out->real(out->user, observed - expected);
            out->row(out->user);
        }
}

void kh_identify_write(const kh_identify_view *v, const kh_lens_out *out) {
    const size_t classes = v->info->classes;
    const double n = (double)v->labelled * (double)v->info->tokens;
    write_ranks(v, out);
    write_changes(v, out);
    out->table(out->user, "agreement",
               "block:i tokens:i key_value:r key_value_random:r memory_prediction:r "
               "key_value_neuron:r key_value_neuron_random:r");
    for (size_t b = 0; b < v->info->blocks; b++) {
        const uint64_t *votes = v->votes + b * classes * 2;
        out->integer(out->user, (int64_t)b);
        out->integer(out->user, (int64_t)n);
        out->real(out->user, n > 0 ? (double)total_of(votes, classes, 0) / n : (double)NAN);
        out->real(out->user, n > 0 ? (double)total_of(votes, classes, 1) / n : (double)NAN);
        out->real(out->user, n > 0 ? (double)v->match[b] / n : (double)NAN);
        const uint64_t *own = v->own_votes + b * classes * 2;
        for (size_t which = 0; which < 2; which++)
            out->real(out->user, n > 0 ? (double)total_of(own, classes, which) / n : (double)NAN);
        out->row(out->user);
    }
    write_input_changes(v, out);
    write_votes(v, out);
}
