/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_state.h"

#include <errno.h>
#include <stdlib.h>

/* ---- what ends the reading ---- */

void http2_settings_unknown(struct http2_side *s)
{
	s->frame_max = s->frame_next = HTTP2_FRAME_MAX;
	s->table_max = s->table_next = UINT32_MAX;
	s->unacknowledged = 0;
}

void http2_half_close(struct http2 *c, struct http2_stream *s, enum dir dir,
		      enum http2_half_state how)
{
	s->half[dir].state = (uint8_t)how;
	if (s->half[http2_other(dir)].state >= HTTP2_DONE)
		http2_streams_del(&c->streams, s);
}

void http2_lose(struct http2 *c, enum dir dir)
{
	struct http2_side *side = &c->side[dir];

	hpack_reset(&side->hpack, true);
	side->phase = HTTP2_LOST;
	side->late = true;
	side->resynced = side->refused = false;
	http2_settings_unknown(side);
	http2_settings_unknown(&c->side[http2_other(dir)]);
	if (dir == DIR_REQUEST) {
		if (c->unseen_from == c->unseen_below)
			c->unseen_from = c->max_id + 1;
		c->unseen_below = UINT32_MAX;
		free(c->proofs);
		c->proofs = NULL;
	}
	list_for_each_safe (it, next, &c->streams.lru) {
		struct http2_stream *s = list_entry(it, struct http2_stream, in_lru);
		if (dir == DIR_REQUEST)
			s->n_unknown = 0; /* their numbers were the old table's */
		s->head_lost |= dir == DIR_RESPONSE && s->half[dir].state == HTTP2_IDLE;
		if (s->half[dir].state == HTTP2_OPEN)
			http2_half_close(c, s, dir, HTTP2_GIVEN_UP);
	}
}

/* Bytes that no frame here can be. */
int64_t http2_fault(struct http2 *c, enum dir dir, struct piece *out)
{
	struct http2_side *s = &c->side[dir];

	out->what = 0;
	out->flags = s->late ? 0 : FLAG_PROTOCOL_ERROR;
	if (!s->late) {
		s->phase = HTTP2_BAD;
		return -EPROTO;
	}
	bool here = s->resynced;
	http2_lose(c, dir);
	s->refused = here;
	return -EPROTO;
}

int64_t http2_fault_cap(struct http2 *c, enum dir dir, const char *cap, struct piece *out)
{
	out->cap = cap;
	return http2_fault(c, dir, out);
}

/* ---- frames that say nothing, or nothing more ---- */

int64_t http2_skip(struct http2_side *s, struct bytes in, struct piece *out)
{
	size_t n = s->left < in.n ? s->left : in.n;

	if (n)
		out->what = PIECE_CONTROL;
	s->left -= (uint32_t)n;
	if (!s->left)
		s->phase = HTTP2_AT_FRAME;
	return (int64_t)n;
}

/* The frame, as far as it is here; the rest is skipped as it comes. */
int64_t http2_frame_skip(struct http2_side *s, const struct http2_frame *f, struct bytes in,
			 struct piece *out)
{
	s->phase = HTTP2_IN_SKIPPED;
	s->left = f->len;
	int64_t n = HTTP2_HEADER + http2_skip(s, bytes_from(in, HTTP2_HEADER), out);
	out->what = PIECE_CONTROL;
	return n;
}

int64_t http2_ignore(int64_t n, struct piece *out)
{
	out->what = PIECE_CONTROL;
	out->cap = "http2_ignored";
	return n;
}

/* ---- ends of streams that are no frame of their own ---- */

int64_t http2_abort_both(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	out->what = PIECE_ABORT | PIECE_BOTH;
	out->corr = s->id;
	http2_streams_del(&c->streams, s);
	return 0;
}

int64_t http2_abort_unhandled(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	out->head.outcome = OUTCOME_NO_RESPONSE;
	return http2_abort_both(c, s, out);
}

int64_t http2_evict(struct http2 *c, struct piece *out)
{
	out->flags = FLAG_EVICTED;
	out->cap = "streams";
	return http2_abort_both(c, list_entry(c->streams.lru.next, struct http2_stream, in_lru),
				out);
}

void http2_missing_tell(struct http2_half *half, struct piece *out)
{
	out->missing += half->missing;
	half->missing = 0;
}

/* Nothing is known of this stream, and never was. */
bool http2_stream_unseen(const struct http2 *c, uint32_t id)
{
	if (id % 2 == 0)
		return id && c->side[DIR_RESPONSE].late;
	return id >= c->unseen_from && id < c->unseen_below;
}
