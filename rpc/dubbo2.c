/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dubbo2 (apache/dubbo ExchangeCodec):
 *   u16 0xdabb | u8 flags | u8 status | u64 id | u32 length of the body | body
 *   flags: 0x80 request, 0x40 two-way, 0x20 event, 0x1f serialization
 * Events (heartbeats, read-only notes) go both ways and are no calls. The server may call the client too (callbacks):
 * such a call has its own id space and the attribute `reverse`.
 *
 * A body up to BODY_WHOLE_MAX is waited for, since its attachments lie at its end; of a longer one only the
 * beginning is read (rpc/dubbo2_body.h).
 */
#include "rpc/dubbo2_body.h"
#include "rpc/protocols.h"
#include "rpc/sized.h"

enum {
	HEAD_BYTES = 16,
	BODY_WHOLE_MAX = 16 * 1024,
	BODY_START = 4096,
	EVENT_BYTES_MAX = 64, /* of one that is believed without a second frame */
	CHECK_BODY_MAX = 8 << 20, /* Dubbo's own default; more is believed only in step (R11) */
	ATTRIBUTES_MAX = 8,
};

enum { FLAG_REQUEST = 0x80, FLAG_TWO_WAY = 0x40, FLAG_EVENT = 0x20, SERIALIZATION = 0x1f };

enum { STATUS_OK = 20, STATUS_BAD_REQUEST = 40 };

struct dubbo2 {
	struct sized sized;
	uint16_t max_headers;
};

struct dubbo2_frame {
	uint8_t flags, status, serialization;
	uint64_t id;
	uint32_t len;
};

static _Thread_local struct {
	struct attribute attributes[ATTRIBUTES_MAX];
	size_t n;
	char text[2 * SIZED_DECIMAL_MAX];
} scratch;

static void attribute_add(struct head *h, const char *name, struct bytes value)
{
	if (value.n)
		scratch.attributes[scratch.n++] = (struct attribute) {name, value};
	h->attributes = scratch.attributes;
	h->n_attributes = scratch.n;
}

/* 1: *f is filled, 0: wants HEAD_BYTES, -1: no frame. */
static int frame_parse(struct bytes in, struct dubbo2_frame *f)
{
	struct cursor c = cursor_of(bytes_from(in, 2));

	if (!bytes_starts(BYTES("\xda\xbb"), bytes_head(in, 2)))
		return -1;
	if (in.n < HEAD_BYTES)
		return 0;
	f->flags = cursor_u8(&c);
	f->serialization = f->flags & SERIALIZATION;
	f->status = cursor_u8(&c);
	f->id = cursor_be64(&c);
	f->len = cursor_be32(&c);
	return 1;
}

static bool is_request(const struct dubbo2_frame *f)
{
	return f->flags & FLAG_REQUEST;
}

/* ---- heads ---- */

static struct bytes serialization_name(uint8_t id, char **text)
{
	static const char *const names[32] = {
		[2] = "hessian2",    [3] = "java",           [4] = "compactedjava",
		[6] = "fastjson",    [7] = "nativejava",     [8] = "kryo",
		[9] = "fst",         [10] = "nativehessian", [11] = "avro",
		[12] = "protostuff", [16] = "gson",          [21] = "protobuf-json",
		[22] = "protobuf",   [23] = "fastjson2",     [25] = "kryo2",
		[27] = "msgpack",
	};

	return names[id] ? bytes_str(names[id]) : sized_decimal(text, id);
}

static void unknown_add(struct head *h, const struct dubbo2_body *b)
{
	if (!b->service.n || !b->method.n)
		attribute_add(h, "unknown",
			      b->service.n  ? BYTES("method")
			      : b->method.n ? BYTES("service")
					    : BYTES("service,method"));
}

static void head_request(struct dubbo2 *d, const struct dubbo2_frame *f, struct bytes body,
			 struct piece *out)
{
	char *text = scratch.text;
	struct dubbo2_body b;

	dubbo2_body_request(&b, f->serialization, body, body.n == f->len, d->max_headers);
	out->head.service = b.service;
	out->head.method = b.method;
	out->head.type = f->flags & FLAG_TWO_WAY ? CALL_UNARY : CALL_ONEWAY;
	out->head.headers = b.headers;
	out->head.n_headers = b.n_headers;
	attribute_add(&out->head, "request_id", sized_decimal(&text, f->id));
	attribute_add(&out->head, "serialization", serialization_name(f->serialization, &text));
	attribute_add(&out->head, "service_version", b.service_version);
	attribute_add(&out->head, "generic_method", b.generic_method);
	unknown_add(&out->head, &b);
	out->cap = b.cap;
	if (f->flags & FLAG_TWO_WAY)
		sized_ask(&d->sized, f->id);
}

static enum outcome outcome_of(const struct dubbo2_frame *f, const struct dubbo2_body *b)
{
	if (f->status == STATUS_BAD_REQUEST)
		return OUTCOME_CLIENT_ERROR;
	if (f->status != STATUS_OK)
		return OUTCOME_SERVER_ERROR;
	if (!b->result_known)
		return OUTCOME_UNKNOWN;
	return b->exception ? OUTCOME_DECLARED_EXCEPTION : OUTCOME_OK;
}

static void head_response(struct dubbo2 *d, const struct dubbo2_frame *f, struct bytes body,
			  struct piece *out)
{
	struct dubbo2_body b;

	dubbo2_body_response(&b, f->serialization, f->status, body, body.n == f->len,
			     d->max_headers);
	out->head.status = f->status;
	out->head.has_status = true;
	out->head.status_text = b.text;
	out->head.outcome = outcome_of(f, &b);
	out->head.headers = b.headers;
	out->head.n_headers = b.n_headers;
	if (out->head.outcome == OUTCOME_UNKNOWN)
		attribute_add(&out->head, "unknown", BYTES("outcome"));
	out->cap = b.cap;
}

static int64_t call_head(struct dubbo2 *d, enum dir dir, struct bytes in,
			 const struct dubbo2_frame *f, struct piece *out, size_t *need)
{
	size_t wanted = f->len <= BODY_WHOLE_MAX ? f->len : BODY_START;
	bool reverse = is_request(f) != (dir == DIR_REQUEST);

	if (in.n < HEAD_BYTES + wanted) {
		*need = HEAD_BYTES + wanted;
		return 0;
	}
	if (!is_request(f) && !reverse && sized_reply_waits(&d->sized, f->id, out))
		return 0;
	struct bytes body = bytes_head(bytes_from(in, HEAD_BYTES), wanted);
	scratch.n = 0;
	out->dir = is_request(f) ? DIR_REQUEST : DIR_RESPONSE;
	out->corr = reverse ? ~f->id : f->id;
	if (reverse)
		attribute_add(&out->head, "reverse", BYTES("1"));
	if (is_request(f))
		head_request(d, f, body, out);
	else
		head_response(d, f, body, out);
	return sized_open(&d->sized, dir, in, HEAD_BYTES, f->len, out);
}

/* ---- where a frame may begin ---- */

static bool is_status(uint8_t s)
{
	static const uint8_t known[] = {20, 25, 30, 31, 35, 40, 50, 60, 70, 80, 90, 100};

	return memchr(known, s, sizeof(known)) != NULL;
}

/* As strict as the head and the first bytes of the body allow. 1, 0: needs more, -1: no. */
static int frame_check(struct bytes in, struct dubbo2_frame *f)
{
	int r = frame_parse(in, f);

	if (r <= 0)
		return r;
	if (f->serialization == 0 || f->len == 0 || f->len > CHECK_BODY_MAX)
		return -1;
	if (is_request(f) ? f->status != 0 : !is_status(f->status) || (f->flags & FLAG_TWO_WAY))
		return -1;
	if (f->flags & FLAG_EVENT)
		return f->len <= EVENT_BYTES_MAX ? 1 : -1;
	return dubbo2_body_check(f->serialization, is_request(f), f->status,
				 bytes_from(in, HEAD_BYTES), f->len);
}

static int dubbo2_check(const struct sized *s, enum dir dir, struct bytes in,
			struct sized_frame *out)
{
	struct dubbo2_frame f;
	int r = frame_check(in, &f);

	if (r == 1 && f.len > s->frame_max)
		return -1;
	if (r == 1)
		*out = (struct sized_frame) {
			.total = HEAD_BYTES + (uint64_t)f.len,
			.id = f.id,
			.request = is_request(&f) && (f.flags & FLAG_TWO_WAY) &&
				   !(f.flags & FLAG_EVENT) && dir == DIR_REQUEST,
			.reply = !is_request(&f) && !(f.flags & FLAG_EVENT),
		};
	return r;
}

enum kind { KIND_NONE, KIND_MORE, KIND_REQUEST, KIND_REPLY, KIND_EVENT };

static enum kind kind_of(struct bytes in)
{
	struct dubbo2_frame f;
	int r = in.n ? frame_check(in, &f) : 0;

	if (r <= 0)
		return r < 0 ? KIND_NONE : KIND_MORE;
	if (f.flags & FLAG_EVENT)
		return KIND_EVENT;
	return is_request(&f) ? KIND_REQUEST : KIND_REPLY;
}

/* A request or an event says it alone; a reply on the client's side needs the request on the other one. */
static enum probe_answer dubbo2_probe(struct bytes request, struct bytes response)
{
	switch (kind_of(request)) {
	case KIND_REQUEST:
	case KIND_EVENT: return PROBE_YES;
	case KIND_MORE: return PROBE_MORE;
	case KIND_NONE: return PROBE_NO;
	case KIND_REPLY: break;
	}
	enum kind r = kind_of(response);
	return r == KIND_REQUEST ? PROBE_REVERSED : r == KIND_MORE ? PROBE_MORE : PROBE_NO;
}

/* The beginning of a body was looked at, so one frame is enough. */
static bool is_strong(struct bytes in)
{
	struct dubbo2_frame f;

	return in.n && frame_check(in, &f) == 1 &&
	       ((f.flags & FLAG_EVENT) || dubbo2_body_readable(f.serialization));
}

static enum probe_answer dubbo2_probe_late(struct bytes request, struct bytes response)
{
	enum kind q = request.n ? kind_of(request) : KIND_NONE;
	enum kind r = response.n ? kind_of(response) : KIND_NONE;

	if (q == KIND_REPLY && r == KIND_REQUEST)
		return PROBE_REVERSED;
	if (q == KIND_REQUEST && r == KIND_REPLY)
		return PROBE_YES;
	if ((q == KIND_REQUEST || q == KIND_EVENT) && is_strong(request))
		return PROBE_YES;
	if ((r == KIND_REPLY || r == KIND_EVENT) && is_strong(response))
		return PROBE_YES;
	return q == KIND_NONE && r == KIND_NONE ? PROBE_NO : PROBE_MORE;
}

/* ---- the table ---- */

static int dubbo2_init(void *state, const struct framer_limits *limits, bool late)
{
	struct dubbo2 *d = state;

	sized_init(&d->sized, limits, late);
	d->max_headers = limits->header_count < DUBBO2_HEADERS_MAX ? (uint16_t)limits->header_count
								   : DUBBO2_HEADERS_MAX;
	return 0;
}

/* What is no frame is passed over, as Dubbo's own codec does (R11). */
static int64_t dubbo2_next(void *state, enum dir dir, struct bytes in, struct piece *out,
			   size_t *need)
{
	struct dubbo2 *d = state;
	struct dubbo2_frame f;
	int64_t r;

	*out = (struct piece) {.dir = dir};
	*need = 0;
	if (sized_next(&d->sized, dir, in, out, &r))
		return r;
	int parsed = frame_parse(in, &f);
	if (parsed == 0) {
		*need = HEAD_BYTES;
		return 0;
	}
	if (parsed > 0 && f.len > d->sized.frame_max) {
		out->cap = "dubbo2_frame";
		parsed = -1;
	}
	if (parsed < 0)
		return sized_lost(&d->sized, dir, out);
	if (f.flags & FLAG_EVENT)
		return sized_control(&d->sized, dir, in, HEAD_BYTES + (uint64_t)f.len, out);
	return call_head(d, dir, in, &f, out, need);
}

static int dubbo2_resync(void *state, enum dir dir, struct bytes in, unsigned hints, size_t *skip)
{
	static const struct sized_format format = {0xda, 0, dubbo2_check};

	return sized_resync(&((struct dubbo2 *)state)->sized, &format, dir, in, hints, skip);
}

const struct framer_ops framer_dubbo2 = {
	.name = "dubbo2",
	.state_size = sizeof(struct dubbo2),
	.pairing = PAIRING_ID,
	.skips_bodies = true,
	.probe = dubbo2_probe,
	.probe_late = dubbo2_probe_late,
	.late_sure = true,
	.init = dubbo2_init,
	.next = dubbo2_next,
	.gap = sized_gap,
	.resync = dubbo2_resync,
	.end = sized_end,
	.fini = sized_fini,
};
