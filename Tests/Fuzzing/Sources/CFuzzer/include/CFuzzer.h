#ifndef STUB53_CFUZZER_H
#define STUB53_CFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// libFuzzer with its own main: calls `run` with one input after another until the limits in the arguments are reached.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*run)(const uint8_t *bytes, size_t count));

/// memfd_create(2): a file in memory, which Glibc's Swift module hides.
int cfuzzer_memory_file(void);

#endif
