// The yardstick of the benchmarks: a datagram server that does nothing, and an upstream that always answers.
//
//   Echo PORT              sends every query back with QR set: the kernel's share of the cost of an answer
//   Echo PORT TTL          answers every A query with 192.0.2.1 and this TTL, NODATA for everything else
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 4096, HEADER = 12 };

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in peers[BATCH];
static uint8_t buffers[BATCH][SIZE];

// Turns a query into its answer in place; returns the new length, or 0 if it is not a query.
static size_t answer(uint8_t *message, size_t length, uint32_t ttl) {
    size_t end = HEADER;
    while (end < length && message[end] != 0) {
        if (message[end] > 63) return 0;
        end += 1 + message[end];
    }
    end += 1 + 4;
    if (end > length || message[4] != 0 || message[5] != 1 || end + 16 + 11 > SIZE) return 0;
    int is_address = message[end - 4] == 0 && message[end - 3] == 1;
    int has_edns = message[10] != 0 || message[11] != 0;
    message[2] |= 0x80;
    message[3] = 0x80;
    memset(message + 6, 0, 6);
    message[7] = is_address ? 1 : 0;
    message[11] = has_edns ? 1 : 0;
    if (is_address) {
        uint8_t record[16] = {0xC0, HEADER, 0, 1, 0, 1, ttl >> 24, ttl >> 16, ttl >> 8, ttl, 0, 4, 192, 0, 2, 1};
        memcpy(message + end, record, sizeof record);
        end += sizeof record;
    }
    if (has_edns) {
        static const uint8_t opt[11] = {0, 0, 41, 4, 208};
        memcpy(message + end, opt, sizeof opt);
        end += sizeof opt;
    }
    return end;
}

int main(int count, char **arguments) {
    if (count != 2 && count != 3) {
        fprintf(stderr, "usage: Echo PORT [TTL]\n");
        return 64;
    }
    uint32_t ttl = count == 3 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("Echo");
        return 1;
    }
    for (int i = 0; i < BATCH; i++) {
        vectors[i].iov_base = buffers[i];
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &peers[i];
    }
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i].iov_base = buffers[i];
            vectors[i].iov_len = SIZE;
            messages[i].msg_hdr.msg_namelen = sizeof peers[i];
        }
        int received = recvmmsg(descriptor, messages, BATCH, MSG_WAITFORONE, NULL);
        if (received < 0) {
            if (errno == EINTR) continue;
            perror("recvmmsg");
            return 1;
        }
        int ready = 0;
        for (int i = 0; i < received; i++) {
            size_t length = messages[i].msg_len;
            uint8_t *message = vectors[i].iov_base;
            // Answering an answer would let two servers talk to each other forever.
            if (length < HEADER || message[2] & 0x80) continue;
            if (count == 3) length = answer(message, length, ttl);
            else message[2] |= 0x80;
            if (length == 0) continue;
            vectors[ready].iov_base = message;
            vectors[ready].iov_len = length;
            if (ready != i) peers[ready] = peers[i];
            ready++;
        }
        for (int sent = 0; sent < ready;) {
            int some = sendmmsg(descriptor, messages + sent, ready - sent, 0);
            // The socket of a client that has gone refuses its datagram; the others are still sent.
            sent += some > 0 ? some : 1;
        }
    }
}
