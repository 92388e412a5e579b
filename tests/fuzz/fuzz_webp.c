/* WebP files from strangers: decoded, turned by their EXIF block, resized for a small model. */
#include "fuzz/image_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_image(data, size, "RIFF", 4);
}
