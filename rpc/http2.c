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
#include <stdio.h>
#include <stdlib.h>

#include "rpc/http2_head.h"
#include "rpc/http2_late.h"
#include "rpc/http2_state.h"
#include "rpc/protocols.h"

enum { STREAMS_DEFAULT = 1024, HTTP2_ATTRIBUTES = 3 };

static enum dir other(enum dir dir)
{
	return dir == DIR_REQUEST ? DIR_RESPONSE : DIR_REQUEST;
}

/* ---- what ends the reading ---- */

static void settings_unknown(struct http2_side *s)
{
	s->frame_max = s->frame_next = HTTP2_FRAME_MAX;
	s->table_max = s->table_next = UINT32_MAX;
	s->unacknowledged = 0;
}

static void half_close(struct http2 *c, struct http2_stream *s, enum dir dir,
		       enum http2_half_state how)
{
	s->half[dir].state = (uint8_t)how;
	if (s->half[other(dir)].state >= HTTP2_DONE)
		http2_streams_del(&c->streams, s);
}

void http2_lose(struct http2 *c, enum dir dir)
{
	struct http2_side *side = &c->side[dir];

	hpack_reset(&side->hpack, true);
	side->phase = HTTP2_LOST;
	side->late = true;
	side->resynced = side->refused = false;
	settings_unknown(side);
	settings_unknown(&c->side[other(dir)]);
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
			half_close(c, s, dir, HTTP2_GIVEN_UP);
	}
}

/* Bytes that no frame here can be. */
static int64_t fault(struct http2 *c, enum dir dir, struct piece *out)
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

static int64_t fault_cap(struct http2 *c, enum dir dir, const char *cap, struct piece *out)
{
	out->cap = cap;
	return fault(c, dir, out);
}

/* ---- frames that say nothing, or nothing more ---- */

static int64_t skip(struct http2_side *s, struct bytes in, struct piece *out)
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
static int64_t frame_skip(struct http2_side *s, const struct http2_frame *f, struct bytes in,
			  struct piece *out)
{
	s->phase = HTTP2_IN_SKIPPED;
	s->left = f->len;
	int64_t n = HTTP2_HEADER + skip(s, bytes_from(in, HTTP2_HEADER), out);
	out->what = PIECE_CONTROL;
	return n;
}

static int64_t ignore(int64_t n, struct piece *out)
{
	out->what = PIECE_CONTROL;
	out->cap = "http2_ignored";
	return n;
}

/* ---- ends of streams that are no frame of their own ---- */

static int64_t abort_both(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	out->what = PIECE_ABORT | PIECE_BOTH;
	out->corr = s->id;
	http2_streams_del(&c->streams, s);
	return 0;
}

static int64_t abort_unhandled(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	out->head.outcome = OUTCOME_NO_RESPONSE;
	return abort_both(c, s, out);
}

static int64_t evict(struct http2 *c, struct piece *out)
{
	out->flags = FLAG_EVICTED;
	out->cap = "streams";
	return abort_both(c, list_entry(c->streams.lru.next, struct http2_stream, in_lru), out);
}

/* ---- DATA ---- */

static void missing_tell(struct http2_half *half, struct piece *out)
{
	out->missing += half->missing;
	half->missing = 0;
}

/* A run of a gRPC direction: how many bytes of `in` it took. */
static size_t run_grpc(struct http2_half *half, struct bytes in, struct piece *out)
{
	struct grpc_run run;
	int64_t n = grpc_split_next(&half->split, in, &run);

	if (n < 0) { /* no messages: from here on the bytes as they are */
		half->raw = true;
		out->flags |= FLAG_PROTOCOL_ERROR;
		run.body = in;
		n = (int64_t)in.n;
	}
	if (half->split.lost && !half->raw && !run.end && !run.body.n) {
		out->missing += (uint64_t)n + half->beyond;
		half->beyond = 0;
	}
	if (run.body.n || run.end || out->missing)
		out->what |= PIECE_BODY;
	if (run.end)
		out->what |= PIECE_MESSAGE;
	if (run.end && run.compressed)
		out->flags |= FLAG_COMPRESSED;
	out->body = run.body;
	return (size_t)n;
}

static size_t data_run(struct http2_stream *s, struct http2_half *half, struct bytes in,
		       struct piece *out)
{
	missing_tell(half, out);
	half->data = true;
	if (s->maybe_grpc)
		http2_proof_data(half, in, out->missing);
	if (half == &s->half[DIR_RESPONSE])
		s->got += in.n;
	if (s->grpc && !half->raw)
		return run_grpc(half, in, out);
	if (in.n || out->missing)
		out->what |= PIECE_BODY;
	out->body = in;
	return in.n;
}

static void message_end(struct http2 *c, struct http2_stream *s, enum dir dir, struct piece *out)
{
	const struct http2_half *half = &s->half[dir];

	out->what |= PIECE_END;
	if (s->grpc && !half->raw && !half->split.lost && grpc_split_cut(&half->split))
		out->flags |= FLAG_PROTOCOL_ERROR;
	half_close(c, s, dir, HTTP2_DONE);
}

/* The end of a gRPC message, its last bytes in a hole, or what a hole took, is still to be told. */
static bool data_owed(const struct http2_stream *s, const struct http2_half *half)
{
	return half->missing || half->beyond ||
	       (s->grpc && half->split.inside && !half->split.left);
}

/* In a DATA frame, behind its header: a run, padding behind the last one, the end of the message. */
static int64_t data_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out)
{
	struct http2_side *side = &c->side[dir];
	struct http2_stream *s = http2_streams_find(&c->streams, side->id);
	struct http2_half *half = s ? &s->half[dir] : NULL;
	size_t n = 0, pad = 0;

	if (!half || half->state != HTTP2_OPEN) { /* the other direction ended the stream */
		side->left += side->pad;
		side->pad = 0;
		return skip(side, in, out);
	}
	out->corr = s->id;
	if (side->left ? in.n > 0 : data_owed(s, half))
		n = data_run(s, half, bytes_head(in, side->left), out);
	side->left -= (uint32_t)n;
	if (!side->left) {
		pad = in.n - n < side->pad ? in.n - n : side->pad;
		side->pad -= (uint8_t)pad;
	}
	if (side->left || side->pad || data_owed(s, half))
		return (int64_t)(n + pad);
	side->phase = HTTP2_AT_FRAME;
	if (!side->end_stream)
		return (int64_t)(n + pad);
	if (dir == DIR_RESPONSE)
		http2_head_end(NULL, s, out);
	message_end(c, s, dir, out);
	return (int64_t)(n + pad);
}

/* Nothing is known of this stream, and never was. */
static bool stream_unseen(const struct http2 *c, uint32_t id)
{
	if (id % 2 == 0)
		return id && c->side[DIR_RESPONSE].late;
	return id >= c->unseen_from && id < c->unseen_below;
}

/* DATA of a stream that has no open message in this direction */
static int64_t data_unmatched(struct http2 *c, enum dir dir, const struct http2_frame *f,
			      struct http2_stream *s, struct bytes in, struct piece *out)
{
	int64_t n = frame_skip(&c->side[dir], f, in, out);

	if (s && dir == DIR_RESPONSE && s->half[dir].state == HTTP2_IDLE && s->head_lost) {
		if (!(f->flags & HTTP2_END_STREAM))
			return n;
		out->what = PIECE_HEAD | PIECE_END;
		out->corr = s->id;
		http2_head_lost(out);
		half_close(c, s, dir, HTTP2_DONE);
		return n;
	}
	bool silent = s ? s->half[dir].state == HTTP2_GIVEN_UP : stream_unseen(c, f->id);
	return silent ? n : ignore(n, out);
}

static int64_t frame_data(struct http2 *c, enum dir dir, const struct http2_frame *f,
			  struct bytes in, struct piece *out, size_t *need)
{
	struct http2_side *side = &c->side[dir];
	bool padded = f->flags & HTTP2_PADDED;
	size_t head = HTTP2_HEADER + padded;

	if (padded && !f->len)
		return fault(c, dir, out);
	*need = head;
	if (in.n < head)
		return 0;
	*need = 0;
	side->pad = padded ? in.p[HTTP2_HEADER] : 0;
	if (padded && side->pad >= f->len)
		return fault(c, dir, out);
	struct http2_stream *s = http2_streams_find(&c->streams, f->id);
	if (!s || s->half[dir].state != HTTP2_OPEN)
		return data_unmatched(c, dir, f, s, in, out);
	http2_streams_touch(&c->streams, s);
	out->corr = s->id;
	side->id = f->id;
	side->left = f->len - padded - side->pad;
	side->end_stream = f->flags & HTTP2_END_STREAM;
	side->phase = HTTP2_IN_DATA;
	return (int64_t)head + data_next(c, dir, bytes_from(in, head), out);
}

/* ---- header blocks ---- */

struct arrival { /* a decoded block */
	const struct http2_block *block;
	struct http2_fields fields;
	bool ended;
};

static void headers_lend(const struct arrival *a, struct piece *out)
{
	out->head.headers = a->fields.list;
	out->head.n_headers = a->fields.n;
}

/* A block that is not allowed here: the call is marked. */
static void misplaced(struct http2_stream *s, struct piece *out)
{
	out->what = PIECE_BODY;
	out->corr = s->id;
	out->flags |= FLAG_PROTOCOL_ERROR;
}

static void control(bool silent, struct piece *out)
{
	out->what = PIECE_CONTROL;
	out->flags = 0;
	if (!silent)
		ignore(0, out);
}

static void trailers(struct http2 *c, struct http2_stream *s, enum dir dir, struct arrival *a,
		     struct piece *out)
{
	if (!a->ended) {
		misplaced(s, out);
		return;
	}
	out->corr = s->id;
	headers_lend(a, out);
	missing_tell(&s->half[dir], out);
	if (out->missing)
		out->what |= PIECE_BODY;
	if (dir == DIR_RESPONSE && s->maybe_grpc && http2_proof_by_frames(s))
		http2_proof_add(&c->proofs, s);
	if (dir == DIR_RESPONSE)
		http2_head_end(&a->fields, s, out);
	else if (a->fields.malformed || a->fields.request || a->fields.response)
		out->flags |= FLAG_PROTOCOL_ERROR;
	message_end(c, s, dir, out);
}

static void head_give(struct http2 *c, struct http2_stream *s, enum dir dir, struct arrival *a,
		      struct piece *out)
{
	out->what = PIECE_HEAD;
	out->corr = s->id;
	headers_lend(a, out);
	s->half[dir].state = HTTP2_OPEN;
	if (a->ended)
		message_end(c, s, dir, out);
}

static void response_head(struct http2 *c, struct http2_stream *s, struct arrival *a,
			  struct piece *out)
{
	http2_head_response(&a->fields, s, a->ended, out);
	s->head_unsure = http2_fields_unsure(&a->fields, a->ended);
	if (s->head_unsure)
		a->fields.n = 0;
	head_give(c, s, DIR_RESPONSE, a, out);
}

static int request_open(struct http2 *c, uint32_t id, struct arrival *a, struct piece *out)
{
	struct http2_stream *s = http2_streams_add(&c->streams, id);

	if (!s)
		return -ENOMEM;
	c->max_id = id;
	s->head_lost = c->side[DIR_RESPONSE].phase == HTTP2_LOST;
	if (id >= c->unseen_from && id < c->unseen_below)
		c->unseen_below = id;
	if (id > c->side[DIR_RESPONSE].goaway)
		c->refused = id;
	http2_head_request(&a->fields, s, http2_proof_holds(c->proofs, &a->fields), out);
	if (s->maybe_grpc)
		http2_proof_note(s, &a->fields);
	head_give(c, s, DIR_REQUEST, a, out);
	return 0;
}

static int request_block(struct http2 *c, struct http2_stream *s, struct arrival *a,
			 struct piece *out)
{
	uint32_t id = a->block->first.id;

	if (s && s->half[DIR_REQUEST].state == HTTP2_OPEN)
		trailers(c, s, DIR_REQUEST, a, out);
	else if (s)
		control(s->half[DIR_REQUEST].state == HTTP2_GIVEN_UP, out);
	else if (id % 2 == 0 || id <= c->max_id)
		control(stream_unseen(c, id), out);
	else if (c->side[DIR_REQUEST].late && !http2_fields_is_request(&a->fields, a->ended))
		control(true, out); /* trailers of a stream from before */
	else
		return request_open(c, id, a, out);
	return 0;
}

static bool is_interim(const struct arrival *a)
{
	return a->fields.status / 100 == 1 && !a->ended;
}

/* The answer to a request that was not seen */
static int response_orphan(struct http2 *c, struct arrival *a, struct piece *out)
{
	uint32_t id = a->block->first.id;

	if (!stream_unseen(c, id)) {
		control(false, out);
		return 0;
	}
	if (is_interim(a) || !http2_fields_is_response(&a->fields, a->ended)) {
		control(true, out);
		return 0;
	}
	struct http2_stream *s = http2_streams_add(&c->streams, id);
	if (!s)
		return -ENOMEM;
	s->half[DIR_REQUEST].state = HTTP2_GIVEN_UP;
	if (id % 2 &&
	    id > c->max_id) /* its request, should it be read later, would wait for ever */
		c->max_id = id;
	s->grpc = grpc_content_type(a->fields.content_type);
	s->maybe_grpc = !a->fields.has_content_type && a->fields.unknown;
	if (s->maybe_grpc)
		http2_head_unsure(out);
	response_head(c, s, a, out);
	return 0;
}

/* The last block of a response whose head lies in a gap: what its fields say is all that is known. */
static void response_rest(struct http2 *c, struct http2_stream *s, struct arrival *a,
			  struct piece *out)
{
	out->flags |= FLAG_GAP | FLAG_TRUNCATED;
	if (s->grpc)
		http2_head_end(&a->fields, s, out);
	else
		http2_head_lost(out);
	head_give(c, s, DIR_RESPONSE, a, out);
}

static void response_first(struct http2 *c, struct http2_stream *s, struct arrival *a,
			   struct piece *out)
{
	bool head = http2_fields_is_response(&a->fields, a->ended);

	if (is_interim(a)) {
		out->what = PIECE_INTERIM;
		out->corr = s->id;
		out->head.status = a->fields.status;
		out->head.has_status = true;
	} else if (s->head_lost && !head && !a->ended) {
		control(true, out);
	} else if (s->head_lost && !head) {
		response_rest(c, s, a, out);
	} else {
		if (s->maybe_grpc && grpc_content_type(a->fields.content_type))
			http2_proof_add(&c->proofs, s);
		response_head(c, s, a, out);
	}
}

/* Behind a head that may have been 1xx: the head, a further one, or trailers. What is not sure is not told. */
static void response_unsure(struct http2 *c, struct http2_stream *s, struct arrival *a,
			    struct piece *out)
{
	bool may_be_head =
		!s->half[DIR_RESPONSE].data && (a->fields.response || a->fields.pseudo_unknown);

	out->corr = s->id;
	if (a->ended)
		trailers(c, s, DIR_RESPONSE, a, out);
	if (!may_be_head)
		return;
	out->head.n_headers = 0;
	if (!a->fields.malformed)
		out->flags &= ~(unsigned)FLAG_PROTOCOL_ERROR;
}

static int response_block(struct http2 *c, struct http2_stream *s, struct arrival *a,
			  struct piece *out)
{
	if (!s)
		return response_orphan(c, a, out);
	if (s->half[DIR_RESPONSE].state == HTTP2_IDLE)
		response_first(c, s, a, out);
	else if (s->half[DIR_RESPONSE].state != HTTP2_OPEN)
		control(s->half[DIR_RESPONSE].state == HTTP2_GIVEN_UP, out);
	else if (s->head_unsure)
		response_unsure(c, s, a, out);
	else
		trailers(c, s, DIR_RESPONSE, a, out);
	return 0;
}

/* RFC 9113 8.4: a request that the server makes up, for a stream on which it will answer it. */
static int push_block(struct http2 *c, struct http2_stream *s, struct arrival *a, struct piece *out)
{
	uint32_t id = a->block->promised;

	if (s || !id || id % 2) {
		control(false, out);
		return 0;
	}
	s = http2_streams_add(&c->streams, id);
	if (!s)
		return -ENOMEM;
	out->dir = DIR_REQUEST;
	a->ended = true;
	http2_head_request(&a->fields, s, false, out);
	head_give(c, s, DIR_REQUEST, a, out);
	return 0;
}

/* Would a block for this id, which has no stream, open one? */
static bool block_opens(const struct http2 *c, enum dir dir, const struct http2_block *b)
{
	if (b->first.type == HTTP2_PUSH_PROMISE)
		return b->promised && b->promised % 2 == 0;
	if (dir == DIR_RESPONSE)
		return stream_unseen(c, b->first.id);
	return b->first.id % 2 && b->first.id > c->max_id;
}

static int64_t block_take(struct http2 *c, enum dir dir, const struct http2_block *b,
			  struct http2_stream *s, struct piece *out)
{
	struct http2_side *side = &c->side[dir];
	struct arrival a = {.block = b, .ended = b->first.flags & HTTP2_END_STREAM};
	struct hpack_list list;
	int r = hpack_decode(&side->hpack, b->fragment, side->table_max, &c->limits, &list);

	if (r == -EPROTO)
		return fault(c, dir, out);
	if (r == 0) {
		http2_fields_read(&a.fields, &list);
		out->cap = list.cap ? list.cap : list.late_cap;
		out->flags = list.cap ? FLAG_TRUNCATED : 0;
		if (s)
			http2_streams_touch(&c->streams, s);
		if (b->first.type == HTTP2_PUSH_PROMISE)
			r = push_block(c, s, &a, out);
		else if (dir == DIR_REQUEST)
			r = request_block(c, s, &a, out);
		else
			r = response_block(c, s, &a, out);
	}
	return r < 0 ? r : (int64_t)b->n;
}

static int64_t frame_block(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			   size_t *need)
{
	struct http2_side *side = &c->side[dir];
	struct http2_block b;
	int r = http2_frame_block(&b, in, side->frame_max, hpack_scratch_block(),
				  c->limits.header_bytes);

	if (r < 0)
		return fault_cap(c, dir, b.cap, out);
	if (!b.n) {
		*need = b.need;
		return 0;
	}
	bool push = b.first.type == HTTP2_PUSH_PROMISE;
	if (push && dir == DIR_REQUEST)
		return fault(c, dir, out);
	uint32_t id = push ? b.promised : b.first.id;
	struct http2_stream *s = http2_streams_find(&c->streams, id);
	if (!s && c->streams.n >= c->limits.streams && block_opens(c, dir, &b))
		return evict(c, out);
	return block_take(c, dir, &b, s, out);
}

/* ---- the other frames ---- */

/*
 * The response is whole by HTTP's own rules, only its END_STREAM has not come: who needs no more bytes may reset
 * (proxies do, after the head of a 204) or close. Or a late join hides whether it is.
 */
static bool response_may_be_whole(const struct http2_stream *s)
{
	return s->half[DIR_REQUEST].state >= HTTP2_DONE && !s->grpc &&
	       s->half[DIR_RESPONSE].state == HTTP2_OPEN &&
	       (s->hidden || (s->sized && s->got == s->expected));
}

/* Such a response ends. Where it is hidden, its outcome stays open. */
static void response_end(struct http2 *c, struct http2_stream *s, struct piece *out)
{
	static _Thread_local struct attribute attributes[HTTP2_ATTRIBUTES];

	if (s->hidden || s->maybe_grpc) {
		for (size_t i = 0; i < out->head.n_attributes; i++)
			attributes[i] = out->head.attributes[i];
		attributes[out->head.n_attributes++] =
			(struct attribute) {"unknown", BYTES("outcome")};
		out->head.attributes = attributes;
	}
	out->dir = DIR_RESPONSE;
	out->corr = s->id;
	message_end(c, s, DIR_RESPONSE, out);
}

static int64_t frame_rst(struct http2 *c, enum dir dir, const struct http2_frame *f,
			 struct bytes in, struct piece *out, size_t *need)
{
	static _Thread_local char code[12];
	static _Thread_local struct attribute attributes[2];

	if (f->len != 4)
		return fault(c, dir, out);
	*need = HTTP2_HEADER + 4;
	if (in.n < *need)
		return 0;
	int64_t n = (int64_t)*need;
	*need = 0;
	struct http2_stream *s = http2_streams_find(&c->streams, f->id);
	out->what = PIECE_CONTROL;
	if (!s)
		return f->id ? n : ignore(n, out);
	struct cursor cur = cursor_of(bytes_from(in, HTTP2_HEADER));
	int digits = snprintf(code, sizeof(code), "%u", cursor_be32(&cur));
	attributes[0] = (struct attribute) {"rst_code", bytes_of(code, (size_t)digits)};
	attributes[1] = (struct attribute) {"rst_by",
					    dir == DIR_REQUEST ? BYTES("client") : BYTES("server")};
	out->head.attributes = attributes;
	out->head.n_attributes = 2;
	out->what = 0;
	if (response_may_be_whole(s))
		response_end(c, s, out);
	else
		abort_both(c, s, out);
	return n;
}

/* Of the streams that the sender of a GOAWAY will not handle: one that is still open. */
static struct http2_stream *goaway_victim(const struct http2 *c, enum dir dir, uint32_t last)
{
	uint32_t parity = dir == DIR_RESPONSE; /* whose streams it speaks of */

	list_for_each (it, &c->streams.lru) {
		struct http2_stream *s = list_entry(it, struct http2_stream, in_lru);
		if (s->id > last && s->id % 2 == parity &&
		    s->half[DIR_RESPONSE].state == HTTP2_IDLE)
			return s;
	}
	return NULL;
}

static int64_t frame_goaway(struct http2 *c, enum dir dir, const struct http2_frame *f,
			    struct bytes in, struct piece *out, size_t *need)
{
	if (f->len < 8)
		return fault(c, dir, out);
	*need = HTTP2_HEADER + 8;
	if (in.n < *need)
		return 0;
	*need = 0;
	struct cursor cur = cursor_of(bytes_from(in, HTTP2_HEADER));
	uint32_t last = cursor_be32(&cur) & 0x7fffffff;
	struct http2_stream *s = goaway_victim(c, dir, last);
	if (s)
		return abort_unhandled(c, s, out);
	c->side[dir].goaway = last;
	return frame_skip(&c->side[dir], f, in, out);
}

/* What the sender allows holds for the other direction: more at once, less when it is acknowledged. */
static bool setting_note(struct http2_side *to, uint16_t id, uint32_t v)
{
	if (id == 1) {
		to->table_next = v;
		if (v > to->table_max)
			to->table_max = v;
	} else if (id == 5) {
		if (v < HTTP2_FRAME_DEFAULT || v > HTTP2_FRAME_MAX)
			return false;
		to->frame_next = v;
		if (v > to->frame_max)
			to->frame_max = v;
	}
	return true;
}

static void settings_acknowledged(struct http2_side *s)
{
	if (!s->unacknowledged || --s->unacknowledged)
		return;
	s->frame_max = s->frame_next;
	s->table_max = s->table_next;
}

static int64_t frame_settings(struct http2 *c, enum dir dir, const struct http2_frame *f,
			      struct bytes in, struct piece *out, size_t *need)
{
	bool ack = f->flags & HTTP2_ACK;
	struct http2_side *to = &c->side[other(dir)];

	if (f->id || f->len % 6 || (ack && f->len) || f->len > HPACK_BLOCK_MAX)
		return fault(c, dir, out);
	*need = HTTP2_HEADER + (size_t)f->len;
	if (in.n < *need)
		return 0;
	int64_t n = (int64_t)*need;
	*need = 0;
	out->what = PIECE_CONTROL;
	if (ack) {
		settings_acknowledged(&c->side[dir]);
		return n;
	}
	struct cursor cur = cursor_of(bytes_head(bytes_from(in, HTTP2_HEADER), f->len));
	while (cursor_left(&cur)) {
		uint16_t id = cursor_be16(&cur);
		if (!setting_note(to, id, cursor_be32(&cur)))
			return fault(c, dir, out);
	}
	to->unacknowledged++;
	return n;
}

static int64_t frame_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	*need = HTTP2_HEADER;
	if (in.n < HTTP2_HEADER)
		return 0;
	*need = 0;
	struct http2_frame f = http2_frame_read(in);
	if (f.len > c->side[dir].frame_max)
		return fault(c, dir, out);
	switch (f.type) {
	case HTTP2_DATA: return frame_data(c, dir, &f, in, out, need);
	case HTTP2_HEADERS:
	case HTTP2_PUSH_PROMISE: return frame_block(c, dir, in, out, need);
	case HTTP2_RST_STREAM: return frame_rst(c, dir, &f, in, out, need);
	case HTTP2_SETTINGS: return frame_settings(c, dir, &f, in, out, need);
	case HTTP2_GOAWAY: return frame_goaway(c, dir, &f, in, out, need);
	case HTTP2_CONTINUATION: return fault(c, dir, out);
	case HTTP2_PING:
		if (f.len != 8)
			return fault(c, dir, out);
		break;
	case HTTP2_WINDOW_UPDATE:
		if (f.len != 4)
			return fault(c, dir, out);
		break;
	default: break; /* PRIORITY, and types of extensions (RFC 9113 5.5) */
	}
	return frame_skip(&c->side[dir], &f, in, out);
}

static int64_t preface_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			    size_t *need)
{
	if (!bytes_starts(http2_preface, bytes_head(in, http2_preface.n)))
		return fault(c, dir, out);
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
	case HTTP2_IN_DATA: return data_next(c, dir, in, out);
	case HTTP2_IN_SKIPPED: return skip(s, in, out);
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
			return abort_unhandled(c, refused, out);
	}
	int64_t n = side_next(c, dir, in, out, need);
	if (n > 0)
		c->side[dir].resynced = false;
	return n;
}

static void data_gap(struct http2_side *side, struct http2_stream *s, struct http2_half *half,
		     uint64_t n)
{
	uint64_t data = n < side->left ? n : side->left;

	uint64_t mine = data;

	if (s->grpc && !half->raw) {
		mine = 0;
		grpc_split_gap(&half->split, data, &mine);
	}
	half->missing += mine;
	half->beyond += data - mine;
	side->left -= (uint32_t)data;
	side->pad -= (uint8_t)(n - data);
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
			data_gap(side, s, &s->half[dir], n);
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
		data_next(c, dir, (struct bytes) {NULL, 0}, out);
	side->phase = HTTP2_ENDED;
	list_for_each_safe (it, next, &c->streams.lru) {
		struct http2_stream *s = list_entry(it, struct http2_stream, in_lru);
		if (out->what)
			return;
		if (s->half[dir].state != HTTP2_OPEN)
			continue;
		out->corr = s->id;
		missing_tell(&s->half[dir], out);
		if (dir == DIR_RESPONSE && response_may_be_whole(s)) {
			response_end(c, s, out);
			continue;
		}
		out->what = PIECE_ABORT;
		half_close(c, s, dir, HTTP2_GIVEN_UP);
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
	settings_unknown(&c->side[DIR_RESPONSE]);
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
