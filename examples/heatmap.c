/* heatmap MODEL IMAGE: where in a picture does the predicted class's best key neuron fire?
 *
 * One pass gives the class; its best-aligned neuron comes from the weights; a second pass with a
 * tap on that one neuron gives a memory coefficient for every patch. kh_lens_look does all three.
 */
#include <keyhole.h>

#include <stdio.h>
#include <stdlib.h>

static void print_map(const kh_look *look) {
    static const char shades[] = " .:-=+*#%@";
    float highest = 0.0f;
    for (size_t i = 0; i < look->patches; i++)
        if (look->maps[i] > highest) highest = look->maps[i];
    for (size_t y = 0; y < look->grid.height; y++) {
        for (size_t x = 0; x < look->grid.width; x++) {
            const float a = look->maps[y * look->grid.width + x];
            const char shade = a > 0.0f ? shades[(int)(9.0f * a / highest)] : ' ';
            printf("%c%c", shade, shade); /* a character is half as wide as high */
        }
        putchar('\n');
    }
    printf("'@' is a memory coefficient of %.4g, ' ' is 0 or less\n", (double)highest);
}

static kh_status show(kh_ctx *ctx, const kh_model *model, const char *path, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(model)->preprocess;
    const size_t floats = 3 * how->height * how->width;
    kh_image image = {0};
    kh_ranking ranking = {0};
    kh_look look = {0};
    kh_look_options options = kh_look_options_default();
    const kh_rank_options rank_options = kh_rank_options_default();
    float *input = malloc(floats * sizeof *input);
    kh_status status = input ? KH_OK : KH_E_MEMORY;
    if (!status) status = kh_image_read(path, NULL, NULL, &image, err);
    if (!status) status = kh_preprocess_image(how, &image, input, floats, err);
    if (!status) status = kh_lens_rank(ctx, model, &rank_options, &ranking, err);
    options.ranking = &ranking;
    options.k = 1;
    if (!status) status = kh_lens_look(ctx, model, &options, input, 1, NULL, &look, err);
    if (!status) {
        char neuron[32];
        kh_neuron_format((kh_neuron){look.neurons[0].block, look.neurons[0].index}, neuron,
                         sizeof neuron);
        printf("class %zu, %s (%.1f %%), its best key neuron: %s\n", look.class_index[0],
               kh_classes_get(kh_model_classes(model), look.class_index[0]).name,
               100.0 * (double)look.top[0].probability, neuron);
        print_map(&look);
    }
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    kh_image_clear(&image);
    free(input);
    return status;
}

int main(int argc, char **argv) {
    kh_error err = {KH_OK, "out of memory"};
    kh_ctx *ctx = NULL;
    kh_model *model = NULL;
    if (argc != 3) return fprintf(stderr, "usage: heatmap MODEL IMAGE\n"), 2;
    kh_status status = kh_ctx_create(NULL, &ctx, &err);
    if (!status) status = kh_model_open(ctx, argv[1], NULL, &model, &err);
    if (!status) status = show(ctx, model, argv[2], &err);
    if (status) fprintf(stderr, "heatmap: %s\n", err.text);
    kh_model_close(model);
    kh_ctx_free(ctx);
    return status ? 1 : 0;
}
