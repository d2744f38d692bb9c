/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/conn.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/conn_state.h"
#include "rpc/prober.h"
#include "rpc/protocols.h"

/* A late join gives up and calls the connection opaque after so many bytes and places tried. */
enum { LATE_BYTES = 256 * 1024, LATE_CANDIDATES = 64 };
/* Out of step so often without a loss or a complete message in between: it speaks something else. */
enum { CONTRADICTIONS_MAX = 8 };
enum { CANDIDATE = RESYNC_SEGMENT_START | RESYNC_TURN };

/* ---- which framer ---- */

/* The connection speaks `ops` from here on, in both directions. */
static bool framer_adopt(struct conns *cs, struct conn *c, const struct framer_ops *ops, bool late)
{
	conn_framer_drop(c);
	c->state = calloc(1, ops->state_size ? ops->state_size : 1);
	if (!c->state || (ops->init && ops->init(c->state, &cs->cfg.framer, late) < 0)) {
		free(c->state);
		c->state = NULL;
		conn_die(cs, c);
		return false;
	}
	c->ops = ops;
	c->ended = 0;
	c->contradictions = 0;
	c->queue.pairing = ops->pairing;
	c->queue.protocol = ops->name;
	for (int i = 0; i < 2; i++) {
		c->d[i].need = 0;
		if (c->d[i].mode != CONN_ENDED)
			c->d[i].mode = late ? CONN_RESYNC : CONN_RUN;
	}
	conns_wanted(cs, c);
	return true;
}

/* The framer, and what it said, are over for good: the rest is only counted. */
static void conn_opaque(struct conns *cs, struct conn *c)
{
	framer_adopt(cs, c, &framer_opaque, false);
}

/* What a framer gave before a first complete call in both directions may be taken back. */
static bool conn_confirmed(const struct conn *c)
{
	return c->ended == 3;
}

static void conn_failed(struct conns *cs, struct conn *c, unsigned flags)
{
	if (c->ops->weak && !conn_confirmed(c)) {
		conns_cap_count(cs, "undone");
		call_undo(cs->cfg.calls, &c->queue);
	} else {
		call_error(cs->cfg.calls, &c->queue, flags);
	}
	conn_opaque(cs, c);
}

/* Both directions said SWITCH, or have ended: the new framer reads from here on. */
static void conn_switch(struct conns *cs, struct conn *c)
{
	const struct framer_ops *to = c->to;
	struct piece from = {.what = PIECE_SWITCH, .corr = to ? c->to_corr : 0};
	if (from.corr)
		call_carry(cs->cfg.calls, &c->queue, from.corr, to);
	else
		call_close(cs->cfg.calls, &c->queue, END_FIN);
	for (int i = 0; i < 2; i++)
		if (c->d[i].mode == CONN_SWITCHED)
			c->d[i].mode = CONN_PROBE;
	conn_framer_drop(c);
	c->skip_proxy = true;
	c->late = c->told; /* else both stand at a first byte */
	if (to && !framer_adopt(cs, c, to, false))
		return;
	if (from.corr && to->adopt && to->adopt(c->state, &from) < 0) {
		conn_die(cs, c);
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (to && c->d[i].missing && to->gap(c->state, i, c->d[i].missing) < 0)
			c->d[i].mode = CONN_RESYNC;
		c->d[i].missing = 0;
	}
}

/* ---- running ---- */

static void account(struct conns *cs, const struct conn *c, const struct piece *p, uint64_t n)
{
	if (c->ops->pairing == PAIRING_TUNNEL)
		cs->exits[CONN_EXIT_OPAQUE] += n;
	else if (p->what & (PIECE_CONTROL | PIECE_SWITCH))
		cs->exits[CONN_EXIT_CONTROL] += n;
	else
		cs->exits[CONN_EXIT_IN_MESSAGES] += n;
}

/* The framer cannot go on here. */
static void conn_lost(struct conns *cs, struct conn *c, enum dir dir, int err, unsigned flags,
		      uint64_t off)
{
	if (err == -ENOMEM) {
		conn_die(cs, c);
	} else if (flags) {
		conn_failed(cs, c, flags);
	} else if (++c->contradictions > CONTRADICTIONS_MAX) {
		conns_cap_count(cs, "undone");
		call_error(cs->cfg.calls, &c->queue, conn_confirmed(c) ? FLAG_PROTOCOL_ERROR : 0);
		conn_opaque(cs, c);
	} else {
		call_gap(cs->cfg.calls, &c->queue, dir, off);
		c->d[dir].mode = CONN_RESYNC;
		c->d[dir].need = 0;
	}
}

/* A piece of n bytes that were read from direction `dir`. */
static void piece_take(struct conns *cs, struct conn *c, enum dir dir, const struct piece *p,
		       uint64_t n, const struct conn_input *in)
{
	struct conn_dir *d = &c->d[dir];
	struct call_wire at = {n, in->ts_ns, in->ts_ns, in->ack_off};
	if (d->gather.n) {
		at.first_ns = d->gather_ns;
		at.last_ns = d->gather_last_ns;
		at.ack_off = d->gather_ack;
	}
	if (p->cap)
		conns_cap_count(cs, p->cap);
	if (p->what & PIECE_END) {
		c->ended |= (uint8_t)(1 << p->dir);
		c->contradictions = 0;
	}
	call_piece(cs->cfg.calls, c, &c->queue, p, &at);
}

/* n bytes were done; what is left of those gathered may have come with the present run. */
static void conn_used(struct conns *cs, struct conn_dir *d, struct conn_input *in, size_t n,
		      size_t old)
{
	if (!d->gather.n) {
		conn_input_used(in, n);
		return;
	}
	conn_gather_used(cs, d, n);
	if (d->gather.n && n >= old) {
		d->gather_ns = in->ts_ns;
		d->gather_ack = in->ack_off;
	}
}

/* One call of the framer on what it has of this direction. True: it made progress. */
static bool conn_step(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	struct conn_dir *d = &c->d[dir];
	size_t old = d->gather.n;
	if (old && in->data.n) {
		size_t want = d->need > old ? d->need - old : old;
		if (!conn_gather_take(cs, c, dir, in, want < in->data.n ? want : in->data.n))
			return false;
	}
	struct bytes view = d->gather.n ? buf_bytes(&d->gather) : in->data;
	struct piece p;
	size_t need = 0;
	p.what = p.flags = 0;
	p.dir = dir;
	p.cap = NULL;
	int64_t r = c->ops->next(c->state, dir, view, &p, &need);
	if (r < 0) {
		if (p.cap)
			conns_cap_count(cs, p.cap);
		conn_lost(cs, c, dir, (int)r, p.flags, d->off - in->data.n - d->gather.n);
		return !c->dead;
	}
	if (r == 0 && p.what == 0) {
		d->need = need;
		return d->gather.n > old; /* took more in: ask again while there is input */
	}
	d->need = 0;
	account(cs, c, &p, (uint64_t)r);
	if (p.what & PIECE_SWITCH) {
		conn_attributes_keep(c, &p.head);
		d->mode = CONN_SWITCHED;
		c->to = p.to;
		c->to_corr = p.corr;
	} else {
		piece_take(cs, c, dir, &p, (uint64_t)r, in);
	}
	conn_used(cs, d, in, (size_t)r, old);
	if (d->mode == CONN_SWITCHED && c->d[dir_other(dir)].mode >= CONN_SWITCHED)
		conn_switch(cs, c);
	return !c->dead;
}

/* The hints of a place, and how many replies come from there on. */
static unsigned resync_hints(const struct conn *c, enum dir dir, uint8_t hints, uint64_t off)
{
	if (dir != DIR_RESPONSE || c->queue.pairing != PAIRING_FIFO)
		return hints;
	uint32_t asked = call_queue_asked(&c->queue, off), max = (UINT32_MAX >> RESYNC_ASKED) - 1;
	return hints | (1 + (asked < max ? asked : max)) << RESYNC_ASKED;
}

/* Looks for a verified start of a message. True: progress was made. */
static bool conn_resync(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	struct conn_dir *d = &c->d[dir];
	enum conn_exit exit =
		c->late && !d->synced ? CONN_EXIT_SKIPPED_ATTACH : CONN_EXIT_SKIPPED_GAP;
	size_t old = d->gather.n, skip = 0;
	uint8_t run_hints = in->hints;
	if (!old && !in->data.n)
		return false;
	if (old && in->data.n && !conn_gather_take(cs, c, dir, in, in->data.n))
		return false;
	struct bytes view = old ? buf_bytes(&d->gather) : in->data;
	uint64_t off = d->off - in->data.n - (old ? d->gather.n : 0);
	unsigned hints = resync_hints(c, dir, old ? d->hints : in->hints, off);
	int r = c->ops->resync(c->state, dir, view, hints, &skip);
	if (r == 0 && old && skip == view.n && view.n > old && run_hints) {
		/* the candidate was none; the run that came last may be one */
		conn_gather_drop(cs, d, old, exit);
		d->hints = run_hints;
		view = buf_bytes(&d->gather);
		hints = resync_hints(c, dir, run_hints, off + old);
		r = c->ops->resync(c->state, dir, view, hints, &skip);
	}
	if (old) {
		conn_gather_drop(cs, d, skip, exit);
	} else {
		cs->exits[exit] += skip;
		conn_input_used(in, skip);
		if (r == 0 && in->data.n && !conn_gather_take(cs, c, dir, in, in->data.n))
			return false;
	}
	if (r != 1)
		return false;
	d->mode = CONN_RUN;
	d->synced = true;
	call_resynced(cs->cfg.calls, &c->queue, dir, d->off - in->data.n - d->gather.n);
	return true;
}

/* ---- probing ---- */

/* Takes the prober at its word. The request is read first, whichever direction decided. */
static bool verdict_take(struct conns *cs, struct conn *c, struct prober_verdict v, bool late)
{
	if (v.reversed) {
		struct conn_dir t = c->d[0];
		c->d[0] = c->d[1];
		c->d[1] = t;
		c->reversed = !c->reversed;
		free(c->processes); /* looked up again, the right way round */
		c->processes = NULL;
		c->processes_known = false;
		if (cs->flows)
			flow_reverse(cs->flows, c->flow);
	}
	return framer_adopt(cs, c, v.ops, late);
}

static struct prober_verdict conn_ask(const struct conn *c, bool final, bool late)
{
	struct bytes heads[2];
	for (int i = 0; i < 2; i++)
		heads[i] = bytes_head(buf_bytes(&c->d[i].gather), PROBER_HEAD_MAX);
	final = final || (heads[0].n == PROBER_HEAD_MAX && heads[1].n == PROBER_HEAD_MAX);
	return late ? prober_ask_late(heads[0], heads[1])
		    : prober_ask(heads[0], heads[1], final, c->skip_proxy);
}

/* Which protocol? Gathers the heads of both directions until the prober answers. True: it did. */
static bool conn_probe(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in,
		       bool final)
{
	if (in->data.n && !conn_gather_take(cs, c, dir, in, in->data.n))
		return false;
	struct prober_verdict v = conn_ask(c, final, false);
	return v.ops && verdict_take(cs, c, v, false);
}

/*
 * Joined in the middle: a place where a segment begins after the other side spoke may be the start of a message.
 * What was gathered of the other direction came just before it.
 */
static bool conn_probe_late(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	struct conn_dir *d = &c->d[dir];
	bool turn = (in->hints & CANDIDATE) == CANDIDATE;
	/* of a quiet connection the first segment is a message's */
	bool start = turn || (!c->skipped && (in->hints & RESYNC_SEGMENT_START));
	c->skipped += in->data.n;
	if (start) {
		conn_gather_drop(cs, d, d->gather.n, CONN_EXIT_SKIPPED_ATTACH);
		if (turn && !c->turned) /* of no known start */
			conn_gather_drop(cs, &c->d[dir_other(dir)], c->d[dir_other(dir)].gather.n,
					 CONN_EXIT_SKIPPED_ATTACH);
		c->candidates++;
		c->newest = dir;
		c->turned |= turn;
	}
	if (!start && !d->gather.n) {
		cs->exits[CONN_EXIT_SKIPPED_ATTACH] += in->data.n;
		conn_input_used(in, in->data.n);
	} else if (!conn_gather_take(cs, c, dir, in, in->data.n)) {
		return false;
	}
	struct prober_verdict v = {0};
	if (d->gather.n)
		v = conn_ask(c, false, true);
	if (v.ops && v.ops != &framer_opaque && (c->turned || v.sure)) {
		enum dir request = v.reversed ? DIR_RESPONSE : DIR_REQUEST;
		if (c->newest == request) /* an older reply is none to it */
			conn_gather_drop(cs, &c->d[dir_other(request)],
					 c->d[dir_other(request)].gather.n,
					 CONN_EXIT_SKIPPED_ATTACH);
		return verdict_take(cs, c, v, true);
	}
	if (d->gather.n >= PROBER_HEAD_MAX)
		conn_gather_drop(cs, d, d->gather.n, CONN_EXIT_SKIPPED_ATTACH);
	if (c->skipped > LATE_BYTES && c->candidates > LATE_CANDIDATES)
		conn_opaque(cs, c);
	return c->ops != NULL;
}

/* ---- both directions ---- */

static bool conn_go(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	struct conn_dir *d = &c->d[dir];
	if (d->mode == CONN_RUN && c->ops)
		return conn_step(cs, c, dir, in);
	if (d->mode == CONN_RESYNC && c->ops)
		return conn_resync(cs, c, dir, in);
	if (c->ops || c->dead || d->mode == CONN_ENDED || (!in->data.n && !d->gather.n))
		return false;
	if (!c->late)
		return conn_probe(cs, c, dir, in, false);
	return in->data.n && conn_probe_late(cs, c, dir, in);
}

/* True: progress was made in this direction, the other one may go on too. */
static bool conn_pull(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	bool moved = false;
	for (;;) {
		size_t before = in->data.n;
		bool probing = !c->ops, step = conn_go(cs, c, dir, in);
		moved |= step;
		if (probing && step && dir == DIR_RESPONSE) /* the request first */
			break;
		if (!step && (!in->data.n || in->data.n == before))
			break;
	}
	if (in->data.n && c->dead) {
		cs->exits[CONN_EXIT_NO_MEMORY] += in->data.n;
		conn_input_used(in, in->data.n);
	} else if (in->data.n) { /* waits: for more, or for the other direction */
		conn_gather_take(cs, c, dir, in, in->data.n);
	}
	return moved;
}

/* What waits is more than may: the connection is read no further than its bytes are counted. */
static void conn_overflow(struct conns *cs, struct conn *c)
{
	if (!c->ops && c->late) {
		for (int i = 0; i < 2; i++)
			conn_gather_drop(cs, &c->d[i], c->d[i].gather.n, CONN_EXIT_SKIPPED_ATTACH);
		return;
	}
	call_close(cs->cfg.calls, &c->queue, END_EVICTED);
	call_queue_flag(&c->queue, FLAG_EVICTED);
	conn_opaque(cs, c);
}

/* One direction's new bytes, then whatever that makes possible in both. */
static void conn_pump(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in)
{
	bool moved = conn_pull(cs, c, dir, in);
	struct conn_input none = {.ts_ns = in->ts_ns};
	while (moved) {
		dir = dir_other(dir);
		if (!c->d[dir].gather.n && c->d[dir].mode != CONN_RUN)
			break;
		moved = conn_pull(cs, c, dir, &none);
	}
	size_t n0 = c->d[0].gather.n, n1 = c->d[1].gather.n;
	if (n0 + n1 == 0 || c->dead)
		return;
	if (n0 <= cs->cfg.gather_max && n1 <= cs->cfg.gather_max &&
	    cs->gathered <= cs->cfg.gather_all)
		return;
	conn_overflow(cs, c);
	for (int i = 0; i < 2 && !c->dead; i++)
		conn_pull(cs, c, i, &none);
}

static void dir_finish(struct conns *cs, struct conn *c, enum dir dir)
{
	struct conn_dir *d = &c->d[dir];
	struct conn_input none = {.ts_ns = c->flow->last_ns};
	if (d->mode == CONN_ENDED || c->dead)
		return;
	if (c->ops && c->ops->last && d->mode == CONN_RUN && d->gather.n) {
		c->ops->last(c->state, dir);
		conn_pull(cs, c, dir, &none);
	}
	while (c->ops && d->mode == CONN_RUN) {
		struct piece p = {.dir = dir};
		c->ops->end(c->state, dir, d->how, &p);
		if (!p.what)
			break;
		bool cut = p.what & PIECE_ABORT;
		p.what &= ~(unsigned)PIECE_ABORT;
		if (p.what || p.missing)
			piece_take(cs, c, dir, &p, 0, &none);
		if (cut)
			call_cut(&c->queue, p.dir, p.corr);
	}
	if (dir == DIR_RESPONSE && c->ops && d->mode == CONN_RUN && d->gather.n)
		call_head_cut(&c->queue);
	/* what never came into step may have held the replies */
	if (dir == DIR_RESPONSE && d->mode == CONN_RESYNC)
		call_gap(cs->cfg.calls, &c->queue, dir, d->off);
	bool late = d->mode != CONN_RUN && c->late;
	conn_gather_drop(cs, d, d->gather.n,
			 late ? CONN_EXIT_SKIPPED_ATTACH : CONN_EXIT_PARTIAL_AT_CLOSE);
	d->mode = CONN_ENDED;
	if (dir == DIR_RESPONSE && d->how == END_FIN && c->ops &&
	    c->queue.pairing != PAIRING_TUNNEL)
		call_answered(cs->cfg.calls, &c->queue);
	if (c->d[dir_other(dir)].mode == CONN_SWITCHED) {
		conn_switch(cs, c);
		conn_pump(cs, c, dir_other(dir), &none);
	}
}

/* Directions that ended end for the framer too once nothing of theirs waits for the other one. */
static void ends_settle(struct conns *cs, struct conn *c)
{
	for (int i = 0; i < 2; i++)
		if (c->d[i].ending && !c->d[i].gather.n)
			dir_finish(cs, c, i);
}

/* ---- what the flow tells ---- */

static void note_gap(struct conns *cs, struct conn *c)
{
	if (c->told)
		return;
	c->told = true;
	if (cs->gap_conns < GAP_NAMES_MAX)
		cs->gap_numbers[cs->gap_conns] = c->number;
	cs->gap_conns++;
}

/* Its first bytes are lost: as if joined late. */
static void gap_unknown(struct conns *cs, struct conn *c)
{
	c->late = c->queue.uncertain = c->queue.no_guess = true;
	for (int i = 0; i < 2; i++)
		conn_gather_drop(cs, &c->d[i], c->d[i].gather.n, CONN_EXIT_SKIPPED_GAP);
}

static void conn_gap(struct conns *cs, struct conn *c, enum dir dir, const struct stream_run *run)
{
	struct conn_dir *d = &c->d[dir];
	uint64_t n = run->missing + d->gather.n;
	note_gap(cs, c);
	if (c->dead || d->mode == CONN_ENDED)
		return;
	if (!c->ops) {
		gap_unknown(cs, c);
		return;
	}
	conn_gather_drop(cs, d, d->gather.n, CONN_EXIT_SKIPPED_GAP);
	d->need = 0;
	if (d->mode == CONN_SWITCHED) {
		d->missing += n;
		return;
	}
	int r = c->ops->gap(c->state, dir, n);
	if ((d->mode == CONN_RUN || d->mode == CONN_RESYNC) && r < 0) {
		call_gap(cs->cfg.calls, &c->queue, dir, run->off + run->missing);
		d->mode = CONN_RESYNC;
	} else if (r == 0) {
		struct conn_input none = {.ts_ns = run->ts_ns};
		conn_pump(cs, c, dir, &none);
	}
}

static void on_open(void *ctx, struct flow *f)
{
	struct conns *cs = ctx;
	struct conn *c = calloc(1, sizeof(*c));
	f->user = c;
	if (!c)
		return; /* its bytes leave by no_memory */
	c->flow = f;
	c->number = ++cs->opened;
	c->late = !f->syn_seen;
	call_queue_init(&c->queue, c->late);
}

static void on_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	struct conns *cs = ctx;
	struct conn *c = f->user;
	cs->in += run->data.n;
	if (!c || c->dead || c->d[dir].ending) {
		cs->exits[!c || c->dead ? CONN_EXIT_NO_MEMORY : CONN_EXIT_PARTIAL_AT_CLOSE] +=
			run->data.n;
		return;
	}
	if (!c->processes_known && cs->cfg.opened)
		cs->cfg.opened(cs->cfg.ctx, c);
	call_queue_seen(&c->queue, run->ts_ns);
	if (run->flags & STREAM_CONFLICT)
		call_queue_flag(&c->queue, FLAG_OVERLAP_CONFLICT);
	c->d[dir].off = run->off + run->missing + run->data.n;
	if (run->missing)
		conn_gap(cs, c, dir, run);
	struct conn_input in = {run->data, run->ts_ns, run->ack_off, 0};
	if (run->flags & STREAM_SEGMENT_START)
		in.hints |= RESYNC_SEGMENT_START;
	if (run->flags & STREAM_TURN)
		in.hints |= RESYNC_TURN;
	if (in.data.n)
		conn_pump(cs, c, dir, &in);
	ends_settle(cs, c);
}

static void on_half_close(void *ctx, struct flow *f, enum dir dir)
{
	struct conn *c = f->user;
	if (!c || c->d[dir].ending)
		return;
	c->d[dir].ending = true;
	c->d[dir].how = END_FIN;
	ends_settle(ctx, c);
}

/* The last word of the prober and of the framer. */
static void conn_end(struct conns *cs, struct conn *c, enum end_how how)
{
	struct conn_input none = {.ts_ns = c->flow->last_ns};
	for (int i = 0; i < 2; i++)
		if (!c->d[i].ending) {
			c->d[i].ending = true;
			c->d[i].how = how;
		}
	if (!c->ops && !c->late && !c->dead && c->d[0].gather.n + c->d[1].gather.n &&
	    conn_probe(cs, c, DIR_REQUEST, &none, true)) {
		conn_pump(cs, c, DIR_REQUEST, &none);
		conn_pump(cs, c, DIR_RESPONSE, &none);
	}
	dir_finish(cs, c, DIR_REQUEST);
	dir_finish(cs, c, DIR_RESPONSE);
	call_close(cs->cfg.calls, &c->queue, how);
}

static void on_close(void *ctx, struct flow *f, enum flow_end end)
{
	/* A close that nobody saw is most often a reset by a kernel whose socket was gone. */
	static const enum end_how hows[] = {
		[FLOW_FIN] = END_FIN,      [FLOW_RST] = END_RST,
		[FLOW_REUSED] = END_RST,   [FLOW_EVICTED] = END_EVICTED,
		[FLOW_VANISHED] = END_RST, [FLOW_STOP] = END_STOP,
		[FLOW_UNMUTED] = END_FIN,  [FLOW_SAMPLED_OUT] = END_EVICTED};
	struct conn *c = f->user;
	if (!c)
		return;
	conn_end(ctx, c, hows[end]);
	conn_framer_drop(c);
	free(c->attributes);
	free(c->names);
	free(c->processes);
	free(c);
	f->user = NULL;
}

struct flow_callbacks conns_callbacks(void)
{
	return (struct flow_callbacks) {on_open, on_data, on_half_close, on_close};
}
