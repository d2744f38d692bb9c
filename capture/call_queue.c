/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call_queue.h"

enum { QUIET_NS = 1000000000 };

/* Replies that will come before its own and belong to nobody: before the next one's then. */
void call_queue_owed_pass(struct call_queue *q, struct call *c, uint32_t more)
{
	uint32_t *to = &q->owed;
	if (c->in_conn.next != &q->calls)
		to = &list_entry(c->in_conn.next, struct call, in_conn)->owed;
	*to += c->owed + more;
	c->owed = 0;
}

uint32_t call_queue_asked(const struct call_queue *q, uint64_t off)
{
	uint32_t n = 0;
	for (const struct list *it = q->calls.prev; it != &q->calls; it = it->prev) {
		const struct call *c = list_entry(it, struct call, in_conn);
		if (call_is_waiting(c) && c->req_ack >= off)
			n += 1 + c->owed;
	}
	return n ? n + q->owed : q->waiting > 0;
}

static struct call *call_of_slot(struct list *it)
{
	return list_entry(it, struct call, slot.in_bucket);
}

static struct call *request_open(struct call *c)
{
	return c && !c->msg[0].done && !c->msg[0].cut ? c : NULL;
}

static struct call *reply_open(struct call *c)
{
	return c && c->msg[1].started && !c->msg[1].done && !c->msg[1].cut ? c : NULL;
}

/* The call whose request is still coming in: the newest with this id. */
struct call *call_queue_request(struct call_queue *q, uint64_t corr)
{
	if (q->pairing != PAIRING_ID)
		return request_open(q->request);
	struct list *head = call_index_bucket(&q->ids, corr);
	for (struct list *it = head ? head->prev : NULL; it != head; it = it->prev) {
		struct call_slot *s = list_entry(it, struct call_slot, in_bucket);
		if (s->corr == corr && !s->grave && !call_of_slot(it)->orphan)
			return request_open(call_of_slot(it));
	}
	return NULL;
}

/* The call whose reply is coming in. */
struct call *call_queue_response(struct call_queue *q, uint64_t corr)
{
	if (q->pairing != PAIRING_ID)
		return reply_open(q->reply);
	struct list *head = call_index_bucket(&q->ids, corr);
	for (struct list *it = head ? head->next : NULL; it != head; it = it->next) {
		struct call_slot *s = list_entry(it, struct call_slot, in_bucket);
		if (s->corr == corr && !s->grave && reply_open(call_of_slot(it)))
			return call_of_slot(it);
	}
	return NULL;
}

/* The next one in order. *owed: where replies that belong to nobody are counted, when one is due first. */
struct call *call_queue_next(struct call_queue *q, uint32_t **owed)
{
	*owed = NULL;
	list_for_each (it, &q->calls) {
		struct call *c = list_entry(it, struct call, in_conn);
		if (c->orphan || c->msg[1].started || c->reply_lost)
			continue;
		if (c->owed)
			*owed = &c->owed;
		return c;
	}
	if (q->owed)
		*owed = &q->owed;
	return NULL;
}

/* The oldest with this id that waits; *grave: one that left did so before it. */
struct call *call_queue_next_by_id(struct call_queue *q, uint64_t corr, struct call_slot **grave)
{
	struct list *head = call_index_bucket(&q->ids, corr);
	*grave = NULL;
	for (struct list *it = head ? head->next : NULL; it != head; it = it->next) {
		struct call_slot *s = list_entry(it, struct call_slot, in_bucket);
		if (s->corr != corr)
			continue;
		if (s->grave) {
			*grave = s;
			return NULL;
		}
		if (call_is_waiting(call_of_slot(it)) && !call_of_slot(it)->reply_lost)
			return call_of_slot(it);
	}
	return NULL;
}

struct call *call_queue_only(struct call_queue *q)
{
	if (q->waiting != 1)
		return NULL;
	for (struct list *it = q->calls.prev; it != &q->calls; it = it->prev)
		if (call_is_waiting(list_entry(it, struct call, in_conn)))
			return list_entry(it, struct call, in_conn);
	return NULL;
}

/* The call that a frame like RST_STREAM ends, in whatever state it is. */
struct call *call_queue_any(struct call_queue *q, enum dir dir, uint64_t corr)
{
	if (q->pairing == PAIRING_ID) {
		struct list *head = call_index_bucket(&q->ids, corr);
		for (struct list *it = head ? head->next : NULL; it != head; it = it->next) {
			struct call_slot *s = list_entry(it, struct call_slot, in_bucket);
			if (s->corr == corr && !s->grave)
				return call_of_slot(it);
		}
		return NULL;
	}
	return dir == DIR_REQUEST ? call_queue_request(q, corr) : call_queue_response(q, corr);
}

void call_cut(struct call_queue *q, enum dir dir, uint64_t corr)
{
	struct call *c =
		dir == DIR_REQUEST ? call_queue_request(q, corr) : call_queue_response(q, corr);
	if (c)
		c->msg[dir].cut = true;
}

void call_head_cut(struct call_queue *q)
{
	uint32_t *owed;
	struct call *c = q->pairing == PAIRING_FIFO ? call_queue_next(q, &owed) : NULL;
	if (c && !owed)
		c->reply_begun = true;
}

void call_queue_init(struct call_queue *q, bool late)
{
	*q = (struct call_queue) {.protocol = "", .uncertain = late, .no_guess = late};
	list_init(&q->calls);
}

void call_queue_seen(struct call_queue *q, uint64_t ts_ns)
{
	if (q->uncertain && !q->n && q->last_ns && ts_ns > q->last_ns + QUIET_NS)
		q->uncertain = false;
	if (ts_ns > q->last_ns)
		q->last_ns = ts_ns;
}

void call_queue_flag(struct call_queue *q, unsigned flags)
{
	if ((q->sticky_flags & flags) == flags)
		return;
	q->sticky_flags |= flags;
	list_for_each (it, &q->calls)
		list_entry(it, struct call, in_conn)->flags |= flags;
}
