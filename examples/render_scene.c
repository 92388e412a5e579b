/* Renders one scene of the demo world and says what it shows, region by region.
 *
 *     render_scene OUT.png [INDEX [SIZE]]
 */
#include <keyhole.h>

#include <stdio.h>
#include <stdlib.h>

static kh_status render(const char *path, uint64_t index, uint32_t size, kh_error *err) {
    kh_diorama *world = NULL;
    kh_diorama_scene scene;
    kh_image image = {.width = size, .height = size, .rgb = malloc(3 * (size_t)size * size)};
    kh_status status = image.rgb ? kh_diorama_new(size, 1, 0, &world, err) : KH_E_MEMORY;
    if (!status) status = kh_diorama_render(world, index, image.rgb, NULL, &scene, err);
    if (!status) status = kh_image_write(path, &image, err);
    if (!status) {
        printf("%s before %s, %.0f %% visible\n", kh_diorama_class_name(scene.class_index),
               kh_diorama_label_name(scene.background), 100.0 * scene.visible);
        for (size_t i = 0; i < scene.regions; i++)
            printf("%6u pixels  %s\n", (unsigned)scene.region[i].pixels, scene.region[i].caption);
    }
    kh_diorama_free(world);
    kh_image_clear(&image);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: render_scene OUT.png [INDEX [SIZE]]\n");
        return 2;
    }
    const uint64_t index = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    const unsigned long size = argc > 3 ? strtoul(argv[3], NULL, 10) : 96;
    kh_error err = {KH_OK, ""};
    const bool fits = size <= KH_DIORAMA_MAX_SIZE;
    const kh_status status = render(argv[1], index, fits ? (uint32_t)size : 0, &err);
    if (status) fprintf(stderr, "render_scene: %s\n", err.text);
    return status ? 1 : 0;
}
