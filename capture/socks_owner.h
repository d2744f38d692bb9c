/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of socks: which process holds the socket with an inode. A scan of /proc in slices,
 * results in a table of fixed size where the newest replaces what it meets. */
#pragma once
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	OWNER_SLOTS = 8192,
	OWNER_WAYS = 4,
	OWNER_SLICE = 1024, /* file descriptors looked at per call */
	OWNER_PROCESS = 8 /* what a process costs of them */
};

struct owner_slot {
	uint32_t inode; /* 0: free */
	uint32_t pid; /* 0: asked for, nobody found yet */
	uint64_t ns; /* found, or asked, at */
};

struct owner {
	DIR *proc; /* of a scan that is under way */
	uint32_t pid, from; /* the process and its descriptor to go on with; 0: the next one */
	bool scanned; /* one scan at least was started */
	uint32_t looked; /* slices of the last scan; one: it was cheap and may come again soon */
	uint32_t scans; /* begun in the second since second_ns */
	uint64_t second_ns;
	uint64_t started_ns, complete_ns; /* starts of the last scan and of the last complete one */
	struct owner_slot slots[OWNER_SLOTS];
};

/* 0 and *pid; -EAGAIN; -ENOENT. At most one scan a second begins, ten where one slice is a whole scan. */
int owner_find(struct owner *o, uint32_t inode, uint64_t now_ns, uint32_t *pid);
void owner_fini(struct owner *o);

/* "name(pid)", escaped; the bare pid when the process is gone */
void owner_name(uint32_t pid, char *out, size_t out_n);
