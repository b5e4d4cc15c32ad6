#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

#include <stdint.h>

/// The number of heap allocations by the calling thread so far, by any function of the C library, including Swift's.
/// Always 0 if `allocation_count_works` is 0.
uint64_t allocation_count(void);

/// Whether allocations are counted: not under a sanitizer, which has its own allocator.
int allocation_count_works(void);

#endif
