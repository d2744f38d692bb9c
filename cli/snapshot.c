/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { OWN_MAX = 4096, UNIX_PATHS_MAX = 256, OWNER_TRIES = 400 };

/* Room for one more; false: over the cap or no memory. */
static bool grow(void **p, size_t n, size_t *size, size_t item)
{
	if (n < *size)
		return true;
	size_t want = *size ? *size * 2 : 256;
	void *bigger = n < SNAPSHOT_MAX ? realloc(*p, want * item) : NULL;
	if (!bigger)
		return false;
	*p = bigger;
	*size = want;
	return true;
}

static void add(void *ctx, const struct socks_entry *e)
{
	struct snapshot *s = ctx;
	if (e->state == SOCKS_LISTEN) {
		if (!grow((void **)&s->listens, s->n_listens, &s->listens_size,
			  sizeof(*s->listens)))
			s->more = true;
		else
			s->listens[s->n_listens++] =
				(struct snapshot_listen) {e->t.lport, e->inode};
		return;
	}
	if (!grow((void **)&s->rows, s->n_rows, &s->rows_size, sizeof(*s->rows))) {
		s->more = true;
		return;
	}
	s->rows[s->n_rows++] = (struct snapshot_row) {
		.t = e->t,
		.bytes = e->bytes_acked + e->bytes_received,
		.inode = e->inode,
		.state = e->state,
		.has_bytes = e->has_info,
	};
}

static int by_tuple(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct socks_tuple));
}

static int by_port(const void *a, const void *b)
{
	const struct snapshot_listen *x = a, *y = b;
	return (int)x->port - (int)y->port;
}

static void sort(struct snapshot *s)
{
	size_t n = 0;
	if (s->n_rows)
		qsort(s->rows, s->n_rows, sizeof(*s->rows), by_tuple);
	if (s->n_listens)
		qsort(s->listens, s->n_listens, sizeof(*s->listens), by_port);
	for (size_t i = 0; i < s->n_listens; i++)
		if (n == 0 || s->listens[n - 1].port != s->listens[i].port)
			s->listens[n++] = s->listens[i];
	s->n_listens = n;
}

const struct snapshot_row *snapshot_find(const struct snapshot *s, const struct socks_tuple *t)
{
	return s->n_rows ? bsearch(t, s->rows, s->n_rows, sizeof(*s->rows), by_tuple) : NULL;
}

const struct snapshot_listen *snapshot_listen(const struct snapshot *s, uint16_t port)
{
	struct snapshot_listen key = {port, 0};
	return s->n_listens ? bsearch(&key, s->listens, s->n_listens, sizeof(key), by_port) : NULL;
}

/* An end of a connection: address and port, so that ends can be looked up */
struct end {
	uint8_t addr[16];
	uint16_t port;
};

static int by_end(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct end));
}

static struct end end_of(const uint8_t addr[16], uint16_t port)
{
	struct end e = {.port = port};
	memcpy(e.addr, addr, 16);
	return e;
}

static bool loopback(const uint8_t a[16])
{
	static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff}, v6[16] = {[15] = 1};
	return memcmp(a, v6, 16) == 0 || (memcmp(a, v4, 12) == 0 && a[12] == 127);
}

/* Under REDIRECT the two ends name different servers: they still agree on the client. */
static bool is_local(const struct snapshot_row *r, const struct end *locals,
		     const struct end *remotes, size_t n)
{
	struct end mine = end_of(r->t.local, r->t.lport), peer = end_of(r->t.remote, r->t.rport);
	return loopback(r->t.remote) || memcmp(mine.addr, peer.addr, 16) == 0 ||
	       bsearch(&peer, locals, n, sizeof(peer), by_end) ||
	       bsearch(&mine, remotes, n, sizeof(mine), by_end);
}

static void roles(struct snapshot *s, struct snapshot_row *r)
{
	bool l = snapshot_listen(s, r->t.lport), p = snapshot_listen(s, r->t.rport);
	r->server = l != p ? l : r->t.lport < r->t.rport;
	r->port = r->server ? r->t.lport : r->t.rport;
}

static int locality(struct snapshot *s)
{
	struct end *locals = calloc(s->n_rows * 2 + 1, sizeof(*locals)),
		   *remotes = locals + s->n_rows;
	if (!locals)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_rows; i++) {
		locals[i] = end_of(s->rows[i].t.local, s->rows[i].t.lport);
		remotes[i] = end_of(s->rows[i].t.remote, s->rows[i].t.rport);
	}
	qsort(locals, s->n_rows, sizeof(*locals), by_end);
	qsort(remotes, s->n_rows, sizeof(*remotes), by_end);
	for (size_t i = 0; i < s->n_rows; i++) {
		s->rows[i].local = is_local(&s->rows[i], locals, remotes, s->n_rows);
		roles(s, &s->rows[i]);
	}
	free(locals);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static size_t own_inodes(uint32_t *out, size_t max)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	size_t n = 0;

	while (d && n < max && (e = readdir(d))) {
		char link[64];
		ssize_t len = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (len <= 0)
			continue;
		link[len] = 0;
		if (sscanf(link, "socket:[%u]", &out[n]) == 1)
			n++;
	}
	if (d)
		closedir(d);
	qsort(out, n, sizeof(*out), by_number);
	return n;
}

static void mark_own(struct snapshot *s)
{
	uint32_t own[OWN_MAX];
	size_t n = own_inodes(own, OWN_MAX);

	for (size_t i = 0; n && i < s->n_rows; i++) {
		struct snapshot_row *r = &s->rows[i];
		if (!r->inode || !bsearch(&r->inode, own, n, sizeof(*own), by_number))
			continue;
		struct socks_tuple mirror = {.lport = r->t.rport, .rport = r->t.lport};
		memcpy(mirror.local, r->t.remote, 16);
		memcpy(mirror.remote, r->t.local, 16);
		struct snapshot_row *peer = (struct snapshot_row *)snapshot_find(s, &mirror);
		r->own = true;
		if (peer)
			peer->own = true;
	}
}

int snapshot_take(struct snapshot *s, struct socks *socks)
{
	*s = (struct snapshot) {0};
	int rc = socks_dump(socks, ~(1u << SOCKS_CLOSE), true, add, s);
	if (rc == -EIO)
		rc = 0; /* incomplete is good enough to look at */
	sort(s);
	if (rc == 0)
		rc = locality(s);
	if (rc < 0) {
		snapshot_fini(s);
		return rc;
	}
	mark_own(s);
	return 0;
}

void snapshot_fini(struct snapshot *s)
{
	free(s->rows);
	free(s->listens);
	*s = (struct snapshot) {0};
}

void snapshot_owner(struct socks *socks, uint32_t inode, char *out, size_t out_n)
{
	char name[160];
	struct timespec now;
	int rc = -EAGAIN;

	out[0] = 0;
	for (unsigned i = 0; rc == -EAGAIN && i < OWNER_TRIES; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		rc = socks_owner_inode(socks, inode,
				       (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
				       name, sizeof(name));
	}
	char *pid = rc == 0 ? strrchr(name, '(') : NULL;
	if (!pid)
		return;
	*pid++ = 0;
	pid[strcspn(pid, ")")] = 0;
	snprintf(out, out_n, "%s%s%s", name, *name ? " " : "", pid);
}

struct paths {
	char *path[UNIX_PATHS_MAX];
	unsigned n[UNIX_PATHS_MAX], used;
};

static void count_path(struct paths *p, const char *path)
{
	unsigned i = 0;
	while (i < p->used && strcmp(p->path[i], path) != 0)
		i++;
	if (i == UNIX_PATHS_MAX || (i == p->used && !(p->path[i] = strdup(path))))
		return;
	p->used += i == p->used;
	p->n[i]++;
}

static void top_paths(struct paths *p, struct snapshot_unix *u)
{
	for (unsigned k = 0; k < SNAPSHOT_UNIX_TOP; k++) {
		unsigned best = 0;
		for (unsigned i = 1; i < p->used; i++)
			if (p->n[i] > p->n[best])
				best = i;
		if (!p->used || !p->n[best])
			return;
		log_escape(u->top[k].path, sizeof(u->top[k].path), bytes_str(p->path[best]));
		u->top[k].n = p->n[best];
		p->n[best] = 0;
	}
}

/* Num RefCount Protocol Flags Type St Inode Path; connected streams are "0001 03". The client's
 * end has no path. */
int snapshot_unix(struct snapshot_unix *u)
{
	char line[512];
	struct paths paths = {0};
	FILE *f = fopen("/proc/net/unix", "re");

	*u = (struct snapshot_unix) {0};
	if (!f)
		return -errno;
	for (unsigned n = 0; n < SNAPSHOT_MAX && fgets(line, sizeof(line), f); n++) {
		unsigned type, state;
		int path = 0;
		if (sscanf(line, "%*s %*s %*s %*s %x %x %*s %n", &type, &state, &path) < 2 ||
		    type != 1 || state != 3)
			continue;
		u->connected++;
		line[strcspn(line, "\n")] = 0;
		if (path > 0 && line[path])
			count_path(&paths, line + path);
	}
	fclose(f);
	top_paths(&paths, u);
	for (unsigned i = 0; i < paths.used; i++)
		free(paths.path[i]);
	return 0;
}
