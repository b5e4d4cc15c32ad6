#ifndef BENCHMARKS_CFIXEDSEED_H
#define BENCHMARKS_CFIXEDSEED_H

#include <stddef.h>

/// Replaces the Swift runtime's source of random numbers in a program that links this, so that the key of the name hash,
/// and with it the number of probes in a table, is the same in each run.
void swift_stdlib_random(void *bytes, size_t count);

#endif
