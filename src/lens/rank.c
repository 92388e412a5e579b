/* The ranking of a model: alignment and ranker, block after block. */
#include "lens/aligner.h"

#include "base/alloc.h"
#include "base/checked.h"

kh_rank_options kh_rank_options_default(void) {
    return (kh_rank_options){.align = kh_align_options_default(), .k = 10};
}

kh_status kh_lens_rank(kh_ctx *ctx, const kh_model *model, const kh_rank_options *options,
                       kh_ranking *out, kh_error *err) {
    *out = (kh_ranking){0};
    kh_aligner *aligner = NULL;
    kh_ranker *ranker = NULL;
    float *scores = NULL;
    size_t count = 0;
    kh_status status;
    KH_GO(kh_lens_aligner_create(ctx, model, &options->align, &aligner, err));
    KH_GO(kh_lens_ranker_create(aligner->blocks, aligner->units, aligner->classes, options->k,
                                &ranker, err));
    if (kh_mul(aligner->units, aligner->classes, &count)) scores = kh_alloc_floats(count);
    if (!scores) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for %zu x %zu scores of a block",
                         aligner->units, aligner->classes);
        goto done;
    }
    for (size_t block = 0; block < aligner->blocks; block++) {
        if (options->progress &&
            !options->progress(options->progress_user, "blocks", block, aligner->blocks)) {
            status = kh_fail(err, KH_E_STOPPED, "stopped before block %zu", block);
            goto done;
        }
        KH_GO(kh_lens_aligner_block(aligner, block, scores, count, err));
        KH_GO(kh_lens_ranker_feed(ranker, ctx, scores, err));
        if (options->sink)
            KH_GO(options->sink(options->sink_user, block, scores, aligner->units, aligner->classes,
                                err));
    }
    if (options->progress)
        (void)options->progress(options->progress_user, "blocks", aligner->blocks, aligner->blocks);
    KH_GO(kh_lens_ranker_finish(ranker, out, err));
    out->mode = options->align.mode;
    out->source = options->align.source;

done:
    kh_free(scores);
    kh_lens_ranker_free(ranker);
    kh_lens_aligner_free(aligner);
    return status;
}
