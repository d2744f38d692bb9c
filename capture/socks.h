/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel knows of TCP sockets of this network namespace (sock_diag, linux/inet_diag.h),
 * and which process owns them (/proc). Lookups by /proc are scanned at most once a second, a slice
 * of work per call, and cached: the loop must not block.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct socks;

struct socks_tuple {
	uint8_t local[16], remote[16]; /* v4 as v4-mapped; wildcards: "::", or v4-mapped 0.0.0.0 */
	uint16_t lport, rport;
};

struct socks_entry {
	struct socks_tuple t;
	uint32_t inode, uid; /* inode 0: no process has it any more */
	uint8_t state; /* TCP_LISTEN 10, TCP_ESTABLISHED 1 (linux/tcp_states.h) */
	bool v6only; /* of a listening "::" */
	bool has_info; /* the two below are there: asked for, and a socket that has them */
	uint64_t bytes_acked, bytes_received; /* tcp_info */
};

enum { SOCKS_ESTABLISHED = 1, SOCKS_TIME_WAIT = 6, SOCKS_CLOSE = 7, SOCKS_LISTEN = 10 };

struct socks *socks_new(void); /* NULL when there is no netlink socket, or no memory */
void socks_free(struct socks *s);

/* Reads all TCP sockets with a state in the mask (bit 1 << state); calls back each. -errno;
 * -EIO: the kernel was interrupted twice, the list may be incomplete. */
int socks_dump(struct socks *s, uint32_t states, bool info,
	       void (*each)(void *ctx, const struct socks_entry *e), void *ctx);

/* A listening socket has this port, on this address or the wildcard. The list is re-read when
 * older than 1 s. */
bool socks_listens(struct socks *s, const uint8_t addr[16], uint16_t port, uint64_t now_ns);

/* One exact socket (request by tuple, no dump). False: it does not exist (any more), TIME_WAIT
 * among that. */
bool socks_exists(struct socks *s, const struct socks_tuple *t);

/* "name(pid)" of the owner of the socket with this tuple; 0 and out filled, -EAGAIN: not known
 * yet (scan is rate limited; ask again), -ENOENT: nobody, or nobody that we may see. `server`:
 * also look among listening sockets with that port. The name is escaped. */
int socks_owner(struct socks *s, const struct socks_tuple *t, bool server, uint64_t now_ns,
		char *out, size_t out_n);

/* The same for a socket whose inode is known (from a dump). */
int socks_owner_inode(struct socks *s, uint32_t inode, uint64_t now_ns, char *out, size_t out_n);
