/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a flow put in order, by the rules of the Linux receiver: 64-bit offsets from
 * 32-bit sequence numbers (RFC 9293 section 3.4), first-delivered bytes win, gaps are known and
 * never spliced over. Out-of-order bytes are kept in a bounded list.
 *
 * The two directions are merged by cause: a segment with acknowledgement A is held until the
 * other direction was delivered up to A (or declared lost there), so that a request is always
 * handed on before its reply, whatever ring, CPU or hook brought it first.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/ledger.h"

enum {
	STREAM_SEGMENT_START = 1, /* run.data begins where a sender's segment began */
	STREAM_TURN =
		2, /* the last run of this flow went the other way, and no gap in between hides another */
	STREAM_CONFLICT = 4, /* a retransmission had other bytes: the first ones stand */
	STREAM_URGENT = 8
}; /* an out-of-band byte was taken out before or after this run */

struct stream_run {
	uint64_t
		off; /* offset in the direction; 0 = first byte after the SYN, or first byte seen */
	uint64_t ts_ns; /* of the packet */
	uint64_t ack_off; /* of the other direction, that this packet acknowledges */
	uint64_t missing; /* gap of so many bytes here (data is empty) */
	struct bytes data;
	unsigned flags;
};

/* Where payload bytes go: exits of ledger stage `stream` */
enum stream_exit {
	STREAM_DELIVERED,
	STREAM_OUT_OF_BAND, /* urgent byte, which the reader does not see in its stream */
	STREAM_DUPLICATE,
	STREAM_DISCARDED, /* overlapped bytes that differed from those that stand */
	STREAM_LATE, /* came after their place was declared a gap */
	STREAM_BEFORE_ATTACH,
	STREAM_OUT_OF_WINDOW, /* before the SYN, or nowhere near the stream */
	STREAM_AFTER_CLOSE,
	STREAM_RST_DATA, /* payload of a RST */
	STREAM_BAD_FLAGS, /* no receiver takes it: SYN with FIN or RST, or no ACK */
	STREAM_CUT, /* on the wire, but not captured: verdict, snap length */
	STREAM_NO_MEMORY,
	STREAM_MUTED, /* of a flow that nothing is wanted of */
	STREAM_SAMPLED_OUT, /* of a connection that the share leaves out */
	STREAM_EXITS
};

struct stream_ledger {
	uint64_t in, held, exits[STREAM_EXITS]; /* bytes */
	size_t charged; /* memory of all pending pieces, as the caps count it */
	uint64_t conflicts; /* overlaps with other bytes */
};

/* A piece out of order, or held. */
struct stream_chunk {
	struct stream_chunk *prev, *next;
	uint64_t start; /* where its segment began: decides overlaps, as in the kernel's queue */
	uint64_t off; /* first byte that is still this piece's */
	uint64_t end;
	uint64_t ts_ns, ack_off;
	uint64_t noted_ns; /* when the hole before it (or the hold) was first seen */
	uint32_t noted_epoch;
	uint32_t skip; /* bytes of data[] before off */
	uint32_t have; /* bytes in data[]; the rest up to end was cut */
	uint32_t charge;
	unsigned flags;
	uint8_t data[];
};

/* A segment, or what is left of it. */
struct stream_segment {
	uint64_t start, off, end;
	struct bytes data; /* from off on; shorter than end - off when cut */
	uint64_t ts_ns, ack_off;
	unsigned flags;
};

struct stream {
	bool started; /* base is known */
	bool seen; /* a packet with payload of this direction was seen */
	bool fin_seen; /* fin_off is known */
	bool ended; /* half_close was told */
	bool unseen; /* acknowledged by the peer, yet captured never (again): do not wait for it */
	bool urgent; /* urgent_off is the place of an out-of-band byte to come */
	bool gap_heard; /* the other side spoke after it had all that the last gap lost */
	uint8_t far_n; /* segments in a row far outside; far_seq: where the next would begin */
	uint32_t far_seq;
	uint32_t base_seq; /* sequence number of offset 0 */
	uint32_t other_base; /* a second SYN-ACK offered this base; base_seq when there is none */
	uint32_t fin_epoch, gap_n; /* gap_n: length of the last gap, which ended at gap_end */
	uint64_t next; /* offset of the next byte to deliver */
	uint64_t reach; /* end of what is in order: next, or further when held */
	uint64_t high; /* highest offset seen in a packet */
	uint64_t acked; /* highest offset the other side acknowledged */
	uint64_t fin_off, fin_ns;
	uint64_t urgent_off, gap_end;
	struct stream_chunk *first, *last; /* sorted by off, not overlapping, copied bytes */
	size_t charged; /* memory of the chunks */
};

/* Offset 0 is `seq`. */
void stream_start(struct stream *s, uint32_t seq);

/* Offset of a sequence number, next to what is in order; negative: before offset 0. */
static inline int64_t stream_offset(const struct stream *s, uint32_t seq)
{
	return (int64_t)s->reach + (int32_t)(seq - (s->base_seq + (uint32_t)s->reach));
}

/* Takes off what lies before `reach` or behind a FIN, counted. False: nothing is left.
 * off: as of stream_offset(). late_join: what was before offset 0 was before attach. */
bool stream_trim(struct stream *s, struct stream_segment *g, int64_t off, bool late_join,
		 struct stream_ledger *l);

/* An in-order segment (off == reach) wins over pending pieces: takes their overlap off. Raises
 * STREAM_CONFLICT. */
void stream_overrule(struct stream *s, struct stream_segment *g, struct stream_ledger *l);

/*
 * Keeps a copy of the segment in its place. Out of order (off > reach) overlaps go as in Linux'
 * out-of-order queue: a piece that covers another replaces it, else the one that began earlier
 * wins. Whatever is left of neither is counted. -ENOMEM: counted and gone.
 */
int stream_store(struct stream *s, struct stream_segment *g, uint64_t now_ns, uint32_t epoch,
		 struct stream_ledger *l);

/* Moves reach over the pieces that join it. */
void stream_advance(struct stream *s);

/* Unlinks the first piece; its bytes are no longer held. The caller frees it. NULL: none. */
struct stream_chunk *stream_take(struct stream *s, struct stream_ledger *l);

/* The bytes up to `end` are lost. */
void stream_skip(struct stream *s, uint64_t end);

/* Frees what is pending, counted as `exit`. */
void stream_drop(struct stream *s, enum stream_exit exit, struct stream_ledger *l);

/* in == sum of exits + held */
void stream_stage(const struct stream_ledger *l, struct ledger_stage *out);
