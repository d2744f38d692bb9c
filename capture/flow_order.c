/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/flow_order.h"

#include <stdlib.h>

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * The other side spoke last. Right behind a gap that proves nothing, unless it had what was lost when it spoke: else
 * the run may go on with the message in whose middle the gap lies.
 */
static bool is_turn(const struct flow_node *n, unsigned side, const struct stream_run *run)
{
	const struct stream *s = &n->stream[side];
	bool behind_gap = s->gap_n && s->gap_end == run->off;
	return n->last_side == !side && (!behind_gap || s->gap_heard);
}

static void run_out(struct flow_table *t, struct flow_node *n, unsigned side,
		    struct stream_run *run)
{
	if (!n->told) {
		n->told = true;
		t->totals.late_joins += !n->f.syn_seen;
		t->cfg.on.open(t->cfg.ctx, &n->f);
	}
	if (is_turn(n, side, run))
		run->flags |= STREAM_TURN;
	n->last_side = (uint8_t)side;
	if (run->data.n && run->ack_off >= n->stream[!side].gap_end)
		n->stream[!side].gap_heard = true;
	t->cfg.on.data(t->cfg.ctx, &n->f, flow_dir(n, side), run);
}

void flow_order_gap(struct flow_table *t, struct flow_node *n, unsigned side, uint64_t end,
		    enum flow_gap why)
{
	struct stream *s = &n->stream[side];
	struct stream_run run = {.off = s->next,
				 .ts_ns = n->f.last_ns,
				 .ack_off = n->stream[!side].next,
				 .missing = end - s->next};
	t->gap_bytes += run.missing;
	t->gaps[why] += run.missing;
	t->totals.gaps++;
	stream_skip(s, end);
	s->gap_heard = false;
	stream_advance(s);
	if (s->urgent && s->urgent_off < end)
		s->urgent = false;
	run_out(t, n, side, &run);
}

static void run_data(struct flow_table *t, struct flow_node *n, unsigned side,
		     const struct stream_segment *g, struct bytes data, unsigned flags)
{
	struct stream *s = &n->stream[side];
	struct stream_run run = {.off = s->next,
				 .ts_ns = g->ts_ns,
				 .ack_off = g->ack_off,
				 .data = data,
				 .flags = flags};
	s->next += data.n;
	if (s->reach < s->next)
		s->reach = s->next;
	t->bytes.exits[STREAM_DELIVERED] += data.n;
	run_out(t, n, side, &run);
}

/* The out-of-band byte is left out: its reader does not find it in the stream. */
static void run_urgent(struct flow_table *t, struct flow_node *n, unsigned side,
		       const struct stream_segment *g)
{
	struct stream *s = &n->stream[side];
	size_t before = s->urgent_off - g->off;
	s->urgent = false;
	if (before)
		run_data(t, n, side, g, bytes_head(g->data, before), g->flags | STREAM_URGENT);
	s->next++;
	if (s->reach < s->next)
		s->reach = s->next;
	t->bytes.exits[STREAM_OUT_OF_BAND]++;
	struct bytes after = bytes_from(g->data, before + 1);
	unsigned flags = g->flags & ~(unsigned)STREAM_SEGMENT_START;
	if (after.n)
		run_data(t, n, side, g, after, flags | STREAM_URGENT);
}

/* A segment whose turn it is: off == next. */
static void deliver(struct flow_table *t, struct flow_node *n, unsigned side,
		    const struct stream_segment *g)
{
	struct stream *s = &n->stream[side];
	if (s->urgent && s->urgent_off < g->off + g->data.n) {
		if (s->urgent_off >= g->off)
			run_urgent(t, n, side, g);
		else
			s->urgent = false;
	}
	size_t done = s->next - g->off;
	struct bytes left = bytes_from(g->data, done);
	if (left.n)
		run_data(t, n, side, g, left, g->flags);
	uint64_t cut = g->end - s->next;
	if (cut) {
		t->bytes.exits[STREAM_CUT] += cut;
		flow_order_gap(t, n, side, g->end, FLOW_GAP_CUT);
	}
}

/* Offset up to which this direction must be done before a packet with this acknowledgement; 0:
 * nothing */
static uint64_t waits_for(const struct flow_node *n, unsigned side, uint64_t ack_off)
{
	const struct stream *o = &n->stream[!side];
	if (n->self || !o->started || o->ended)
		return 0;
	if (o->fin_seen)
		ack_off = min64(ack_off, o->fin_off);
	return ack_off > o->next ? ack_off : 0;
}

/* Must this wait for the other direction? A direction that is not captured is declared lost up to
 * there. */
static bool is_held(struct flow_table *t, struct flow_node *n, unsigned side, uint64_t ack_off)
{
	uint64_t want = waits_for(n, side, ack_off);
	struct stream *o = &n->stream[!side];
	if (!want)
		return false;
	if (!o->unseen || o->first)
		return true;
	flow_order_gap(t, n, !side, want, FLOW_GAP_UNSEEN);
	return false;
}

uint64_t flow_order_ack(struct flow_node *n, unsigned side, const struct packet *p)
{
	struct stream *o = &n->stream[!side];
	if (n->self || !o->started || !(p->flags & TCP_ACK))
		return 0;
	int64_t off = stream_offset(o, p->ack);
	if (off < 0)
		return 0;
	uint64_t ahead = o->seen ? FLOW_ACK_AHEAD : FLOW_ACK_AHEAD_UNSEEN;
	if ((uint64_t)off > o->high + ahead)
		return o->next;
	if ((uint64_t)off > o->acked)
		o->acked = (uint64_t)off;
	return (uint64_t)off;
}

/* The side whose first piece has its turn; -1: none. */
static int pick(struct flow_table *t, struct flow_node *n)
{
	int best = -1, stuck = 0;
	for (int side = 0; side < 2; side++) {
		const struct stream_chunk *c = n->stream[side].first;
		if (!c || c->off > n->stream[side].next)
			continue;
		if (is_held(t, n, (unsigned)side, c->ack_off))
			stuck++;
		else if (best < 0 || c->ts_ns < n->stream[best].first->ts_ns)
			best = side;
	}
	if (stuck ==
	    2) /* each acknowledges the other: the later one is a retransmission with a newer ACK */
		return n->stream[1].first->ts_ns > n->stream[0].first->ts_ns;
	return best;
}

static void pump_ends(struct flow_table *t, struct flow_node *n)
{
	for (unsigned side = 0; side < 2; side++) {
		struct stream *s = &n->stream[side];
		if (!s->fin_seen || s->ended || s->next < s->fin_off)
			continue;
		s->ended = true;
		if (n->told)
			t->cfg.on.half_close(t->cfg.ctx, &n->f, flow_dir(n, side));
	}
}

void flow_order_pump(struct flow_table *t, struct flow_node *n)
{
	int side;
	while ((n->stream[0].first || n->stream[1].first) && (side = pick(t, n)) >= 0) {
		struct stream_chunk *c = stream_take(&n->stream[side], &t->bytes);
		struct stream_segment g = {.off = c->off,
					   .end = c->end,
					   .data = bytes_of(c->data + c->skip, c->have - c->skip),
					   .ts_ns = c->ts_ns,
					   .ack_off = c->ack_off,
					   .flags = c->flags};
		deliver(t, n, (unsigned)side, &g);
		free(c);
	}
	pump_ends(t, n);
}

void flow_order_segment(struct flow_table *t, struct flow_node *n, unsigned side,
			struct stream_segment *g)
{
	struct stream *s = &n->stream[side];
	if (s->high < g->end)
		s->high = g->end;
	if (g->off > s->reach) {
		stream_store(s, g, t->now_ns, t->epoch, &t->bytes);
		return;
	}
	if (s->first)
		stream_overrule(s, g, &t->bytes);
	if (s->next == g->off && !is_held(t, n, side, g->ack_off)) {
		deliver(t, n, side, g);
		stream_advance(s);
	} else if (stream_store(s, g, t->now_ns, t->epoch, &t->bytes) == 0) {
		stream_advance(s);
	}
}

bool flow_order_hole(const struct flow_node *n, unsigned side, struct flow_hole *h)
{
	const struct stream *s = &n->stream[side], *o = &n->stream[!side];
	const struct stream_chunk *c = s->first;
	if (!c && n->rst && n->rst_side == side && n->rst_off > s->next && !s->ended) {
		*h = (struct flow_hole) {side,         n->rst_off,         n->rst_ns,
					 n->rst_epoch, s->acked > s->next, false};
		return true;
	}
	if (!c && (!s->fin_seen || s->ended || s->fin_off <= s->next))
		return false;
	if (!c) {
		*h = (struct flow_hole) {side,         s->fin_off,         s->fin_ns,
					 s->fin_epoch, s->acked > s->next, false};
		return true;
	}
	if (c->off > s->next) {
		*h = (struct flow_hole) {
			side, c->off, c->noted_ns, c->noted_epoch, s->acked > s->next, false};
		return true;
	}
	*h = (struct flow_hole) {
		!side, waits_for(n, side, c->ack_off), c->noted_ns, c->noted_epoch, true, true};
	if (o->first)
		h->end = min64(h->end, o->first->off);
	return h->end > o->next;
}

bool flow_order_oldest(const struct flow_node *n, struct flow_hole *h)
{
	struct flow_hole other;
	bool found = flow_order_hole(n, 0, h);
	if (flow_order_hole(n, 1, &other) && (!found || other.noted_ns < h->noted_ns)) {
		*h = other;
		found = true;
	}
	return found;
}

void flow_order_declare(struct flow_table *t, struct flow_node *n, const struct flow_hole *h,
			enum flow_gap why)
{
	struct stream *s = &n->stream[h->side];
	if (h->hold && why == FLOW_GAP_AGED && !s->first && s->high <= s->next)
		s->unseen = true;
	flow_order_gap(t, n, h->side, h->end, why);
	flow_order_pump(t, n);
}

void flow_order_flush(struct flow_table *t, struct flow_node *n)
{
	struct flow_hole h;
	while (flow_order_oldest(n, &h))
		flow_order_declare(t, n, &h, FLOW_GAP_AT_CLOSE);
	for (unsigned side = 0; side < 2; side++) {
		struct stream *s = &n->stream[side];
		uint64_t end = s->fin_seen ? min64(s->acked, s->fin_off) : s->acked;
		/* one more than was seen is the acknowledgement of a FIN that was not */
		if (!n->self && s->started && !s->ended && end > s->next + !s->fin_seen)
			flow_order_gap(t, n, side, end, FLOW_GAP_AT_CLOSE);
	}
	flow_order_pump(t, n);
}
