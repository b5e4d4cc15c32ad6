#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
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

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
