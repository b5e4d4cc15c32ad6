#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int clinux_open_socket_diagnosis(void) {
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) return -1;
    // The kernel answers at once or not at all; never wait for ever.
    struct timeval limit = {0, 20000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

void clinux_hurry(void) {
    // struct sched_attr, for which glibc 2.36 has no header. Linux 6.12 and later uses the runtime as the time slice.
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
    } attributes = {.size = 48, .policy = SCHED_OTHER, .nice = -10, .runtime = 100000};
    if (syscall(SYS_sched_setattr, 0, &attributes, 0) == 0) return;
    // Only root may have a better nice value; a short slice is open to everyone.
    attributes.nice = 0;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

/// Whether the socket has this very address, or the wildcard address.
static int fits(const struct inet_diag_msg *socket, int family, const unsigned char address[16]) {
    static const unsigned char any[16];
    size_t length = family == AF_INET ? 4 : 16;
    if (memcmp(socket->id.idiag_src, address, length) == 0) return 2;
    return memcmp(socket->id.idiag_src, any, length) == 0;
}

/// Asks for all sockets of one address family on a local port, and picks the best match.
static uint32_t find(int fd, int family, int protocol, const unsigned char address[16], uint16_t port, uid_t *user) {
    static _Thread_local uint32_t sequence;
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {
            .nlmsg_len = sizeof request,
            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
            .nlmsg_seq = ++sequence,
        },
        .body = {
            .sdiag_family = (uint8_t)family,
            .sdiag_protocol = (uint8_t)protocol,
            .idiag_states = ~0u,
            .id = {.idiag_sport = htons(port), .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
        },
    };
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) return 0;

    uint32_t inode = 0;
    int best = 0;
    _Alignas(struct nlmsghdr) char buffer[16384];
    for (;;) {
        ssize_t received = recv(fd, buffer, sizeof buffer, 0);
        if (received <= 0) return inode;
        int left = (int)received;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            // The late response to an abandoned request.
            if (h->nlmsg_seq != sequence) continue;
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) return inode;
            if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) continue;
            const struct inet_diag_msg *socket = NLMSG_DATA(h);
            if (ntohs(socket->id.idiag_sport) != port || socket->idiag_inode == 0) continue;
            int fit = fits(socket, family, address);
            if (fit > best) {
                best = fit;
                inode = socket->idiag_inode;
                *user = socket->idiag_uid;
            }
        }
    }
}

uint32_t clinux_socket_inode(
    int fd, int is_ipv6, int is_tcp, const unsigned char address[16], uint16_t port, uid_t *user) {
    int protocol = is_tcp ? IPPROTO_TCP : IPPROTO_UDP;
    uint32_t inode = find(fd, is_ipv6 ? AF_INET6 : AF_INET, protocol, address, port, user);
    if (inode != 0 || is_ipv6) return inode;
    // A dual-stack socket: ::ffff:127.0.0.1.
    unsigned char mapped[16] = {[10] = 0xFF, [11] = 0xFF};
    memcpy(mapped + 12, address, 4);
    return find(fd, AF_INET6, protocol, mapped, port, user);
}

int clinux_connection_owner(
    int fd, int is_ipv6, const unsigned char *address, uint16_t port, const unsigned char *peer_address,
    uint16_t peer_port, uid_t *user) {
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {
            .nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 1},
        .body = {
            .sdiag_family = is_ipv6 ? AF_INET6 : AF_INET,
            .sdiag_protocol = IPPROTO_TCP,
            .idiag_states = ~0u,
            .id = {
                .idiag_sport = htons(port), .idiag_dport = htons(peer_port),
                .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
        },
    };
    size_t length = is_ipv6 ? 16 : 4;
    memcpy(request.body.id.idiag_src, address, length);
    memcpy(request.body.id.idiag_dst, peer_address, length);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) return 0;

    _Alignas(struct nlmsghdr) char buffer[4096];
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    struct nlmsghdr *header = (struct nlmsghdr *)buffer;
    if (received < 0 || !NLMSG_OK(header, received) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY
        || header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return 0;
    const struct inet_diag_msg *socket = NLMSG_DATA(header);
    // Without an exact match the kernel offers a listening socket. A socket that its process has closed has no inode,
    // and root for its owner.
    if (socket->id.idiag_dport != htons(peer_port) || socket->idiag_inode == 0) return 0;
    *user = socket->idiag_uid;
    return 1;
}

/// The most descriptors examined for one socket: a few milliseconds' worth, even if a process has a million.
enum { most_looks = 20000 };

/// Whether one of the process's descriptors is the socket; decrements `looks`.
static int holds(pid_t process, const char *socket, int *looks) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", process);
    DIR *files = opendir(path);
    if (files == NULL) return 0;
    int found = 0;
    size_t length = strlen(socket);
    for (struct dirent *entry; !found && *looks > 0 && (entry = readdir(files)) != NULL; --*looks) {
        char target[64];
        ssize_t count = readlinkat(dirfd(files), entry->d_name, target, sizeof target);
        found = count == (ssize_t)length && memcmp(target, socket, length) == 0;
    }
    closedir(files);
    return found;
}

/// The last process ID assigned: IDs are assigned in order and wrap around.
static int last_process(void) {
    int last = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    if (file == NULL) return 0;
    if (fscanf(file, "%*s %*s %*s %*s %d", &last) != 1) last = 0;
    fclose(file);
    return last;
}

pid_t clinux_socket_holder(uint32_t inode, uid_t user, const pid_t *first, int count) {
    char socket[32];
    snprintf(socket, sizeof socket, "socket:[%u]", inode);
    int looks = most_looks;
    for (int i = 0; i < count; i++) {
        if (first[i] > 0 && holds(first[i], socket, &looks)) return first[i];
    }
    DIR *processes = opendir("/proc");
    if (processes == NULL) return 0;
    enum { most = 16384 };
    pid_t list[most];
    int listed = 0;
    for (struct dirent *entry; listed < most && (entry = readdir(processes)) != NULL;) {
        int process = atoi(entry->d_name);
        struct stat status;
        if (process <= 0 || fstatat(dirfd(processes), entry->d_name, &status, 0) != 0) continue;
        // A root daemon may have changed its user after opening the socket; other processes can't.
        if (status.st_uid != user && user != 0 && status.st_uid != 0) continue;
        list[listed++] = process;
    }
    closedir(processes);
    // The youngest first: short-lived clients such as dig are among them. /proc is sorted by number.
    int last = last_process(), start = listed;
    while (start > 0 && list[start - 1] > last) start--;
    for (int i = 0; i < listed && looks > 0; i++) {
        pid_t process = list[(start - 1 - i + listed) % listed];
        if (holds(process, socket, &looks)) return process;
    }
    return 0;
}
