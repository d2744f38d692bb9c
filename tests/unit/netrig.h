/* SPDX-License-Identifier: Apache-2.0 */
/* For live tests: a network namespace with nothing but lo, cgroups of one's own, a server and a
 * client process. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Moves this process into a new network namespace with lo up. -errno. */
int netrig_netns(void);

/* Makes a directory below the cgroup2 mount (or below `parent`), unique to this process; path in
 * out. -errno. */
int netrig_cgroup(const char *parent, const char *name, char *out, size_t out_n);
void netrig_cgroup_remove(const char *path);

/* What one exchange does: `calls` times the client sends `request` bytes, the server answers with
 * `reply`. */
struct netrig_talk {
	unsigned calls;
	uint32_t request, reply;
	uint32_t chunk; /* written at a time; 0: all */
	uint16_t port; /* of the server */
	uint16_t dial_port; /* 0: the same; under a redirect another */
	uint16_t client_port; /* 0: ephemeral */
	const char *dial; /* address, NULL: 127.0.0.1 (v6: ::1) */
	bool v6;
	bool gate; /* the client waits for netrig_go() between connecting and talking */
	const char *server_cgroup, *client_cgroup; /* NULL: as this process */
	bool new_netns; /* both live in a namespace of their own */
};

/* The byte at an offset of a direction (0 request, 1 reply): what the test compares captured bytes
 * with */
uint8_t netrig_byte(int dir, uint64_t off);

struct netrig_run {
	pid_t server, client;
	int go, ready; /* pipes */
};

/* Starts both; returns when the server listens, and with `gate` when the client is connected.
 * -errno. */
int netrig_start(struct netrig_run *r, const struct netrig_talk *t);
void netrig_go(struct netrig_run *r);
/* True: both have ended, and *ok tells whether both saw every byte right. */
bool netrig_done(struct netrig_run *r, bool *ok);
/* Ends what still runs. */
void netrig_stop(struct netrig_run *r);

/* TCP segments that this namespace sent again */
uint64_t netrig_retransmits(void);
