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

enum { BATCH = 64, SYNCED_SOME = 64, BLOCK_BYTES = 4096 };

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

/* What the disk takes for all files, each of them in whole blocks, with so many bytes more */
static uint64_t bytes_with(const struct spool *s, uint64_t more)
{
	return s->stats.bytes + (s->stats.segments + 1) * BLOCK_BYTES + SPOOL_HEADER_BYTES + more;
}

static uint64_t room_left(const struct spool *s)
{
	uint64_t now = bytes_with(s, 0);
	return now < s->cfg.max_bytes ? s->cfg.max_bytes - now : 0;
}

struct batch {
	uint8_t entry[BATCH][SPOOL_ENTRY_BYTES];
	struct iovec v[3 * BATCH];
	int n, n_v;
	uint64_t bytes;
};

/* As many records from the head of the queue as fit into the segment, but one at least. */
static void batch_fill(struct batch *b, const struct spool *s)
{
	static const uint8_t zeros[8];
	uint64_t room = s->active ? s->active->bytes : SPOOL_HEADER_BYTES;
	room = room < s->cfg.segment_bytes ? s->cfg.segment_bytes - room : 0;
	b->n = b->n_v = 0;
	b->bytes = 0;
	for (struct record *r = s->queue.first; r && b->n < BATCH; r = r->next) {
		size_t pad,
			n = spool_segment_entry(b->entry[b->n], r, s->instance, &pad) + r->n + pad;
		if (b->n && b->bytes + n > room)
			return;
		b->v[b->n_v++] = (struct iovec) {b->entry[b->n], SPOOL_ENTRY_BYTES};
		b->v[b->n_v++] = (struct iovec) {r->data, r->n};
		b->v[b->n_v++] = (struct iovec) {(void *)zeros, pad};
		b->bytes += n;
		b->n++;
	}
}

/* A segment with room for the first record of the queue: the file is there after it. */
static int segment_for(struct spool *s, const struct record *r)
{
	uint64_t n = SPOOL_ENTRY_BYTES + r->n + 8;
	if (s->active && s->active->bytes + n > s->cfg.segment_bytes && s->active->n)
		spool_seal(s);
	int e = spool_make_room(s, n);
	if (s->queue.first != r) /* a failed fsync put others before it */
		return s->error;
	return e == 0 && !s->active ? segment_begin(s) : e;
}

/* Records from the head of the queue: how many, or -errno. */
static int write_batch(struct spool *s)
{
	struct batch b;
	int e = segment_for(s, s->queue.first);
	if (e == 0)
		e = spool_reserve(s, BATCH); /* to tell, once they are synced */
	if (e < 0)
		return e;
	batch_fill(&b, s);
	if (b.n > 1 && room_left(s) < b.bytes) { /* near the cap: one by one */
		b.n = 1;
		b.n_v = 3;
		b.bytes = b.v[0].iov_len + b.v[1].iov_len + b.v[2].iov_len;
	}
	uint32_t before = s->active->n;
	struct record *r = s->queue.first;
	for (int i = 0; i < b.n && e == 0; i++, r = r->next)
		e = item_add(s->active, r);
	off_t end = (off_t)s->active->bytes;
	pthread_mutex_unlock(&s->lock);
	if (e == 0)
		e = write_all(s->fd, b.v, b.n_v, end);
	pthread_mutex_lock(&s->lock);
	if (e < 0) {
		s->active->n = before;
		return e;
	}
	s->active->bytes += b.bytes;
	s->stats.bytes += b.bytes;
	return b.n;
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
	if (now_ns < s->retry_ns || !s->queue.first)
		return false;
	int n = write_batch(s);
	if (n < 0) {
		if (s->retry_ns <= now_ns)
			spool_failed(s, n, "write");
		return false;
	}
	s->error = 0;
	s->stats.failing = false;
	if (!s->unsynced.first)
		s->unsynced_since_ns = now_ns;
	while (n-- > 0)
		taken_push(&s->unsynced, taken_pop(&s->queue));
	return true;
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

/* The oldest of what was synced are stored, at most SYNCED_SOME. */
static void some_done(struct spool *s)
{
	struct spool_news news[SYNCED_SOME];
	struct taken done;
	size_t n = 0;

	for (const struct record *r = s->unsynced.first; r && n < SYNCED_SOME; r = r->next)
		news[n++] = spool_news_of(r, NULL);
	taken_init(&done);
	pthread_mutex_lock(&s->lock);
	spool_news_add(s, news, n); /* write_batch() reserved the room */
	for (size_t i = 0; i < n; i++)
		taken_push(&done, taken_pop(&s->unsynced));
	s->stats.stored += n;
	s->stats.resident += n;
	s->synced += (uint32_t)n;
	pthread_mutex_unlock(&s->lock);
	taken_fini(&done);
}

/* In pieces: 4 MiB may be ten thousand records, and the loop waits for the lock at each that it puts. */
static void sync_done(struct spool *s)
{
	while (s->unsynced.first)
		some_done(s);
	pthread_mutex_lock(&s->lock);
	s->stats.syncs++;
	pthread_mutex_unlock(&s->lock);
}

static bool sync_now(struct spool *s)
{
	pthread_mutex_unlock(&s->lock);
	int e = fdatasync(s->fd) < 0 ? -errno : 0;
	if (e == 0)
		sync_done(s);
	pthread_mutex_lock(&s->lock);
	if (e < 0)
		sync_failed(s, e);
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
	/* more in one go while more waits: a disk takes about as long for each */
	uint64_t enough = s->queue.first && s->cfg.sync_bytes < s->cfg.queue_bytes / 2
				  ? s->cfg.queue_bytes / 2
				  : s->cfg.sync_bytes;
	if (!s->unsynced.first ||
	    (!now && s->unsynced.bytes < enough && now_ns - s->unsynced_since_ns < s->cfg.sync_ns))
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

int spool_make_room(struct spool *s, uint64_t bytes)
{
	while (bytes_with(s, bytes) > s->cfg.max_bytes) {
		if (spool_remove_some(s)) /* what was delivered leaves first */
			continue;
		struct spool_segment *g = evictable(s);
		if (!g && s->active && s->active->n) {
			spool_seal(s);
			continue;
		}
		if (!g) /* all of it is on its way to Kafka, or not ours */
			return -ENOSPC;
		while (!g->counted && spool_count_some(s))
			;
		int e = spool_give_up(s, g, "spool_evicted");
		if (e < 0)
			return e;
		g->counted = true;
		if (!spool_remove_some(s))
			return -ENOSPC;
	}
	return 0;
}
