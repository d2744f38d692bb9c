/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bRPC baidu_std (apache/brpc docs/cn/baidu_std.md):
 *   "PRPC" | u32 body_size | u32 meta_size | RpcMeta | data | attachment;  body_size counts what follows it all.
 * Calls are paired by correlation_id; 0 is an id like others. A reply that says "no such service" may carry 0 instead
 * of the id it answers (brpc-java): one that could be that leaves as an orphan where the call 0 is open
 * among others.
 *
 * Frames of streams ("STRM", the same head) on such a connection belong to no call. Other protocols of a bRPC port
 * (HULU, SOFA, nshead) have other magics and are not read here.
 */
#include "rpc/brpc_meta.h"
#include "rpc/protocols.h"
#include "rpc/sized.h"

enum { HEAD_BYTES = 12, ATTRIBUTES_MAX = 8 };
/* What no message has asked: its reply pairs by no id. */
#define CORR_NONE UINT64_MAX

struct brpc {
	struct sized sized;
	uint32_t waiting; /* requests without a reply, at most */
	uint16_t attached; /* bit i: the request sized.asked[i] had an attachment */
	bool zero_open; /* the request with id 0 is one of them */
};

struct brpc_frame {
	uint32_t body, meta;
	bool stream;
};

/* Text and lists that a piece lends. */
static _Thread_local struct {
	struct attribute attributes[ATTRIBUTES_MAX];
	size_t n;
	char text[6 * SIZED_DECIMAL_MAX];
} scratch;

static void attribute_add(struct head *h, const char *name, struct bytes value)
{
	scratch.attributes[scratch.n++] = (struct attribute) {name, value};
	h->attributes = scratch.attributes;
	h->n_attributes = scratch.n;
}

static bool magic_starts(struct bytes in, const char magic[4])
{
	struct bytes start = bytes_head(in, 4);

	return bytes_starts(bytes_of(magic, 4), start);
}

/* 1: *f is filled, 0: wants HEAD_BYTES, -EPROTO: no frame. */
static int frame_parse(struct bytes in, struct brpc_frame *f)
{
	bool call = magic_starts(in, "PRPC");
	struct cursor c = cursor_of(bytes_from(in, 4));

	f->stream = !call && magic_starts(in, "STRM");
	if (!call && !f->stream)
		return -1;
	if (in.n < HEAD_BYTES)
		return 0;
	f->body = cursor_be32(&c);
	f->meta = cursor_be32(&c);
	return f->meta <= f->body ? 1 : -1;
}

static struct bytes meta_of(struct bytes in, const struct brpc_frame *f)
{
	return bytes_head(bytes_from(in, HEAD_BYTES), f->meta);
}

/* ---- heads ---- */

static struct bytes compress_name(int32_t type, char **text)
{
	static const char *const names[] = {"none", "snappy", "gzip", "zlib", "lz4"};

	if (type >= 0 && (size_t)type < sizeof(names) / sizeof(names[0]))
		return bytes_str(names[type]);
	return sized_decimal(text, (uint32_t)type);
}

/* Where the request had an attachment too, or may have had, the reply's has its own name. */
static const char *attachment_name(const struct brpc *b, enum dir dir, uint64_t corr)
{
	int at = dir == DIR_RESPONSE ? sized_asked(&b->sized, corr) : -1;

	if (dir == DIR_REQUEST || (at >= 0 && !(b->attached >> at & 1)))
		return "attachment_bytes";
	return "response_attachment_bytes";
}

static void head_common(const struct brpc *b, struct piece *out, const struct brpc_meta *m,
			uint64_t payload, char **text)
{
	if (m->compress) {
		attribute_add(&out->head, "compress_type", compress_name(m->compress, text));
		out->flags |= FLAG_COMPRESSED;
	}
	if (m->attachment > payload) {
		out->flags |= FLAG_PROTOCOL_ERROR;
		out->cap = "brpc_attachment";
	} else if (m->attachment) {
		attribute_add(&out->head, attachment_name(b, out->dir, m->corr),
			      sized_decimal(text, m->attachment));
	}
}

/* The names of a request, or those that a reply repeats. */
static void head_names(struct piece *out, const struct brpc_meta *m)
{
	bool service = sized_is_name(m->service), method = sized_is_name(m->method);

	if (service)
		out->head.service = m->service;
	if (method)
		out->head.method = m->method;
	if ((m->service.n && !service) || (m->method.n && !method))
		out->cap = "brpc_name";
	if (out->dir == DIR_REQUEST && !(service && method))
		attribute_add(&out->head, "unknown",
			      service  ? BYTES("method")
			      : method ? BYTES("service")
				       : BYTES("service,method"));
}

static void head_request(struct brpc *b, struct piece *out, const struct brpc_meta *m, char **text)
{
	head_names(out, m);
	if (m->trace_id)
		out->head.trace_id = sized_decimal(text, m->trace_id);
	if (m->span_id)
		out->head.span_id = sized_decimal(text, m->span_id);
	if (m->log_id)
		attribute_add(&out->head, "log_id", sized_decimal(text, m->log_id));
	if (m->request_id.n)
		attribute_add(&out->head, "request_id", m->request_id);
	if (m->auth)
		attribute_add(&out->head, "auth", BYTES("redacted"));
	uint16_t bit = (uint16_t)(1u << sized_ask(&b->sized, m->corr));
	b->attached = (uint16_t)(m->attachment ? b->attached | bit : b->attached & ~bit);
	b->waiting++;
	b->zero_open |= m->corr == 0;
}

/* The id that a reply pairs by. */
static uint64_t reply_corr(struct brpc *b, const struct brpc_meta *m, uint64_t payload)
{
	bool zero = m->corr == 0;
	bool doubtful = b->zero_open && (b->waiting > 1 || b->sized.uncertain);

	if (zero && doubtful && m->error_code && payload == 0)
		return CORR_NONE;
	b->waiting -= b->waiting > 0;
	b->zero_open &= !zero;
	return m->corr;
}

static void head_response(struct brpc *b, struct piece *out, const struct brpc_meta *m,
			  uint64_t payload)
{
	if (m->request)
		head_names(out, m);
	out->corr = reply_corr(b, m, payload);
	out->head.status = m->error_code;
	out->head.has_status = true;
	out->head.outcome = m->error_code ? OUTCOME_SERVER_ERROR : OUTCOME_OK;
	out->head.status_text = m->error_text;
}

static bool is_reply(const struct brpc_meta *m)
{
	return m->response || !m->request;
}

static int64_t call_head(struct brpc *b, enum dir dir, struct bytes in, const struct brpc_frame *f,
			 struct piece *out, size_t *need)
{
	uint64_t payload = f->body - f->meta;
	size_t head = HEAD_BYTES + (size_t)f->meta;
	char *text = scratch.text;
	struct brpc_meta m;

	if (f->meta > b->sized.head_max) {
		out->cap = "brpc_meta";
		return sized_bad(&b->sized, dir, out);
	}
	if (in.n < head) {
		*need = head;
		return 0;
	}
	if (!brpc_meta_parse(meta_of(in, f), &m) || is_reply(&m) != (dir == DIR_RESPONSE))
		return sized_bad(&b->sized, dir, out);
	if (dir == DIR_RESPONSE && sized_reply_waits(&b->sized, m.corr, out))
		return 0;
	scratch.n = 0;
	out->corr = m.corr;
	head_common(b, out, &m, payload, &text);
	if (dir == DIR_REQUEST)
		head_request(b, out, &m, &text);
	else
		head_response(b, out, &m, payload);
	return sized_open(&b->sized, dir, in, head, payload, out);
}

/* ---- the table ---- */

/* Which direction does a frame at the start of `in` belong to? PROBE_REVERSED: the server's. */
static enum probe_answer kind_probe(struct bytes in)
{
	struct brpc_frame f;
	struct brpc_meta m;
	int r = frame_parse(in, &f);

	if (r < 0 || (r > 0 && f.stream))
		return PROBE_NO;
	if (r == 0)
		return PROBE_MORE;
	if (in.n - HEAD_BYTES < f.meta) /* a long one is a request by its magic */
		return HEAD_BYTES + (size_t)f.meta > 4096 ? PROBE_YES : PROBE_MORE;
	if (!brpc_meta_parse(meta_of(in, &f), &m))
		return PROBE_NO;
	return is_reply(&m) ? PROBE_REVERSED : PROBE_YES;
}

/* A request says it alone; a reply on the client's side needs the request on the other one. */
static enum probe_answer brpc_probe(struct bytes request, struct bytes response)
{
	enum probe_answer q = request.n ? kind_probe(request) : PROBE_MORE;

	if (q != PROBE_REVERSED)
		return q;
	enum probe_answer r = response.n ? kind_probe(response) : PROBE_MORE;
	return r == PROBE_YES ? PROBE_REVERSED : r == PROBE_MORE ? PROBE_MORE : PROBE_NO;
}

static enum probe_answer brpc_probe_late(struct bytes request, struct bytes response)
{
	enum probe_answer q = request.n ? kind_probe(request) : PROBE_NO;
	enum probe_answer r = response.n ? kind_probe(response) : PROBE_NO;

	if (q == PROBE_YES || r == PROBE_REVERSED)
		return PROBE_YES;
	if (q == PROBE_REVERSED && r == PROBE_YES)
		return PROBE_REVERSED;
	return q == PROBE_NO && r == PROBE_NO ? PROBE_NO : PROBE_MORE;
}

static int brpc_check(const struct sized *s, enum dir dir, struct bytes in, struct sized_frame *out)
{
	struct brpc_frame f;
	struct brpc_meta m = {0};
	int r = frame_parse(in, &f);

	if (r <= 0)
		return r;
	if (f.meta > s->head_max || f.body > s->frame_max)
		return -1;
	if (!f.stream && in.n - HEAD_BYTES < f.meta)
		return 0;
	if (!f.stream && (!brpc_meta_parse(meta_of(in, &f), &m) || m.attachment > f.body - f.meta ||
			  is_reply(&m) != (dir == DIR_RESPONSE)))
		return -1;
	*out = (struct sized_frame) {
		.total = HEAD_BYTES + (uint64_t)f.body,
		.id = m.corr,
		.request = !f.stream && dir == DIR_REQUEST,
		.reply = !f.stream && dir == DIR_RESPONSE,
	};
	return 1;
}

static int brpc_init(void *state, const struct framer_limits *limits, bool late)
{
	struct brpc *b = state;

	sized_init(&b->sized, limits, late);
	return 0;
}

static int64_t brpc_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			 size_t *need)
{
	struct brpc *b = state;
	struct brpc_frame f;
	int64_t r;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (sized_next(&b->sized, dir, in, out, &r))
		return r;
	int parsed = frame_parse(in, &f);
	if (parsed == 0) {
		*need = HEAD_BYTES;
		return 0;
	}
	if (parsed > 0 && f.body > b->sized.frame_max) {
		out->cap = "brpc_frame";
		parsed = -1;
	}
	if (parsed < 0)
		return sized_bad(&b->sized, dir, out);
	if (f.stream)
		return sized_control(&b->sized, dir, in, HEAD_BYTES + (uint64_t)f.body, out);
	return call_head(b, dir, in, &f, out, need);
}

static int brpc_gap(void *state, enum dir dir, uint64_t n)
{
	return sized_gap(&((struct brpc *)state)->sized, dir, n);
}

static int brpc_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	static const struct sized_format format = {'P', 0, brpc_check};

	return sized_resync(&((struct brpc *)state)->sized, &format, dir, in, hints, skip);
}

static void brpc_end(void *state, enum dir dir, enum end_how how, struct piece *out)
{
	sized_end(&((struct brpc *)state)->sized, dir, how, out);
}

static void brpc_fini(void *state)
{
	(void)state;
}

const struct framer_ops framer_brpc = {
	.name = "brpc",
	.state_size = sizeof(struct brpc),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = brpc_probe,
	.probe_late = brpc_probe_late,
	.late_sure = true,
	.init = brpc_init,
	.next = brpc_next,
	.gap = brpc_gap,
	.resync = brpc_resync,
	.end = brpc_end,
	.fini = brpc_fini,
};
