/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of the spool's thread: back into memory, counting, deleting. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sink/spool_dir.h"
#include "sink/spool_segment.h"
#include "sink/spool_state.h"

enum { AHEAD_BYTES = 4 << 20 };

/* The bytes of a segment of this version. Without the lock, as all that takes long: the caller's thread never waits
 * for more than a few stores. */
static int segment_read(const struct spool *s, const struct spool_segment *g, struct buf *out)
{
	int e = spool_dir_read(s->dir, g->id, s->cfg.max_bytes + RECORD_MAX_BYTES, out);
	return e < 0 ? e : spool_segment_check(buf_bytes(out));
}

/* Cannot be read, or is another version's: it stays on disk, and what is ours in it is lost by name. False: nothing was
 * done, a later turn tries again. */
static bool keep_away(struct spool *s, struct spool_segment *g, int err)
{
	if (spool_is_momentary(err) || spool_give_up(s, g, "spool_io_error") < 0)
		return false;
	g->kept = g->loaded = g->counted = g->sealed = true;
	if (err != -ENOTSUP)
		spool_failed(s, err, "read");
	return true;
}

/* What a file holds, read without the lock */
struct batch {
	struct list ahead; /* struct spool_ahead, tokens rising */
	uint64_t bytes, broken;
	uint32_t n; /* of an earlier process: entries */
};

static void batch_fini(struct batch *b)
{
	list_for_each_safe (it, next, &b->ahead) {
		struct spool_ahead *a = list_entry(it, struct spool_ahead, in);
		record_free(a->read.r);
		free(a);
	}
}

static int batch_add(struct batch *b, const struct spool_segment *g, uint32_t index,
		     const struct spool_segment_found *f)
{
	struct spool_ahead *a = calloc(1, sizeof(*a));
	struct record *r = a ? spool_segment_record(f) : NULL;
	if (!r) {
		free(a);
		return -ENOMEM;
	}
	a->read = (struct spool_read) {
		.r = r, .token = g->id << SPOOL_INDEX_BITS | index, .foreign = !g->items};
	memcpy(a->read.instance, f->instance, sizeof(a->read.instance));
	list_add_tail(&b->ahead, &a->in);
	b->bytes += r->n;
	return 0;
}

/* A segment of ours holds the items that we know, some of them maybe broken by now. It is sealed: nobody changes
 * their names. */
static int parse_ours(struct batch *b, const struct spool_segment *g, struct bytes file)
{
	struct spool_segment_found f;
	uint32_t i = 0;
	int e = 0;
	for (size_t at = 0; e == 0 && i < g->n && spool_segment_next(file, &at, &f, &b->broken);) {
		uint32_t j = i;
		while (j < g->n && (g->items[j].number != f.number || g->items[j].kind != f.kind))
			j++;
		if (j == g->n)
			continue;
		e = batch_add(b, g, j, &f);
		i = j + 1;
	}
	return e;
}

/* Of an earlier process: what is whole is there. */
static int parse_found(struct batch *b, const struct spool_segment *g, struct bytes file)
{
	struct spool_segment_found f;
	int e = 0;
	for (size_t at = 0; e == 0 && spool_segment_next(file, &at, &f, &b->broken); b->n++)
		e = batch_add(b, g, b->n, &f);
	return e;
}

/* Item i of ours is not readable any more. */
static void item_lost(struct spool *s, struct spool_segment *g, uint32_t i)
{
	spool_tell(s, &g->items[i], "spool_corrupt");
	g->items[i].released = true;
	g->released++;
	s->stats.evicted++;
	s->stats.resident--;
}

static void take_ours(struct spool *s, struct spool_segment *g, const struct batch *b)
{
	uint32_t i = 0;
	list_for_each (it, (struct list *)&b->ahead) {
		uint64_t token = list_entry(it, struct spool_ahead, in)->read.token;
		uint32_t index = token & ((1u << SPOOL_INDEX_BITS) - 1);
		for (; i < index; i++)
			item_lost(s, g, i);
		i++;
	}
	for (; i < g->n; i++)
		item_lost(s, g, i);
}

static void take_found(struct spool *s, struct spool_segment *g, const struct batch *b)
{
	if (!g->counted) {
		s->stats.found += b->n;
		s->stats.resident += b->n;
	}
	g->n = b->n;
	g->counted = true;
}

/* Little of a small spool: what is read ahead cannot leave for the cap. */
static uint64_t ahead_max(const struct spool *s)
{
	return s->cfg.max_bytes / 16 < AHEAD_BYTES ? s->cfg.max_bytes / 16 : AHEAD_BYTES;
}

static struct spool_segment *first_unread(struct spool *s)
{
	list_for_each (it, &s->segments) {
		struct spool_segment *g = list_entry(it, struct spool_segment, in);
		if (!g->loaded)
			return g;
	}
	return NULL;
}

static int batch_read(struct spool *s, const struct spool_segment *g, struct batch *b)
{
	struct buf file;
	int e = segment_read(s, g, &file);
	if (e == 0 && g->items)
		e = parse_ours(b, g, buf_bytes(&file));
	else if (e == 0)
		e = parse_found(b, g, buf_bytes(&file));
	buf_fini(&file);
	return e;
}

bool spool_load_some(struct spool *s)
{
	struct spool_segment *g = first_unread(s);
	if (!s->want || !g || s->ahead_bytes > ahead_max(s))
		return false;
	if (g == s->active) {
		/* what waits is written first: a segment costs a slow disk as much with one record as with thousands */
		if (!g->n || s->queue.first)
			return false;
		spool_seal(s); /* may give records back to the queue */
	}
	struct batch b = {.n = 0};
	list_init(&b.ahead);
	pthread_mutex_unlock(&s->lock);
	int e = batch_read(s, g, &b);
	pthread_mutex_lock(&s->lock);
	if (e == 0 && g->items) /* any of them may be lost */
		e = spool_reserve(s, g->n);
	if (e < 0) {
		batch_fini(&b);
		return keep_away(s, g, e);
	}
	g->loaded = true;
	s->want = false;
	if (!g->counted || g->items)
		s->stats.broken += b.broken;
	if (g->items)
		take_ours(s, g, &b);
	else
		take_found(s, g, &b);
	list_for_each_safe (it, next, &b.ahead)
		list_move_tail(&s->ahead, it);
	s->ahead_bytes += b.bytes;
	return true;
}

static int segment_count(struct spool *s, const struct spool_segment *g, uint32_t *n,
			 uint64_t *broken)
{
	struct buf file;
	struct spool_segment_found f;
	int e = segment_read(s, g, &file);
	for (size_t at = 0; e == 0 && spool_segment_next(buf_bytes(&file), &at, &f, broken);)
		++*n;
	buf_fini(&file);
	return e;
}

bool spool_count_some(struct spool *s)
{
	struct spool_segment *g = NULL;
	list_for_each (it, &s->segments) {
		g = list_entry(it, struct spool_segment, in);
		if (!g->counted)
			break;
		g = NULL;
	}
	s->stats.scanning = g != NULL;
	if (!g)
		return false;
	uint64_t broken = 0;
	uint32_t n = 0;
	pthread_mutex_unlock(&s->lock);
	int e = segment_count(s, g, &n, &broken);
	pthread_mutex_lock(&s->lock);
	if (e < 0)
		return keep_away(s, g, e);
	g->n = n;
	g->counted = true;
	s->stats.broken += broken;
	s->stats.found += n;
	s->stats.resident += n;
	return true;
}

bool spool_remove_some(struct spool *s)
{
	list_for_each_safe (it, next, &s->segments) {
		struct spool_segment *g = list_entry(it, struct spool_segment, in);
		if (!g->sealed || !g->counted || g->kept || g->released < g->n)
			continue;
		list_del(&g->in);
		pthread_mutex_unlock(&s->lock);
		int e = spool_dir_remove(s->dir, g->id);
		pthread_mutex_lock(&s->lock);
		if (e < 0 && e != -ENOENT)
			spool_failed(s, e, "unlink");
		s->stats.segments--;
		s->stats.bytes -= g->bytes;
		spool_segment_free(g);
		return true;
	}
	return false;
}
