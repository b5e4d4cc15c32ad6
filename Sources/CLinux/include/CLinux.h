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

/// pthread_timedjoin_np(3) with a time to wait; returns 0, or ETIMEDOUT for one that runs on.
int clinux_join_thread(unsigned long thread, long milliseconds);

/// pipe2(2) with O_CLOEXEC.
int clinux_pipe(int ends[2]);

/// A file that a command sees in place of another; both must exist. `over` may be a link.
struct clinux_cover {
    const char *file;
    const char *over;
};

/// What a start of a command can fail at.
enum {
    CLINUX_FORK,
    CLINUX_UNSHARE,
    CLINUX_MAP_USER,
    CLINUX_MAKE_PRIVATE,
    CLINUX_COVER,
    CLINUX_EXECUTE,
};

struct clinux_start_failure {
    int step;
    /// errno.
    int code;
    /// Which of the covers.
    int cover;
};

/// Starts a command in a mount namespace of its own in which at most eight files are covered; nobody else sees that.
///
/// Without the permission for it, also in a user namespace of its own, where its user and group are what they were.
/// The files stay covered when they are replaced outside. The command gets SIGTERM when the calling thread ends, and no
/// signal is blocked. From now on INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to it. One command per process.
/// Returns its process ID, or -1 and `failure`.
pid_t clinux_start_covered(
    char *const arguments[], const struct clinux_cover *covers, int count, struct clinux_start_failure *failure);

/// Waits for the end of the command: its exit code, or 128 and the signal that ended it.
int clinux_wait_for_command(pid_t command);

/// Has the scheduler run this thread soon after it was woken, for a short time each.
void clinux_hurry(void);

/// A netlink socket for `clinux_socket_inode`; -1 where the kernel has none.
int clinux_open_socket_diagnosis(void);

/// The inode of the UDP or TCP socket on a local address (4 or 16 bytes) and port, and its owner; 0: there is none.
/// - See: sock_diag(7).
uint32_t clinux_socket_inode(
    int fd, int is_ipv6, int is_tcp, const unsigned char address[16], uint16_t port, uid_t *user);

/// The process that has the socket open, as far as /proc may be read: those of `first` are looked at first, then the
/// youngest; 0: none. One thread at a time.
pid_t clinux_socket_holder(uint32_t inode, uid_t user, const pid_t *first, int count);

#endif
