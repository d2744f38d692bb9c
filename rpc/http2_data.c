/* SPDX-License-Identifier: Apache-2.0 */
/* DATA frames: runs of bodies, gRPC messages, the end of a message. */
#include "rpc/http2_head.h"
#include "rpc/http2_state.h"

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
	http2_missing_tell(half, out);
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

void http2_message_end(struct http2 *c, struct http2_stream *s, enum dir dir, struct piece *out)
{
	const struct http2_half *half = &s->half[dir];

	out->what |= PIECE_END;
	if (s->grpc && !half->raw && !half->split.lost && grpc_split_cut(&half->split))
		out->flags |= FLAG_PROTOCOL_ERROR;
	http2_half_close(c, s, dir, HTTP2_DONE);
}

/* The end of a gRPC message, its last bytes in a hole, or what a hole took, is still to be told. */
static bool data_owed(const struct http2_stream *s, const struct http2_half *half)
{
	return half->missing || half->beyond ||
	       (s->grpc && half->split.inside && !half->split.left);
}

/* In a DATA frame, behind its header: a run, padding behind the last one, the end of the message. */
int64_t http2_data_next(struct http2 *c, enum dir dir, struct bytes in, struct piece *out)
{
	struct http2_side *side = &c->side[dir];
	struct http2_stream *s = http2_streams_find(&c->streams, side->id);
	struct http2_half *half = s ? &s->half[dir] : NULL;
	size_t n = 0, pad = 0;

	if (!half || half->state != HTTP2_OPEN) { /* the other direction ended the stream */
		side->left += side->pad;
		side->pad = 0;
		return http2_skip(side, in, out);
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
	http2_message_end(c, s, dir, out);
	return (int64_t)(n + pad);
}

/* DATA of a stream that has no open message in this direction */
static int64_t data_unmatched(struct http2 *c, enum dir dir, const struct http2_frame *f,
			      struct http2_stream *s, struct bytes in, struct piece *out)
{
	int64_t n = http2_frame_skip(&c->side[dir], f, in, out);

	if (s && dir == DIR_RESPONSE && s->half[dir].state == HTTP2_IDLE && s->head_lost) {
		if (!(f->flags & HTTP2_END_STREAM))
			return n;
		out->what = PIECE_HEAD | PIECE_END;
		out->corr = s->id;
		http2_head_lost(out);
		http2_half_close(c, s, dir, HTTP2_DONE);
		return n;
	}
	bool silent = s ? s->half[dir].state == HTTP2_GIVEN_UP : http2_stream_unseen(c, f->id);
	return silent ? n : http2_ignore(n, out);
}

int64_t http2_data_frame(struct http2 *c, enum dir dir, const struct http2_frame *f,
			 struct bytes in, struct piece *out, size_t *need)
{
	struct http2_side *side = &c->side[dir];
	bool padded = f->flags & HTTP2_PADDED;
	size_t head = HTTP2_HEADER + padded;

	if (padded && !f->len)
		return http2_fault(c, dir, out);
	*need = head;
	if (in.n < head)
		return 0;
	*need = 0;
	side->pad = padded ? in.p[HTTP2_HEADER] : 0;
	if (padded && side->pad >= f->len)
		return http2_fault(c, dir, out);
	struct http2_stream *s = http2_streams_find(&c->streams, f->id);
	if (!s || s->half[dir].state != HTTP2_OPEN)
		return data_unmatched(c, dir, f, s, in, out);
	http2_streams_touch(&c->streams, s);
	out->corr = s->id;
	side->id = f->id;
	side->left = f->len - padded - side->pad;
	side->end_stream = f->flags & HTTP2_END_STREAM;
	side->phase = HTTP2_IN_DATA;
	return (int64_t)head + http2_data_next(c, dir, bytes_from(in, head), out);
}

void http2_data_gap(struct http2_side *side, struct http2_stream *s, struct http2_half *half,
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
