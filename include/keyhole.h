/* keyhole.h: the front door of libkeyhole. Everything the command line does goes through here. */
#ifndef KEYHOLE_H
#define KEYHOLE_H

#include "keyhole/ablate.h"
#include "keyhole/atlas.h"
#include "keyhole/base.h"
#include "keyhole/bases.h"
#include "keyhole/claims.h"
#include "keyhole/compute.h"
#include "keyhole/diorama.h"
#include "keyhole/dream.h"
#include "keyhole/export.h"
#include "keyhole/figure.h"
#include "keyhole/io.h"
#include "keyhole/lens.h"
#include "keyhole/perturb.h"
#include "keyhole/store.h"
#include "keyhole/truth.h"
#include "keyhole/vit.h"

#endif
