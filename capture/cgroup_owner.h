/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that own a TCP socket on a chosen port, by /proc. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CGROUP_OWNERS_MAX = 1024 };

/* Reads a whole file of /proc as a string; *text is the caller's to free. -errno. */
int cgroup_owner_read(const char *path, char **text);

/* Inodes of the sockets in the text of /proc/net/tcp or tcp6 with a local or remote port among the
 * ports (n_ports 0: all). Number written, at most max; 0 for sockets that nobody owns is left out.
 */
size_t cgroup_owner_inodes(const char *text, const uint16_t *ports, size_t n_ports, uint64_t *out,
			   size_t max);

/* Processes other than this one (and the one that it looks for: left out), in the order of /proc; at most max. */
void cgroup_owner_leave_out(pid_t pid);
size_t cgroup_owner_find(const uint16_t *ports, size_t n_ports, pid_t *out, size_t max);
