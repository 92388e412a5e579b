/* top_neurons MODEL CLASS: which key neurons speak for a class?
 *
 *     top_neurons timm/vit_base_patch16_224.augreg_in21k_ft_in1k "golden retriever"
 *
 * Every neuron of every MLP owns a value vector, which it adds to a token whenever it fires. Pushed
 * through the final norm and the classifier, a value vector yields a score for each class: the
 * alignment. No image is needed for that, only weights. */
#include <keyhole.h>

#include <stdio.h>

static kh_status print_top(kh_ctx *ctx, const kh_model *model, const char *query, kh_error *err) {
    const kh_classes *classes = kh_model_classes(model);
    if (!classes) {
        (void)snprintf(err->text, sizeof err->text, "this model has no classifier");
        return KH_E_UNSUPPORTED;
    }
    size_t wanted = 0;
    kh_status status = kh_classes_find(classes, query, &wanted, err);
    if (status) return status;

    kh_ranking ranking = {0};
    const kh_rank_options options = kh_rank_options_default(); /* mode ln, ten per class */
    status = kh_lens_rank(ctx, model, &options, &ranking, err);
    if (status) return status;

    printf("class %zu, %s\n", wanted, kh_classes_get(classes, wanted).name);
    for (size_t rank = 0; rank < ranking.k; rank++) {
        const kh_ranked *best = &ranking.global[wanted * ranking.k + rank];
        const uint32_t own = ranking.top_class[best->block * ranking.units + best->index];
        char name[32];
        kh_neuron_format((kh_neuron){best->block, best->index}, name, sizeof name);
        printf("%2zu  %-9s alignment %8.4f   speaks most for: %s\n", rank, name,
               (double)best->score, kh_classes_get(classes, own).name);
    }
    kh_ranking_clear(&ranking);
    return KH_OK;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: top_neurons MODEL CLASS\n");
        return 2;
    }
    kh_error err = {KH_OK, ""};
    kh_ctx *ctx = NULL;
    kh_model *model = NULL;
    kh_status status = kh_ctx_create(NULL, &ctx, &err);
    if (!status) status = kh_model_open(ctx, argv[1], NULL, &model, &err);
    if (!status) status = print_top(ctx, model, argv[2], &err);
    if (status) fprintf(stderr, "top_neurons: %s\n", err.text);
    kh_model_close(model);
    kh_ctx_free(ctx);
    return status ? 1 : 0;
}
