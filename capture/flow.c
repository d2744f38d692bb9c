/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/flow.h"

#include <stdlib.h>

#include "capture/flow_match.h"
#include "capture/flow_order.h"
#include "capture/flow_table.h"

enum {
	SEGMENT_MAX = 1 << 30, /* larger is no TCP segment: the window ends there */
	AHEAD_MAX = 1 << 30,
	BEHIND_MAX = 64 << 20, /* no retransmission is older */
	FAR_SEGMENTS = 4, /* so many in a row far outside: the stream went on there */
	RST_AHEAD = 4 << 20,
	SYN_NEAR = 1 << 20,
	CLOSED_AHEAD = 1 << 20,
	CLOSED_MIN = 16,
	WAITING_MANY = 64, /* more flows with holes are looked at every SCAN_NS only */
	SETTLE_BYTES =
		256 << 10, /* let go in one settle, and the rest of that flow: a turn stays short */
};
static const uint64_t SCAN_NS = 5000000, FILE_SCAN_NS = 1000000, CLOSED_NS = 5000000000;

struct flow_table *flow_table_new(const struct flow_cfg *cfg)
{
	struct flow_table *t = calloc(1, sizeof(*t));
	size_t n = 64;
	if (!t)
		return NULL;
	t->cfg = *cfg;
	if (!t->cfg.max_flows)
		t->cfg.max_flows = 1;
	while (n < t->cfg.max_flows)
		n *= 2;
	t->mask = n - 1;
	t->max_closed = t->cfg.max_flows / 16 > CLOSED_MIN ? t->cfg.max_flows / 16 : CLOSED_MIN;
	t->key = hash_key_of(cfg->seed);
	list_init(&t->open);
	list_init(&t->closed);
	list_init(&t->waiting);
	list_init(&t->resets);
	t->sweep_at = &t->open;
	t->buckets = calloc(n, sizeof(*t->buckets));
	t->ports = calloc(cfg->n_ports + 1, sizeof(*t->ports));
	if (!t->buckets || !t->ports) {
		flow_table_free(t);
		return NULL;
	}
	if (cfg->n_ports)
		memcpy(t->ports, cfg->ports, cfg->n_ports * sizeof(*t->ports));
	return t;
}

/* The flow is over: told, counted, and gone but for those whose last packets may still come. */
static void finish(struct flow_table *t, struct flow_node *n, enum flow_end how)
{
	if (n->muted)
		flow_mute_end(t, n);
	else
		flow_order_flush(t, n);
	if (n->told)
		t->cfg.on.close(t->cfg.ctx, &n->f, how);
	else if (n->stream[0].started && n->stream[1].started)
		t->totals.without_bytes++;
	t->totals.ended[how]++;
	n->f.user = NULL;
	n->rst = false;
	if (how == FLOW_FIN || how == FLOW_RST)
		flow_table_close(t, n);
	else
		flow_table_remove(t, n);
}

void flow_table_finish(struct flow_table *t, struct flow_node *n, enum flow_end how)
{
	finish(t, n, how);
}

static bool is_waiting(const struct flow_node *n)
{
	struct flow_hole h;
	return flow_order_hole(n, 0, &h) || flow_order_hole(n, 1, &h);
}

/* Keeps the list of flows with holes; a flow that made progress has a young hole. True: the flow
 * is over. */
static bool settle_lists(struct flow_table *t, struct flow_node *n, bool progress)
{
	if (n->stream[0].ended && (n->stream[1].ended || n->self)) {
		finish(t, n, n->rst ? FLOW_RST : FLOW_FIN);
		return true;
	}
	if (n->rst)
		return false;
	if (!is_waiting(n))
		list_del(&n->wait);
	else if (list_empty(&n->wait) || progress)
		list_move_tail(&t->waiting, &n->wait);
	return false;
}

/* The oldest hole of a flow gives way to a cap. */
static bool evict_hole(struct flow_table *t, struct flow_node *n)
{
	struct flow_hole h;
	if (!flow_order_oldest(n, &h))
		return false;
	t->totals.evicted_holes++;
	flow_order_declare(t, n, &h, FLOW_GAP_EVICTED);
	return true;
}

static void hold_caps(struct flow_table *t, struct flow_node *n)
{
	bool progress = false;
	while (n->stream[0].charged + n->stream[1].charged > t->cfg.max_pending_flow &&
	       evict_hole(t, n))
		progress = true;
	if (progress)
		settle_lists(t, n, true);
	while (t->bytes.charged > t->cfg.max_pending_all) {
		struct list *from = list_empty(&t->waiting) ? &t->resets : &t->waiting;
		if (list_empty(from))
			break;
		struct flow_node *oldest = list_entry(from->next, struct flow_node, wait);
		if (!evict_hole(t, oldest) && from == &t->resets) {
			finish(t, oldest, FLOW_RST);
			continue;
		}
		settle_lists(t, oldest, true);
	}
}

static bool is_mature(const struct flow_table *t, const struct flow_hole *h)
{
	uint64_t age = t->now_ns > h->noted_ns ? t->now_ns - h->noted_ns : 0;
	if (!t->cfg.from_file && t->epoch - h->epoch < 2)
		return false;
	return age >= t->cfg.hole_max_ns || (h->acked && age >= t->cfg.hole_ns);
}

static void declare_mature(struct flow_table *t, struct flow_node *n)
{
	struct flow_hole h;
	bool progress = false, again;
	do {
		again = false;
		for (unsigned side = 0; side < 2; side++)
			if (flow_order_hole(n, side, &h) && is_mature(t, &h)) {
				flow_order_declare(t, n, &h, FLOW_GAP_AGED);
				progress = again = true;
			}
	} while (again);
	settle_lists(t, n, progress);
}

static void scan_waiting(struct flow_table *t)
{
	t->scanned_ns = t->now_ns;
	t->scanned_n = 0;
	uint64_t held = t->bytes.charged;
	list_for_each_safe (it, nx, &t->waiting) {
		t->scanned_n++;
		struct flow_node *n = list_entry(it, struct flow_node, wait);
		struct flow_hole h;
		if (!flow_order_oldest(n, &h))
			continue;
		if (t->now_ns < h.noted_ns + t->cfg.hole_ns)
			break; /* the rest is younger */
		declare_mature(t, n);
		if (!t->cfg.from_file && t->bytes.charged + SETTLE_BYTES <= held) {
			t->scanned_n = 0; /* the next settle goes on */
			break;
		}
	}
}

/* A RST acts when everything that may have been sent before it was read. */
static void reap_resets(struct flow_table *t)
{
	list_for_each_safe (it, nx, &t->resets) {
		struct flow_node *n = list_entry(it, struct flow_node, wait);
		bool clean = !is_waiting(n);
		bool aged = t->now_ns >= n->rst_ns + t->cfg.hole_ns;
		bool twice = t->epoch - n->rst_epoch >= 2;
		if (t->cfg.from_file ? aged : clean || (twice && aged))
			finish(t, n, FLOW_RST);
	}
}

void flow_settle(struct flow_table *t, uint64_t now_ns)
{
	if (t->cfg.from_file)
		return;
	t->epoch++;
	if (list_empty(&t->waiting) && list_empty(&t->resets))
		return;
	if (t->now_ns < now_ns)
		t->now_ns = now_ns;
	reap_resets(t);
	if (t->scanned_n < WAITING_MANY || t->now_ns - t->scanned_ns >= SCAN_NS)
		scan_waiting(t);
}

/* A second answer to the SYN, or a base taken from an acknowledgement: which one holds? */
static void settle_base(struct stream *s, uint32_t evidence)
{
	if (s->other_base == s->base_seq || s->high || s->first)
		return;
	if (evidence - s->other_base < SYN_NEAR && evidence - s->base_seq >= SYN_NEAR)
		s->base_seq = s->other_base;
	s->other_base = s->base_seq;
}

/* Nothing of this stream is known but a base that was too late by n: offsets grow by n. */
static void rebase(struct flow_node *n, unsigned side, uint32_t base)
{
	struct stream *s = &n->stream[side];
	uint32_t by = s->base_seq - base;
	s->base_seq = s->other_base = base;
	s->acked += by;
	for (struct stream_chunk *c = n->stream[!side].first; c; c = c->next)
		c->ack_off += by;
}

/* SYN on a flow that is there. False: it begins another connection. */
static bool take_syn(struct flow_node *n, unsigned side, const struct packet *p)
{
	struct stream *own = &n->stream[side], *peer = &n->stream[!side];
	uint32_t base = p->seq + 1;
	bool untouched = !own->seen && !own->high && !own->first && !own->fin_seen;
	if (p->flags & TCP_ACK) {
		if (!n->self && peer->started &&
		    p->ack - peer->base_seq > (peer->high < SYN_NEAR ? peer->high + 1 : SYN_NEAR))
			return false;
		settle_base(peer, p->ack);
	} else if (own->started && own->base_seq != base) {
		/* the SYN of a flow whose first bytes overtook it */
		return !n->f.syn_seen && own->base_seq - base < SYN_NEAR;
	} else if (!own->started && peer->high) {
		return false;
	}
	if (!own->started)
		stream_start(own, base);
	else if (own->base_seq != base && untouched && own->base_seq - base < SYN_NEAR)
		rebase(n, side, base);
	else if (own->base_seq != base && untouched)
		own->other_base = base;
	if (!n->told && own->base_seq == base)
		n->f.syn_seen = true;
	return true;
}

static struct flow_node *open_flow(struct flow_table *t, const struct flow_found *found,
				   const struct packet *p)
{
	bool request = found->dir == DIR_REQUEST;
	if (found->crowd && found->crowd->closed)
		flow_table_remove(t, found->crowd);
	else if (found->crowd)
		finish(t, found->crowd, FLOW_EVICTED);
	while (t->n_open >= t->cfg.max_flows)
		finish(t, list_entry(t->open.next, struct flow_node, lru), FLOW_EVICTED);
	struct flow_node *n = flow_table_add(t, p->scope, request ? p->src : p->dst,
					     request ? p->sport : p->dport);
	if (!n)
		return NULL;
	n->f.first_ns = p->ts_ns;
	n->f.slot = p->slot;
	n->f.tag = p->tag;
	n->f.share = p->share;
	n->f.syn_seen = p->flags & TCP_SYN;
	n->f.server_certain = found->certain;
	n->self = p->sport == p->dport && memcmp(p->src, p->dst, 16) == 0;
	stream_start(&n->stream[found->dir], p->seq + !!(p->flags & TCP_SYN));
	if (p->flags & TCP_ACK && !n->self)
		stream_start(&n->stream[!found->dir], p->ack);
	return n;
}

/* A packet of a flow that has ended. True: it is an after-effect of it; else the flow is
 * forgotten. */
static bool take_closed(struct flow_table *t, struct flow_node *n, enum dir dir,
			const struct packet *p)
{
	const struct stream *s = &n->stream[flow_side(n, dir)];
	int64_t ahead = s->started ? stream_offset(s, p->seq) - (int64_t)s->reach : 0;
	bool old = p->ts_ns > n->f.last_ns + CLOSED_NS;
	bool same = p->flags & TCP_SYN ? s->started && p->seq + 1 == s->base_seq
				       : ahead <= CLOSED_AHEAD && ahead >= -BEHIND_MAX;
	if (!p->len && !(p->flags & TCP_SYN))
		return true;
	if (same && !old)
		return true;
	flow_table_remove(t, n);
	return false;
}

/* RFC 5961 section 3.2, but for what we may have missed: next to what was seen, and its ACK no
 * nonsense. */
static bool rst_is_valid(const struct flow_node *n, unsigned side, const struct packet *p)
{
	const struct stream *own = &n->stream[side], *peer = &n->stream[!side];
	int64_t ack = peer->started ? stream_offset(peer, p->ack) : 0;
	if (!own->started) /* connection refused: acknowledges the SYN */
		return p->flags & TCP_ACK && peer->started && ack >= 0 &&
		       (uint64_t)ack <= peer->high;
	int64_t off = stream_offset(own, p->seq);
	if (off == (int64_t)own->high || off == (int64_t)own->reach)
		return true;
	if (p->flags & TCP_ACK && peer->started && !n->self &&
	    (ack < 0 || (uint64_t)ack > peer->high + RST_AHEAD))
		return off == 0 && p->seq == 0 && own->high == 0 && ack == 0;
	return off >= (int64_t)own->next && off <= (int64_t)own->high + RST_AHEAD;
}

static enum flow_exit take_rst(struct flow_table *t, struct flow_node *n, unsigned side,
			       const struct packet *p)
{
	t->bytes.exits[STREAM_RST_DATA] += p->len;
	if (n->rst || !rst_is_valid(n, side, p))
		return FLOW_EXIT_RST_IGNORED;
	n->rst = true;
	n->rst_ns = t->now_ns;
	n->rst_epoch = t->epoch;
	n->rst_side = (uint8_t)side;
	n->rst_off =
		n->stream[side].started ? (uint64_t)stream_offset(&n->stream[side], p->seq) : 0;
	if (t->cfg.from_file && !is_waiting(n)) {
		finish(t, n, FLOW_RST);
		return FLOW_EXIT_CONTROL;
	}
	list_move_tail(&t->resets, &n->wait);
	return FLOW_EXIT_CONTROL;
}

/* The place of the out-of-band byte as Linux has it: the one before the urgent pointer. */
static void take_urgent(struct stream *s, const struct packet *p, int64_t off)
{
	int64_t at = off + p->urg - (p->urg > 0);
	if (at < (int64_t)s->reach || (s->urgent && at <= (int64_t)s->urgent_off))
		return;
	s->urgent = true;
	s->urgent_off = (uint64_t)at;
}

static void take_fin(struct flow_table *t, struct stream *s, int64_t off)
{
	/* its acknowledgement was taken for that of a lost byte */
	if (off + 1 == (int64_t)s->next && s->gap_end == s->next && s->gap_n)
		off++;
	if (s->fin_seen || off < (int64_t)s->reach || off > (int64_t)s->reach + AHEAD_MAX)
		return;
	if (s->last && s->last->end > (uint64_t)off)
		return; /* bytes that are there already stand over it */
	s->fin_seen = true;
	s->fin_off = (uint64_t)off;
	s->fin_ns = t->now_ns;
	s->fin_epoch = t->epoch;
}

/*
 * Far from where the stream is: not of this window. But when segments go on there one after the
 * other, the stream has moved while nothing was captured (muted, or gigabytes lost). False: out
 * of window.
 */
static bool take_far(struct flow_table *t, struct flow_node *n, unsigned side,
		     const struct packet *p, uint32_t seq)
{
	struct stream *s = &n->stream[side];
	s->far_n = s->far_n && s->far_seq == seq ? s->far_n + 1 : 1;
	s->far_seq = seq + p->len;
	if (s->far_n < FAR_SEGMENTS)
		return false;
	struct flow_hole h;
	while (s->first && flow_order_oldest(n, &h))
		flow_order_declare(t, n, &h, FLOW_GAP_AGED);
	uint64_t missing = seq - (s->base_seq + (uint32_t)s->next);
	flow_order_gap(t, n, side, s->next + missing, FLOW_GAP_JUMP);
	s->far_n = 0;
	s->fin_seen = false;
	return true;
}

static void take_payload(struct flow_table *t, struct flow_node *n, unsigned side,
			 const struct packet *p, uint32_t seq)
{
	struct stream *s = &n->stream[side];
	struct stream_segment g = {.end = p->len,
				   .data = bytes_head(p->data, p->len),
				   .ts_ns = p->ts_ns,
				   .ack_off = flow_order_ack(n, side, p),
				   .flags = STREAM_SEGMENT_START};
	int64_t off = stream_offset(s, seq);
	if (p->len > SEGMENT_MAX || off > (int64_t)s->reach + AHEAD_MAX ||
	    off + (int64_t)p->len < (int64_t)s->next - BEHIND_MAX) {
		if (p->len > SEGMENT_MAX || s->ended || !take_far(t, n, side, p, seq)) {
			t->bytes.exits[STREAM_OUT_OF_WINDOW] += p->len;
			return;
		}
		off = (int64_t)s->reach;
	}
	s->far_n = 0;
	s->seen = true;
	s->unseen = false;
	if (p->flags & TCP_URG)
		take_urgent(s, p, off);
	if (stream_trim(s, &g, off, !n->f.syn_seen, &t->bytes))
		flow_order_segment(t, n, side, &g);
}

/* Only its end counts. */
static enum flow_exit take_muted(struct flow_table *t, struct flow_node *n, const struct packet *p)
{
	t->bytes.exits[STREAM_MUTED] += p->len;
	if (p->flags & (TCP_FIN | TCP_RST))
		finish(t, n, p->flags & TCP_RST ? FLOW_RST : FLOW_FIN);
	return FLOW_EXIT_MUTED;
}

static enum flow_exit take_packet(struct flow_table *t, struct flow_node *n, enum dir dir,
				  const struct packet *p)
{
	unsigned side = flow_side(n, dir);
	struct stream *own = &n->stream[side], *peer = &n->stream[!side];
	uint32_t seq = p->seq + !!(p->flags & TCP_SYN);
	uint64_t next[2] = {own->next, peer->next};
	n->f.last_ns = p->ts_ns;
	flow_table_touch(t, n);
	flow_match_learn(n, dir, p);
	if (n->muted)
		return take_muted(t, n, p);
	if (p->flags & TCP_RST)
		return take_rst(t, n, side, p);
	if (!own->started)
		stream_start(own, seq);
	if (p->flags & TCP_ACK && !n->self) {
		if (!peer->started)
			stream_start(peer, p->ack);
		settle_base(peer, p->ack);
	}
	if (p->len && !(p->flags & TCP_SYN))
		settle_base(own, seq);
	if (p->len)
		take_payload(t, n, side, p, seq);
	else
		flow_order_ack(n, side, p);
	if (p->flags & TCP_FIN)
		take_fin(t, own, stream_offset(own, seq + p->len));
	if (own->first || peer->first || own->fin_seen || peer->fin_seen) {
		flow_order_pump(t, n);
		if (n->muted)
			flow_mute_drop(t, n);
		if (!settle_lists(t, n, own->next != next[0] || peer->next != next[1]))
			hold_caps(t, n);
	} else if (!list_empty(&n->wait) && !n->rst) {
		list_del(&n->wait);
	}
	return p->len ? FLOW_EXIT_DATA : FLOW_EXIT_CONTROL;
}

/* No receiver takes a segment without ACK, or one that both opens and closes (RFC 9293 section
 * 3.10.7). */
static bool is_bad(const struct packet *p)
{
	if (p->flags & TCP_SYN)
		return p->flags & (TCP_FIN | TCP_RST);
	return !(p->flags & (TCP_ACK | TCP_RST));
}

static enum flow_exit push(struct flow_table *t, const struct packet *p)
{
	if (is_bad(p)) {
		t->bytes.exits[STREAM_BAD_FLAGS] += p->len;
		return FLOW_EXIT_BAD_FLAGS;
	}
	struct flow_found found = flow_match_find(t, p);
	struct flow_node *n = found.node;
	if (n && n->closed) {
		if (take_closed(t, n, found.dir, p)) {
			t->bytes.exits[STREAM_AFTER_CLOSE] += p->len;
			return FLOW_EXIT_AFTER_CLOSE;
		}
		return push(t, p); /* that flow is gone now */
	}
	if (n && p->flags & TCP_SYN && (n->muted || !take_syn(n, flow_side(n, found.dir), p))) {
		finish(t, n, n->rst ? FLOW_RST : FLOW_REUSED);
		return push(t, p);
	}
	if (!n && (p->flags & TCP_RST || !(p->len || p->flags & TCP_SYN))) {
		t->bytes.exits[STREAM_RST_DATA] += p->len;
		return FLOW_EXIT_UNKNOWN;
	}
	if (!n && !(n = open_flow(t, &found, p))) {
		t->bytes.exits[STREAM_NO_MEMORY] += p->len;
		return FLOW_EXIT_NO_MEMORY;
	}
	return take_packet(t, n, found.dir, p);
}

void flow_push(struct flow_table *t, const struct packet *p)
{
	t->packets++;
	t->bytes.in += p->len;
	if (t->now_ns < p->ts_ns)
		t->now_ns = p->ts_ns;
	enum flow_exit exit = push(t, p);
	t->exits[exit]++;
	if (t->cfg.from_file && t->now_ns - t->scanned_ns >= FILE_SCAN_NS) {
		reap_resets(t);
		scan_waiting(t);
	}
}

void flow_sweep(struct flow_table *t, uint64_t idle_since_ns,
		bool (*alive)(void *ctx, const struct flow *f), void *ctx, unsigned budget)
{
	if (t->sweep_at == &t->open)
		t->sweep_at = t->open.next;
	for (; budget && t->sweep_at != &t->open; budget--) {
		struct flow_node *n = list_entry(t->sweep_at, struct flow_node, lru);
		if (n->f.last_ns >= idle_since_ns) {
			t->sweep_at = &t->open; /* the rest is younger */
			return;
		}
		t->sweep_at = n->lru.next;
		if (!alive(ctx, &n->f))
			finish(t, n, FLOW_VANISHED);
	}
}

void flow_end(struct flow_table *t, struct flow *f, enum flow_end how)
{
	finish(t, (struct flow_node *)f, how);
}

void flow_end_all(struct flow_table *t, enum flow_end how)
{
	while (!list_empty(&t->open)) {
		struct flow_node *n = list_entry(t->open.next, struct flow_node, lru);
		finish(t, n,
		       n->rst ? FLOW_RST : how); /* a reset that only waited for a hole to age */
	}
}

void flow_reverse(struct flow_table *t, struct flow *f)
{
	struct flow_node *n = (struct flow_node *)f;
	uint8_t addr[16];
	uint16_t port = f->client_port;
	if (f->orig_port)
		return;
	memcpy(addr, f->client_addr, 16);
	flow_table_rekey(t, n, f->server_addr, f->server_port);
	memcpy(f->server_addr, addr, 16);
	f->server_port = port;
	bool known = n->peer_known[0];
	n->peer_known[0] = n->peer_known[1];
	n->peer_known[1] = known;
	n->socket_port[0] = n->socket_port[1] = 0;
	n->reversed = !n->reversed;
}

static void free_list(struct list *head)
{
	struct stream_ledger none = {0};
	list_for_each_safe (it, nx, head) {
		struct flow_node *n = list_entry(it, struct flow_node, lru);
		stream_drop(&n->stream[0], STREAM_AFTER_CLOSE, &none);
		stream_drop(&n->stream[1], STREAM_AFTER_CLOSE, &none);
		free(n);
	}
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	free_list(&t->open);
	free_list(&t->closed);
	free(t->buckets);
	free(t->ports);
	free(t->muted);
	free(t);
}
