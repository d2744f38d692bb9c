/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TTHeader, the protocol of ByteDance's mesh: unary calls (one at a time, or many in flight: "mux"), and streams
 * (cloudwego/kitex pkg/remote/trans/ttstream). The header is read by rpc/ttheader_head.c, the payload by
 * rpc/ttheader_payload.c; a frame carries its length, so a body is given out as it comes.
 *
 * Unary calls pair by the sequence id, streams by their stream id; the two kinds of id are apart (bit 32 of corr), since
 * both may share a connection.
 *
 * Decisions:
 *  - A frame whose envelope says that it goes the other way (a reply of the client) is no call.
 *  - Sequence id 0 is a control frame where the connection is a mux or its words say so (crrst); a client that sends
 *    nothing but 0 has its calls, paired by order.
 *  - The first Rst or Trailer of the server decides about a stream; where frames were lost that may have been one,
 *    outcome and status stay unknown.
 *  - A stream whose beginning was not seen, in the direction of a frame, is not followed; neither is what comes
 *    behind a Rst. Such frames are read over.
 *  - MeshHeader (0xffaf, which only old peers wrote) is not read: opaque.
 */
#include <errno.h>
#include <stdio.h>

#include "rpc/protocols.h"
#include "rpc/ttheader_find.h"
#include "rpc/ttheader_head.h"
#include "rpc/ttheader_payload.h"
#include "rpc/ttheader_side.h"
#include "rpc/ttheader_streams.h"

#define STREAM_CORR 0x100000000ull

static const char transport_stream[] = "unframed+streaming+binary";
static const char transport_stream_protobuf[] = "unframed+streaming";

struct ttheader {
	struct ttheader_side side[2];
	struct ttheader_streams streams;
	uint64_t frame_bytes;
	uint32_t header_bytes, streams_max;
	uint32_t zero_open; /* requests with id 0 without a reply */
	uint16_t header_count;
	bool mux; /* a request had the flag */
	bool ready_to_reset; /* the server said that it will close */
};

static struct framer_limits limits_of(const struct ttheader *c)
{
	return (struct framer_limits) {.header_bytes = c->header_bytes,
				       .header_count = c->header_count,
				       .streams = c->streams_max,
				       .frame_bytes = c->frame_bytes};
}

static int64_t fail(struct ttheader *c, enum dir dir, unsigned flags, struct piece *out)
{
	if (c->side[dir].uncertain)
		ttheader_streams_lose(&c->streams, dir);
	return ttheader_side_fail(&c->side[dir], flags, out);
}

/* The rest of the frame behind `head` bytes is no call's. */
static int64_t control(struct ttheader *c, enum dir dir, const struct ttheader_head *h, size_t head,
		       struct bytes in, struct piece *out)
{
	int64_t n =
		ttheader_side_control(&c->side[dir], h->total - head, bytes_from(in, head), out);

	out->what = PIECE_CONTROL;
	out->cap = h->cut ? h->cap : NULL;
	return (int64_t)head + n;
}

/* A piece that took `head` bytes of the frame; what is left of it says nothing more. */
static int64_t rest_is_control(struct ttheader *c, enum dir dir, const struct ttheader_head *h,
			       size_t head)
{
	struct piece none;

	ttheader_side_control(&c->side[dir], h->total - head, bytes_of(NULL, 0), &none);
	return (int64_t)head;
}

/* ---- unary ---- */

static unsigned type_of(const struct ttheader_head *h, const struct ttheader_payload *p)
{
	return p->type ? p->type : ttheader_head_type(h);
}

static bool is_control(const struct ttheader *c, enum dir dir, const struct ttheader_head *h,
		       const struct ttheader_payload *p)
{
	bool reply = p->type == THRIFT_REPLY || p->type == THRIFT_EXCEPTION;
	bool said = h->ready_to_reset.p || c->mux;

	if (type_of(h, p) == KITEX_PROTOBUF_HEARTBEAT)
		return true;
	if (dir == DIR_REQUEST) {
		bool named = ttheader_head_method(h).n || p->name.n;
		if (h->seq == 0 && (said || !named))
			return true;
		return reply || (!named && p->form == TTHEADER_EMPTY);
	}
	if (h->seq == 0 && c->zero_open == 0)
		return said || bytes_eq(p->name, BYTES("none"));
	return p->type == THRIFT_CALL || p->type == THRIFT_ONEWAY ||
	       (p->form == TTHEADER_EMPTY && !h->n_keys && !h->n_headers);
}

static void name_fill(const struct ttheader_head *h, const struct ttheader_payload *p,
		      struct head *out)
{
	struct bytes service = {NULL, 0}, method = {NULL, 0};

	out->service = ttheader_head_service(h);
	out->method = ttheader_head_method(h);
	if (!out->method.n && p->name.n) {
		thrift_name_split(p->name, &service, &method);
		out->method = method;
		if (!out->service.n)
			out->service = service;
	}
}

static void request_fill(struct ttheader *c, const struct ttheader_head *h,
			 const struct ttheader_payload *p, struct piece *out)
{
	bool oneway = p->type == THRIFT_ONEWAY || ttheader_head_type(h) == THRIFT_ONEWAY;

	c->mux |= (h->flags & TTHEADER_OUT_OF_ORDER) != 0;
	c->zero_open += h->seq == 0 && !oneway;
	out->head.type = oneway ? CALL_ONEWAY : CALL_UNARY;
	out->head.transport = ttheader_payload_transport(p, c->mux);
	ttheader_head_fill(h, DIR_REQUEST, (struct attribute) {0}, &out->head);
}

static struct attribute reset_attribute(const struct ttheader *c)
{
	return (struct attribute) {c->ready_to_reset ? "crrst" : NULL, BYTES("1")};
}

static void reply_fill(struct ttheader *c, const struct ttheader_head *h,
		       const struct ttheader_payload *p, struct piece *out)
{
	c->zero_open -= h->seq == 0 && c->zero_open;
	if (!p->type && ttheader_head_type(h) == THRIFT_EXCEPTION)
		out->head.outcome = OUTCOME_SERVER_ERROR;
	ttheader_head_biz_fill(h, &out->head);
	if (p->form == TTHEADER_THRIFT || p->form == TTHEADER_PROTOBUF)
		out->head.transport = ttheader_payload_transport(p, c->mux);
	ttheader_head_fill(h, DIR_RESPONSE, reset_attribute(c), &out->head);
}

/* HEAD of a header that goes on beyond the limit; its end and the payload come later. */
static int64_t message_cut(struct ttheader *c, enum dir dir, const struct ttheader_head *h,
			   int64_t n)
{
	struct ttheader_side *s = &c->side[dir];

	s->phase = TTHEADER_IN_HEADER;
	s->header_left = h->size - (uint32_t)n;
	s->left = h->total - h->size;
	s->corr = h->seq;
	s->transforms = h->transforms;
	return n;
}

/* 1: read as far as needed; 0: *need bytes of `payload` are needed */
static int payload_read(struct ttheader_side *s, enum dir dir, struct bytes payload, uint64_t total,
			unsigned transforms, struct ttheader_payload *p, struct head *out,
			size_t *need)
{
	if (!ttheader_payload_parse(payload, total, transforms, p, need)) {
		if (!s->last)
			return 0;
		*p = (struct ttheader_payload) {.form = TTHEADER_OTHER};
	}
	if (dir == DIR_REQUEST)
		return 1;
	return ttheader_payload_result(p, payload, total, s->last, out, need);
}

static int64_t message(struct ttheader *c, enum dir dir, const struct ttheader_head *h, int64_t n,
		       struct bytes in, struct piece *out, size_t *need)
{
	struct ttheader_side *s = &c->side[dir];
	struct ttheader_payload p = {.form = TTHEADER_OTHER};
	uint64_t total = h->total - h->size;

	if (!h->cut && !payload_read(s, dir, bytes_from(in, h->size), total, h->transforms, &p,
				     &out->head, need)) {
		*need += h->size;
		*out = (struct piece) {.dir = dir};
		return 0;
	}
	if (is_control(c, dir, h, &p)) {
		c->ready_to_reset |= h->ready_to_reset.p && dir == DIR_RESPONSE;
		*out = (struct piece) {.dir = dir};
		return control(c, dir, h, (size_t)n, in, out);
	}
	out->what = PIECE_HEAD;
	out->corr = h->seq;
	ttheader_cap_note(out, p.cap);
	ttheader_cap_note(out, h->cap);
	if (h->transforms)
		out->flags |= FLAG_COMPRESSED;
	name_fill(h, &p, &out->head);
	out->head.by_order = ttheader_side_repeats(s, h->seq);
	if (p.form == TTHEADER_PROTOBUF)
		out->head.protocol = framer_kitex_protobuf.name;
	if (dir == DIR_REQUEST)
		request_fill(c, h, &p, out);
	else
		reply_fill(c, h, &p, out);
	if (h->cut)
		return message_cut(c, dir, h, n);
	n += p.skip;
	return n + ttheader_side_body(s, h->seq, PIECE_END, total - p.skip,
				      bytes_from(in, (size_t)n), out);
}

/* The payload behind a cut header: its HEAD is given, so only its outcome and the length before it matter. */
static int64_t payload_late(struct ttheader_side *s, enum dir dir, struct bytes in,
			    struct piece *out, size_t *need)
{
	struct ttheader_payload p;
	struct head result = {0};

	if (!payload_read(s, dir, in, s->left, s->transforms, &p, &result, need))
		return 0;
	ttheader_side_body(s, s->corr, PIECE_END, s->left - p.skip, bytes_of(NULL, 0), out);
	if (out->what & PIECE_END)
		return p.skip;
	s->outcome = (uint8_t)result.outcome;
	s->has_status = result.has_status;
	s->status = result.status;
	return p.skip ? p.skip : ttheader_side_next(s, in, out);
}

/* ---- streams ---- */

static uint64_t stream_corr(uint32_t id)
{
	return STREAM_CORR | id;
}

/* Both directions of it are over; the other one may be in the middle of a message of it. */
static void stream_reset(struct ttheader *c, struct ttheader_stream *st)
{
	for (int i = 0; i < 2; i++)
		ttheader_side_drop(&c->side[i], stream_corr(st->id));
	ttheader_streams_reset(&c->streams, st);
}

/* Leaves to make room (cap), or because its id begins another one. */
static int64_t stream_evict(struct ttheader *c, struct ttheader_stream *st, const char *cap,
			    struct piece *out)
{
	*out = (struct piece) {.what = PIECE_ABORT | PIECE_BOTH,
			       .dir = out->dir,
			       .corr = stream_corr(st->id),
			       .flags = cap ? FLAG_EVICTED : FLAG_PROTOCOL_ERROR,
			       .cap = cap};
	stream_reset(c, st);
	return 0;
}

static void stream_settle(struct ttheader *c, struct ttheader_stream *st)
{
	if (st->state[DIR_REQUEST] >= TTHEADER_STREAM_DONE &&
	    st->state[DIR_RESPONSE] >= TTHEADER_STREAM_DONE)
		ttheader_streams_del(&c->streams, st);
}

static void stream_head_fill(enum dir dir, const struct ttheader_head *h, struct attribute extra,
			     struct piece *out)
{
	const struct ttheader_payload none = {0};

	out->what = PIECE_HEAD;
	out->corr = stream_corr(h->seq);
	ttheader_cap_note(out, h->cap);
	name_fill(h, &none, &out->head);
	out->head.transport = h->protocol == 0x11 ? transport_stream_protobuf : transport_stream;
	ttheader_head_fill(h, dir, extra, &out->head);
}

/* The Header of a stream */
static int64_t stream_open(struct ttheader *c, enum dir dir, struct ttheader_stream *st,
			   const struct ttheader_head *h, int64_t n, struct bytes in,
			   struct piece *out)
{
	if (st && dir == DIR_RESPONSE &&
	    (st->dead || st->state[DIR_RESPONSE] != TTHEADER_STREAM_IDLE))
		return control(c, dir, h, (size_t)n, in, out);
	if (st && dir == DIR_REQUEST) {
		if (!st->dead)
			return stream_evict(c, st, NULL, out);
		ttheader_streams_del(&c->streams, st);
		st = NULL;
	}
	if (!st && c->streams.n_live >= c->streams_max)
		return stream_evict(c, ttheader_streams_oldest(&c->streams), "streams", out);
	if (!st) {
		st = ttheader_streams_add(&c->streams, h->seq);
		if (!st)
			return -ENOMEM;
		st->orphan = dir == DIR_RESPONSE;
		if (st->orphan)
			st->state[DIR_REQUEST] = TTHEADER_STREAM_LOST;
	}
	st->state[dir] = TTHEADER_STREAM_OPEN;
	stream_head_fill(dir, h, dir == DIR_RESPONSE ? reset_attribute(c) : (struct attribute) {0},
			 out);
	return rest_is_control(c, dir, h, (size_t)n);
}

static int64_t stream_data(struct ttheader *c, enum dir dir, struct ttheader_stream *st,
			   const struct ttheader_head *h, int64_t n, struct bytes in,
			   struct piece *out)
{
	if (!st || st->dead || st->state[dir] != TTHEADER_STREAM_OPEN || h->cut)
		return control(c, dir, h, (size_t)n, in, out);
	return n + ttheader_side_body(&c->side[dir], stream_corr(h->seq), PIECE_MESSAGE,
				      h->total - h->size, bytes_from(in, (size_t)n), out);
}

/* The exception in the payload of a Trailer or Rst, as much of it as is waited for, into *out. 0: *need bytes of the
 * frame are needed; else how many bytes of the frame were looked at. */
static size_t exception_read(const struct ttheader_side *s, const struct ttheader_head *h,
			     int64_t n, struct bytes in, struct head *out, size_t *need)
{
	struct ttheader_payload p = {0};
	uint64_t total = h->total - h->size;
	size_t most = total < TTHEADER_EXCEPTION_MAX ? total : TTHEADER_EXCEPTION_MAX;

	if (h->cut)
		return (size_t)n;
	*need = h->size + most;
	if (in.n < *need && !s->last)
		return 0;
	struct bytes payload = bytes_head(bytes_from(in, h->size), most);
	if (ttheader_payload_parse(payload, total, h->transforms, &p, need) &&
	    p.type == THRIFT_EXCEPTION)
		ttheader_payload_result(&p, payload, total, true, out, need);
	return h->size + payload.n;
}

static bool trailer_ends(const struct ttheader_stream *st, enum dir dir)
{
	if (!st || st->dead)
		return false;
	return st->state[dir] == TTHEADER_STREAM_OPEN ||
	       (st->state[dir] == TTHEADER_STREAM_IDLE && !st->lost[dir]);
}

static const struct attribute unsure_code = {"unknown", BYTES("status_code")};
static const struct attribute unsure = {"unknown", BYTES("outcome")};

/* May the other side have reset it before it said this? */
static bool is_unsure(const struct ttheader_stream *st, enum dir dir)
{
	return st->lost[!dir] || st->orphan;
}

/* The status of a stream: not known where a Rst of the client may have come before it. */
static void verdict_fill(const struct ttheader_stream *st, const struct head *result,
			 struct piece *out)
{
	if (is_unsure(st, DIR_RESPONSE)) {
		if (!(out->what & PIECE_HEAD)) { /* that one says so itself */
			out->head.attributes = &unsure;
			out->head.n_attributes = 1;
		}
		return;
	}
	out->head.outcome = result->outcome;
	out->head.status = result->status;
	out->head.has_status = result->has_status;
	out->head.status_text = result->status_text;
}

static int64_t stream_trailer(struct ttheader *c, enum dir dir, struct ttheader_stream *st,
			      const struct ttheader_head *h, int64_t n, struct bytes in,
			      struct piece *out, size_t *need)
{
	struct head result = {0};

	if (!trailer_ends(st, dir))
		return control(c, dir, h, (size_t)n, in, out);
	size_t used = exception_read(&c->side[dir], h, n, in, &result, need);
	if (!used)
		return 0;
	if (dir == DIR_RESPONSE && h->total == h->size)
		result.outcome = OUTCOME_OK;
	ttheader_head_biz_fill(h, &result);
	if (st->state[dir] == TTHEADER_STREAM_IDLE) {
		stream_head_fill(dir, h, is_unsure(st, dir) ? unsure : reset_attribute(c), out);
	} else {
		out->corr = stream_corr(h->seq);
		ttheader_cap_note(out, h->cap);
		out->head.headers = h->headers;
		out->head.n_headers = h->n_headers;
	}
	out->what |= PIECE_END;
	if (dir == DIR_RESPONSE)
		verdict_fill(st, &result, out);
	st->state[dir] = TTHEADER_STREAM_DONE;
	stream_settle(c, st);
	return rest_is_control(c, dir, h, used);
}

static int64_t stream_rst(struct ttheader *c, enum dir dir, struct ttheader_stream *st,
			  const struct ttheader_head *h, int64_t n, struct bytes in,
			  struct piece *out, size_t *need)
{
	if (!st || st->dead)
		return control(c, dir, h, (size_t)n, in, out);
	size_t used = exception_read(&c->side[dir], h, n, in, &out->head, need);
	if (!used)
		return 0;
	if (is_unsure(st, dir))
		out->head = (struct head) {.attributes = &unsure_code, .n_attributes = 1};
	else
		ttheader_head_rst_fill(h, dir, &out->head);
	if (st->state[DIR_RESPONSE] == TTHEADER_STREAM_DONE) { /* its status stands */
		out->head.has_status = false;
		out->head.status_text = (struct bytes) {NULL, 0};
	}
	out->what = PIECE_ABORT | PIECE_BOTH;
	out->corr = stream_corr(h->seq);
	stream_reset(c, st);
	return rest_is_control(c, dir, h, used);
}

static int64_t stream_frame(struct ttheader *c, enum dir dir, const struct ttheader_head *h,
			    int64_t n, struct bytes in, struct piece *out, size_t *need)
{
	struct ttheader_stream *st = ttheader_streams_find(&c->streams, h->seq);

	switch (ttheader_head_frame(h)) {
	case TTHEADER_META: return control(c, dir, h, (size_t)n, in, out);
	case TTHEADER_HEADER: return stream_open(c, dir, st, h, n, in, out);
	case TTHEADER_DATA: return stream_data(c, dir, st, h, n, in, out);
	case TTHEADER_TRAILER: return stream_trailer(c, dir, st, h, n, in, out, need);
	case TTHEADER_RST: return stream_rst(c, dir, st, h, n, in, out, need);
	default: return fail(c, dir, FLAG_PROTOCOL_ERROR, out);
	}
}

/* ---- frames ---- */

/* A wrong header that says what was called */
static int64_t head_wrong(struct ttheader *c, enum dir dir, const struct ttheader_head *h,
			  struct piece *out)
{
	const struct ttheader_payload none = {.form = TTHEADER_OTHER};
	bool named = ttheader_head_method(h).n || ttheader_head_service(h).n;

	if (!h->fixed || c->side[dir].uncertain || dir == DIR_RESPONSE || !named ||
	    h->flags & TTHEADER_STREAMING)
		return fail(c, dir, FLAG_PROTOCOL_ERROR, out);
	fail(c, dir, FLAG_PROTOCOL_ERROR, out);
	out->what = PIECE_HEAD;
	out->corr = h->seq;
	name_fill(h, &none, &out->head);
	request_fill(c, h, &none, out);
	return 0;
}

static int64_t frame(struct ttheader *c, enum dir dir, struct bytes in, struct piece *out,
		     size_t *need)
{
	struct framer_limits limits = limits_of(c);
	struct ttheader_head h;

	if (in.n == 0)
		return 0;
	int64_t n = ttheader_head_parse(&h, in, false, &limits, need);
	if (n == 0)
		return 0;
	if (n < 0)
		return head_wrong(c, dir, &h, out);
	return h.flags & TTHEADER_STREAMING ? stream_frame(c, dir, &h, n, in, out, need)
					    : message(c, dir, &h, n, in, out, need);
}

/* ---- the table ---- */

static int ttheader_init(void *state, const struct framer_limits *limits, bool late)
{
	struct ttheader *c = state;

	c->header_bytes =
		limits->header_bytes < UINT32_MAX ? (uint32_t)limits->header_bytes : UINT32_MAX;
	c->header_count = limits->header_count < TTHEADER_HEADERS_MAX
				  ? (uint16_t)limits->header_count
				  : TTHEADER_HEADERS_MAX;
	c->frame_bytes = limits->frame_bytes;
	c->streams_max = limits->streams ? limits->streams : 1;
	ttheader_streams_init(&c->streams);
	for (int i = 0; late && i < 2; i++)
		ttheader_side_lose(&c->side[i]);
	return 0;
}

static int64_t ttheader_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			     size_t *need)
{
	struct ttheader *c = state;
	struct ttheader_side *s = &c->side[dir];

	*out = (struct piece) {.dir = dir};
	*need = 0;
	int64_t n = s->phase == TTHEADER_AT_FRAME     ? frame(c, dir, in, out, need)
		    : s->phase == TTHEADER_AT_PAYLOAD ? payload_late(s, dir, in, out, need)
						      : ttheader_side_next(s, in, out);
	if (n || out->what)
		*need = 0;
	return n;
}

static int ttheader_gap(void *state, enum dir dir, uint64_t n)
{
	struct ttheader *c = state;
	int r = ttheader_side_gap(&c->side[dir], n);

	if (r < 0)
		ttheader_streams_lose(&c->streams, dir);
	return r;
}

static int ttheader_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	struct ttheader *c = state;
	struct framer_limits limits = limits_of(c);
	enum ttheader_said said;

	(void)hints;
	if (ttheader_find(in, &limits, skip, &said) != 1)
		return 0;
	c->side[dir].phase = TTHEADER_AT_FRAME;
	return 1;
}

static void ttheader_last(void *state, enum dir dir)
{
	((struct ttheader *)state)->side[dir].last = true;
}

/* Streams that are open in this direction are cut, one each call. */
static void streams_end(struct ttheader *c, enum dir dir, struct piece *out)
{
	list_for_each_safe (it, next, &c->streams.live) {
		struct ttheader_stream *st = list_entry(it, struct ttheader_stream, in_use);
		if (st->state[dir] != TTHEADER_STREAM_OPEN)
			continue;
		st->state[dir] = TTHEADER_STREAM_LOST;
		out->what = PIECE_ABORT;
		out->corr = stream_corr(st->id);
		stream_settle(c, st);
		return;
	}
}

static void ttheader_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	struct ttheader *c = state;
	struct ttheader_side *s = &c->side[dir];

	(void)how;
	*out = (struct piece) {.dir = dir};
	if (s->phase != TTHEADER_ENDED)
		ttheader_side_end(s, out);
	if (!out->what)
		streams_end(c, dir, out);
}

static void ttheader_fini(void *state)
{
	ttheader_streams_fini(&((struct ttheader *)state)->streams);
}

const struct framer_ops framer_ttheader = {
	.name = "ttheader",
	.state_size = sizeof(struct ttheader),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = ttheader_find_probe,
	.probe_late = ttheader_find_probe_late,
	.init = ttheader_init,
	.next = ttheader_next,
	.gap = ttheader_gap,
	.resync = ttheader_resync,
	.last = ttheader_last,
	.end = ttheader_end,
	.fini = ttheader_fini,
};
