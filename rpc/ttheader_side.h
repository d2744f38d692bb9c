/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a connection whose frames carry their length: where it stands, and what its bytes are between
 * the heads of frames. Used by ttheader and kitex_protobuf.
 */
#pragma once
#include "rpc/framer.h"

enum ttheader_phase {
	TTHEADER_AT_FRAME,
	TTHEADER_IN_HEADER, /* the rest of one over the limit: header_left */
	TTHEADER_AT_PAYLOAD, /* behind such a header */
	TTHEADER_IN_BODY,
	TTHEADER_IN_CONTROL, /* bytes of no call */
	TTHEADER_OWED, /* the end of the body was lost, its END or MESSAGE is due */
	TTHEADER_BAD, /* not the protocol any more: flags */
	TTHEADER_LOST, /* out of step: resync() */
	TTHEADER_ENDED,
};

struct ttheader_side {
	uint64_t left; /* of the payload */
	uint64_t missing; /* body bytes lost and not yet told */
	uint64_t corr; /* of the message in its middle */
	uint32_t header_left;
	uint32_t last_seq;
	int32_t status; /* with has_status, outcome: for the END */
	uint16_t flags; /* BAD */
	uint8_t phase;
	uint8_t finish; /* PIECE_END, PIECE_MESSAGE: what the last byte of the body is; 0: nothing, IN_HEADER */
	uint8_t outcome;
	uint8_t transforms; /* AT_PAYLOAD */
	bool has_status;
	bool seq_known; /* last_seq is one */
	bool uncertain; /* out of step once: what is wrong may be our place */
	bool last; /* nothing will come behind what waits */
};

/* Its id is that of the message before, or the one that says nothing: head.by_order. */
bool ttheader_side_repeats(struct ttheader_side *s, uint32_t seq);

/* The body of `left` bytes begins: gives what is of it in `in`. Returns the bytes used, adds to out->what. */
int64_t ttheader_side_body(struct ttheader_side *s, uint64_t corr, unsigned finish, uint64_t left,
			   struct bytes in, struct piece *out);

/* The next `left` bytes are no call's. */
int64_t ttheader_side_control(struct ttheader_side *s, uint64_t left, struct bytes in,
			      struct piece *out);

/* The next piece, in each phase but AT_FRAME and AT_PAYLOAD. */
int64_t ttheader_side_next(struct ttheader_side *s, struct bytes in, struct piece *out);

/* What next() answers to bytes that are none of the protocol: for good, or as out of step while uncertain. */
int64_t ttheader_side_fail(struct ttheader_side *s, unsigned flags, struct piece *out);

/* Its call is over: what is still to come of the body is nobody's. */
void ttheader_side_drop(struct ttheader_side *s, uint64_t corr);

void ttheader_side_lose(struct ttheader_side *s);

/* framer_ops.gap: 0 or -EPROTO */
int ttheader_side_gap(struct ttheader_side *s, uint64_t n);

/* framer_ops.end, for the message in its middle */
void ttheader_side_end(struct ttheader_side *s, struct piece *out);

static inline void ttheader_cap_note(struct piece *out, const char *cap)
{
	if (!cap)
		return;
	out->cap = cap;
	out->flags |= FLAG_TRUNCATED;
}
