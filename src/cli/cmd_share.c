/* keyhole share: classes that share value vectors, and the base classes they suggest. */
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/outdir.h"
#include "cli/share.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHUFFLES = 200 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *mode, *head, *likeness, *superclasses, *wordnet, *block, *out;
    size_t k, topk, bases, seed;
    bool overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->mode = "ln";
    s->head = "first";
    s->likeness = "jaccard";
    s->k = 1;
    s->topk = 10;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "mode", 'm', offsetof(settings, mode), "raw|cos|ln|fold|margin|prob",
     "Alignment mode of the ranking. Default: ln."},
    {KH_OPT_SIZE, "k", 'k', offsetof(settings, k), "K",
     "A value vector serves a class when it is among its first K of all blocks. Default: 1."},
    {KH_OPT_SIZE, "topk", 0, offsetof(settings, topk), "K",
     "Classes are alike when their first K value vectors are the same ones. Default: 10."},
    {KH_OPT_TEXT, "likeness", 0, offsetof(settings, likeness), "jaccard|overlap",
     "Of two such sets: shared of all, or shared of K. Default: jaccard."},
    {KH_OPT_SIZE, "bases", 0, offsetof(settings, bases), "N",
     "Base classes to look for: rank of the factorisation, and clusters (more where classes share"
     " nothing). Default: a quarter of the classes, from 2 to 50."},
    {KH_OPT_TEXT, "block", 0, offsetof(settings, block), "B",
     "Block whose alignments are factorised. Default: the one with most first value vectors."},
    {KH_OPT_TEXT, "superclasses", 0, offsetof(settings, superclasses), "FILE",
     "Lines 'CLASS superclass' (an index, a range like 151-268, or a wnid or name before a tab):"
     " says how well the base classes fit them. Classes on no line are 'other'."},
    {KH_OPT_TEXT, "wordnet", 0, offsetof(settings, wordnet), "DIR",
     "WordNet 3.0's folder with data.noun (/usr/share/wordnet of the package wordnet-base): says of"
     " which noun the classes of each group are kinds, and how alike they are (Wu-Palmer)."},
    {KH_OPT_SIZE, "seed", 0, offsetof(settings, seed), "N",
     "Of the factorisation's first guess and of the shuffles. Default: 0."},
    {KH_OPT_TEXT, "head", 0, offsetof(settings, head), "first|second",
     "Which class embeddings, for models with two (distilled, DINOv2). Default: first."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Write tables, arrays, figures and manifest.json there."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

const char *const kh_share_method_names[KH_SHARE_METHODS] = {"clusters", "bases"};

static size_t peak_block(const kh_ranking *ranking, kh_error *err) {
    size_t best = 0;
    size_t *counts = kh_calloc(ranking->blocks, sizeof *counts);
    if (!counts) {
        (void)kh_fail(err, KH_E_MEMORY, "no memory for a histogram");
        return SIZE_MAX;
    }
    kh_lens_block_histogram(ranking, 0, counts);
    for (size_t b = 1; b < ranking->blocks; b++)
        if (counts[b] > counts[best]) best = b;
    kh_free(counts);
    return best;
}

static kh_status cluster(kh_share_result *r, kh_set_likeness kind, kh_error *err) {
    const size_t cells = r->classes * r->classes;
    r->likeness = kh_alloc_floats(cells);
    r->joins = kh_calloc(r->classes, sizeof *r->joins);
    r->order = kh_calloc(r->classes, sizeof *r->order);
    float *distance = kh_alloc_floats(cells);
    kh_status status = KH_OK;
    if (!r->likeness || !r->joins || !r->order || !distance)
        status = kh_fail(err, KH_E_MEMORY, "no memory for a tree of %zu classes", r->classes);
    if (!status) status = kh_lens_set_likeness(&r->ranking, r->k, kind, r->likeness, cells, err);
    for (size_t i = 0; i < cells && !status; i++)
        distance[i] = 1 - r->likeness[i];
    if (!status) status = kh_lens_average_linkage(distance, r->classes, r->joins, err);
    if (!status) status = kh_lens_tree_order(r->joins, r->classes, r->order, err);
    /* classes that share nothing are never one cluster */
    for (size_t i = 0; i + 1 < r->classes && !status; i++)
        r->clusters += r->joins[i].height < 1;
    r->clusters = r->classes - r->clusters;
    if (r->clusters < r->bases) r->clusters = r->bases;
    if (!status) status = kh_lens_tree_cut(r->joins, r->classes, r->clusters, r->label[0], err);
    kh_free(distance);
    return status;
}

/* The positive alignments of one block, factorised; a class's base is the one with its largest
 * part. */
static kh_status factorise(kh_session *session, const kh_align_options *align, kh_share_result *r,
                           kh_error *err) {
    const size_t units = r->ranking.units, cells = units * r->classes;
    kh_align_options folded = *align;
    folded.mode = r->bases_mode = KH_ALIGN_FOLD;
    kh_aligner *aligner = NULL;
    float *fold = kh_alloc_floats(cells);
    kh_status status = fold ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a block's scores");
    if (!status)
        status = kh_lens_aligner_create(session->ctx, session->model, &folded, &aligner, err);
    if (!status) status = kh_lens_aligner_block(aligner, r->block, fold, cells, err);
    kh_lens_aligner_free(aligner);
    for (size_t i = 0; i < cells && !status; i++)
        fold[i] = fold[i] > 0 ? fold[i] : 0;
    kh_nmf_options o = kh_nmf_options_default();
    o.rank = r->bases;
    o.seed = r->seed;
    o.progress = kh_session_progress;
    o.progress_user = session;
    if (!status) status = kh_lens_nmf(session->ctx, fold, units, r->classes, &o, &r->nmf, err);
    for (size_t c = 0; c < r->classes && !status; c++) {
        const float *part = r->nmf.columns_of + c * r->bases;
        for (size_t b = 1; b < r->bases; b++)
            if (part[b] > part[r->label[1][c]]) r->label[1][c] = b;
    }
    kh_free(fold);
    return status;
}

static kh_status choose(const settings *s, kh_share_result *r, kh_error *err) {
    const size_t quarter = r->classes / 4;
    r->k = s->topk;
    r->seed = s->seed;
    r->likeness_name = s->likeness;
    r->bases = s->bases ? s->bases : quarter < 2 ? 2 : quarter > 50 ? 50 : quarter;
    if (r->bases > r->classes || r->bases > r->ranking.units)
        return kh_fail(err, KH_E_ARG, "--bases %zu: the model has %zu classes", r->bases,
                       r->classes);
    r->block = s->block ? SIZE_MAX : peak_block(&r->ranking, err);
    if (!s->block) return r->block == SIZE_MAX ? KH_E_MEMORY : KH_OK;
    if (kh_parse_size(s->block, &r->block) && r->block < r->ranking.blocks) return KH_OK;
    return kh_fail(err, KH_E_ARG, "--block is 0 to %zu", r->ranking.blocks - 1);
}

static kh_status compute(kh_session *session, const settings *s, kh_share_result *r,
                         kh_error *err) {
    kh_rank_options how = kh_rank_options_default();
    KH_TRY(kh_align_mode_parse(s->mode, &how.align.mode, err));
    how.align.head = strcmp(s->head, "first") == 0 ? KH_HEAD_FIRST : KH_HEAD_SECOND;
    how.k = s->topk > s->k ? s->topk : s->k;
    how.progress = kh_session_progress;
    how.progress_user = session;
    KH_TRY(kh_lens_rank(session->ctx, session->model, &how, &r->ranking, err));
    r->classes = r->ranking.classes;
    KH_TRY(kh_lens_shared(&r->ranking, s->k, &r->shared, err));
    KH_TRY(choose(s, r, err));
    for (size_t m = 0; m < KH_SHARE_METHODS; m++)
        if (!(r->label[m] = kh_calloc(r->classes, sizeof *r->label[m])))
            return kh_fail(err, KH_E_MEMORY, "no memory for labels");
    if (s->superclasses)
        KH_TRY(kh_share_read_groups(r, kh_model_classes(session->model), s->superclasses, err));
    if (s->wordnet)
        KH_TRY(kh_share_read_nouns(s->wordnet, kh_model_classes(session->model), &r->nouns, err));
    KH_TRY(
        cluster(r, strcmp(s->likeness, "jaccard") == 0 ? KH_SETS_JACCARD : KH_SETS_OVERLAP, err));
    KH_TRY(factorise(session, &how.align, r, err));
    for (size_t m = 0; m < KH_SHARE_METHODS && r->group; m++)
        KH_TRY(kh_lens_label_match(r->label[m], r->group, r->classes, SHUFFLES, s->seed,
                                   &r->match[m], err));
    return KH_OK;
}

static void clear(kh_share_result *r) {
    kh_ranking_clear(&r->ranking);
    kh_shared_clear(&r->shared);
    kh_nmf_clear(&r->nmf);
    kh_free(r->likeness);
    kh_free(r->joins);
    kh_free(r->order);
    for (size_t m = 0; m < KH_SHARE_METHODS; m++)
        kh_free(r->label[m]);
    for (size_t g = 0; g < r->groups; g++)
        kh_free(r->group_names[g]);
    kh_free(r->group_names);
    kh_free(r->group);
    kh_share_nouns_clear(&r->nouns);
}

/* ---- printing -------------------------------------------------------------------------------- */

static kh_status print_groups(const kh_share_result *r, kh_error *err) {
    printf(
        "how well they fit the %zu superclasses (in brackets: %d shuffles of the superclasses)\n",
        r->groups, SHUFFLES);
    for (size_t m = 0; m < KH_SHARE_METHODS; m++)
        printf("  %-8s NMI %.3f (%.3f), ARI %.3f (%.3f), purity %.3f (%.3f)\n",
               kh_share_method_names[m], r->match[m].nmi, r->match[m].nmi_null, r->match[m].ari,
               r->match[m].ari_null, r->match[m].purity, r->match[m].purity_null);
    for (size_t m = 0; m < KH_SHARE_METHODS; m++)
        for (size_t g = 0; g < r->groups; g++) {
            kh_share_group at;
            KH_TRY(kh_share_look_at_group(r, m, g, &at, err));
            printf("  %s: %zu of %zu classes of '%s' are in %s %zu of %zu classes; likeness %.3f "
                   "within, %.3f to others\n",
                   kh_share_method_names[m], at.in_best, at.classes, r->group_names[g],
                   m ? "base" : "cluster", at.best, at.best_size, at.within, at.across);
        }
    return KH_OK;
}

static void print_labels(const kh_share_result *r, const kh_classes *classes, size_t m) {
    enum { SHOWN = 12 };
    for (size_t b = 0; b < (m ? r->bases : r->clusters); b++) {
        size_t size = 0;
        char name[80];
        for (size_t c = 0; c < r->classes; c++)
            size += r->label[m][c] == b;
        if (size < 2) continue; /* a class alone is no base */
        printf("  %s %2zu, %zu classes:", m ? "base" : "cluster", b, size);
        for (size_t i = 0, shown = 0; i < r->classes; i++) {
            const size_t c = r->order[i];
            if (r->label[m][c] != b || shown++ >= SHOWN) continue;
            kh_class_short(classes, c, name, sizeof name);
            printf("%s %s", shown > 1 ? "," : "", name);
        }
        puts(size > SHOWN ? ", ..." : "");
    }
}

static void print_nouns(const kh_share_result *r) {
    double means[KH_SHARE_PAIRS];
    size_t counts[KH_SHARE_PAIRS];
    kh_share_pair_means(r, means, counts);
    printf("WordNet knows %zu of %zu classes; mean Wu-Palmer similarity of two:", r->nouns.known,
           r->classes);
    for (size_t i = 0; i < KH_SHARE_PAIRS; i++)
        printf("%s %.3f (%s, %zu)", i ? "," : "", means[i], kh_share_pair_names[i], counts[i]);
    puts("");
}

static kh_status print_text(const kh_share_result *r, const kh_model *model, kh_error *err) {
    const kh_classes *classes = kh_model_classes(model);
    printf(
        "%zu classes, mode %s: %zu value vectors are among the first %zu of a class; %zu serve 2 "
        "or more classes, %zu serve 3 or more\n",
        r->classes, kh_align_mode_name(r->ranking.mode), r->shared.unit_count, r->shared.k,
        kh_lens_shared_count(&r->shared, 2), kh_lens_shared_count(&r->shared, 3));
    printf(
        "clusters by %s of the first %zu value vectors (%zu; those of one class are not shown)\n",
        r->likeness_name, r->k, r->bases);
    print_labels(r, classes, 0);
    printf("bases of block %zu, mode %s (rank %zu, %zu iterations, relative error %.3f)\n",
           r->block, kh_align_mode_name(r->bases_mode), r->bases, r->nmf.iterations, r->nmf.error);
    print_labels(r, classes, 1);
    if (r->nouns.wordnet) print_nouns(r);
    return r->group ? print_groups(r, err) : KH_OK;
}

static json_t *labels_json(const size_t *labels, size_t count) {
    json_t *list = json_array();
    for (size_t c = 0; c < count; c++)
        json_array_append_new(list, json_integer((json_int_t)labels[c]));
    return list;
}

static json_t *nouns_json(const kh_share_result *r) {
    static const char *const keys[KH_SHARE_PAIRS] = {"all", "sharing", "clusters", "bases"};
    double means[KH_SHARE_PAIRS];
    size_t counts[KH_SHARE_PAIRS];
    kh_share_pair_means(r, means, counts);
    json_t *root = json_pack("{s:I}", "known", (json_int_t)r->nouns.known);
    for (size_t i = 0; i < KH_SHARE_PAIRS; i++)
        json_object_set_new(root, keys[i],
                            json_pack("{s:I, s:o}", "pairs", (json_int_t)counts[i], "wu_palmer",
                                      kh_json_number(means[i])));
    return root;
}

static json_t *result_json(const kh_share_result *r, const kh_model *model) {
    json_t *root = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "model", kh_model_receipt(model), "block",
        (json_int_t)r->block, "shared", (json_int_t)r->shared.unit_count, "shared_by_2",
        (json_int_t)kh_lens_shared_count(&r->shared, 2), "shared_by_3",
        (json_int_t)kh_lens_shared_count(&r->shared, 3), "error", r->nmf.error, "clusters",
        labels_json(r->label[0], r->classes), "bases", labels_json(r->label[1], r->classes));
    for (size_t m = 0; m < KH_SHARE_METHODS && r->group; m++) {
        char key[32];
        const kh_label_match *t = &r->match[m];
        (void)snprintf(key, sizeof key, "match_%s", kh_share_method_names[m]);
        json_object_set_new(root, key,
                            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "nmi", t->nmi, "nmi_null",
                                      t->nmi_null, "ari", t->ari, "ari_null", t->ari_null, "purity",
                                      t->purity, "purity_null", t->purity_null));
    }
    if (r->nouns.wordnet) json_object_set_new(root, "wordnet", nouns_json(r));
    return root;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const settings *s = from;
    if (s->k == 0 || s->topk == 0) {
        (void)kh_fail(err, KH_E_ARG, "-k and --topk start at 1");
        return KH_EXIT_MISUSED;
    }
    kh_session session = {0};
    kh_share_result r = {0};
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status && s->out) status = kh_outdir_check(s->out, "share", s->overwrite, err);
    if (!status) status = compute(&session, s, &r, err);
    if (!status && s->out) {
        status = kh_outdir_begin(s->out, "share", err);
        if (!status) status = kh_share_write_figures(&r, session.model, s->out, err);
        if (!status) status = kh_share_write_files(&r, session.model, s->out, err);
    }
    if (!status && s->common.json)
        status = kh_print_json(result_json(&r, session.model), err) ? KH_OK : KH_E_MEMORY;
    else if (!status)
        status = print_text(&r, session.model, err);
    if (!status && s->out && !s->common.json) fprintf(stderr, "results in %s\n", s->out);
    clear(&r);
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_share = {
    .name = "share",
    .summary = "classes that share value vectors, and the base classes they suggest",
    .operands = "MODEL",
    .description =
        "Counts the value vectors that are the first choice of several classes, joins classes whose"
        " first ten value vectors are alike into a tree (average linkage) and cuts it, and"
        " factorises a block's positive alignments into non-negative base classes. With"
        " --superclasses it says how well either fits groups that people made (normalised mutual"
        " information, adjusted Rand index, purity, each beside its value under shuffling), and"
        " where each group ended up. With --wordnet it adds the lowest common hypernym and the"
        " Wu-Palmer similarity of the classes that a value vector, cluster, base or superclass has"
        " in common, beside those of all pairs. Weights alone: whether a shared vector matters is "
        "a question"
        " for keyhole ablate.",
    .examples = "  keyhole share MODEL --out share\n"
                "  printf '151-268\\tdog\\n' > dogs.txt; keyhole share MODEL --superclasses "
                "dogs.txt\n"
                "  keyhole share MODEL --wordnet /usr/share/wordnet --out share\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
