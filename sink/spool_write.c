/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of the spool's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sink/spool_dir.h"
#include "sink/spool_segment.h"
#include "sink/spool_state.h"

enum { BATCH = 64, BLOCK_BYTES = 4096 };

static struct spool_item item_of(const struct record *r)
{
	return (struct spool_item) {.number = r->number,
				    .bytes = (uint32_t)r->n,
				    .kind = (uint8_t)r->kind,
				    .last_part = r->last_part};
}

/* All of it or nothing: a part that a full disk left is cut off again. */
static int write_all(int fd, struct iovec *v, int n, off_t end)
{
	while (n) {
		ssize_t w = writev(fd, v, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			int e = w < 0 ? -errno : -ENOSPC;
			return ftruncate(fd, end) < 0 ? -EIO : e;
		}
		for (; n && (size_t)w >= v->iov_len; v++, n--)
			w -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (char *)v->iov_base + w;
			v->iov_len -= (size_t)w;
		}
	}
	return 0;
}

static int segment_begin(struct spool *s)
{
	uint8_t header[SPOOL_HEADER_BYTES];
	struct spool_segment *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	g->id = s->next_id++;
	g->counted = true;
	g->bytes = sizeof(header);
	pthread_mutex_unlock(&s->lock);
	int fd = spool_dir_create(s->dir, g->id), e = fd < 0 ? fd : 0;
	spool_segment_header(header, g->id, s->instance);
	struct iovec v = {header, sizeof(header)};
	if (fd >= 0)
		e = write_all(fd, &v, 1, 0);
	if (e < 0 && fd >= 0) {
		close(fd);
		spool_dir_remove(s->dir, g->id);
	}
	pthread_mutex_lock(&s->lock);
	if (e < 0) {
		free(g);
		return e;
	}
	list_add_tail(&s->segments, &g->in);
	s->stats.segments++;
	s->stats.bytes += g->bytes;
	s->active = g;
	s->fd = fd;
	s->synced = 0;
	return 0;
}

static int item_add(struct spool_segment *g, const struct record *r)
{
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? 2 * g->cap : 256;
		void *p = realloc(g->items, cap * sizeof(*g->items));
		if (!p)
			return -ENOMEM;
		g->items = p;
		g->cap = cap;
	}
	g->items[g->n++] = item_of(r);
	return 0;
}

/* The record at the head of the queue */
static int write_one(struct spool *s, struct record *r)
{
	uint8_t entry[SPOOL_ENTRY_BYTES];
	static const uint8_t zeros[8];
	size_t pad, n = spool_segment_entry(entry, r, s->instance, &pad) + r->n + pad;

	if (s->active && (s->active->bytes + n > s->cfg.segment_bytes && s->active->n))
		spool_seal(s);
	int e = spool_make_room(s, n);
	if (s->queue.first != r) /* a failed fsync put others before it */
		return s->error;
	if (e == 0 && !s->active)
		e = segment_begin(s);
	if (e == 0)
		e = item_add(s->active, r);
	if (e < 0)
		return e;
	struct iovec v[3] = {{entry, sizeof(entry)}, {r->data, r->n}, {(void *)zeros, pad}};
	off_t end = (off_t)s->active->bytes;
	pthread_mutex_unlock(&s->lock);
	e = write_all(s->fd, v, 3, end);
	pthread_mutex_lock(&s->lock);
	if (e < 0) {
		s->active->n--;
		return e;
	}
	s->active->bytes += n;
	s->stats.bytes += n;
	return 0;
}

bool spool_pin_some(struct spool *s, uint64_t now_ns)
{
	char word[sizeof(s->pin)];
	if (!s->pin_due || now_ns < s->retry_ns)
		return false;
	s->pin_due = false;
	memcpy(word, s->pin, sizeof(word));
	pthread_mutex_unlock(&s->lock);
	int e = spool_dir_keep_word(s->dir, word);
	pthread_mutex_lock(&s->lock);
	if (e < 0) {
		s->pin_due = true;
		spool_failed(s, e, "sidetap.cluster");
	}
	return e == 0;
}

bool spool_write_some(struct spool *s, uint64_t now_ns)
{
	bool done = false;
	if (now_ns < s->retry_ns)
		return false;
	for (int i = 0; i < BATCH && s->queue.first; i++) {
		int e = write_one(s, s->queue.first);
		if (e < 0) {
			if (s->retry_ns <= now_ns)
				spool_failed(s, e, "write");
			return done;
		}
		done = true;
		s->error = 0;
		s->stats.failing = false;
		if (!s->unsynced.first)
			s->unsynced_since_ns = now_ns;
		taken_push(&s->unsynced, taken_pop(&s->queue));
	}
	return done;
}

/* What was written since the last good sync goes back, in front, and is written anew elsewhere: a failed fsync may
 * have dropped its pages (D2). */
static void sync_failed(struct spool *s, int err)
{
	struct taken all = s->unsynced;
	if (!all.first)
		taken_init(&all);
	taken_init(&s->unsynced);
	taken_move(&all, &s->queue);
	s->queue = all;
	if (!all.first)
		taken_init(&s->queue);
	s->active->n = s->synced;
	spool_failed(s, err, "fsync");
}

static void sync_done(struct spool *s)
{
	s->stats.syncs++;
	s->synced = s->active->n;
	for (struct record *r; (r = taken_pop(&s->unsynced));) {
		struct spool_item it = item_of(r);
		s->stats.stored++;
		s->stats.resident++;
		spool_tell(s, &it, NULL);
		record_free(r);
	}
}

static bool sync_now(struct spool *s)
{
	pthread_mutex_unlock(&s->lock);
	int e = fdatasync(s->fd) < 0 ? -errno : 0;
	pthread_mutex_lock(&s->lock);
	if (e < 0)
		sync_failed(s, e);
	else
		sync_done(s);
	return e == 0;
}

void spool_seal(struct spool *s)
{
	if (!s->active)
		return;
	if (s->unsynced.first)
		sync_now(s);
	s->active->sealed = true;
	s->active = NULL;
	close(s->fd);
	s->fd = -1;
}

bool spool_sync_due(struct spool *s, uint64_t now_ns, bool now)
{
	if (!s->unsynced.first || (!now && s->unsynced.bytes < s->cfg.sync_bytes &&
				   now_ns - s->unsynced_since_ns < s->cfg.sync_ns))
		return false;
	if (!sync_now(s))
		spool_seal(s); /* never again to that file */
	return true;
}

/* Oldest first, but what was read ahead is on its way and stays. */
static struct spool_segment *evictable(struct spool *s)
{
	list_for_each (it, &s->segments) {
		struct spool_segment *g = list_entry(it, struct spool_segment, in);
		if (g->sealed && !g->loaded && !g->kept)
			return g;
	}
	return NULL;
}

/* What the disk takes for all files, each of them in whole blocks, with so many bytes more */
static uint64_t bytes_with(const struct spool *s, uint64_t more)
{
	return s->stats.bytes + (s->stats.segments + 1) * BLOCK_BYTES + SPOOL_HEADER_BYTES + more;
}

int spool_make_room(struct spool *s, uint64_t bytes)
{
	while (bytes_with(s, bytes) > s->cfg.max_bytes) {
		struct spool_segment *g = evictable(s);
		if (!g && s->active && s->active->n) {
			spool_seal(s);
			continue;
		}
		if (!g) /* all of it is on its way to Kafka, or not ours */
			return -ENOSPC;
		while (!g->counted && spool_count_some(s))
			;
		spool_give_up(s, g, "spool_evicted");
		g->counted = true;
		if (!spool_remove_some(s))
			return -ENOSPC;
	}
	return 0;
}
