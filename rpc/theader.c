/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THeader (Apache and fbthrift; the layout stands in rpc/theader_head.h). Pairs by the frame's seq, which some clients
 * leave at one value for ever: then by order among those.
 *
 * The body is the payload as it was sent; under a transform that is not the message itself: flag `compressed`.
 */
#include "rpc/protocols.h"
#include "rpc/sized.h"
#include "rpc/theader_head.h"

/* What a probe looks at of a payload, and of everything */
enum { PROBE_LOOK = 512, PROBE_BYTES = 4096 };

struct theader {
	struct sized sized;
	uint32_t last_seq; /* of a request */
	uint16_t max_headers;
	bool asked; /* last_seq is one */
	bool differ; /* not all requests had the same */
};

static bool is_reply(const struct theader_head *h)
{
	return h->message.type == THRIFT_REPLY || h->message.type == THRIFT_EXCEPTION;
}

static void unknown_set(struct head *h, struct bytes names)
{
	static _Thread_local struct attribute unknown;

	unknown = (struct attribute) {"unknown", names};
	h->attributes = &unknown;
	h->n_attributes = 1;
}

static void head_names(struct piece *out, const struct theader_head *h)
{
	if (h->readable)
		thrift_name_split(h->message.name, &out->head.service, &out->head.method);
	else
		unknown_set(&out->head, BYTES("service,method"));
}

static void head_request(struct theader *t, const struct theader_frame *f, struct piece *out,
			 const struct theader_head *h)
{
	head_names(out, h);
	if (h->readable && h->message.type == THRIFT_ONEWAY)
		out->head.type = CALL_ONEWAY;
	else
		sized_ask(&t->sized, f->seq);
	t->differ |= t->asked && t->last_seq != f->seq;
	out->head.by_order = f->seq == 0 || t->last_seq == f->seq || !t->differ;
	t->last_seq = f->seq;
	t->asked = true;
}

static void head_response(struct piece *out, const struct theader_head *h)
{
	const struct thrift_result *r = &h->result;

	if (h->readable)
		head_names(out, h);
	out->head.outcome = r->outcome;
	out->head.status_text = r->text;
	out->head.status = r->code;
	out->head.has_status = r->known || r->has_code;
	if (!out->head.has_status)
		unknown_set(&out->head, BYTES("status_code,outcome"));
}

static bool contradicts(const struct theader_head *h, enum dir dir)
{
	return h->readable && is_reply(h) != (dir == DIR_RESPONSE);
}

static int64_t call_head(struct theader *t, enum dir dir, struct bytes in,
			 const struct theader_frame *f, struct piece *out, size_t *need)
{
	size_t look = f->payload < THEADER_LOOK ? (size_t)f->payload : THEADER_LOOK;
	struct theader_head h;

	if (in.n < f->payload_off + look) {
		*need = f->payload_off + look;
		return 0;
	}
	if (!theader_head_parse(in, f, THEADER_LOOK, t->max_headers, &h) || contradicts(&h, dir))
		return sized_bad(&t->sized, dir, out);
	if (dir == DIR_RESPONSE && sized_reply_waits(&t->sized, f->seq, out))
		return 0;
	out->cap = h.cap;
	out->corr = f->seq;
	out->flags = h.n_transforms ? FLAG_COMPRESSED : 0;
	out->head.headers = h.headers;
	out->head.n_headers = h.n_headers;
	if (h.readable)
		out->head.transport = thrift_form_name(h.message.form);
	if (dir == DIR_REQUEST)
		head_request(t, f, out, &h);
	else
		head_response(out, &h);
	return sized_open(&t->sized, dir, in, f->payload_off, f->payload, out);
}

/* ---- where a frame may begin ---- */

enum kind { KIND_NONE, KIND_MORE, KIND_CALL, KIND_REPLY, KIND_EITHER };

/* Of a frame whose payload cannot be read the direction is not known. */
static enum kind kind_of(struct bytes in)
{
	struct theader_frame f;
	struct theader_head h;
	int r = in.n ? theader_frame_parse(in, &f) : 0;

	if (r <= 0)
		return r < 0 ? KIND_NONE : KIND_MORE;
	size_t look = f.payload < PROBE_LOOK ? (size_t)f.payload : PROBE_LOOK;
	if (f.payload_off + look > PROBE_BYTES) /* as much of it as may be looked at */
		return in.n < THEADER_FIXED + 2                                   ? KIND_MORE
		       : in.p[THEADER_FIXED] <= 2 && in.p[THEADER_FIXED + 1] <= 5 ? KIND_EITHER
										  : KIND_NONE;
	if (in.n < f.payload_off + look)
		return KIND_MORE;
	if (!theader_head_parse(in, &f, PROBE_LOOK, 0, &h) || !(h.strict || h.readable) ||
	    (!h.readable && !h.n_transforms))
		return KIND_NONE;
	if (!h.readable)
		return KIND_EITHER;
	return is_reply(&h) ? KIND_REPLY : KIND_CALL;
}

/* A call says it alone; a reply on the client's side needs the call on the other one. */
static enum probe_answer theader_probe(struct bytes request, struct bytes response)
{
	switch (kind_of(request)) {
	case KIND_CALL:
	case KIND_EITHER: return PROBE_YES;
	case KIND_MORE: return PROBE_MORE;
	case KIND_NONE: return PROBE_NO;
	case KIND_REPLY: break;
	}
	enum kind r = kind_of(response);
	return r == KIND_CALL ? PROBE_REVERSED : r == KIND_MORE ? PROBE_MORE : PROBE_NO;
}

static enum probe_answer theader_probe_late(struct bytes request, struct bytes response)
{
	enum kind q = request.n ? kind_of(request) : KIND_NONE;
	enum kind r = response.n ? kind_of(response) : KIND_NONE;

	if (q == KIND_REPLY && r == KIND_CALL)
		return PROBE_REVERSED;
	if (q == KIND_CALL || r == KIND_REPLY || (q == KIND_EITHER && r == KIND_EITHER))
		return PROBE_YES;
	return q == KIND_NONE && r == KIND_NONE ? PROBE_NO : PROBE_MORE;
}

static int theader_check(const struct sized *s, enum dir dir, struct bytes in,
			 struct sized_frame *out)
{
	struct theader_frame f;
	struct theader_head h;
	int r = theader_frame_parse(in, &f);

	if (r <= 0)
		return r;
	if (f.len > s->frame_max || f.payload_off > s->head_max)
		return -1;
	size_t look = f.payload < THEADER_LOOK ? (size_t)f.payload : THEADER_LOOK;
	if (in.n < f.payload_off + look)
		return 0;
	if (!theader_head_parse(in, &f, THEADER_LOOK, 0, &h) || contradicts(&h, dir) ||
	    !(h.readable || (h.strict && h.n_transforms)))
		return -1;
	*out = (struct sized_frame) {
		.total = (uint64_t)f.len + 4,
		.id = f.seq,
		.request = dir == DIR_REQUEST && !(h.readable && h.message.type == THRIFT_ONEWAY),
		.reply = dir == DIR_RESPONSE && h.readable && f.seq != 0,
	};
	return 1;
}

/* ---- the table ---- */

static int theader_init(void *state, const struct framer_limits *limits, bool late)
{
	struct theader *t = state;

	sized_init(&t->sized, limits, late);
	t->max_headers = limits->header_count < THEADER_HEADERS_MAX ? (uint16_t)limits->header_count
								    : THEADER_HEADERS_MAX;
	return 0;
}

static int64_t theader_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			    size_t *need)
{
	struct theader *t = state;
	struct theader_frame f;
	int64_t r;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (sized_next(&t->sized, dir, in, out, &r))
		return r;
	int parsed = theader_frame_parse(in, &f);
	if (parsed == 0) {
		*need = THEADER_FIXED;
		return 0;
	}
	if (parsed > 0 && (f.len > t->sized.frame_max || f.payload_off > t->sized.head_max)) {
		out->cap = f.len > t->sized.frame_max ? "theader_frame" : "theader_header";
		parsed = -1;
	}
	if (parsed < 0)
		return sized_bad(&t->sized, dir, out);
	return call_head(t, dir, in, &f, out, need);
}

static int theader_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	static const struct sized_format format = {0x0f, 4, theader_check};

	return sized_resync(&((struct theader *)state)->sized, &format, dir, in, hints, skip);
}

const struct framer_ops framer_theader = {
	.name = "theader",
	.state_size = sizeof(struct theader),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = theader_probe,
	.probe_late = theader_probe_late,
	.late_sure = true,
	.init = theader_init,
	.next = theader_next,
	.gap = sized_gap,
	.resync = theader_resync,
	.end = sized_end,
	.fini = sized_fini,
};
