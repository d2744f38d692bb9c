/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup v2 directories to cover: given ones, a process's, or where the owners of the chosen
 * ports live. A container's is reached through /proc/PID/root when the process namespace is shared.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_mount {
	char root[PATH_MAX]; /* of the mount within the hierarchy, as this process may see it: "/",
				"/../x" */
	char dir[PATH_MAX]; /* mount point */
};

/* The next mount of type cgroup2 in the text of a mountinfo file (proc(5)); moves *text behind it.
 */
bool cgroup_mount_next(const char **text, struct cgroup_mount *out);

/* The path behind "0::" in the text of a /proc/PID/cgroup file. */
bool cgroup_path(const char *text, char *out, size_t out_n);

/* Where a cgroup of path `path` is seen by a mount: 0 and out filled; -ENOENT: not under it;
 * -E2BIG. */
int cgroup_under(const struct cgroup_mount *m, const char *path, char *out, size_t out_n);

/* The directory of a process's cgroup; 0: this process. -ENOENT no cgroup2 mount shows it, -EACCES,
 * -ESRCH. */
int cgroup_of_pid(pid_t pid, char *dir, size_t dir_n);

enum { CGROUP_DIRS_MAX = 64 };

struct cgroup_dir {
	char *path; /* owned */
	int fd;
	uint64_t dev, ino;
};

struct cgroup_set {
	struct cgroup_dir d[CGROUP_DIRS_MAX];
	size_t n;
	bool root; /* the root of the hierarchy is covered: every socket of the machine */
	bool chosen; /* by us, not by name */
};

/*
 * spec: "A,pid:7,B"; NULL, "" or "auto": this process's cgroup when it is the root or holds a
 * process (not this one) that owns a TCP socket on one of the ports (n_ports 0: any), and the
 * cgroups of all such processes. A directory below another of the set is left out. 0; -ENOENT,
 * -ENOTSUP (cgroup v1), -EPERM, -EINVAL, -E2BIG with one line in err, set empty.
 */
int cgroup_set_open(struct cgroup_set *s, const char *spec, const uint16_t *ports, size_t n_ports,
		    char *err, size_t err_n);
void cgroup_set_close(struct cgroup_set *s); /* a closed set: nothing */

/* 0; -ENOENT: one of them was removed. */
int cgroup_set_check(const struct cgroup_set *s);

struct cgroup_netns {
	bool own; /* a process in this process's network namespace */
	bool several; /* more than one namespace */
	bool foreign; /* any other */
};
/* The network namespaces of the processes in the set, as far as they may be seen. */
struct cgroup_netns cgroup_set_netns(const struct cgroup_set *s);
