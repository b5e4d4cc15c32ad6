#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <sys/timerfd.h>
#include <unistd.h>

_Static_assert(sizeof(struct clinux_mmsghdr) == sizeof(struct mmsghdr), "clinux_mmsghdr must match the kernel's");
_Static_assert(offsetof(struct clinux_mmsghdr, msg_len) == offsetof(struct mmsghdr, msg_len), "same layout");

int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
    return recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL);
}

int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
    return sendmmsg(fd, (struct mmsghdr *)messages, count, flags);
}

int clinux_accept(int fd, struct sockaddr_storage *address) {
    socklen_t length = sizeof *address;
    return accept4(fd, (struct sockaddr *)address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int clinux_local_address(const struct msghdr *message, struct sockaddr_storage *address, unsigned int *interface_index) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            struct sockaddr_in *in = (struct sockaddr_in *)address;
            memset(in, 0, sizeof *in);
            in->sin_family = AF_INET;
            in->sin_addr = info.ipi_spec_dst;
            *interface_index = 0;
            return 1;
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            struct sockaddr_in6 *in = (struct sockaddr_in6 *)address;
            memset(in, 0, sizeof *in);
            in->sin6_family = AF_INET6;
            in->sin6_addr = info.ipi6_addr;
            *interface_index = info.ipi6_ifindex;
            return 1;
        }
    }
    return 0;
}

size_t clinux_set_source(struct msghdr *message, const struct sockaddr *address, unsigned int interface_index) {
    struct cmsghdr *c = message->msg_control;
    if (address->sa_family == AF_INET && message->msg_controllen >= CMSG_SPACE(sizeof(struct in_pktinfo))) {
        struct in_pktinfo info = {.ipi_spec_dst = ((const struct sockaddr_in *)address)->sin_addr};
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        return message->msg_controllen = CMSG_SPACE(sizeof info);
    }
    if (address->sa_family == AF_INET6 && message->msg_controllen >= CMSG_SPACE(sizeof(struct in6_pktinfo))) {
        struct in6_pktinfo info = {
            .ipi6_addr = ((const struct sockaddr_in6 *)address)->sin6_addr, .ipi6_ifindex = interface_index};
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        return message->msg_controllen = CMSG_SPACE(sizeof info);
    }
    return 0;
}

size_t clinux_pktinfo_space(void) { return CMSG_SPACE(sizeof(struct in6_pktinfo)); }

void clinux_name_thread(unsigned long thread, const char *name) { pthread_setname_np((pthread_t)thread, name); }

int clinux_join_thread(unsigned long thread, long milliseconds) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    long nanoseconds = end.tv_nsec + milliseconds % 1000 * 1000000;
    end.tv_sec += milliseconds / 1000 + nanoseconds / 1000000000;
    end.tv_nsec = nanoseconds % 1000000000;
    return pthread_clockjoin_np((pthread_t)thread, NULL, CLOCK_MONOTONIC, &end);
}

/// Runs before main. A standard descriptor that is closed would be given to the next socket or database, to which
/// messages would then be written.
__attribute__((constructor)) static void open_standard_descriptors(void) {
    for (int standard = 0; standard <= 2; standard++) {
        // The lowest free number is this one. Without /dev, a descriptor that can't be written to does as well.
        if (fcntl(standard, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) open("/", O_PATH);
    }
}

// MARK: Becoming another user

/// What the main thread shall become.
static struct {
    uid_t user, saved;
    gid_t group;
    int count;
    gid_t groups[256];
    atomic_int is_done;
} next;

static void change_main_thread(int number) {
    (void)number;
    int error = errno;
    // What fails shows in check_threads.
    syscall(SYS_setgroups, next.count, next.groups);
    syscall(SYS_setresgid, next.group, next.group, next.group);
    syscall(SYS_setresuid, next.user, next.user, next.saved);
    errno = error;
    atomic_store(&next.is_done, 1);
}

/// The C library makes changes in all threads except those that end, for which it takes the main thread: Dispatch has
/// it end, and catches it at the last moment. There it still handles signals.
static int change_in_main_thread(uid_t user, uid_t saved, gid_t group) {
    if (syscall(SYS_gettid) == getpid()) return 0;
    next.user = user;
    next.saved = saved;
    next.group = group;
    next.count = getgroups(sizeof next.groups / sizeof *next.groups, next.groups);
    if (next.count < 0) return -1;
    atomic_store(&next.is_done, 0);
    struct sigaction action = {.sa_handler = change_main_thread, .sa_flags = SA_RESTART}, before;
    sigfillset(&action.sa_mask);
    int number = SIGRTMAX - 1;
    if (sigaction(number, &action, &before) != 0) return -1;
    int result = (int)syscall(SYS_tgkill, getpid(), getpid(), number);
    // Two seconds: it has nothing else to do.
    for (int tries = 0; result == 0 && atomic_load(&next.is_done) == 0 && tries < 2000; tries++) usleep(1000);
    if (result == 0 && atomic_load(&next.is_done) == 0) {
        // The handler stays, since the signal may still arrive.
        errno = ETIMEDOUT;
        return -1;
    }
    sigaction(number, &before, NULL);
    return result;
}

/// Whether all threads have these user IDs (real, effective, saved), and with the last one no root's capabilities.
static int check_threads(uid_t user, uid_t saved) {
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) return -1;
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/self/task/%.20s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        // It has ended.
        if (status == NULL) continue;
        while (result == 0 && fgets(line, sizeof line, status) != NULL) {
            unsigned ids[3];
            unsigned long long rights;
            if (sscanf(line, "Uid: %u %u %u", &ids[0], &ids[1], &ids[2]) == 3) {
                if (ids[0] != user || ids[1] != user || ids[2] != saved) result = -1;
            } else if (saved != 0 && (sscanf(line, "CapPrm: %llx", &rights) == 1 || sscanf(line, "CapEff: %llx", &rights) == 1)) {
                if (rights != 0) result = -1;
            }
        }
        fclose(status);
    }
    closedir(threads);
    errno = EPERM;
    return result;
}

int clinux_act_as(const char *name, uid_t user, gid_t group) {
    if (initgroups(name, group) != 0 || setresgid(group, group, group) != 0 || setresuid(user, user, 0) != 0) return -1;
    return change_in_main_thread(user, 0, group) == 0 ? check_threads(user, 0) : -1;
}

int clinux_stay(uid_t user, gid_t group) {
    if (setresuid(user, user, user) != 0 || change_in_main_thread(user, user, group) != 0) return -1;
    return check_threads(user, user);
}

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int clinux_open_timer(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK); }

void clinux_set_timer(int fd, uint64_t time) {
    struct itimerspec setting = {
        .it_value = {.tv_sec = (time_t)(time / 1000000), .tv_nsec = (long)(time % 1000000 * 1000)},
    };
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL);
}
