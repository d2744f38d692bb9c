/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks into other processes: the sockets that they hold, the cgroups that they are in. Landlock takes these from a
 * confined thread, and CAP_SYS_PTRACE makes them dangerous, so a process of its own makes them: it reads no traffic,
 * answers only what is below over a socket pair, and ends with the one that began it.
 *
 * Without look_begin() the same functions look by themselves. One thread asks.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "capture/cgroup.h"

/*
 * Forks: before any thread, and before capabilities are dropped. The new process keeps of them what looking needs
 * (SANDBOX_LOOK), confines its system calls (capture/sandbox.h), and ignores the signals that end a capture in
 * order. 0, -errno.
 */
int look_begin(void);
bool look_is_apart(void); /* it was begun */
void look_end(void); /* it ends */

/* Of a call to look_sockets(): how many descriptors it looks at, at most. */
enum { LOOK_SLICE = 512 };

struct look_slice {
	uint32_t inodes[LOOK_SLICE]; /* of sockets, below 2^32 */
	uint32_t n, looked;
	uint32_t next; /* descriptor to go on from; 0: that was all */
};

/* The sockets among a process's descriptors from `from` on. 0; -errno: it is gone, or not to be seen; -EMFILE and its
 * like: nothing is known of it; -EAGAIN: no answer in time; -EPIPE: nobody answers any more. */
int look_sockets(pid_t pid, uint32_t from, struct look_slice *out);

/* cgroup_set_open(), and of what it found cgroup_set_netns(). -ETIMEDOUT, -EPIPE as above, in err. */
int look_cgroups(struct cgroup_set *s, struct cgroup_netns *seen, const char *spec,
		 const uint16_t *ports, size_t n_ports, char *err, size_t err_n);
