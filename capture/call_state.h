/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of call: the state of all calls, and the bodies that open ones hold. */
#pragma once
#include "capture/call.h"
#include "capture/redact.h"

/* How messages ended; names of the exits of stage `messages` */
enum cut { CUT_NONE, CUT_CLOSE, CUT_RESET, CUT_GAP, CUT_ERROR, CUT_EVICTED, CUT_STOPPED, CUT_N };
struct calls {
	struct call_limits limits;
	struct call_sink sink;
	struct hash_key key;
	struct list open, tunnels, wait, parts, pool;
	size_t n_open, n_pool, n_graves;
	uint64_t body_max; /* of a body, by calls_set_body() */
	uint64_t bodies, heads; /* memory of open calls */
	uint64_t opened, exits[CALL_EXITS];
	uint64_t started, ended[CUT_N];
	uint64_t bodies_cut;
	struct redactor *redactor; /* of calls to come */
	struct redact_counts redacted;
	struct buf redact_out[2]; /* what of the bodies of a part may leave */
};

/* *charged, a part of *sum, becomes `now`. */
static inline void call_charge(uint64_t *sum, size_t *charged, size_t now)
{
	*sum += now - *charged;
	*charged = now;
}

/* A fresh call: from the pool with its memory, or new; NULL: no memory. And back. */
struct call *call_pool_take(struct calls *cs);
void call_pool_give(struct calls *cs, struct call *c);

/* What the next part would hold */
size_t call_body_part_size(const struct call *c);

/* The last part, with the parts before it that what is kept needs. Nothing is kept then. */
void call_body_finish(struct calls *cs, struct call *c);

/* The run of body bytes of a piece, and what is missing before it */
void call_body_add(struct calls *cs, struct call *c, enum dir dir, const struct piece *p);

/* A message is complete: a part leaves when it is full, or its time begins. */
void call_body_message(struct calls *cs, struct call *c, uint64_t ts_ns);

/* Parts that are due by time leave. */
void call_body_expire(struct calls *cs, uint64_t now_ns);

/* What a part is made of while its redacted form stands in its place (capture/call_redact.c) */
struct call_unredacted {
	bool swapped[2];
	struct buf body[2];
	size_t message_off[2];
	struct call_stream_message *stream; /* NULL: as it was */
};

/* Between these two the call's part buffers hold what may leave. Lets go of what it cannot redact. */
void call_redact_begin(struct calls *cs, struct call *c, struct call_unredacted *was);
void call_redact_end(struct calls *cs, struct call *c, struct call_unredacted *was);
