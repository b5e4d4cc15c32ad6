#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

#include <stdint.h>

/// Heap allocations that the calling thread has made since it started, by whichever function of the C library: Swift's
/// are among them. Always 0 where `allocation_count_works` is 0.
uint64_t allocation_count(void);

/// Whether allocations are counted: not under a sanitizer, which has its own allocator.
int allocation_count_works(void);

#endif
