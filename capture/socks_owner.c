/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/socks_owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/look.h"

enum { CHEAP_SCANS = 10 }; /* in a second */
#define SECOND    1000000000ull
#define TRUST_FOR (30 * SECOND) /* then the inode may be another's */

static struct owner_slot *set_of(struct owner *o, uint32_t inode)
{
	uint32_t hash = inode * 2654435761u >> 16;
	return &o->slots[hash % (OWNER_SLOTS / OWNER_WAYS) * OWNER_WAYS];
}

static struct owner_slot *slot_find(struct owner *o, uint32_t inode)
{
	struct owner_slot *set = set_of(o, inode);
	for (size_t i = 0; i < OWNER_WAYS; i++)
		if (set[i].inode == inode)
			return &set[i];
	return NULL;
}

/* The inode's slot, else a free one, else the oldest. */
static void slot_put(struct owner *o, uint32_t inode, uint32_t pid, uint64_t ns)
{
	struct owner_slot *set = set_of(o, inode), *to = slot_find(o, inode);
	for (size_t i = 0; !to && i < OWNER_WAYS; i++)
		if (set[i].inode == 0)
			to = &set[i];
	if (!to) {
		to = set;
		for (size_t i = 1; i < OWNER_WAYS; i++)
			if (set[i].ns < to->ns)
				to = &set[i];
	}
	*to = (struct owner_slot) {inode, pid, ns};
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
	*d = NULL;
}

/* -errno: no descriptor is left for it (EMFILE); the next second brings another try. */
static int scan_start(struct owner *o, uint64_t now_ns)
{
	o->scanned = true;
	o->started_ns = now_ns;
	o->looked = 0;
	o->proc = opendir("/proc");
	return o->proc ? 0 : -errno;
}

static bool next_process(struct owner *o)
{
	struct dirent *e;

	while ((e = readdir(o->proc))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		o->pid = (uint32_t)strtoul(e->d_name, NULL, 10);
		o->from = 0;
		return true;
	}
	return false;
}

/* What the process holds. False: nothing is known of it (no descriptor, no memory, no answer), so the scan proves
 * nothing about who is absent. */
static bool look_at(struct owner *o, unsigned *budget, uint64_t now_ns)
{
	struct look_slice s;
	int rc = look_sockets((pid_t)o->pid, o->from, &s);
	unsigned cost = OWNER_PROCESS + (rc < 0 ? 0 : s.looked);

	*budget = *budget > cost ? *budget - cost : 0;
	for (uint32_t i = 0; rc == 0 && i < s.n; i++)
		slot_put(o, s.inodes[i], o->pid, now_ns);
	o->from = rc < 0 ? 0 : s.next;
	return rc != -EMFILE && rc != -ENFILE && rc != -ENOMEM && rc != -EAGAIN && rc != -EPIPE;
}

/* A slice of the scan under way */
static void scan_on(struct owner *o, uint64_t now_ns)
{
	unsigned budget = OWNER_SLICE;
	bool known = true, more = true;

	o->looked++;
	while (budget && known && (more = o->from || next_process(o)))
		known = look_at(o, &budget, now_ns);
	if (more && known)
		return;
	close_dir(&o->proc);
	if (known)
		o->complete_ns = o->started_ns;
}

/* What the table says: 0, -ENOENT, -EAGAIN */
static int known(struct owner *o, uint32_t inode, uint64_t now_ns, uint32_t *pid)
{
	const struct owner_slot *slot = slot_find(o, inode);
	if (!slot || now_ns - slot->ns > TRUST_FOR)
		return -EAGAIN;
	*pid = slot->pid;
	if (slot->pid)
		return 0;
	/* a complete scan that began after the question has not met it */
	return o->complete_ns && o->complete_ns >= slot->ns && !o->proc ? -ENOENT : -EAGAIN;
}

/* One a second; ten while a whole scan is one slice, as in a pod, so that a new connection is named at once. */
static bool scan_allowed(struct owner *o, uint64_t now_ns)
{
	if (!o->scanned || now_ns - o->second_ns >= SECOND) {
		o->second_ns = now_ns;
		o->scans = 0;
	}
	return o->scans++ < (o->looked > 1 ? 1 : CHEAP_SCANS);
}

int owner_find(struct owner *o, uint32_t inode, uint64_t now_ns, uint32_t *pid)
{
	if (inode == 0)
		return -ENOENT;
	const struct owner_slot *slot = slot_find(o, inode);
	if (!slot || now_ns - slot->ns > TRUST_FOR)
		slot_put(o, inode, 0, now_ns);
	int rc = known(o, inode, now_ns, pid);
	if (rc != -EAGAIN)
		return rc;
	if (!o->proc && (!scan_allowed(o, now_ns) || scan_start(o, now_ns) < 0))
		return -EAGAIN;
	scan_on(o, now_ns);
	return known(o, inode, now_ns, pid);
}

void owner_fini(struct owner *o)
{
	close_dir(&o->proc);
}

void owner_name(uint32_t pid, char *out, size_t out_n)
{
	char path[64], name[32] = "", safe[128];
	snprintf(path, sizeof(path), "/proc/%u/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, name, sizeof(name) - 1);
	if (fd >= 0)
		close(fd);
	while (n > 0 && name[n - 1] == '\n')
		n--;
	log_escape(safe, sizeof(safe), bytes_of(name, n > 0 ? (size_t)n : 0));
	snprintf(out, out_n, "%s(%u)", safe, pid);
}
