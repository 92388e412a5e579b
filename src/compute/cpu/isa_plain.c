#include "compute/cpu/isa.h"

#define KH_TILE_ROWS 4
#include "compute/cpu/vec_plain.h"

#include "compute/cpu/kernels_gemm.h"
#include "compute/cpu/kernels_pointwise.h"

#include "compute/cpu/kernels_attention.h"
#include "compute/cpu/kernels_linear.h"
#include "compute/cpu/kernels_table.h"

static bool supported(void) {
    return true;
}

KH_ISA_TABLE(kh_isa_plain, "plain", supported);
