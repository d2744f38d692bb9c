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

static inline enum dir http2_other(enum dir dir)
{
	return dir == DIR_REQUEST ? DIR_RESPONSE : DIR_REQUEST;
}

/* ---- http2_state.c ---- */

/* What the receiver allows is not known: anything. */
void http2_settings_unknown(struct http2_side *s);

/* A message ended. With it the stream may be gone. */
void http2_half_close(struct http2 *c, struct http2_stream *s, enum dir dir,
		      enum http2_half_state how);

/* The direction is out of step: as after a late join. */
void http2_lose(struct http2 *c, enum dir dir);

/* Bytes that no frame here can be: the -EPROTO of next(). cap: the limit that they are over. */
int64_t http2_fault(struct http2 *c, enum dir dir, struct piece *out);
int64_t http2_fault_cap(struct http2 *c, enum dir dir, const char *cap, struct piece *out);

/* What is left of a frame that says nothing, as far as it is here; and from its header on. */
int64_t http2_skip(struct http2_side *s, struct bytes in, struct piece *out);
int64_t http2_frame_skip(struct http2_side *s, const struct http2_frame *f, struct bytes in,
			 struct piece *out);
int64_t http2_ignore(int64_t n, struct piece *out); /* and counted */

/* Both messages of the stream end here; because of a GOAWAY; the least recently used one, for room. */
int64_t http2_abort_both(struct http2 *c, struct http2_stream *s, struct piece *out);
int64_t http2_abort_unhandled(struct http2 *c, struct http2_stream *s, struct piece *out);
int64_t http2_evict(struct http2 *c, struct piece *out);

void http2_missing_tell(struct http2_half *half, struct piece *out);
bool http2_stream_unseen(const struct http2 *c, uint32_t id); /* nothing is known of it */

/* ---- http2_data.c ---- */

/* A DATA frame from its header on; the rest of it, maybe with empty `in`. n: as next(). */
int64_t http2_data_frame(struct http2 *c, enum dir dir, const struct http2_frame *f,
			 struct bytes in, struct piece *out, size_t *need);
int64_t http2_data_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out);
/* n bytes of it, no more than are left with the padding, are lost. */
void http2_data_gap(struct http2_side *side, struct http2_stream *s, struct http2_half *half,
		    uint64_t n);
void http2_message_end(struct http2 *c, struct http2_stream *s, enum dir dir, struct piece *out);

/* ---- http2_block.c ---- */

/* HEADERS or PUSH_PROMISE with its CONTINUATIONs, from the first header on */
int64_t http2_block_frame(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need);

/* ---- http2_control.c ---- */

int64_t http2_control_rst(struct http2 *c, enum dir dir, const struct http2_frame *f,
			  struct bytes in, struct piece *out, size_t *need);
int64_t http2_control_goaway(struct http2 *c, enum dir dir, const struct http2_frame *f,
			     struct bytes in, struct piece *out, size_t *need);
int64_t http2_control_settings(struct http2 *c, enum dir dir, const struct http2_frame *f,
			       struct bytes in, struct piece *out, size_t *need);
bool http2_response_may_be_whole(const struct http2_stream *s);
void http2_response_end(struct http2 *c, struct http2_stream *s, struct piece *out);
