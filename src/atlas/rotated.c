/* Thresholds of rotated units, from the run that found them to the pass that uses them. */
#include "atlas/job.h"

#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/store.h"
#include "lens/rotation.h"

kh_status kh_atlas_rotated(const char *run, const kh_model_info *info, float **out, kh_error *err) {
    char path[KH_ATLAS_PATH];
    size_t shape[8], rank;
    *out = NULL;
    KH_TRY(kh_atlas_path(path, err, run, "arrays/rotated_thresholds.npy"));
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_store_npy_shape(path, shape, &rank, err));
    if (rank != 2 || shape[0] != info->blocks || shape[1] != kh_rotation_units(info))
        return kh_fail(err, KH_E_SHAPE, "'%s' holds thresholds of another model", path);
    const size_t count = shape[0] * shape[1];
    float *values = kh_alloc_floats(count);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    const kh_status status = kh_store_npy_floats(path, 0, count, values, err);
    if (status)
        kh_free(values);
    else
        *out = values;
    return status;
}
