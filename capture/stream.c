/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The least a piece is charged with: bounds their number, so that no list is long. */
enum { CHARGE_MIN = 512 };

static const char *const exit_names[STREAM_EXITS] = {
	"delivered",     "urgent",        "duplicate",   "conflict_discarded", "late_after_gap",
	"before_attach", "out_of_window", "after_close", "rst_data",           "bad_flags",
	"cut",           "no_memory",     "muted",       "sampled_out",
};
static const bool exit_lost[STREAM_EXITS] = {
	[STREAM_LATE] = true, [STREAM_CUT] = true, [STREAM_NO_MEMORY] = true};

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void stream_start(struct stream *s, uint32_t seq)
{
	s->started = true;
	s->base_seq = s->other_base = seq;
}

/* Drops the first bytes of a segment. */
static void segment_behead(struct stream_segment *g, uint64_t off)
{
	g->data = bytes_from(g->data, off - g->off);
	g->off = off;
	g->flags &= ~(unsigned)STREAM_SEGMENT_START;
}

static void segment_cut_tail(struct stream_segment *g, uint64_t end)
{
	g->end = end;
	g->data = bytes_head(g->data, end - g->off);
}

/* Bytes below reach that come again: of the last gap they are late, else duplicates. */
static void count_again(const struct stream *s, uint64_t off, uint64_t end, struct stream_ledger *l)
{
	uint64_t from = max64(off, s->gap_end - s->gap_n), to = min64(end, s->gap_end);
	uint64_t late = from < to ? to - from : 0;
	l->exits[STREAM_LATE] += late;
	l->exits[STREAM_DUPLICATE] += end - off - late;
}

bool stream_trim(struct stream *s, struct stream_segment *g, int64_t off, bool late_join,
		 struct stream_ledger *l)
{
	uint64_t len = g->end - g->off; /* still relative */
	if (off < 0) {
		uint64_t before = min64(len, (uint64_t)-off);
		if (off == -1 && len == 1) /* keep-alive before any byte was sent */
			l->exits[STREAM_DUPLICATE] += before;
		else
			l->exits[late_join ? STREAM_BEFORE_ATTACH : STREAM_OUT_OF_WINDOW] += before;
		if (before == len)
			return false;
		segment_behead(g, g->off + before);
		off = 0;
		len -= before;
	}
	g->off = g->start = (uint64_t)off;
	g->end = g->off + len;
	if (g->off < s->reach) {
		uint64_t end = min64(g->end, s->reach);
		count_again(s, g->off, end, l);
		if (end == g->end)
			return false;
		segment_behead(g, end);
	}
	if (s->fin_seen && g->end > s->fin_off) {
		if (s->fin_off > s->reach && g->off <= s->fin_off) {
			s->fin_seen =
				false; /* the receiver never came to that FIN: its place is data */
			return true;
		}
		uint64_t keep = max64(g->off, s->fin_off);
		l->exits[STREAM_AFTER_CLOSE] += g->end - keep;
		if (keep == g->off)
			return false;
		segment_cut_tail(g, keep);
	}
	return true;
}

/* The captured bytes of a piece within [from, to) */
static struct bytes chunk_bytes(const struct stream_chunk *c, uint64_t from, uint64_t to)
{
	uint64_t have = c->off + (c->have - c->skip);
	to = min64(to, have);
	return from < to ? bytes_of(c->data + c->skip + (from - c->off), to - from)
			 : bytes_of(NULL, 0);
}

/*
 * Segment and piece both have [from, to); one of them leaves it. Counts it, and says whether what
 * both captured of it differs.
 */
static bool overlap_count(const struct stream_segment *g, const struct stream_chunk *c,
			  uint64_t from, uint64_t to, struct stream_ledger *l)
{
	uint64_t both = max64(from, c->off); /* before that it is a still earlier piece's */
	struct bytes old = chunk_bytes(c, both, to);
	struct bytes new = bytes_from(g->data, both - g->off);
	size_t n = min64(old.n, new.n);
	bool differs = n && memcmp(old.p, new.p, n) != 0;
	l->exits[differs ? STREAM_DISCARDED : STREAM_DUPLICATE] += to - from;
	l->conflicts += differs;
	return differs;
}

static void chunk_unlink(struct stream *s, struct stream_chunk *c, struct stream_ledger *l)
{
	*(c->prev ? &c->prev->next : &s->first) = c->next;
	*(c->next ? &c->next->prev : &s->last) = c->prev;
	l->held -= c->end - c->off;
	l->charged -= c->charge;
	s->charged -= c->charge;
}

/* The piece loses its bytes before `off`, which stand in the segment now. */
static void chunk_behead(struct stream_chunk *c, uint64_t off, struct stream_ledger *l)
{
	uint64_t n = off - c->off;
	l->held -= n;
	c->skip += (uint32_t)min64(n, c->have - c->skip);
	c->off = off;
	c->flags &= ~(unsigned)STREAM_SEGMENT_START;
}

/* The segment wins over the piece wherever both have bytes. True: the piece is gone. */
static bool chunk_yield(struct stream *s, struct stream_chunk *c, struct stream_segment *g,
			struct stream_ledger *l)
{
	uint64_t to = min64(c->end, g->end);
	if (overlap_count(g, c, c->off, to, l))
		g->flags |= STREAM_CONFLICT;
	if (to < c->end) {
		chunk_behead(c, to, l);
		return false;
	}
	chunk_unlink(s, c, l);
	free(c);
	return true;
}

void stream_overrule(struct stream *s, struct stream_segment *g, struct stream_ledger *l)
{
	/* pieces before reach stand; the first ones from there on are out of order */
	struct stream_chunk *c = s->last;
	if (!c || c->end <= g->off)
		return;
	if (s->first->off >= g->off)
		c = s->first;
	while (c->prev && c->prev->off >= g->off)
		c = c->prev;
	while (c && c->off < g->end) {
		struct stream_chunk *next = c->next;
		if (c->off >= g->off && !chunk_yield(s, c, g, l))
			break;
		c = next;
	}
}

/* The piece that began last at or before `start`; NULL: all began later. */
static struct stream_chunk *chunk_before(const struct stream *s, uint64_t start)
{
	if (!s->first || s->first->start > start)
		return NULL;
	struct stream_chunk *c = s->last;
	while (c->start > start)
		c = c->prev;
	return c;
}

/* Overlap with the piece that began before it, or with it. False: nothing of it is left. */
static bool store_after(struct stream *s, struct stream_chunk *p, struct stream_segment *g,
			struct stream_ledger *l)
{
	if (g->off >= p->end)
		return true;
	if (p->start == g->start && g->end > p->end && g->off <= p->off) {
		/* covers it: replaces it, but for what a still earlier piece has */
		if (g->off < p->off) {
			if (p->prev && overlap_count(g, p->prev, g->off, p->off, l))
				p->prev->flags |= STREAM_CONFLICT;
			else if (!p->prev)
				l->exits[STREAM_DUPLICATE] += p->off - g->off;
			segment_behead(g, p->off);
		}
		chunk_yield(s, p, g, l);
		return true;
	}
	uint64_t end = min64(g->end, p->end);
	uint64_t from = max64(g->off, p->off);
	if (from > g->off) /* a still earlier piece has these */
		l->exits[STREAM_DUPLICATE] += min64(from, end) - g->off;
	if (from < end && overlap_count(&(struct stream_segment) {.off = g->off, .data = g->data},
					p, from, end, l))
		p->flags |= STREAM_CONFLICT;
	if (end == g->end)
		return false;
	segment_behead(g, end);
	return true;
}

static struct stream_chunk *chunk_new(const struct stream_segment *g)
{
	size_t size = sizeof(struct stream_chunk) + g->data.n;
	struct stream_chunk *c = malloc(size);
	if (!c)
		return NULL;
	*c = (struct stream_chunk) {.start = g->start,
				    .off = g->off,
				    .end = g->end,
				    .ts_ns = g->ts_ns,
				    .ack_off = g->ack_off,
				    .have = (uint32_t)g->data.n,
				    .charge = (uint32_t)(size < CHARGE_MIN ? CHARGE_MIN : size),
				    .flags = g->flags};
	if (g->data.n)
		memcpy(c->data, g->data.p, g->data.n);
	return c;
}

static void chunk_link(struct stream *s, struct stream_chunk *c, struct stream_chunk *after,
		       struct stream_ledger *l)
{
	c->prev = after;
	c->next = after ? after->next : s->first;
	*(c->prev ? &c->prev->next : &s->first) = c;
	*(c->next ? &c->next->prev : &s->last) = c;
	l->held += c->end - c->off;
	l->charged += c->charge;
	s->charged += c->charge;
}

int stream_store(struct stream *s, struct stream_segment *g, uint64_t now_ns, uint32_t epoch,
		 struct stream_ledger *l)
{
	if (g->off > s->reach) {
		struct stream_chunk *p = chunk_before(s, g->start);
		if (p && !store_after(s, p, g, l))
			return 0;
	} else {
		g->start = g->off; /* in order: what came before it stands */
	}
	struct stream_chunk *after = chunk_before(s, g->start);
	for (struct stream_chunk *c = after ? after->next : s->first, *next; c && c->off < g->end;
	     c = next) {
		next = c->next;
		if (!chunk_yield(s, c, g, l))
			break;
	}
	struct stream_chunk *c = chunk_new(g);
	if (!c) {
		l->exits[STREAM_NO_MEMORY] += g->end - g->off;
		return -ENOMEM;
	}
	chunk_link(s, c, after, l);
	c->noted_ns = now_ns;
	c->noted_epoch = epoch;
	if (c->next && !c->prev && c->off > s->next &&
	    c->next->noted_ns < now_ns) { /* the hole is as old as it was */
		c->noted_ns = c->next->noted_ns;
		c->noted_epoch = c->next->noted_epoch;
	}
	return 0;
}

void stream_advance(struct stream *s)
{
	struct stream_chunk *c = s->last;
	if (s->first && s->first->end > s->reach)
		c = s->first;
	while (c && c->prev && c->prev->end > s->reach)
		c = c->prev;
	for (; c && c->off <= s->reach; c = c->next)
		if (c->end > s->reach)
			s->reach = c->end;
}

struct stream_chunk *stream_take(struct stream *s, struct stream_ledger *l)
{
	struct stream_chunk *c = s->first;
	if (c)
		chunk_unlink(s, c, l);
	return c;
}

void stream_skip(struct stream *s, uint64_t end)
{
	uint64_t n = end - s->next;
	s->gap_n = s->gap_end == s->next && s->gap_n ? (uint32_t)min64(s->gap_n + n, UINT32_MAX)
						     : (uint32_t)min64(n, UINT32_MAX);
	s->gap_end = end;
	s->next = end;
	if (s->reach < end)
		s->reach = end;
	if (s->high < end)
		s->high = end;
}

void stream_drop(struct stream *s, enum stream_exit exit, struct stream_ledger *l)
{
	struct stream_chunk *c;
	while ((c = stream_take(s, l))) {
		l->exits[exit] += c->end - c->off;
		free(c);
	}
}

void stream_stage(const struct stream_ledger *l, struct ledger_stage *out)
{
	*out = (struct ledger_stage) {
		.name = "stream", .unit = "bytes", .in = l->in, .held = l->held};
	for (int i = 0; i < STREAM_EXITS; i++)
		ledger_exit_add(out, exit_names[i], l->exits[i], exit_lost[i]);
}
