/* vit/formula.h: the goldens' weights, computed again from their description
 * (tests/data/golden/README.md), independently of the library's own random models. */
#ifndef KH_TEST_FORMULA_H
#define KH_TEST_FORMULA_H

#include <stddef.h>

/* count elements of the tensor `name` of this shape. */
void formula_tensor(const char *name, size_t rank, const size_t *shape, float *out, size_t count);

/* "GOLDEN/case" below the test data; valid until the next call + 3. */
const char *golden_path(const char *folder, const char *file);

#endif
