#include "compute/cpu/isa.h"

#define KH_TILE_ROWS 6
#include "compute/cpu/vec_avx2.h"

#include "compute/cpu/kernels_gemm.h"
#include "compute/cpu/kernels_pointwise.h"

#include "compute/cpu/kernels_attention.h"
#include "compute/cpu/kernels_linear.h"
#include "compute/cpu/kernels_table.h"

static bool supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

KH_ISA_TABLE(kh_isa_avx2, "avx2", supported);
