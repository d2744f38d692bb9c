/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP connections of this network namespace at one moment, as sock_diag lists them, and the
 * use of UNIX sockets beside them: what doctor shows and watch compares. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/socks.h"

enum { SNAPSHOT_MAX = 65536 }; /* sockets; beyond that `more` is set */

struct snapshot_row {
	struct socks_tuple t;
	uint64_t bytes; /* acknowledged and received */
	uint32_t inode; /* 0 in TIME_WAIT */
	uint8_t state;
	bool has_bytes;
	bool local; /* both ends are in this namespace */
	bool own; /* one of the ends is this process's */
	bool server; /* this end was connected to */
	uint16_t port; /* the server's */
};

struct snapshot_listen {
	uint16_t port;
	uint32_t inode;
};

struct snapshot {
	struct snapshot_row *rows; /* sorted by tuple; no listening sockets */
	struct snapshot_listen *listens; /* sorted by port, each once */
	size_t n_rows, n_listens, rows_size, listens_size;
	bool more; /* there are more than SNAPSHOT_MAX, or no memory */
};

int snapshot_take(struct snapshot *s, struct socks *socks); /* 0; -errno and *s is empty */
void snapshot_fini(struct snapshot *s);

/* The same connection end; NULL */
const struct snapshot_row *snapshot_find(const struct snapshot *s, const struct socks_tuple *t);
const struct snapshot_listen *snapshot_listen(const struct snapshot *s, uint16_t port);

/* "nginx 812" of the socket with this inode, in bounded time; "" when nobody is seen to have it. */
void snapshot_owner(struct socks *socks, uint32_t inode, char *out, size_t out_n);

enum { SNAPSHOT_UNIX_TOP = 3 };
struct snapshot_unix {
	unsigned connected; /* ends of connected stream sockets */
	struct {
		char path[160]; /* escaped; abstract names begin with @ */
		unsigned n;
	} top[SNAPSHOT_UNIX_TOP]; /* most used first; n 0: none */
};
int snapshot_unix(struct snapshot_unix *u); /* 0, -errno */
