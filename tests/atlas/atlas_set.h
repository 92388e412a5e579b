/* atlas/atlas_set.h: a small labelled image set and runs over it. */
#ifndef KH_TEST_ATLAS_SET_H
#define KH_TEST_ATLAS_SET_H

#include "support/kh_test.h"

#include "keyhole.h"

/* Sanitizers make a run many times longer and see the same in fewer of them, with fewer images. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ATLAS_IS_SANITIZED true
enum { ATLAS_SET_IMAGES = 15 };
#else
#define ATLAS_IS_SANITIZED false
enum { ATLAS_SET_IMAGES = 29 };
#endif

enum { ATLAS_SET_BROKEN = 2 };

/* Class folders with ATLAS_SET_IMAGES small pictures, two of them broken; removed at exit. */
const char *atlas_set_folder(void);

typedef struct atlas_world {
    kh_ctx *ctx;
    kh_model *model;
    kh_source *source;
} atlas_world;

void atlas_world_open(atlas_world *w, const char *model, const char *folder, size_t threads);
void atlas_world_close(atlas_world *w);

/* Options with the directory and a small sample. */
kh_atlas_options atlas_options(const char *out);
/* Runs to the end and gives the digest. */
void atlas_digest_of(const atlas_world *w, const kh_atlas_options *options, char digest[65]);

#endif
