/* vit/labels.h: class names out of a configuration. */
#ifndef KH_VIT_LABELS_H
#define KH_VIT_LABELS_H

#include <jansson.h>

#include "keyhole/io.h"

/* timm: names is a list or an object index -> name; descriptions (or NULL) an object name -> text.
 * A name that is a WordNet id becomes the wnid. *out is NULL when nothing is named. */
kh_status kh_labels_timm(const json_t *names, const json_t *descriptions, size_t count,
                         kh_classes **out, kh_error *err);

/* transformers: id2label. A map of LABEL_0, LABEL_1, ... names nothing: *out is NULL. */
kh_status kh_labels_hf(const json_t *id2label, size_t count, kh_classes **out, kh_error *err);

#endif
