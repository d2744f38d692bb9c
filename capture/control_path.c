/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/control_path.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/control.h"

enum { OTHERS = 16, SWEPT_MAX = 64 }; /* names tried for one pid; files looked at */

static int fail(char *err, size_t err_n, int rc, const char *path, const char *why)
{
	char safe[200];
	log_escape(safe, sizeof(safe), bytes_str(path));
	snprintf(err, err_n, "socket %s: %s", safe, why);
	return rc;
}

int control_directory(char *out, size_t out_n)
{
	const char *base = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	struct stat st;
	if (!base || base[0] != '/' || stat(base, &st) < 0 || !S_ISDIR(st.st_mode))
		return -ENOENT;
	int n = snprintf(out, out_n, "%s/sidetap", base);
	return n < 0 || (size_t)n >= out_n ? -ENOENT : 0;
}

/* Who else could put something in its place? */
static int check_directory(const char *path, char *err, size_t err_n)
{
	char dir[CONTROL_PATH_MAX + 1];
	struct stat st;
	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return fail(err, err_n, -EINVAL, path,
			    "allowed is an absolute path in a directory of its own");
	*slash = 0;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail(err, err_n, -errno, dir, strerror(errno));
	if (stat(dir, &st) < 0)
		return fail(err, err_n, -errno, dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return fail(err, err_n, -ENOTDIR, dir, "is no directory");
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return fail(
			err, err_n, -EPERM, dir,
			"others may write to this directory: make one of its own (mkdir -m 700)");
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return fail(err, err_n, -EPERM, dir, "this directory belongs to another user");
	return 0;
}

/* Is somebody behind the socket? */
static bool served(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive =
		fd >= 0 && (connect(fd, (const void *)at, sizeof(*at)) == 0 || errno == EAGAIN);
	if (fd >= 0)
		close(fd);
	return alive;
}

/* Makes the path free; a dead socket of ours is all that is ever removed. */
static int clear_path(const struct sockaddr_un *at, char *err, size_t err_n)
{
	const char *path = at->sun_path;
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fail(err, err_n, -errno, path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(err, err_n, -EEXIST, path,
			    S_ISLNK(st.st_mode)
				    ? "is a symbolic link: name the socket itself"
				    : "exists and is no socket: remove it, or name another");
	if (st.st_uid != geteuid())
		return fail(err, err_n, -EPERM, path, "belongs to another user");
	if (served(at))
		return fail(err, err_n, -EADDRINUSE, path,
			    "another capture answers there: name another by --socket");
	return unlink(path) < 0 ? fail(err, err_n, -errno, path, strerror(errno)) : 0;
}

/* fchmod() before bind() is the mode that the file is made with: it is never open to others. */
static int bind_at(const char *path, char *out, char *err, size_t err_n)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (strlen(path) > CONTROL_PATH_MAX)
		return fail(err, err_n, -ENAMETOOLONG, path,
			    "is longer than 107 bytes: name a shorter one");
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	int rc = check_directory(path, err, err_n);
	if (rc == 0)
		rc = clear_path(&at, err, err_n);
	if (rc < 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (void *)&at, sizeof(at)) < 0) {
		rc = fail(err, err_n, -errno, path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	snprintf(out, CONTROL_PATH_MAX + 1, "%s", path);
	return fd;
}

/* Sockets that a killed capture left */
static void sweep(const char *dir)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	DIR *d = opendir(dir);
	struct dirent *e;
	char err[400];
	for (int i = 0; d && i < SWEPT_MAX && (e = readdir(d)); i++) {
		size_t n = strlen(e->d_name);
		if (n <= 5 || strcmp(e->d_name + n - 5, ".sock") != 0)
			continue;
		int len = snprintf(at.sun_path, sizeof(at.sun_path), "%s/%s", dir, e->d_name);
		if (len > 0 && len <= CONTROL_PATH_MAX)
			clear_path(&at, err, sizeof(err));
	}
	if (d)
		closedir(d);
}

static int bind_default(char *out, char *err, size_t err_n)
{
	char dir[CONTROL_PATH_MAX - 24], path[CONTROL_PATH_MAX + 1];
	int rc = control_directory(dir, sizeof(dir));
	if (rc < 0) {
		snprintf(err, err_n,
			 "no place for the socket of 'sidetap ctl' (no /run, no "
			 "$XDG_RUNTIME_DIR): name one by --socket");
		return rc;
	}
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail(err, err_n, -errno, dir, strerror(errno));
	sweep(dir);
	rc = -EADDRINUSE;
	for (int i = 1; i <= OTHERS && rc == -EADDRINUSE; i++) {
		if (i == 1)
			snprintf(path, sizeof(path), "%s/%d.sock", dir, (int)getpid());
		else
			snprintf(path, sizeof(path), "%s/%d-%d.sock", dir, (int)getpid(), i);
		rc = bind_at(path, out, err, err_n);
	}
	return rc;
}

int control_path_bind(const char *path, char *out, char *err, size_t err_n)
{
	return path ? bind_at(path, out, err, err_n) : bind_default(out, err, err_n);
}
