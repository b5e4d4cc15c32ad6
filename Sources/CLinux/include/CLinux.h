#ifndef STUB53_CLINUX_H
#define STUB53_CLINUX_H

// What Glibc's Swift module leaves out, or hides behind _GNU_SOURCE or a macro.
// _GNU_SOURCE is not defined here: it would give shared structs other member names than Glibc's module has.

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/types.h>

/// recvmmsg(2), sendmmsg(2): `struct mmsghdr` exists only under _GNU_SOURCE.
struct clinux_mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};
int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);
int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);

/// accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC; `address` gets the peer's.
int clinux_accept(int fd, struct sockaddr_storage *address);

/// The local address a datagram was sent to, from IP_PKTINFO or IPV6_PKTINFO; returns 0 when the message carries none.
int clinux_local_address(const struct msghdr *message, struct sockaddr_storage *address, unsigned int *interface_index);

/// Writes IP_PKTINFO or IPV6_PKTINFO into `message`'s control buffer, so that it leaves from `address`.
/// Returns the control length in bytes, or 0 when the family is unknown or the buffer too small.
size_t clinux_set_source(struct msghdr *message, const struct sockaddr *address, unsigned int interface_index);

/// Bytes a control buffer for either pktinfo needs.
size_t clinux_pktinfo_space(void);

/// Asks for the memory at `address` to be brought near; any address will do, nothing is read.
static inline void clinux_prefetch(const void *address) { __builtin_prefetch(address); }

/// pthread_setname_np(3): what `top -H` shows, 15 bytes at most.
void clinux_name_thread(unsigned long thread, const char *name);

#endif
