#ifndef BENCHMARKS_CHARNESS_H
#define BENCHMARKS_CHARNESS_H

#include <sys/types.h>

/// Starts `arguments[0]`, found by PATH, on the cores of the mask `cores`, in a process group of its own, with standard
/// output and standard error in the file `output`. It is killed when the calling thread ends for any reason.
/// Returns its process id, or -1 with errno.
///
/// In C, because Swift has no fork, nor sched_setaffinity and prctl between fork and exec.
pid_t harness_start(char *const arguments[], unsigned long cores, const char *output);

/// Keeps the calling thread on the cores of the mask; returns 0, or -1 with errno.
int harness_pin(unsigned long cores);

#endif
