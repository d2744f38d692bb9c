/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the directory of a file sink: the files of every instance in it, calls before ledgers, by
 * name. Foreign names, links, and what is no regular file are left alone (D7).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink/file_in.h"
#include "sink/source.h"

struct source_dir {
	int dir;
	char **names;
	size_t n, size, at;
	enum record_kind kind; /* of the open file */
	bool open;
	struct file_in in;
};

static void source_file_close(struct source *s)
{
	struct source_dir *d = (struct source_dir *)s;
	if (!d)
		return;
	file_in_fini(&d->in);
	for (size_t i = 0; i < d->n; i++)
		free(d->names[i]);
	free(d->names);
	if (d->dir >= 0)
		close(d->dir);
	free(d);
}

static int add_name(struct source_dir *d, const char *name)
{
	if (d->n == d->size) {
		size_t size = d->size ? d->size * 2 : 64;
		char **p = realloc(d->names, size * sizeof(*p));
		if (!p)
			return -ENOMEM;
		d->names = p;
		d->size = size;
	}
	d->names[d->n] = strdup(name);
	return d->names[d->n++] ? 0 : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* *any: there is a file of a file sink, wanted or not. */
static int list_names(struct source_dir *d, const struct source_cfg *cfg, bool *any)
{
	int fd = dup(d->dir), e = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		e = -errno;
		if (fd >= 0)
			close(fd);
		return e;
	}
	struct dirent *entry;
	while (e == 0 && (entry = readdir(dir))) {
		bool call = file_name_is(entry->d_name, RECORD_CALL);
		bool ledger = file_name_is(entry->d_name, RECORD_LEDGER);
		*any = *any || call || ledger;
		if ((call && cfg->calls) || (ledger && cfg->ledgers))
			e = add_name(d, entry->d_name);
	}
	closedir(dir);
	if (d->n)
		qsort(d->names, d->n, sizeof(*d->names), by_name);
	return e;
}

static struct source *source_file_open(const struct source_cfg *cfg, char *err, size_t err_n)
{
	struct source_dir *d = calloc(1, sizeof(*d));
	bool any = false;
	if (!d || file_in_init(&d->in) != 0) {
		snprintf(err, err_n, "file: no memory");
		free(d);
		return NULL;
	}
	d->dir = open(cfg->spec, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int e = d->dir < 0 ? -errno : list_names(d, cfg, &any);
	if (e)
		snprintf(err, err_n, "file: cannot read directory '%.200s': %s", cfg->spec,
			 strerror(-e));
	else if (!any)
		snprintf(err, err_n, "file: directory '%.200s' has no calls-*%s or ledger-*%s",
			 cfg->spec, FILE_SUFFIX, FILE_SUFFIX);
	if (e || !any) {
		source_file_close((struct source *)d);
		return NULL;
	}
	return (struct source *)d;
}

/* The next regular file. False: none is left. */
static bool open_next(struct source_dir *d)
{
	while (d->at < d->n) {
		const char *name = d->names[d->at++];
		struct stat st;
		int fd = openat(d->dir, name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			continue;
		if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
			close(fd);
			continue;
		}
		file_in_start(&d->in, fd);
		d->kind = file_name_is(name, RECORD_CALL) ? RECORD_CALL : RECORD_LEDGER;
		return true;
	}
	return false;
}

static int source_file_next(struct source *s, struct bytes *data, enum record_kind *kind, char *err,
			    size_t err_n)
{
	struct source_dir *d = (struct source_dir *)s;
	for (;;) {
		if (!d->open && !(d->open = open_next(d)))
			return 0;
		int e = file_in_next(&d->in, data);
		*kind = d->kind;
		if (e == 1 || e == -EBADMSG)
			return e;
		d->open = false;
		if (e < 0) {
			snprintf(err, err_n, "file: reading %.128s: %s", d->names[d->at - 1],
				 strerror(-e));
			return e;
		}
	}
}

const struct source_ops source_file = {
	.scheme = "file",
	.open = source_file_open,
	.next = source_file_next,
	.close = source_file_close,
};
