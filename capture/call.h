/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: a request and its response (and stream messages), put together from the pieces of a framer,
 * paired by the framer's rule, given to the recorder in parts no larger than a Kafka record.
 *
 * Memory is bounded: bodies of all open calls within limits.open_bodies (the largest are cut first,
 * flag `truncated`), open calls per connection within limits.pending and the rest of their memory within
 * limits.open_heads (the oldest leaves, `evicted`). A call that leaves before its reply keeps its place: a late
 * reply is an orphan, never another call's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/ledger.h"
#include "base/list.h"
#include "capture/call_index.h"
#include "capture/sample.h"
#include "rpc/framer.h"

/* Bodies in one record, a stream message counting for its own fields too: leaves room for two header blocks and
 * trailers below 900 KiB. */
enum { CALL_PART_BODY_MAX = 640 * 1024, CALL_STREAM_MESSAGE_COST = 32 };
/* Held of a call made of messages until it is known whether it is a stream; beyond, it leaves in parts as if not. */
enum { CALL_HOLD_MAX = 4 << 20 };
enum { CALL_STATUS_TEXT_MAX = 1024, CALL_ATTRIBUTES_MAX = 32 };

struct call_message {
	bool started, done, cut;
	bool body_closed; /* keep no more of the body: limit reached, or a hole */
	bool head_sent; /* a part carried its headers */
	bool count_only; /* its body is counted, not kept but for limits.opaque_head */
	bool blind; /* not all of its headers could be kept */
	bool compressed; /* its framer says so */
	uint64_t attachment; /* of the body's end: what no schema describes (bRPC) */
	bool told; /* a part told some of the body, or of the present message; kept with body rules only */
	uint64_t start_ns, end_ns;
	struct header *headers, *trailers; /* in the call's arena */
	size_t n_headers, n_trailers;
	struct buf body; /* kept and not yet in a part */
	size_t charged; /* of its memory, against limits.open_bodies */
	uint64_t body_kept; /* over all parts; of a stream: of the present message */
	uint64_t body_bytes; /* true length */
	uint64_t wire_bytes;
};

/* One message of a streaming call: a span of its direction's body. */
struct call_stream_message {
	enum dir dir;
	uint64_t ns;
	size_t off, n; /* in msg[dir].body of the present part */
	uint64_t body_bytes; /* true length */
	bool compressed;
};

struct rule_set; /* capture/recorder.h */

struct call {
	struct list in_conn; /* calls of the connection, in the order of requests */
	struct list in_open; /* all open calls, oldest first */
	struct list
		in_wait; /* those without a reply byte, by the time of their last request byte */
	struct call_slot slot; /* by correlation id, with PAIRING_ID */
	struct conn *conn;
	uint64_t seen_index; /* 1, 2, 3 ... on the connection */
	uint64_t sequence; /* 0: no record made yet */
	uint32_t part; /* of the next record */
	uint32_t owed; /* FIFO: replies that come before its own and belong to calls that left */
	uint64_t req_ack; /* reply bytes that the client had when it sent this request */
	size_t charged; /* of its memory, against limits.open_heads */
	struct list in_parts; /* calls with stream messages that no part told yet, by part_ns */
	uint64_t part_ns; /* of the first of those, or of the last look at it */
	bool orphan, tunnel;
	bool reply_lost; /* FIFO or by_order: the place of its reply lies in a gap */
	bool reply_begun; /* bytes of its head came, but not all */
	bool by_order; /* its id proves nothing: head.by_order */
	bool reply_maybe_lost; /* by id: it may have been in a gap */
	bool sampled; /* its record is wanted, at least until its end */
	bool decided; /* whether it is, is settled */
	bool over_limit; /* it is not, because of --limit */
	uint64_t config_version; /* in force when it opened: what it keeps follows that one */
	uint64_t body_limit; /* of limits, then */
	bool messages; /* its bodies are rows of messages */
	bool streamed; /* told as stream messages; else what is kept of a direction is one body */
	bool ending; /* nothing more will come: what it was is known, also in a part that is not the last */
	struct rule_set *rules; /* that decide about it, from sample() to its last part */
	struct sample_state sample;
	double share; /* of connections that was captured when it opened */
	struct redactor *redactor; /* the one in force when it opened, a reference; NULL: none */
	double weight;
	const char *rule;
	uint64_t body_max; /* kept of each body, by its rule */
	uint64_t record_bytes; /* of its records so far */
	const char *protocol, *transport;
	struct bytes service, method, path, status_text, trace_id, span_id;
	int32_t status;
	enum outcome outcome;
	enum call_type type;
	unsigned flags;
	struct attribute *attributes; /* in the arena */
	uint16_t n_attributes, cap_attributes;
	uint16_t n_attributes_sent;
	char interim[64]; /* "100,103" */
	struct call_message msg[2]; /* by enum dir */
	struct call_stream_message *stream;
	size_t n_stream, cap_stream;
	uint64_t n_messages[2]; /* of a stream, over all parts */
	uint64_t message_start[2]; /* body_bytes where the present message began */
	size_t message_off[2]; /* and where in the body of the present part */
	struct arena arena;
};

/* How a call left; names of the exits of ledger stage `pairing` */
enum call_exit {
	CALL_PAIRED,
	CALL_ONEWAY_DONE,
	CALL_ORPHAN,
	CALL_TUNNEL_DONE,
	CALL_NO_RESPONSE,
	CALL_ABORTED,
	CALL_GAP, /* request or reply lost to a gap */
	CALL_ERROR, /* framing error */
	CALL_MISDETECTED, /* of a protocol that was none: taken back, no record */
	CALL_TIMEOUT,
	CALL_EVICTED,
	CALL_STOPPED, /* capture ended while it was open */
	CALL_NO_MEMORY, /* could not be opened */
	CALL_EXITS
};

/* Makes records of calls; owned by the pipeline (capture/recorder.h). */
struct call_sink {
	/*
	 * A part of this call is full or the call is done (last). What the part tells is all of the call's part buffers,
	 * and taken from them after it. A part of a streamed call tells msg[d].body from message_off[d] on as a message
	 * that is not complete yet.
	 * False: no record was made of it.
	 */
	bool (*part)(void *ctx, struct call *c, bool last);
	/* Wanted? Sets sampled, rule, body_max. Called when the call opens, with the piece that opened it: its first
	 * head. Its last part() follows once. */
	void (*sample)(void *ctx, struct call *c, const struct piece *p, uint64_t now_ns);
	void *ctx;
};

struct call_limits {
	uint64_t body; /* kept per message; UINT64_MAX: none */
	uint64_t
		opaque_head; /* kept of each side of a tunnel, if it was opaque from its first byte */
	uint64_t open_bodies; /* all open calls: 16 MiB */
	uint64_t open_heads; /* the rest of their memory; 0: 32 MiB */
	uint32_t pending; /* open calls per connection: 65,536 */
	uint64_t timeout_ns;
	/* A stream leaves in parts: after so many messages, or so long after the first that no part told. 0: 1,000; 10 s.
	 * A call of one message each way is a stream when its direction stays open for so long behind the message. */
	uint32_t part_messages;
	uint64_t part_ns;
	uint64_t seed; /* of tables keyed by what a peer sends */
	bool redact; /* by the built-in lists, until calls_set_redactor() */
};

/* Messages of a direction that have begun, as far as the framer told */
static inline uint64_t call_messages(const struct call *c, enum dir dir)
{
	return c->n_messages[dir] + (c->msg[dir].body_bytes > c->message_start[dir]);
}

/* All calls of a capture: the pool, the caps, the counters. */
struct calls;
struct redactor; /* capture/redact.h */
struct redact_counts;
/* NULL: no memory. */
struct calls *calls_new(const struct call_limits *limits, const struct call_sink *sink);
void calls_free(struct calls *cs);
size_t calls_open(const struct calls *cs);
/* While it runs: body (of calls that open from now on), open_bodies, timeout_ns, part_messages, part_ns. */
void calls_set_limits(struct calls *cs, const struct call_limits *limits);
/* Calls whose request has waited longer than the time-out leave as NO_RESPONSE with `timeout`; streams give out
 * the part that they owe by time. */
void calls_expire(struct calls *cs, uint64_t now_ns);
/* For calls that open from now on; takes a reference of its own. NULL: nothing is redacted. */
void calls_set_redactor(struct calls *cs, struct redactor *r);
struct redactor *calls_redactor(const struct calls *cs); /* the one in force; borrowed */
const struct redact_counts *calls_redact_counts(const struct calls *cs);
/* Stages `redact` (bodies under a rule) and `secrets` (values). */
size_t calls_redact_ledger(const struct calls *cs, struct ledger_stage *out, size_t max);
/* Kept of each body from now on; never more than limits.body. */
void calls_set_body(struct calls *cs, uint64_t bytes);
/* Stages `messages` (messages) and `pairing` (calls). */
size_t calls_ledger(const struct calls *cs, struct ledger_stage *out, size_t max);
/* Bodies that lost what was kept of them to limits.open_bodies. */
uint64_t calls_bodies_cut(const struct calls *cs);

/* The pairing state of one connection, inside struct conn. */
struct call_queue {
	struct list calls; /* struct call.in_conn */
	struct call_index ids; /* PAIRING_ID */
	struct call *request, *reply; /* else: those whose message came last, while they are open */
	uint32_t n;
	uint32_t waiting; /* of those: no reply byte yet */
	uint32_t owed; /* FIFO: like struct call.owed, for the next call to come */
	uint64_t seen; /* calls opened so far */
	uint64_t lost_to; /* end of the last gap in the replies */
	uint64_t last_ns; /* last byte */
	bool uncertain; /* joined late or a gap: pairs carry late_join until a quiet second */
	bool no_guess; /* replies to calls that are not here may come: an unknown id is an orphan */
	uint8_t pairing; /* enum framer_pairing */
	unsigned sticky_flags; /* of every call from here on */
	const char *protocol;
};

/* late: joined in the middle */
void call_queue_init(struct call_queue *q, bool late);

/* Bytes of the connection came, before their pieces: a quiet second without open calls ends uncertainty. */
void call_queue_seen(struct call_queue *q, uint64_t ts_ns);

/* Every open call and all that follow carry these flags. */
void call_queue_flag(struct call_queue *q, unsigned flags);

/* What a piece lies on */
struct call_wire {
	uint64_t bytes; /* consumed with it */
	uint64_t first_ns, last_ns; /* of the packets */
	uint64_t ack_off; /* of a request: reply bytes that the client had acknowledged */
};

/* One piece of a framer; q = &conn->queue. */
void call_piece(struct calls *cs, struct conn *conn, struct call_queue *q, const struct piece *p,
		const struct call_wire *at);

/* The direction is out of step behind a loss that ends at end_off: every call that the lost bytes may have
 * belonged to leaves as UNKNOWN with `gap`, or when its reply does not come. */
void call_gap(struct calls *cs, struct call_queue *q, enum dir dir, uint64_t end_off);

/* The direction is in step again at stream offset off. Replies in order: a request sent when the client had no more than
 * what lies before is answered from here on; of the others, whose replies may have been skipped, the newest is. */
void call_resynced(struct calls *cs, struct call_queue *q, enum dir dir, uint64_t off);

/* FIFO: how many requests will await a reply when the replies are in step again at this offset. */
uint32_t call_queue_asked(const struct call_queue *q, uint64_t off);

/* The framer gave up: the open calls leave with UNKNOWN and `flags`, which later calls carry too. */
void call_error(struct calls *cs, struct call_queue *q, unsigned flags);

/* The connection turns out to speak another protocol: its open calls leave without a record. */
void call_undo(struct calls *cs, struct call_queue *q);

/* The connection goes on in another protocol (`Upgrade: h2c`): the oldest call that waits for its reply goes on there
 * by the id `corr`, the others are over. */
void call_carry(struct calls *cs, struct call_queue *q, uint64_t corr, const struct framer_ops *to);

/* The framer's end() said that the message of `corr` is cut: only marks it, call_close() or the reply decides. */
void call_cut(struct call_queue *q, enum dir dir, uint64_t corr);

/* The replies ended within a head: the call that it belongs to, when order tells, was not left without an answer. */
void call_head_cut(struct call_queue *q);

/* The server will answer nothing more: as call_close(), but that a request which was answered before its end may still
 * come to it. */
void call_answered(struct calls *cs, struct call_queue *q);

/* The connection is over: what is still open leaves by `how`. */
void call_close(struct calls *cs, struct call_queue *q, enum end_how how);
