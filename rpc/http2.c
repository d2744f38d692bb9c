/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) with gRPC on it (rpc/grpc.h): both directions of a connection, each call a stream.
 *
 * A header block is asked for whole and decoded in wire order; DATA is given out in runs as it comes. What is
 * known of the peers' SETTINGS is used leniently: a limit that was raised holds at once, one that was
 * lowered when it has been acknowledged.
 *
 * Ignored and counted (cap "http2_ignored"): DATA, HEADERS and PUSH_PROMISE on stream 0, on ids that are not the
 * sender's to open, and on streams that are closed; their header blocks are decoded all the same.
 *
 * Behind a loss or a late join (side.late) the header table is a new one (rpc/hpack.h), and which streams were open
 * is not known: a response to an unseen request is an orphan, the rest of an unseen stream is dropped. Then what
 * does not fit is out of step, while on a connection seen from its start it is a protocol error.
 */
#include <errno.h>
#include <stdlib.h>

#include "rpc/http2_head.h"
#include "rpc/http2_late.h"
#include "rpc/http2_state.h"
#include "rpc/protocols.h"

enum { STREAMS_DEFAULT = 1024 };

static int64_t frame_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	*need = HTTP2_HEADER;
	if (in.n < HTTP2_HEADER)
		return 0;
	*need = 0;
	struct http2_frame f = http2_frame_read(in);
	if (f.len > c->side[dir].frame_max)
		return http2_fault(c, dir, out);
	switch (f.type) {
	case HTTP2_DATA: return http2_data_frame(c, dir, &f, in, out, need);
	case HTTP2_HEADERS:
	case HTTP2_PUSH_PROMISE: return http2_block_frame(c, dir, in, out, need);
	case HTTP2_RST_STREAM: return http2_control_rst(c, dir, &f, in, out, need);
	case HTTP2_SETTINGS: return http2_control_settings(c, dir, &f, in, out, need);
	case HTTP2_GOAWAY: return http2_control_goaway(c, dir, &f, in, out, need);
	case HTTP2_CONTINUATION: return http2_fault(c, dir, out);
	case HTTP2_PING:
		if (f.len != 8)
			return http2_fault(c, dir, out);
		break;
	case HTTP2_WINDOW_UPDATE:
		if (f.len != 4)
			return http2_fault(c, dir, out);
		break;
	default: break; /* PRIORITY, and types of extensions (RFC 9113 5.5) */
	}
	return http2_frame_skip(&c->side[dir], &f, in, out);
}

static int64_t preface_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			    size_t *need)
{
	if (!bytes_starts(http2_preface, bytes_head(in, http2_preface.n)))
		return http2_fault(c, dir, out);
	if (in.n < http2_preface.n) {
		*need = http2_preface.n;
		return 0;
	}
	c->side[dir].phase = HTTP2_AT_FRAME;
	out->what = PIECE_CONTROL;
	return (int64_t)http2_preface.n;
}

/* ---- the table ---- */

static int http2_init(void *state, const struct framer_limits *limits, bool late)
{
	struct http2 *c = state;

	c->limits = *limits;
	if (c->limits.header_bytes > HPACK_BLOCK_MAX)
		c->limits.header_bytes = HPACK_BLOCK_MAX;
	if (!c->limits.streams)
		c->limits.streams = STREAMS_DEFAULT;
	http2_streams_init(&c->streams);
	for (int i = 0; i < 2; i++) {
		struct http2_side *s = &c->side[i];
		s->phase = i == DIR_REQUEST ? HTTP2_AT_PREFACE : HTTP2_AT_FRAME;
		s->frame_max = s->frame_next = HTTP2_FRAME_DEFAULT;
		s->table_max = s->table_next = HPACK_TABLE_DEFAULT;
		s->goaway = UINT32_MAX;
	}
	if (late) {
		http2_lose(c, DIR_REQUEST);
		http2_lose(c, DIR_RESPONSE);
	}
	return hpack_scratch();
}

static int64_t side_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			 size_t *need)
{
	struct http2_side *s = &c->side[dir];

	switch ((enum http2_phase)s->phase) {
	case HTTP2_AT_PREFACE: return preface_next(c, dir, in, out, need);
	case HTTP2_AT_FRAME: return frame_next(c, dir, in, out, need);
	case HTTP2_IN_DATA: return http2_data_next(c, dir, in, out);
	case HTTP2_IN_SKIPPED: return http2_skip(s, in, out);
	case HTTP2_BAD: out->flags = FLAG_PROTOCOL_ERROR; return -EPROTO;
	case HTTP2_LOST: return -EPROTO;
	case HTTP2_ENDED: break;
	}
	return 0;
}

static int64_t http2_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	struct http2 *c = state;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (dir == DIR_REQUEST && c->refused) {
		struct http2_stream *refused = http2_streams_find(&c->streams, c->refused);
		c->refused = 0;
		if (refused && refused->half[DIR_RESPONSE].state == HTTP2_IDLE)
			return http2_abort_unhandled(c, refused, out);
	}
	int64_t n = side_next(c, dir, in, out, need);
	if (n > 0)
		c->side[dir].resynced = false;
	return n;
}

static int http2_gap(void *state, enum dir dir, uint64_t n)
{
	struct http2 *c = state;
	struct http2_side *side = &c->side[dir];

	if (side->phase == HTTP2_BAD || side->phase == HTTP2_ENDED)
		return 0;
	if (side->phase == HTTP2_IN_DATA && n <= (uint64_t)side->left + side->pad) {
		struct http2_stream *s = http2_streams_find(&c->streams, side->id);
		if (s && s->half[dir].state == HTTP2_OPEN) {
			http2_data_gap(side, s, &s->half[dir], n);
			return 0;
		}
		side->left += side->pad;
		side->pad = 0;
		side->phase = HTTP2_IN_SKIPPED;
	}
	if (side->phase == HTTP2_IN_SKIPPED && n <= side->left) {
		side->left -= (uint32_t)n;
		return 0;
	}
	http2_lose(c, dir);
	return -EPROTO;
}

static int http2_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	struct http2 *c = state;
	struct http2_side *s = &c->side[dir];
	bool fresh = dir == DIR_REQUEST && !c->max_id && !c->streams.n;
	size_t refused = s->refused && in.n;

	if (refused)
		hints = 0;
	s->refused &= !refused;
	enum http2_late_found found =
		http2_late_find(dir, bytes_from(in, refused), hints, fresh, skip);
	*skip += refused;
	if (found == HTTP2_LATE_MORE)
		return 0;
	s->phase = found == HTTP2_LATE_PREFACE ? HTTP2_AT_PREFACE : HTTP2_AT_FRAME;
	s->resynced = true;
	if (found == HTTP2_LATE_PREFACE) {
		hpack_reset(&s->hpack, false);
		c->unseen_from = c->unseen_below = 0;
	}
	return 1;
}

static void http2_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct http2 *c = state;
	struct http2_side *side = &c->side[dir];

	(void)how;
	*out = (struct piece) {.dir = dir};
	if (side->phase == HTTP2_IN_DATA && !side->left && !side->pad)
		http2_data_next(c, dir, (struct bytes) {NULL, 0}, out);
	side->phase = HTTP2_ENDED;
	list_for_each_safe (it, next, &c->streams.lru) {
		struct http2_stream *s = list_entry(it, struct http2_stream, in_lru);
		if (out->what)
			return;
		if (s->half[dir].state != HTTP2_OPEN)
			continue;
		out->corr = s->id;
		http2_missing_tell(&s->half[dir], out);
		if (dir == DIR_RESPONSE && http2_response_may_be_whole(s)) {
			http2_response_end(c, s, out);
			continue;
		}
		out->what = PIECE_ABORT;
		http2_half_close(c, s, dir, HTTP2_GIVEN_UP);
	}
}

static void http2_fini(void *state)
{
	struct http2 *c = state;

	hpack_reset(&c->side[DIR_REQUEST].hpack, false);
	hpack_reset(&c->side[DIR_RESPONSE].hpack, false);
	free(c->proofs);
	http2_streams_fini(&c->streams);
}

/* The request was HTTP/1's, and is complete: stream 1, half closed by the client (RFC 7540 3.2). Its
 * HTTP2-Settings, which are not acknowledged, are not known here. */
static int http2_adopt(void *state, const struct piece *from)
{
	struct http2 *c = state;
	struct http2_stream *s = http2_streams_add(&c->streams, (uint32_t)from->corr);

	if (!s)
		return -ENOMEM;
	s->half[DIR_REQUEST].state = HTTP2_DONE;
	c->max_id = s->id;
	http2_settings_unknown(&c->side[DIR_RESPONSE]);
	return 0;
}

const struct framer_ops framer_http2 = {
	.name = "http2",
	.state_size = sizeof(struct http2),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = http2_late_preface,
	.probe_late = http2_late_probe,
	.init = http2_init,
	.next = http2_next,
	.gap = http2_gap,
	.resync = http2_resync,
	.end = http2_end,
	.fini = http2_fini,
	.adopt = http2_adopt,
};
