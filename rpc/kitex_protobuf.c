/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kitex Protobuf behind its length and without a TTHeader: what old peers wrote. Calls pair by the sequence id. Business
 * errors are not on this wire: they are an empty reply.
 */
#include "rpc/kitex_protobuf.h"

#include <errno.h>

#include "rpc/protocols.h"
#include "rpc/thrift_message.h"
#include "rpc/ttheader_payload.h"
#include "rpc/ttheader_side.h"

enum { LENGTH = 4, ERROR_FIELDS_MAX = 64 };

struct kitex_protobuf {
	struct ttheader_side side[2];
	uint64_t frame_bytes;
};

/* ---- one message ---- */

static bool name_valid(struct bytes name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f)
			return false;
	return true;
}

int kitex_protobuf_parse(struct bytes in, struct kitex_protobuf_message *out, size_t *need)
{
	struct cursor c = cursor_of(in);

	*out = (struct kitex_protobuf_message) {0};
	*need = 8;
	if ((in.n > 0 && in.p[0] != KITEX_PROTOBUF_MAGIC >> 8) ||
	    (in.n > 1 && in.p[1] != (KITEX_PROTOBUF_MAGIC & 0xff)) || (in.n > 2 && in.p[2]) ||
	    (in.n > 3 && (in.p[3] < KITEX_PROTOBUF_CALL || in.p[3] > KITEX_PROTOBUF_HEARTBEAT)))
		return -EPROTO;
	out->type = (uint8_t)cursor_be32(&c);
	uint32_t n = cursor_be32(&c);
	if (c.bad)
		return 0;
	if (n == 0 || n > INT32_MAX)
		return -EPROTO;
	if (n > THRIFT_NAME_MAX)
		return -E2BIG;
	*need = 8 + n + 4;
	if (!name_valid(bytes_head(bytes_from(in, 8), n)))
		return -EPROTO;
	out->name = cursor_take(&c, n);
	out->seqid = (int32_t)cursor_be32(&c);
	out->body_off = *need;
	return !c.bad;
}

static bool varint(struct cursor *c, uint64_t *out)
{
	int n = thrift_varint(bytes_of(c->p, cursor_left(c)), 10, out);

	return n > 0 && cursor_take(c, (size_t)n).p;
}

/* A field of another number, or of another type than ours has */
static bool field_skip(struct cursor *c, unsigned wire)
{
	uint64_t n = wire == 1 ? 8 : 4;

	switch (wire) {
	case 0: return varint(c, &n);
	case 2:
		if (!varint(c, &n))
			return false;
		break;
	case 1:
	case 5: break;
	default: return false;
	}
	return n <= cursor_left(c) && (n == 0 || cursor_take(c, n).p);
}

bool kitex_protobuf_error(struct bytes body, int32_t *type, struct bytes *text)
{
	struct cursor c = cursor_of(body);
	uint64_t tag, v;

	*type = 0;
	*text = (struct bytes) {NULL, 0};
	for (int i = 0; cursor_left(&c); i++) {
		if (i >= ERROR_FIELDS_MAX || !varint(&c, &tag))
			return false;
		if (tag == (1 << 3 | 0)) {
			if (!varint(&c, &v))
				return false;
			*type = (int32_t)(uint32_t)v;
		} else if (tag == (2 << 3 | 2)) {
			if (!varint(&c, &v) || v > cursor_left(&c))
				return false;
			*text = cursor_take(&c, v);
		} else if (!field_skip(&c, tag & 7)) {
			return false;
		}
	}
	return true;
}

/* ---- frames ---- */

static bool is_reply(const struct ttheader_payload *p)
{
	return p->type == KITEX_PROTOBUF_REPLY || p->type == KITEX_PROTOBUF_EXCEPTION;
}

/* A frame begins with `in`: 1: its *total bytes and its envelope; 0: needs *need bytes; -EPROTO. */
static int frame_parse(struct bytes in, uint64_t frame_bytes, uint64_t *total,
		       struct ttheader_payload *p, size_t *need)
{
	struct cursor c = cursor_of(in);
	struct kitex_protobuf_message m;

	*total = (uint64_t)cursor_be32(&c) + LENGTH;
	*need = LENGTH + 2;
	if ((in.n && (uint64_t)in.p[0] << 24 > frame_bytes) || (!c.bad && *total > frame_bytes))
		return -EPROTO;
	int r = kitex_protobuf_parse(bytes_from(in, LENGTH), &m, need);
	if (r == -EPROTO)
		return r;
	*need += LENGTH;
	if (r == 0)
		return in.n < LENGTH || *need <= *total ? 0 : -EPROTO;
	*p = (struct ttheader_payload) {.form = TTHEADER_PROTOBUF,
					.framed = true,
					.skip = LENGTH,
					.type = m.type,
					.seqid = m.seqid,
					.name = m.name,
					.body_off = m.body_off ? LENGTH + m.body_off : 0,
					.cap = r == -E2BIG ? "method_bytes" : NULL};
	return *need <= *total ? 1 : -EPROTO;
}

static int64_t message(struct ttheader_side *s, const struct ttheader_payload *p, uint64_t total,
		       struct bytes in, struct piece *out, size_t *need)
{
	enum dir dir = out->dir;

	if (p->type == KITEX_PROTOBUF_HEARTBEAT || is_reply(p) != (dir == DIR_RESPONSE))
		return ttheader_side_control(s, total, in, out);
	if (dir == DIR_RESPONSE &&
	    !ttheader_payload_result(p, in, total, s->last, &out->head, need)) {
		*out = (struct piece) {.dir = dir};
		return 0;
	}
	out->what = PIECE_HEAD;
	out->flags = p->cap ? FLAG_TRUNCATED : 0;
	out->cap = p->cap;
	out->head.transport = ttheader_payload_transport(p, false);
	out->head.method = p->name;
	out->head.type = p->type == KITEX_PROTOBUF_ONEWAY ? CALL_ONEWAY : CALL_UNARY;
	out->head.by_order = ttheader_side_repeats(s, (uint32_t)p->seqid);
	return LENGTH + ttheader_side_body(s, (uint32_t)p->seqid, PIECE_END, total - LENGTH,
					   bytes_from(in, LENGTH), out);
}

static int64_t frame(struct kitex_protobuf *c, struct bytes in, struct piece *out, size_t *need)
{
	struct ttheader_side *s = &c->side[out->dir];
	struct ttheader_payload p;
	uint64_t total;

	if (in.n == 0)
		return 0;
	int r = frame_parse(in, c->frame_bytes, &total, &p, need);
	if (r < 0)
		return ttheader_side_fail(s, FLAG_PROTOCOL_ERROR, out);
	return r ? message(s, &p, total, in, out, need) : 0;
}

/* ---- the table ---- */

enum { PROBE_FRAME_MAX = 64 << 20 };

static enum probe_answer head_probe(struct bytes b, bool *reply)
{
	struct ttheader_payload p;
	uint64_t total;
	size_t need;
	int r = frame_parse(b, PROBE_FRAME_MAX, &total, &p, &need);

	*reply = r == 1 && is_reply(&p);
	return r < 0 ? PROBE_NO : r ? PROBE_YES : PROBE_MORE;
}

static enum probe_answer kitex_protobuf_probe(struct bytes request, struct bytes response)
{
	bool reply;
	enum probe_answer a = head_probe(request, &reply);

	if (a == PROBE_YES && reply)
		return PROBE_REVERSED;
	if (request.n)
		return a;
	a = head_probe(response, &reply);
	return a == PROBE_YES && !reply ? PROBE_REVERSED : a;
}

static int kitex_protobuf_init(void *state, const struct framer_limits *limits, bool late)
{
	struct kitex_protobuf *c = state;

	c->frame_bytes = limits->frame_bytes;
	for (int i = 0; late && i < 2; i++)
		ttheader_side_lose(&c->side[i]);
	return 0;
}

static int64_t kitex_protobuf_next(void *state, enum dir dir, struct bytes in, struct piece *out,
				   size_t *need)
{
	struct kitex_protobuf *c = state;
	struct ttheader_side *s = &c->side[dir];

	*out = (struct piece) {.dir = dir};
	*need = 0;
	int64_t n = s->phase == TTHEADER_AT_FRAME ? frame(c, in, out, need)
						  : ttheader_side_next(s, in, out);
	if (n || out->what)
		*need = 0;
	return n;
}

static int kitex_protobuf_gap(void *state, enum dir dir, uint64_t n)
{
	return ttheader_side_gap(&((struct kitex_protobuf *)state)->side[dir], n);
}

/* The envelope is told by 40 bits that are fixed and a name that is printable. */
static int kitex_protobuf_resync(void *state, enum dir dir, struct bytes in, unsigned hints,
				 size_t *skip)
{
	struct kitex_protobuf *c = state;
	struct ttheader_payload p;
	uint64_t total;
	size_t need, i = 0;

	(void)hints;
	for (int r = -EPROTO; i < in.n; i++) {
		r = frame_parse(bytes_from(in, i), c->frame_bytes, &total, &p, &need);
		if (r < 0 || (r == 1 && p.cap))
			continue;
		if (r == 1)
			c->side[dir].phase = TTHEADER_AT_FRAME;
		*skip = i;
		return r;
	}
	*skip = i;
	return 0;
}

static void kitex_protobuf_last(void *state, enum dir dir)
{
	((struct kitex_protobuf *)state)->side[dir].last = true;
}

static void kitex_protobuf_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	(void)how;
	*out = (struct piece) {.dir = dir};
	ttheader_side_end(&((struct kitex_protobuf *)state)->side[dir], out);
}

static void kitex_protobuf_fini(void *state)
{
	(void)state;
}

const struct framer_ops framer_kitex_protobuf = {
	.name = "kitex_protobuf",
	.state_size = sizeof(struct kitex_protobuf),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = kitex_protobuf_probe,
	.init = kitex_protobuf_init,
	.next = kitex_protobuf_next,
	.gap = kitex_protobuf_gap,
	.resync = kitex_protobuf_resync,
	.last = kitex_protobuf_last,
	.end = kitex_protobuf_end,
	.fini = kitex_protobuf_fini,
};
