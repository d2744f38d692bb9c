/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks: what HEADERS and PUSH_PROMISE, with their CONTINUATIONs, begin and end. */
#include <errno.h>

#include "rpc/http2_head.h"
#include "rpc/http2_state.h"

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
		http2_ignore(0, out);
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
	http2_missing_tell(&s->half[dir], out);
	if (out->missing)
		out->what |= PIECE_BODY;
	if (dir == DIR_RESPONSE && s->maybe_grpc && http2_proof_by_frames(s))
		http2_proof_add(&c->proofs, s);
	if (dir == DIR_RESPONSE)
		http2_head_end(&a->fields, s, out);
	else if (a->fields.malformed || a->fields.request || a->fields.response)
		out->flags |= FLAG_PROTOCOL_ERROR;
	http2_message_end(c, s, dir, out);
}

static void head_give(struct http2 *c, struct http2_stream *s, enum dir dir, struct arrival *a,
		      struct piece *out)
{
	out->what = PIECE_HEAD;
	out->corr = s->id;
	headers_lend(a, out);
	s->half[dir].state = HTTP2_OPEN;
	if (a->ended)
		http2_message_end(c, s, dir, out);
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
		control(http2_stream_unseen(c, id), out);
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

	if (!http2_stream_unseen(c, id)) {
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
		return http2_stream_unseen(c, b->first.id);
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
		return http2_fault(c, dir, out);
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

int64_t http2_block_frame(struct http2 *c, enum dir dir, struct bytes in, struct piece *out,
			  size_t *need)
{
	struct http2_side *side = &c->side[dir];
	struct http2_block b;
	int r = http2_frame_block(&b, in, side->frame_max, hpack_scratch_block(),
				  c->limits.header_bytes);

	if (r < 0)
		return http2_fault_cap(c, dir, b.cap, out);
	if (!b.n) {
		*need = b.need;
		return 0;
	}
	bool push = b.first.type == HTTP2_PUSH_PROMISE;
	if (push && dir == DIR_REQUEST)
		return http2_fault(c, dir, out);
	uint32_t id = push ? b.promised : b.first.id;
	struct http2_stream *s = http2_streams_find(&c->streams, id);
	if (!s && c->streams.n >= c->limits.streams && block_opens(c, dir, &b))
		return http2_evict(c, out);
	return block_take(c, dir, &b, s, out);
}
