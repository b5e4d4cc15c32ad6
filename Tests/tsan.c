// What the thread sanitizer does not see by itself; preloaded by `make sanitize`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// The Mutex of Swift's library waits in code without the sanitizer: data under a contended lock would be reported as a
// race. These are absent in the program that runs the tests.
void __tsan_acquire(void *) __attribute__((weak));
void __tsan_release(void *) __attribute__((weak));

SWIFT void lock(uint32_t, SELF void *) __asm__(LOCK);
SWIFT void unlock(SELF void *) __asm__(UNLOCK);

SWIFT void lock(uint32_t thread, SELF void *mutex) {
    SWIFT void (*original)(uint32_t, SELF void *) = dlsym(RTLD_NEXT, LOCK);
    original(thread, mutex);
    if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT void unlock(SELF void *mutex) {
    SWIFT void (*original)(SELF void *) = dlsym(RTLD_NEXT, UNLOCK);
    if (__tsan_release) __tsan_release(mutex);
    original(mutex);
}

/// The sanitizer knows pthread_timedjoin_np, which takes the time of day, but not this one.
int pthread_clockjoin_np(pthread_t thread, void **result, clockid_t clock, const struct timespec *end) {
    struct timespec now, until;
    clock_gettime(clock, &now);
    clock_gettime(CLOCK_REALTIME, &until);
    long long wait = (end->tv_sec - now.tv_sec) * 1000000000LL + (end->tv_nsec - now.tv_nsec) + until.tv_nsec;
    until.tv_sec += wait / 1000000000;
    until.tv_nsec = wait % 1000000000;
    if (until.tv_nsec < 0) until = (struct timespec){0, 0};
    return pthread_timedjoin_np(thread, result, &until);
}
