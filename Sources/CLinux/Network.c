#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

int clinux_open_network_events(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0) return -1;
    struct sockaddr_nl groups = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
    };
    if (bind(fd, (struct sockaddr *)&groups, sizeof groups) == 0) return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

/// Copies an attribute of at most `room` bytes.
static void take(const struct rtattr *attribute, void *to, size_t room) {
    size_t length = RTA_PAYLOAD(attribute);
    if (length <= room) memcpy(to, RTA_DATA(attribute), length);
}

int clinux_find_route(int is_ipv6, const unsigned char *address, uint32_t scope, struct clinux_route *route) {
    memset(route, 0, sizeof *route);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return 0;
    // The kernel answers at once or not at all; never wait for ever.
    struct timeval limit = {0, 20000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);

    unsigned short length = is_ipv6 ? 16 : 4;
    struct {
        struct nlmsghdr header;
        struct rtmsg body;
        char attributes[64];
    } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)), .nlmsg_type = RTM_GETROUTE,
                   .nlmsg_flags = NLM_F_REQUEST},
        .body = {.rtm_family = is_ipv6 ? AF_INET6 : AF_INET, .rtm_dst_len = (unsigned char)(length * 8)},
    };
    struct rtattr *next = (struct rtattr *)request.attributes;
    *next = (struct rtattr){.rta_type = RTA_DST, .rta_len = RTA_LENGTH(length)};
    memcpy(RTA_DATA(next), address, length);
    request.header.nlmsg_len += RTA_SPACE(length);
    if (scope != 0) {
        next = (struct rtattr *)(request.attributes + RTA_SPACE(length));
        *next = (struct rtattr){.rta_type = RTA_OIF, .rta_len = RTA_LENGTH(sizeof scope)};
        memcpy(RTA_DATA(next), &scope, sizeof scope);
        request.header.nlmsg_len += RTA_SPACE(sizeof scope);
    }
    _Alignas(struct nlmsghdr) char buffer[4096];
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t received = -1;
    if (sendto(fd, &request, request.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) >= 0)
        received = recv(fd, buffer, sizeof buffer, 0);
    close(fd);
    const struct nlmsghdr *reply = (const struct nlmsghdr *)buffer;
    if (received < 0 || !NLMSG_OK(reply, received) || reply->nlmsg_type != RTM_NEWROUTE) return 0;
    if (reply->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtmsg))) return 0;
    const struct rtmsg *body = NLMSG_DATA(reply);
    if (body->rtm_type != RTN_UNICAST && body->rtm_type != RTN_LOCAL) return 0;
    int left = (int)RTM_PAYLOAD(reply);
    for (const struct rtattr *a = RTM_RTA(body); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        if (a->rta_type == RTA_OIF) take(a, &route->interface, sizeof route->interface);
        if (a->rta_type == RTA_PREFSRC) take(a, route->source, sizeof route->source);
        if (a->rta_type == RTA_GATEWAY) take(a, route->gateway, sizeof route->gateway);
    }
    return 1;
}
