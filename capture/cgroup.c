/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/mem.h"
#include "capture/cgroup_owner.h"

enum { DEPTH_MAX = 32, PROCS_MAX = 4096, ROOT_INO = 1 };

/* One field of mountinfo; \040 and its like become bytes. False: too long. */
static bool take_field(const char **p, char *out, size_t out_n)
{
	size_t n = 0;

	while (**p == ' ')
		++*p;
	for (; **p && **p != ' ' && **p != '\n'; ++*p) {
		char c = **p;
		if (c == '\\' && (*p)[1] >= '0' && (*p)[1] <= '3' && (*p)[2] && (*p)[3]) {
			c = (char)(((*p)[1] - '0') << 6 | ((*p)[2] - '0') << 3 | ((*p)[3] - '0'));
			*p += 3;
		}
		if (n + 1 >= out_n)
			return false;
		out[n++] = c;
	}
	out[n] = 0;
	return true;
}

/* "36 35 98:0 ROOT DIR options - TYPE source ..." */
static bool parse_mount(const char *line, const char *end, struct cgroup_mount *out)
{
	const char *dash = memmem(line, (size_t)(end - line), " - ", 3);
	char skip[64];

	if (!dash || strncmp(dash + 3, "cgroup2 ", 8) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (!take_field(&line, skip, sizeof(skip)))
			return false;
	return take_field(&line, out->root, sizeof(out->root)) &&
	       take_field(&line, out->dir, sizeof(out->dir)) && out->dir[0] == '/';
}

bool cgroup_mount_next(const char **text, struct cgroup_mount *out)
{
	while (**text) {
		const char *line = *text, *end = strchrnul(line, '\n');
		*text = *end ? end + 1 : end;
		if (parse_mount(line, end, out))
			return true;
	}
	return false;
}

bool cgroup_path(const char *text, char *out, size_t out_n)
{
	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		if (strncmp(line, "0::/", 4) == 0 && (size_t)(end - line - 3) < out_n) {
			memcpy(out, line + 3, (size_t)(end - line - 3));
			out[end - line - 3] = 0;
			return true;
		}
		line = *end ? end + 1 : end;
	}
	return false;
}

int cgroup_under(const struct cgroup_mount *m, const char *path, char *out, size_t out_n)
{
	size_t n = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);

	if (strncmp(path, m->root, n) != 0 || (path[n] && path[n] != '/'))
		return -ENOENT;
	if (n == 0 && strncmp(path, "/..", 3) == 0 && (path[3] == '/' || !path[3]))
		return -ENOENT;
	const char *rest = strcmp(path + n, "/") == 0 ? "" : path + n;
	int len = snprintf(out, out_n, "%s%s", m->dir, rest);
	return len < 0 || (size_t)len >= out_n ? -E2BIG : 0;
}

/* Looks a path up in the mounts of `who`, whose files are seen under `prefix`. */
static int look_in(const char *who, const char *prefix, const char *path, char *dir, size_t dir_n)
{
	CLEANUP_FREE char *text = NULL;
	char file[64], under[PATH_MAX];
	struct cgroup_mount m;
	int last = -ENOENT;

	snprintf(file, sizeof(file), "/proc/%s/mountinfo", who);
	int err = cgroup_owner_read(file, &text);
	if (err)
		return err;
	for (const char *at = text; cgroup_mount_next(&at, &m);) {
		if (cgroup_under(&m, path, under, sizeof(under)) != 0)
			continue;
		if ((size_t)snprintf(dir, dir_n, "%s%s", prefix, under) >= dir_n)
			return -E2BIG;
		if (access(dir, F_OK) == 0)
			return 0;
		last = -errno;
	}
	return last;
}

int cgroup_of_pid(pid_t pid, char *dir, size_t dir_n)
{
	CLEANUP_FREE char *text = NULL;
	char who[32] = "self", file[64], prefix[64], path[PATH_MAX];

	if (pid)
		snprintf(who, sizeof(who), "%d", (int)pid);
	snprintf(file, sizeof(file), "/proc/%s/cgroup", who);
	int err = cgroup_owner_read(file, &text);
	if (err)
		return err == -ENOENT ? -ESRCH : err;
	if (!cgroup_path(text, path, sizeof(path)))
		return -ENOENT;
	err = look_in("self", "", path, dir, dir_n);
	if (!err || !pid)
		return err;
	snprintf(prefix, sizeof(prefix), "/proc/%s/root", who);
	return look_in(who, prefix, path, dir, dir_n);
}

/* ---- the set ---- */

static int open_dir(struct cgroup_dir *d, const char *path, char *err, size_t err_n)
{
	struct statfs fs;
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		int e = errno;
		snprintf(err, err_n, "cgroup %s: %s%s", path, strerror(e),
			 e == EACCES ? ": add CAP_SYS_PTRACE (or CAP_DAC_READ_SEARCH)" : "");
		return e == EACCES || e == EPERM ? -EPERM : -ENOENT;
	}
	if (fstatfs(fd, &fs) != 0 || fstat(fd, &st) != 0 || fs.f_type != CGROUP2_SUPER_MAGIC) {
		snprintf(err, err_n,
			 "%s is not a directory of cgroup v2%s: name one below the cgroup2 mount",
			 path, fs.f_type == CGROUP_SUPER_MAGIC ? " (but of v1)" : "");
		close(fd);
		return -ENOTSUP;
	}
	*d = (struct cgroup_dir) {strdup(path), fd, st.st_dev, st.st_ino};
	if (d->path)
		return 0;
	close(fd);
	snprintf(err, err_n, "no memory");
	return -ENOMEM;
}

static void close_dir(struct cgroup_dir *d)
{
	free(d->path);
	close(d->fd);
}

/* a is b, or an ancestor of it. */
static bool covers(const struct cgroup_dir *a, const struct cgroup_dir *b)
{
	uint64_t ino = b->ino;
	bool yes = a->dev == b->dev && a->ino == ino;
	int fd = dup(b->fd);

	for (int i = 0; fd >= 0 && !yes && ino != ROOT_INO && i < 256; i++) {
		struct stat st;
		int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
		if (fd < 0 || fstat(fd, &st) != 0 || st.st_dev != b->dev)
			break;
		ino = st.st_ino;
		yes = ino == a->ino;
	}
	if (fd >= 0)
		close(fd);
	return yes;
}

/* Takes *d into the set unless it is covered; lets those go that it covers. */
static int set_add(struct cgroup_set *s, struct cgroup_dir *d, char *err, size_t err_n)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (covers(&s->d[i], d)) {
			close_dir(d);
			return 0;
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		if (covers(d, &s->d[i]))
			close_dir(&s->d[i]);
		else
			s->d[kept++] = s->d[i];
	}
	s->n = kept;
	if (s->n == CGROUP_DIRS_MAX) {
		close_dir(d);
		snprintf(err, err_n, "more than %d cgroups: name a common parent", CGROUP_DIRS_MAX);
		return -E2BIG;
	}
	s->root |= d->ino == ROOT_INO;
	s->d[s->n++] = *d;
	return 0;
}

static int set_add_path(struct cgroup_set *s, const char *path, char *err, size_t err_n)
{
	struct cgroup_dir d;
	int e = open_dir(&d, path, err, err_n);

	return e ? e : set_add(s, &d, err, err_n);
}

static int set_add_pid(struct cgroup_set *s, pid_t pid, char *err, size_t err_n)
{
	char dir[PATH_MAX + 64];
	int e = cgroup_of_pid(pid, dir, sizeof(dir));

	if (!e)
		return set_add_path(s, dir, err, err_n);
	if (e == -ESRCH)
		snprintf(err, err_n, "cgroup of process %d: there is no such process here",
			 (int)pid);
	else if (e == -EACCES || e == -EPERM)
		snprintf(err, err_n, "cgroup of process %d: %s: add CAP_SYS_PTRACE", (int)pid,
			 strerror(-e));
	else
		snprintf(err, err_n,
			 "cgroup of process %d: no cgroup2 mount shows it (cgroup v1 only?)",
			 (int)pid);
	return e == -EACCES ? -EPERM : e == -ESRCH ? -ENOENT : e;
}

static int add_item(struct cgroup_set *s, const char *item, char *err, size_t err_n)
{
	char *end;

	if (strncmp(item, "pid:", 4) != 0)
		return set_add_path(s, item, err, err_n);
	errno = 0;
	long pid = strtol(item + 4, &end, 10);
	if (errno || end == item + 4 || *end || pid <= 0 || pid > INT_MAX) {
		snprintf(err, err_n, "cgroup:%s: give a process id, as in pid:7", item);
		return -EINVAL;
	}
	return set_add_pid(s, (pid_t)pid, err, err_n);
}

static int add_list(struct cgroup_set *s, const char *spec, char *err, size_t err_n)
{
	CLEANUP_FREE char *copy = strdup(spec);
	char *save = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		int e = add_item(s, item, err, err_n);
		if (e)
			return e;
	}
	return s->n ? 0 : -EINVAL;
}

/* Adds the groups of those who own the ports; our own instead of those that it holds. */
static int add_owners(struct cgroup_set *s, struct cgroup_dir *own, const uint16_t *ports,
		      size_t n_ports, char *err, size_t err_n)
{
	pid_t pids[CGROUP_OWNERS_MAX];
	size_t n = cgroup_owner_find(ports, n_ports, pids, CGROUP_OWNERS_MAX);
	char why[256] = "no process in reach owns a TCP socket on a chosen port";
	bool ours = false;

	for (size_t i = 0; i < n; i++) {
		int e = set_add_pid(s, pids[i], why, sizeof(why));
		if (e == -E2BIG) {
			snprintf(err, err_n, "%s", why);
			return e;
		}
	}
	for (size_t i = 0; i < s->n && own->path; i++)
		ours |= covers(own, &s->d[i]);
	if (ours) {
		struct cgroup_dir d = *own;
		own->path = NULL;
		return set_add(s, &d, err, err_n);
	}
	if (s->n)
		return 0;
	snprintf(err, err_n,
		 "%s: start it first, name its cgroup or process, or share the process namespace",
		 why);
	return -ENOENT;
}

static int add_chosen(struct cgroup_set *s, const uint16_t *ports, size_t n_ports, char *err,
		      size_t err_n)
{
	struct cgroup_dir own = {0};
	char dir[PATH_MAX + 64];
	int e = cgroup_of_pid(0, dir, sizeof(dir));

	s->chosen = true;
	if (e == 0)
		e = open_dir(&own, dir, err, err_n);
	if (e == 0 && own.ino == ROOT_INO)
		return set_add(s, &own, err, err_n);
	e = add_owners(s, &own, ports, n_ports, err, err_n);
	if (own.path)
		close_dir(&own);
	return e;
}

int cgroup_set_open(struct cgroup_set *s, const char *spec, const uint16_t *ports, size_t n_ports,
		    char *err, size_t err_n)
{
	int e;

	*s = (struct cgroup_set) {0};
	snprintf(err, err_n, "cgroup:%s names no cgroup", spec ? spec : "");
	if (!spec || !*spec || strcmp(spec, "auto") == 0)
		e = add_chosen(s, ports, n_ports, err, err_n);
	else
		e = add_list(s, spec, err, err_n);
	if (e)
		cgroup_set_close(s);
	return e;
}

void cgroup_set_close(struct cgroup_set *s)
{
	for (size_t i = 0; i < s->n; i++)
		close_dir(&s->d[i]);
	*s = (struct cgroup_set) {0};
}

int cgroup_set_check(const struct cgroup_set *s)
{
	/* The files of a removed group are gone even for who holds its directory open. */
	for (size_t i = 0; i < s->n; i++)
		if (faccessat(s->d[i].fd, "cgroup.procs", F_OK, 0) != 0)
			return -ENOENT;
	return 0;
}

/* ---- whose network namespaces ---- */

struct survey {
	struct cgroup_netns seen;
	uint64_t own, first;
	unsigned left; /* processes that may still be looked at */
};

static void survey_procs(struct survey *v, int dir)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char file[64];
	struct stat st;
	int pid;

	while (f && v->left && fscanf(f, "%d", &pid) == 1) {
		v->left--;
		snprintf(file, sizeof(file), "/proc/%d/ns/net", pid);
		if (pid <= 0 || stat(file, &st) != 0)
			continue;
		v->seen.own |= st.st_ino == v->own;
		v->seen.foreign |= st.st_ino != v->own;
		v->seen.several |= v->first && v->first != st.st_ino;
		v->first = st.st_ino;
	}
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
}

/* Takes fd. */
static void survey_tree(struct survey *v, int fd, int depth)
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	survey_procs(v, fd);
	while (v->left && depth < DEPTH_MAX && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			survey_tree(v, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
				    depth + 1);
	closedir(d);
}

struct cgroup_netns cgroup_set_netns(const struct cgroup_set *s)
{
	struct survey v = {.left = PROCS_MAX};
	struct stat st;

	if (stat("/proc/self/ns/net", &st) == 0)
		v.own = st.st_ino;
	for (size_t i = 0; i < s->n; i++)
		survey_tree(&v, openat(s->d[i].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
	return v.seen;
}
