#include "compute/cpu/isa.h"

#define KH_TILE_ROWS 12
#include "compute/cpu/vec_avx512.h"

#include "compute/cpu/kernels_gemm.h"
#include "compute/cpu/kernels_pointwise.h"

#include "compute/cpu/kernels_attention.h"
#include "compute/cpu/kernels_linear.h"
#include "compute/cpu/kernels_table.h"

static bool supported(void) {
    return __builtin_cpu_supports("avx512f") != 0;
}

KH_ISA_TABLE(kh_isa_avx512, "avx512", supported);
