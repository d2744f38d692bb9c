/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "capture/call_message.h"
#include "capture/call_queue.h"
#include "capture/call_state.h"
#include "capture/conn.h"

enum { GRAVES_MAX = 65536 }; /* of late replies in all connections */

static void charge_head(struct calls *cs, struct call *c)
{
	call_charge(&cs->heads, &c->charged,
		    sizeof(*c) + c->arena.held + c->cap_stream * sizeof(*c->stream));
}

/* ---- leaving ---- */

static enum cut cut_of(enum call_exit exit, enum end_how how)
{
	switch (exit) {
	case CALL_GAP: return CUT_GAP;
	case CALL_ERROR:
	case CALL_MISDETECTED: return CUT_ERROR;
	case CALL_EVICTED: return CUT_EVICTED;
	case CALL_STOPPED: return CUT_STOPPED;
	default: return how == END_RST ? CUT_RESET : CUT_CLOSE;
	}
}

static void outcome_set(struct call *c, enum call_exit exit)
{
	switch (exit) {
	case CALL_PAIRED:
	case CALL_ORPHAN:
	case CALL_TUNNEL_DONE:
		if (c->flags & (FLAG_SMUGGLING_SUSPECT | FLAG_PROTOCOL_ERROR))
			c->outcome = OUTCOME_UNKNOWN;
		break;
	case CALL_ONEWAY_DONE: c->outcome = OUTCOME_OK; break;
	case CALL_TIMEOUT: c->flags |= FLAG_TIMEOUT; /* fall through */
	case CALL_NO_RESPONSE:
		c->outcome = OUTCOME_NO_RESPONSE;
		c->flags |= FLAG_NO_RESPONSE;
		break;
	case CALL_ABORTED:
		c->outcome = OUTCOME_ABORTED;
		if (!c->msg[1].started && !c->reply_begun)
			c->flags |= FLAG_NO_RESPONSE;
		break;
	case CALL_GAP: c->flags |= FLAG_GAP; /* fall through */
	case CALL_MISDETECTED:
	case CALL_ERROR: c->outcome = OUTCOME_UNKNOWN; break;
	case CALL_EVICTED:
		c->outcome = OUTCOME_UNKNOWN;
		c->flags |= FLAG_EVICTED;
		break;
	case CALL_STOPPED:
		c->outcome = OUTCOME_UNKNOWN;
		c->flags |= FLAG_CAPTURE_ENDED;
		break;
	case CALL_NO_MEMORY:
	case CALL_EXITS: break;
	}
}

/* Gives out the last part, counts the call and its messages out. */
static void call_finish(struct calls *cs, struct call_queue *q, struct call *c, enum call_exit exit,
			enum end_how how)
{
	outcome_set(c, exit);
	for (int d = 0; d < 2; d++)
		if (c->msg[d].started && !c->msg[d].done)
			cs->ended[cut_of(exit, how)]++;
	cs->exits[exit]++;
	call_body_finish(cs, c);
	call_queue_owed_pass(q, c, 0);
	if (!list_empty(&c->slot.in_bucket))
		call_index_del(&q->ids, &c->slot);
	if (q->request == c)
		q->request = NULL;
	if (q->reply == c)
		q->reply = NULL;
	list_del(&c->in_conn);
	list_del(&c->in_wait);
	list_del(&c->in_parts);
	list_del(&c->in_open);
	q->n--;
	q->waiting -= call_is_waiting(c);
	cs->n_open--;
	call_charge(&cs->heads, &c->charged, 0);
	call_charge(&cs->bodies, &c->msg[0].charged, 0);
	call_charge(&cs->bodies, &c->msg[1].charged, 0);
	call_pool_give(cs, c);
}

/* Leaves before its reply, which may still come: its place stays, so that the reply finds nobody else. */
static void call_leave(struct calls *cs, struct call *c, enum call_exit exit)
{
	struct call_queue *q = &c->conn->queue;
	bool expected = call_is_waiting(c) && c->type != CALL_ONEWAY && !c->reply_lost;
	if (expected && q->pairing == PAIRING_FIFO) {
		call_queue_owed_pass(q, c, 1);
	} else if (expected && !list_empty(&c->slot.in_bucket)) {
		q->no_guess = true;
		if (cs->n_graves < GRAVES_MAX)
			cs->n_graves += call_index_bury(&q->ids, &c->slot) == 0;
	}
	call_finish(cs, q, c, exit, END_EVICTED);
}

/* ---- pairing ---- */

/* The call that a reply's head belongs to: NULL for an orphan. */
static struct call *match_response(struct calls *cs, struct call_queue *q, uint64_t corr)
{
	if (q->pairing == PAIRING_FIFO) {
		uint32_t *owed;
		struct call *c = call_queue_next(q, &owed);
		if (!owed)
			return c;
		--*owed;
		return NULL;
	}
	struct call_slot *grave;
	struct call *c = call_queue_next_by_id(q, corr, &grave);
	if (grave) {
		call_index_dig(&q->ids, grave);
		cs->n_graves--;
		return NULL;
	}
	return c || q->no_guess ? c : call_queue_only(q);
}

static void interim_add(struct call_queue *q, const struct piece *p)
{
	uint32_t *owed = NULL;
	struct call_slot *grave;
	struct call *c = q->pairing == PAIRING_FIFO ? call_queue_next(q, &owed)
						    : call_queue_next_by_id(q, p->corr, &grave);
	if (!c || owed)
		return;
	size_t n = strlen(c->interim);
	snprintf(c->interim + n, sizeof(c->interim) - n, "%s%d", n ? "," : "", p->head.status);
}

/* ---- opening ---- */

/* Does its reply come in its turn? */
static bool is_ordered(const struct call_queue *q, const struct call *c)
{
	return q->pairing == PAIRING_FIFO || (q->pairing == PAIRING_ID && c->by_order);
}

/* A request uses the id of a call whose reply may have been lost: so it was, and the next reply is not its own. */
static void id_reused(struct calls *cs, struct call_queue *q, uint64_t corr)
{
	struct call_slot *grave;
	struct call *c = call_queue_next_by_id(q, corr, &grave);
	if (c && c->reply_maybe_lost && (c->msg[0].done || c->msg[0].cut))
		call_finish(cs, q, c, CALL_GAP, END_GAP);
}

static struct call *call_open(struct calls *cs, struct conn *conn, struct call_queue *q,
			      const struct piece *p, const struct call_wire *at)
{
	bool tunnel = q->pairing == PAIRING_TUNNEL, orphan = !tunnel && p->dir == DIR_RESPONSE;
	if (q->n >= cs->limits.pending)
		call_leave(cs, list_entry(q->calls.next, struct call, in_conn), CALL_EVICTED);
	while (cs->heads > cs->limits.open_heads && !list_empty(&cs->open))
		call_leave(cs, list_entry(cs->open.next, struct call, in_open), CALL_EVICTED);
	if (q->pairing == PAIRING_ID && !orphan && q->lost_to)
		id_reused(cs, q, p->corr);
	cs->opened++;
	struct call *c = call_pool_take(cs);
	if (c)
		list_init(&c->slot.in_bucket);
	if (!c ||
	    (q->pairing == PAIRING_ID && call_index_add(&q->ids, &c->slot, p->corr, cs->key) < 0)) {
		if (c)
			call_pool_give(cs, c);
		cs->exits[CALL_NO_MEMORY]++;
		q->owed += q->pairing == PAIRING_FIFO && !orphan;
		q->no_guess = true;
		return NULL;
	}
	c->conn = conn;
	c->redactor = redactor_ref(cs->redactor);
	c->tunnel = tunnel;
	c->orphan = orphan;
	c->by_order = p->head.by_order;
	c->protocol = q->protocol;
	c->body_limit = cs->limits.body;
	c->seen_index = ++q->seen;
	c->flags = q->sticky_flags | (orphan ? FLAG_ORPHAN_RESPONSE : 0) |
		   (q->uncertain && (q->pairing != PAIRING_ID || p->head.by_order) ? FLAG_LATE_JOIN
										   : 0);
	list_add_tail(&q->calls, &c->in_conn);
	list_add_tail(tunnel ? &cs->tunnels : &cs->open, &c->in_open);
	list_init(&c->in_wait);
	list_init(&c->in_parts);
	q->n++;
	cs->n_open++;
	if (call_is_waiting(c)) {
		q->waiting++;
		c->owed = orphan ? 0 : q->owed;
		q->owed = 0;
		c->req_ack = at->ack_off;
		c->reply_lost = is_ordered(q, c) && at->ack_off < q->lost_to;
		c->reply_maybe_lost = !is_ordered(q, c) && at->ack_off < q->lost_to;
		list_add_tail(&cs->wait, &c->in_wait);
	}
	cs->sink.sample(cs->sink.ctx, c, p, at->last_ns);
	return c;
}

static struct call *call_for_head(struct calls *cs, struct conn *conn, struct call_queue *q,
				  const struct piece *p, const struct call_wire *at)
{
	struct call *c = NULL;
	if (q->pairing == PAIRING_TUNNEL && !list_empty(&q->calls))
		return list_entry(q->calls.prev, struct call, in_conn);
	if (q->pairing != PAIRING_TUNNEL && p->dir == DIR_RESPONSE)
		c = match_response(cs, q, p->corr);
	return c ? c : call_open(cs, conn, q, p, at);
}

/* ---- pieces ---- */

/* Both sides of the call, as far as they will come, are here. */
static void maybe_finish(struct calls *cs, struct call_queue *q, struct call *c)
{
	const struct call_message *req = &c->msg[0], *resp = &c->msg[1];
	if (c->tunnel) {
		if (req->done && resp->done) {
			c->outcome = OUTCOME_OK;
			call_finish(cs, q, c, CALL_TUNNEL_DONE, END_FIN);
		}
	} else if (c->orphan) {
		if (resp->done)
			call_finish(cs, q, c, CALL_ORPHAN, END_FIN);
	} else if (!req->done && !req->cut) {
		return;
	} else if (c->type == CALL_ONEWAY) {
		call_finish(cs, q, c, req->done ? CALL_ONEWAY_DONE : CALL_GAP, END_FIN);
	} else if (resp->done) {
		call_finish(cs, q, c, CALL_PAIRED, END_FIN);
	} else if (c->reply_lost && !resp->started) {
		call_finish(cs, q, c, CALL_GAP, END_GAP);
	}
}

static void message_touch(struct calls *cs, struct call *c, enum dir dir,
			  const struct call_wire *at)
{
	struct call_message *m = &c->msg[dir];
	if (!m->start_ns)
		m->start_ns = at->first_ns;
	if (at->last_ns > m->end_ns) /* packets of two CPUs may be a few ns out of order */
		m->end_ns = at->last_ns;
	if (m->end_ns < m->start_ns)
		m->end_ns = m->start_ns;
	m->wire_bytes += at->bytes;
	if (dir == DIR_REQUEST && !list_empty(&c->in_wait))
		list_move_tail(&cs->wait, &c->in_wait);
	else if (dir == DIR_RESPONSE)
		list_del(&c->in_wait);
}

static void message_start(struct calls *cs, struct call_queue *q, struct call *c,
			  const struct piece *p)
{
	q->waiting -= p->dir == DIR_RESPONSE && call_is_waiting(c);
	*(p->dir == DIR_REQUEST ? &q->request : &q->reply) = c;
	c->msg[p->dir].started = true;
	cs->started++;
	call_message_head(c, p->dir, p, &cs->redacted);
	charge_head(cs, c);
}

static void piece_abort(struct calls *cs, struct call_queue *q, struct call *c,
			const struct piece *p)
{
	enum outcome outcome = c->outcome;
	if (!(p->what & PIECE_HEAD))
		call_message_end(c, p->dir, p, &cs->redacted);
	if (c->msg[1].done)
		c->outcome = outcome;
	if (!(p->what & PIECE_BOTH) && p->dir == DIR_REQUEST) {
		c->msg[0].cut = true;
		maybe_finish(cs, q, c);
		return;
	}
	enum call_exit exit = c->msg[1].done                              ? CALL_PAIRED
			      : p->head.outcome == OUTCOME_NO_RESPONSE    ? CALL_NO_RESPONSE
			      : c->reply_maybe_lost && !c->msg[1].started ? CALL_GAP
									  : CALL_ABORTED;
	call_finish(cs, q, c, exit, END_RST);
}

static void piece_message(struct calls *cs, struct call *c, const struct piece *p, uint64_t ts_ns)
{
	if (call_message_boundary(c, p->dir, ts_ns, p->flags & FLAG_COMPRESSED) < 0)
		c->flags |= FLAG_TRUNCATED;
	charge_head(cs, c);
	call_body_message(cs, c, ts_ns);
}

static struct call *call_for_piece(struct calls *cs, struct conn *conn, struct call_queue *q,
				   const struct piece *p, const struct call_wire *at)
{
	if (p->what & PIECE_HEAD)
		return call_for_head(cs, conn, q, p, at);
	if (p->what & PIECE_BOTH)
		return call_queue_any(q, p->dir, p->corr);
	return p->dir == DIR_REQUEST ? call_queue_request(q, p->corr)
				     : call_queue_response(q, p->corr);
}

void call_piece(struct calls *cs, struct conn *conn, struct call_queue *q, const struct piece *p,
		const struct call_wire *at)
{
	if (p->what & PIECE_CONTROL)
		return;
	if (p->what & PIECE_INTERIM) {
		interim_add(q, p);
		return;
	}
	struct call *c = call_for_piece(cs, conn, q, p, at);
	if (!c)
		return;
	c->flags |= p->flags & (p->what & PIECE_MESSAGE ? ~(unsigned)FLAG_COMPRESSED : ~0u);
	if (p->what & PIECE_HEAD)
		message_start(cs, q, c, p);
	if (c->msg[p->dir].started)
		message_touch(cs, c, p->dir, at);
	if (p->what & PIECE_BODY || p->missing)
		call_body_add(cs, c, p->dir, p);
	if (p->what & PIECE_MESSAGE && c->sampled)
		piece_message(cs, c, p, at->last_ns);
	if (p->what & PIECE_END) {
		call_message_end(c, p->dir, p, &cs->redacted);
		c->msg[p->dir].done = true;
		cs->ended[CUT_NONE]++;
		maybe_finish(cs, q, c);
	} else if (p->what & PIECE_ABORT) {
		piece_abort(cs, q, c, p);
	}
}

/* ---- losses and ends ---- */

static void gap_in_replies(struct calls *cs, struct call_queue *q, struct call *c, uint64_t end_off)
{
	if (c->msg[1].started) {
		if (!c->msg[1].done)
			call_finish(cs, q, c, CALL_GAP, END_GAP);
	} else if (c->req_ack < end_off) {
		if (is_ordered(q, c))
			call_finish(cs, q, c, CALL_GAP, END_GAP);
		else
			c->reply_maybe_lost = true;
	}
}

void call_gap(struct calls *cs, struct call_queue *q, enum dir dir, uint64_t end_off)
{
	q->uncertain = true;
	q->no_guess = true;
	if (dir == DIR_RESPONSE && end_off > q->lost_to)
		q->lost_to = end_off;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (c->tunnel)
			continue;
		if (dir == DIR_RESPONSE) {
			c->owed = 0;
			gap_in_replies(cs, q, c, end_off);
		} else if (c->msg[0].started && !c->msg[0].done) {
			c->flags |= FLAG_GAP | FLAG_TRUNCATED;
			c->msg[0].cut = true;
			maybe_finish(cs, q, c);
		}
	}
	if (dir == DIR_RESPONSE)
		q->owed = 0;
}

/* What was passed over up to where it is in step again may have held replies too. */
static void skipped_replies(struct calls *cs, struct call_queue *q, uint64_t off)
{
	if (off > q->lost_to)
		q->lost_to = off;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (call_is_waiting(c))
			gap_in_replies(cs, q, c, off);
	}
}

void call_resynced(struct calls *cs, struct call_queue *q, enum dir dir, uint64_t off)
{
	bool kept = false;
	if (dir == DIR_RESPONSE && q->pairing == PAIRING_ID)
		skipped_replies(cs, q, off);
	if (dir != DIR_RESPONSE || q->pairing != PAIRING_FIFO)
		return;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (call_is_waiting(c) && c->req_ack >= off) {
			kept = true;
			continue;
		}
		c->owed = 0;
		if (call_is_waiting(c) && q->waiting > 1)
			call_finish(cs, q, c, CALL_GAP, END_GAP);
	}
	if (!kept)
		q->owed = 0;
}

void call_error(struct calls *cs, struct call_queue *q, unsigned flags)
{
	q->sticky_flags |= flags;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		c->flags |= flags;
		call_finish(cs, q, c, CALL_ERROR, END_FIN);
	}
}

void call_undo(struct calls *cs, struct call_queue *q)
{
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		c->sampled = false;
		call_finish(cs, q, c, CALL_MISDETECTED, END_FIN);
	}
	q->seen = 0;
}

/* How an open call leaves when its connection ends. */
static enum call_exit exit_at_close(struct call *c, enum end_how how)
{
	const struct call_message *req = &c->msg[0], *resp = &c->msg[1];
	if (c->tunnel && (how == END_FIN || how == END_RST)) {
		c->outcome = how == END_FIN ? OUTCOME_OK : OUTCOME_ABORTED;
		return CALL_TUNNEL_DONE;
	}
	if (resp->done && !c->tunnel)
		return c->orphan ? CALL_ORPHAN : CALL_PAIRED;
	if (how == END_STOP)
		return CALL_STOPPED;
	if (how == END_EVICTED)
		return CALL_EVICTED;
	if (!resp->started &&
	    (c->reply_maybe_lost || c->reply_lost || (c->flags & FLAG_GAP && req->cut)))
		return CALL_GAP;
	return resp->started || c->reply_begun || !req->done ? CALL_ABORTED : CALL_NO_RESPONSE;
}

void call_close(struct calls *cs, struct call_queue *q, enum end_how how)
{
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		call_finish(cs, q, c, exit_at_close(c, how), how);
	}
	cs->n_graves -= q->ids.n_graves;
	call_index_fini(&q->ids);
	q->owed = 0;
}

void call_answered(struct calls *cs, struct call_queue *q)
{
	bool left = false;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (c->msg[1].done && c->msg[0].started && !c->msg[0].done && !c->msg[0].cut)
			left = true;
		else
			call_finish(cs, q, c, exit_at_close(c, END_FIN), END_FIN);
	}
	if (!left)
		call_close(cs, q, END_FIN);
	q->owed = 0;
}

void call_carry(struct calls *cs, struct call_queue *q, uint64_t corr, const struct framer_ops *to)
{
	uint32_t *owed;
	struct call *carried = call_queue_next(q, &owed);
	if (owed || to->pairing != PAIRING_ID ||
	    (carried && call_index_add(&q->ids, &carried->slot, corr, cs->key) < 0))
		carried = NULL;
	list_for_each_safe (it, next, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (c != carried)
			call_finish(cs, q, c, exit_at_close(c, END_FIN), END_FIN);
	}
	q->owed = 0;
	if (carried)
		carried->protocol = to->name;
}

void calls_expire(struct calls *cs, uint64_t now_ns)
{
	call_body_expire(cs, now_ns);
	while (!list_empty(&cs->wait)) {
		struct call *c = list_entry(cs->wait.next, struct call, in_wait);
		uint64_t end = c->msg[0].end_ns;
		if (now_ns < end || now_ns - end < cs->limits.timeout_ns)
			return;
		call_leave(cs, c, c->reply_maybe_lost || c->reply_lost ? CALL_GAP : CALL_TIMEOUT);
	}
}
