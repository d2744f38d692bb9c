/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of the spool's thread: back into memory, counting, deleting. */
#include <errno.h>
#include <stdlib.h>

#include "sink/spool_dir.h"
#include "sink/spool_segment.h"
#include "sink/spool_state.h"

enum { AHEAD_BYTES = 4 << 20 };

/* The bytes of a segment, read without the lock. */
static int segment_read(struct spool *s, const struct spool_segment *g, struct buf *out)
{
	pthread_mutex_unlock(&s->lock);
	int e = spool_dir_read(s->dir, g->id, s->cfg.max_bytes + RECORD_MAX_BYTES, out);
	pthread_mutex_lock(&s->lock);
	return e;
}

/* Cannot be read, or is another version's: it stays on disk, and what is ours in it is lost by name. */
static void keep_away(struct spool *s, struct spool_segment *g, int err)
{
	g->kept = g->loaded = g->counted = g->sealed = true;
	for (uint32_t i = 0; i < g->n && g->items; i++)
		if (!g->items[i].released)
			spool_tell(s, &g->items[i], "spool_io_error");
	s->stats.evicted += g->n - g->released;
	s->stats.resident -= g->n - g->released;
	g->released = g->n;
	if (err != -ENOTSUP)
		spool_failed(s, err, "read");
}

static bool ahead_add(struct spool *s, const struct spool_segment *g, uint32_t index,
		      const struct spool_segment_found *f)
{
	struct spool_ahead *a = calloc(1, sizeof(*a));
	struct record *r = a ? spool_segment_record(f) : NULL;
	if (!r) {
		free(a);
		return false;
	}
	a->read = (struct spool_read) {
		.r = r, .token = g->id << SPOOL_INDEX_BITS | index, .foreign = !g->items};
	memcpy(a->read.instance, f->instance, sizeof(a->read.instance));
	list_add_tail(&s->ahead, &a->in);
	s->ahead_bytes += r->n;
	return true;
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

/* A segment of ours holds the items that we know, some of them maybe broken by now. */
static void load_ours(struct spool *s, struct spool_segment *g, struct bytes file)
{
	struct spool_segment_found f;
	size_t at = 0;
	uint32_t i = 0;
	while (i < g->n && spool_segment_next(file, &at, &f, &s->stats.broken)) {
		uint32_t j = i;
		while (j < g->n && (g->items[j].number != f.number || g->items[j].kind != f.kind))
			j++;
		if (j == g->n)
			continue;
		for (; i < j; i++)
			item_lost(s, g, i);
		if (!ahead_add(s, g, i, &f))
			item_lost(s, g, i);
		i++;
	}
	for (; i < g->n; i++)
		item_lost(s, g, i);
}

/* Of an earlier process: what is whole is there. */
static void load_found(struct spool *s, struct spool_segment *g, struct bytes file)
{
	struct spool_segment_found f;
	uint64_t broken = 0;
	uint32_t n = 0, refused = 0;
	for (size_t at = 0; spool_segment_next(file, &at, &f, &broken); n++)
		refused += !ahead_add(s, g, n, &f);
	if (!g->counted) {
		s->stats.broken += broken;
		s->stats.found += n;
		s->stats.resident += n;
	}
	g->n = n;
	g->released += refused;
	s->stats.evicted += refused;
	s->stats.resident -= refused;
	g->counted = true;
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

bool spool_load_some(struct spool *s)
{
	struct spool_segment *g = first_unread(s);
	if (!s->want || !g || s->ahead_bytes > AHEAD_BYTES)
		return false;
	if (g == s->active) {
		if (!g->n)
			return false;
		spool_seal(s); /* may give records back to the queue */
	}
	struct buf file;
	int e = segment_read(s, g, &file);
	if (e == 0)
		e = spool_segment_check(buf_bytes(&file));
	if (e < 0) {
		keep_away(s, g, e);
	} else {
		g->loaded = true;
		s->want = false;
		if (g->items)
			load_ours(s, g, buf_bytes(&file));
		else
			load_found(s, g, buf_bytes(&file));
	}
	buf_fini(&file);
	return true;
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
	struct buf file;
	struct spool_segment_found f;
	int e = segment_read(s, g, &file);
	if (e == 0)
		e = spool_segment_check(buf_bytes(&file));
	if (e < 0) {
		buf_fini(&file);
		keep_away(s, g, e);
		return true;
	}
	for (size_t at = 0; spool_segment_next(buf_bytes(&file), &at, &f, &s->stats.broken);)
		g->n++;
	g->counted = true;
	s->stats.found += g->n;
	s->stats.resident += g->n;
	buf_fini(&file);
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
