/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of call: which open call of a connection a message belongs to. */
#pragma once
#include "capture/call.h"

/* It has a reply to come, and no byte of it came. */
static inline bool call_is_waiting(const struct call *c)
{
	return !c->orphan && !c->tunnel && !c->msg[1].started;
}

/* The call whose request, or reply, is still coming in. NULL: none. */
struct call *call_queue_request(struct call_queue *q, uint64_t corr);
struct call *call_queue_response(struct call_queue *q, uint64_t corr);

/* FIFO: the next to be answered. *owed: where replies that belong to nobody are counted, when one is due first. */
struct call *call_queue_next(struct call_queue *q, uint32_t **owed);

/* The oldest with this id that waits; *grave: one that left did so before it (NULL is returned then). */
struct call *call_queue_next_by_id(struct call_queue *q, uint64_t corr, struct call_slot **grave);

/* The only one that waits. NULL: none, or more. */
struct call *call_queue_only(struct call_queue *q);

/* The call that a frame like RST_STREAM ends, in whatever state it is. */
struct call *call_queue_any(struct call_queue *q, enum dir dir, uint64_t corr);

/* c leaves: the replies that are due before its own, and `more`, are due before the next one's. */
void call_queue_owed_pass(struct call_queue *q, struct call *c, uint32_t more);
