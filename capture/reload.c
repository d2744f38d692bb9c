/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/reload.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR)

struct identity {
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec modified, changed;
};

struct reload {
	char *path;
	int fd;
	int place, target; /* watch descriptors: of the path's directory, of the file's; -1: none */
	struct identity known, last; /* last: at the tick before */
};

static struct identity look(const struct reload *r)
{
	struct stat st;
	if (stat(r->path, &st) < 0)
		return (struct identity) {0};
	return (struct identity) {true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

/* The directory of a path, into its own memory */
static const char *directory_of(char *path)
{
	char *slash = strrchr(path, '/');
	if (!slash)
		return ".";
	slash[slash == path] = 0;
	return path;
}

static int watch_directory(const struct reload *r, const char *path)
{
	char *copy = strdup(path);
	int wd = copy && r->fd >= 0 ? inotify_add_watch(r->fd, directory_of(copy), EVENTS) : -1;
	free(copy);
	return wd;
}

/* The file may lie in another directory since a swap. The same directory gives the same descriptor. */
static void watch_target(struct reload *r)
{
	char *real = realpath(r->path, NULL);
	if (!real)
		return;
	int wd = watch_directory(r, real);
	free(real);
	if (r->target >= 0 && r->target != wd && r->target != r->place)
		inotify_rm_watch(r->fd, r->target);
	r->target = wd;
}

struct reload *reload_open(const char *path)
{
	struct reload *r = calloc(1, sizeof(*r));
	if (!r || !(r->path = strdup(path))) {
		free(r);
		return NULL;
	}
	r->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r->target = -1;
	r->place = watch_directory(r, path);
	watch_target(r);
	r->known = r->last = look(r);
	return r;
}

void reload_close(struct reload *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r->path);
	free(r);
}

int reload_fd(const struct reload *r)
{
	return r->fd;
}

/* Closed by its writer, or anything renamed into place: a file, or the directory behind a symlink. */
static bool concerns(const struct reload *r, const struct inotify_event *e)
{
	const char *slash = strrchr(r->path, '/');
	return e->mask & IN_MOVED_TO ||
	       (e->len && strcmp(e->name, slash ? slash + 1 : r->path) == 0);
}

static bool events(struct reload *r)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;
	ssize_t n;
	while (r->fd >= 0 && (n = read(r->fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (void *)(buf + at);
			any = any || concerns(r, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	return any;
}

bool reload_changed(struct reload *r, bool tick)
{
	bool told = events(r);
	if (!told && !tick)
		return false;
	struct identity now = look(r);
	bool settled = told || same(&now, &r->last);
	r->last = now;
	if (!now.there || same(&now, &r->known) || !settled)
		return false;
	r->known = now;
	watch_target(r);
	return true;
}
