/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of http2: the state of a connection. */
#pragma once
#include "rpc/hpack.h"
#include "rpc/http2_frame.h"
#include "rpc/http2_proof.h"
#include "rpc/http2_stream.h"

enum http2_phase {
	HTTP2_AT_PREFACE,
	HTTP2_AT_FRAME,
	HTTP2_IN_DATA, /* left and pad bytes of a stream's DATA are to come, or its end is owed */
	HTTP2_IN_SKIPPED, /* left bytes of a frame that says nothing */
	HTTP2_BAD,
	HTTP2_LOST,
	HTTP2_ENDED,
};

/* Of the frames sent in this direction */
struct http2_side {
	struct hpack hpack;
	uint8_t phase;
	bool late; /* joined in the middle, or behind a loss: what does not fit is out of step, no error */
	bool resynced; /* and nothing was read since */
	bool refused; /* what the next resync() begins with was taken for a frame, and is none */
	bool end_stream; /* of the DATA frame */
	uint8_t pad;
	uint32_t id, left;
	/* what the receiver's SETTINGS allow: in force, and once it has been acknowledged */
	uint32_t frame_max, frame_next;
	uint32_t table_max, table_next;
	uint32_t unacknowledged;
	uint32_t goaway; /* last id that it will handle; UINT32_MAX: no GOAWAY as yet */
};

struct http2 {
	struct framer_limits limits;
	struct http2_side side[2];
	struct http2_streams streams;
	struct http2_proofs *proofs;
	uint32_t max_id; /* highest stream of the client's seen: its request or its response */
	/* Streams of which nothing is known: from..below. Others up to max_id that are not in the table are closed. */
	uint32_t unseen_from, unseen_below;
	uint32_t refused; /* opened above the GOAWAY: its ABORT is due */
};

/* The direction is out of step: as after a late join. */
void http2_lose(struct http2 *c, enum dir dir);
