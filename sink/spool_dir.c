/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/spool_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "sidetap-"
#define SUFFIX ".spool"
#define WORD   "sidetap.cluster"
enum { DIGITS = 16 };

/* Nobody else may put files there. */
static int check_owner(int fd, const char *path, char *err, size_t err_n)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid == geteuid() || st.st_uid == 0) && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	snprintf(
		err, err_n,
		"spool %s: others may write there (owner %u, mode %03o): give it to this user, mode 700",
		path, st.st_uid, st.st_mode & 0777);
	return -EPERM;
}

int spool_dir_open(const char *path, char *err, size_t err_n)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		int e = -errno;
		snprintf(err, err_n, "spool %s: cannot make the directory: %s", path, strerror(-e));
		return e;
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int e = fd < 0 ? -errno : 0;
	if (e) {
		snprintf(err, err_n, "spool %s: %s", path, strerror(-e));
		return e;
	}
	e = check_owner(fd, path, err, err_n);
	if (e == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		e = -errno;
		snprintf(err, err_n, "spool %s: %s", path,
			 e == -EWOULDBLOCK ? "another sidetap uses it: name another directory"
					   : strerror(-e));
	}
	if (e == 0)
		return fd;
	close(fd);
	return e;
}

void spool_dir_name(char out[SPOOL_NAME], uint64_t segment)
{
	snprintf(out, SPOOL_NAME, PREFIX "%016" PRIx64 SUFFIX, segment);
}

static bool name_parse(const char *name, uint64_t *segment)
{
	char again[SPOOL_NAME];
	if (strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0 ||
	    strlen(name) != sizeof(PREFIX) - 1 + DIGITS + sizeof(SUFFIX) - 1)
		return false;
	*segment = strtoull(name + sizeof(PREFIX) - 1, NULL, 16);
	spool_dir_name(again, *segment);
	return strcmp(again, name) == 0;
}

static int by_segment(const void *a, const void *b)
{
	const struct spool_file *x = a, *y = b;
	return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static int list_add(struct buf *b, int dir, const char *name)
{
	struct stat st;
	struct spool_file f;
	if (!name_parse(name, &f.segment) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return 0;
	f.bytes = (uint64_t)st.st_size;
	return buf_append(b, bytes_of(&f, sizeof(f)));
}

int spool_dir_list(int dir, struct spool_file **out, size_t *n)
{
	struct buf b = {0};
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = -errno;
		if (fd >= 0)
			close(fd);
		return e;
	}
	int e = 0;
	for (struct dirent *it; e == 0 && (it = readdir(d));)
		e = list_add(&b, dir, it->d_name);
	closedir(d);
	if (e < 0) {
		buf_fini(&b);
		return e;
	}
	*out = (struct spool_file *)b.p;
	*n = b.n / sizeof(struct spool_file);
	if (*n)
		qsort(*out, *n, sizeof(**out), by_segment);
	return 0;
}

int spool_dir_create(int dir, uint64_t segment)
{
	char name[SPOOL_NAME];
	spool_dir_name(name, segment);
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
			0600);
	if (fd < 0)
		return -errno;
	fsync(dir); /* so that the name survives as the bytes do */
	return fd;
}

static int read_whole(int fd, uint64_t max, struct buf *out)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	size_t want = (size_t)st.st_size;
	out->p = malloc(want ? want : 1);
	if (!out->p)
		return -ENOMEM;
	out->cap = want;
	while (out->n < want) {
		ssize_t n = read(fd, out->p + out->n, want - out->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		out->n += (size_t)n;
	}
	return 0;
}

int spool_dir_read(int dir, uint64_t segment, uint64_t max, struct buf *out)
{
	char name[SPOOL_NAME];
	*out = (struct buf) {0};
	spool_dir_name(name, segment);
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int e = read_whole(fd, max, out);
	if (e < 0)
		buf_fini(out);
	close(fd);
	return e;
}

int spool_dir_remove(int dir, uint64_t segment)
{
	char name[SPOOL_NAME];
	spool_dir_name(name, segment);
	return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

static bool is_word(const char *s)
{
	static const char ok[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	return s[0] && s[strspn(s, ok)] == 0;
}

void spool_dir_word(int dir, char out[SPOOL_WORD])
{
	int fd = openat(dir, WORD, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, SPOOL_WORD - 1);
	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = 0;
	out[strcspn(out, "\n")] = 0;
	if (!is_word(out))
		out[0] = 0;
}

int spool_dir_keep_word(int dir, const char *word)
{
	if (!is_word(word))
		return -EINVAL;
	unlinkat(dir, WORD ".new", 0); /* a process that was killed here left it */
	int fd = openat(dir, WORD ".new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			0600);
	if (fd < 0)
		return -errno;
	int e = dprintf(fd, "%s\n", word) < 0 || fsync(fd) < 0 ? -errno : 0;
	close(fd);
	if (e == 0 && renameat(dir, WORD ".new", dir, WORD) < 0)
		e = -errno;
	if (e < 0)
		unlinkat(dir, WORD ".new", 0);
	else
		fsync(dir);
	return e;
}
