# Warnings and floating-point rules for everything we compile.
add_library(keyhole_flags INTERFACE)
target_compile_options(keyhole_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wdouble-promotion -Wcast-qual
  -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wwrite-strings
  -Wimplicit-fallthrough -Wnull-dereference
  # no contraction behind our back: FMA only where the code says so
  -ffp-contract=off)
if(KEYHOLE_WERROR)
  target_compile_options(keyhole_flags INTERFACE -Werror)
endif()
