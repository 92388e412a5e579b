#include "lens/token_labels.h"

void kh_token_labels(const uint8_t *truth, const kh_model_info *info, bool by_majority,
                     uint8_t *out) {
    const size_t height = info->image_height, width = info->image_width;
    for (size_t r = 0; r < info->grid_height; r++)
        for (size_t c = 0; c < info->grid_width; c++) {
            const size_t top = r * height / info->grid_height, left = c * width / info->grid_width;
            const size_t bottom = (r + 1) * height / info->grid_height;
            const size_t right = (c + 1) * width / info->grid_width;
            size_t on = 0;
            for (size_t y = top; y < bottom; y++)
                for (size_t x = left; x < right; x++)
                    on += truth[y * width + x] != 0;
            out[r * info->grid_width + c] = by_majority ? 2 * on > (bottom - top) * (right - left)
                                                        : truth[top * width + left] != 0;
        }
}
