#ifndef BENCHMARKS_CFIXEDSEED_H
#define BENCHMARKS_CFIXEDSEED_H

#include <stddef.h>

/// Takes the place of the Swift runtime's source of random numbers in a program that links this: the key of the name
/// hash is then the same in each run, and so is the number of probes that a table needs.
void swift_stdlib_random(void *bytes, size_t count);

#endif
