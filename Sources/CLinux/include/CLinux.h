#ifndef STUB53_CLINUX_H
#define STUB53_CLINUX_H

// Functions that the Glibc Swift module lacks, or hides behind _GNU_SOURCE or macros. _GNU_SOURCE is not defined here:
// shared structs would then have other member names than in the Glibc module.

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

/// The destination address of a datagram, from IP_PKTINFO or IPV6_PKTINFO; returns 0 if the message has none.
int clinux_local_address(const struct msghdr *message, struct sockaddr_storage *address, unsigned int *interface_index);

/// Writes IP_PKTINFO or IPV6_PKTINFO to `message`'s control buffer, so that it is sent from `address`. Returns the
/// control length in bytes, or 0 if the address family is unknown or the buffer is too small.
size_t clinux_set_source(struct msghdr *message, const struct sockaddr *address, unsigned int interface_index);

/// The size of a control buffer for either pktinfo, in bytes.
size_t clinux_pktinfo_space(void);

/// Prefetches the memory at `address`; any address is allowed, nothing is read.
static inline void clinux_prefetch(const void *address) { __builtin_prefetch(address); }

/// pthread_setname_np(3): the name in `top -H`, at most 15 bytes.
void clinux_name_thread(unsigned long thread, const char *name);

/// pthread_timedjoin_np(3) with a relative timeout; returns 0, or ETIMEDOUT if the thread still runs.
int clinux_join_thread(unsigned long thread, long milliseconds);

/// Makes all threads of root's process act as a user, with that user's groups; root stays their saved user ID. Returns
/// -1 and errno if that fails.
int clinux_act_as(const char *name, uid_t user, gid_t group);

/// Gives up root's rights for good, after `clinux_act_as`; returns -1 and errno if any thread still has some.
int clinux_stay(uid_t user, gid_t group);

/// pipe2(2) with O_CLOEXEC.
int clinux_pipe(int ends[2]);

/// A file that a command sees in place of another; both must exist. `over` may be a link.
struct clinux_cover {
    const char *file;
    const char *over;
};

/// The steps at which starting a command can fail.
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
    /// The index of the cover.
    int cover;
};

/// Starts a command in its own mount namespace, in which up to eight files are covered; other processes don't see that.
///
/// Without the permission for it, it also gets its own user namespace, with the same user and group. Files stay covered
/// if they are replaced outside. The command gets SIGTERM when the calling thread ends, and blocks no signals. From
/// then on INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to it. One command per process. Returns its process ID, or
/// -1 and `failure`.
pid_t clinux_start_covered(
    char *const arguments[], const struct clinux_cover *covers, int count, struct clinux_start_failure *failure);

/// Waits for the command to end: its exit code, or 128 plus the signal that ended it.
int clinux_wait_for_command(pid_t command);

/// Makes the scheduler run this thread soon after it is woken, for a short time slice.
void clinux_hurry(void);

/// Opens a netlink socket for `clinux_socket_inode`; -1 if the kernel does not support it.
int clinux_open_socket_diagnosis(void);

/// The inode and owner of the UDP or TCP socket on a local address (4 or 16 bytes) and port; 0 if there is none.
/// - See: sock_diag(7).
uint32_t clinux_socket_inode(
    int fd, int is_ipv6, int is_tcp, const unsigned char address[16], uint16_t port, uid_t *user);

/// The owner of the local socket at one end of an established TCP connection; addresses of 4 or 16 bytes. Returns whether
/// there is one: 0 also for a socket that nobody has open any more.
int clinux_connection_owner(
    int fd, int is_ipv6, const unsigned char *address, uint16_t port, const unsigned char *peer_address,
    uint16_t peer_port, uid_t *user);

/// The process that has the socket open, as far as /proc is readable; 0 if none is found. Tries the processes in
/// `first`, then the youngest. One thread at a time.
pid_t clinux_socket_holder(uint32_t inode, uid_t user, const pid_t *first, int count);

/// timerfd_create(2) on CLOCK_BOOTTIME: what falls due while the machine sleeps is due as soon as it wakes.
int clinux_open_timer(void);

/// Makes the timer's descriptor readable at a time of CLOCK_BOOTTIME, in microseconds; 0: never.
void clinux_set_timer(int fd, uint64_t time);

/// Opens a netlink socket that is readable once addresses, links or routes of this machine have changed; -1 and errno if
/// the kernel does not support it.
/// - See: rtnetlink(7).
int clinux_open_network_events(void);

/// How the kernel sends packets to an address: zeroes stand for what the route does not have.
struct clinux_route {
    /// The index of the outgoing interface.
    uint32_t interface;
    /// 4 or 16 bytes.
    unsigned char source[16], gateway[16];
};

/// The route to an address (4 or 16 bytes); `scope` is the interface of a link-local one, else 0. Returns whether there
/// is a route.
int clinux_find_route(int is_ipv6, const unsigned char *address, uint32_t scope, struct clinux_route *route);

#endif
