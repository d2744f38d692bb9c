/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/cgroup_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "capture/look.h"

enum { INODES_MAX = 65536, FILE_MAX = 32 << 20 };

int cgroup_owner_read(const char *path, char **text)
{
	struct buf b = {0};
	char chunk[16384];
	ssize_t n;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (!err && (n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno != EINTR)
			err = -errno;
		else if (n > 0)
			err = b.n > FILE_MAX ? -E2BIG : buf_append(&b, bytes_of(chunk, (size_t)n));
	}
	close(fd);
	if (!err)
		err = buf_append(&b, bytes_of("", 1));
	if (err)
		buf_fini(&b);
	*text = (char *)b.p;
	return err;
}

static bool is_chosen(unsigned port, const uint16_t *ports, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ports[i] == port)
			return true;
	return n == 0;
}

size_t cgroup_owner_inodes(const char *text, const uint16_t *ports, size_t n_ports, uint64_t *out,
			   size_t max)
{
	size_t n = 0;

	for (const char *line = text; *line && n < max;) {
		const char *end = strchrnul(line, '\n');
		unsigned local, remote;
		uint64_t inode;
		/* sl local rem st tx:rx tr:when retransmits uid timeout inode */
		if (sscanf(line,
			   " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%x %*x %*x:%*x %*x:%*x %*x %*u %*u %" SCNu64,
			   &local, &remote, &inode) == 3 &&
		    inode &&
		    (is_chosen(local, ports, n_ports) ||
		     (n_ports && is_chosen(remote, ports, n_ports))))
			out[n++] = inode;
		line = *end ? end + 1 : end;
	}
	return n;
}

static pid_t left_out;

void cgroup_owner_leave_out(pid_t pid)
{
	left_out = pid;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool owns_one(pid_t pid, const uint64_t *inodes, size_t n)
{
	struct look_slice s = {0};

	do {
		if (look_sockets(pid, s.next, &s) < 0)
			return false;
		for (uint32_t i = 0; i < s.n; i++) {
			uint64_t inode = s.inodes[i];
			if (bsearch(&inode, inodes, n, sizeof(*inodes), by_inode))
				return true;
		}
	} while (s.next);
	return false;
}

static size_t socket_inodes(const uint16_t *ports, size_t n_ports, uint64_t *out, size_t max)
{
	static const char *const files[] = {"/proc/self/net/tcp", "/proc/self/net/tcp6"};
	size_t n = 0;

	for (int i = 0; i < 2; i++) {
		CLEANUP_FREE char *text = NULL;
		if (cgroup_owner_read(files[i], &text) == 0 && text)
			n += cgroup_owner_inodes(text, ports, n_ports, out + n, max - n);
	}
	qsort(out, n, sizeof(*out), by_inode);
	return n;
}

size_t cgroup_owner_find(const uint16_t *ports, size_t n_ports, pid_t *out, size_t max)
{
	CLEANUP_FREE uint64_t *inodes = calloc(INODES_MAX, sizeof(*inodes));
	size_t n = 0, n_inodes = inodes ? socket_inodes(ports, n_ports, inodes, INODES_MAX) : 0;
	DIR *proc = n_inodes ? opendir("/proc") : NULL;
	struct dirent *e;

	while (proc && n < max && (e = readdir(proc))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		if (!isdigit((unsigned char)e->d_name[0]) || pid == getpid() || pid == left_out)
			continue;
		if (owns_one(pid, inodes, n_inodes))
			out[n++] = pid;
	}
	if (proc)
		closedir(proc);
	return n;
}
