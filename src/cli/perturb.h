/* cli/perturb.h: what keyhole perturb leaves in its folder. */
#ifndef KH_CLI_PERTURB_H
#define KH_CLI_PERTURB_H

#include "cli/outdir.h"
#include "cli/session.h"

typedef struct kh_perturb_settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *truth, *tokens, *softmax, *label_file;
    size_t steps, random, seed, batch, pictures;
    bool neuron_gradients, exif_rotate, overwrite;
} kh_perturb_settings;

/* Maps of all images seen so far, until they are written. */
typedef struct kh_perturb_files {
    const kh_perturb_settings *settings;
    const kh_model *model;
    const kh_source *source;
    size_t patches, count;
    size_t *ids;              /* [count] */
    float *gradient, *neuron; /* [count, patches]; neuron NULL unless asked for */
} kh_perturb_files;

kh_status kh_perturb_files_init(kh_perturb_files *files, const kh_perturb_settings *settings,
                                const kh_model *model, const kh_source *source, kh_error *err);
void kh_perturb_files_clear(kh_perturb_files *files);
/* The callback of kh_perturb_options; user: the files. */
void kh_perturb_files_see(void *files, size_t image, const float *gradient, const float *neuron);
/* perturb.csv, removal.csv, auc.csv, images.csv, map.npy, neuron_gradient.npy, pictures and
 * manifest.json. */
kh_status kh_perturb_files_write(const kh_perturb_files *files, const kh_perturbation *p,
                                 const kh_decode_options *decode, kh_error *err);

json_t *kh_perturb_json(const kh_perturbation *p, const char *out);

#endif
