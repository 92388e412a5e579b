/* fuzz/fuzz.h: what a fuzz target defines. Built with libFuzzer (preset fuzz) or with
 * replay_main.c, which runs every file of a corpus. */
#ifndef KH_FUZZ_H
#define KH_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
