/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/ttheader_head.h"

#include <errno.h>
#include <stdio.h>

#include "rpc/thrift_message.h"

enum { INFO_PADDING = 0x00, INFO_STRINGS = 0x01, INFO_INTS = 0x10, INFO_ACL_TOKEN = 0x11 };
enum { OTHERS_MAX = 1024, NUMBER_MAX = 11 };

static const char *const names[TTHEADER_KEYS] = {"mesh_version",
						 "transport_type",
						 "log_id",
						 "from_service",
						 "from_cluster",
						 "from_idc",
						 "to_service",
						 "to_cluster",
						 "to_idc",
						 "to_method",
						 "env",
						 "dest_address",
						 "rpc_timeout_ms",
						 "read_timeout_ms",
						 "ring_hash_key",
						 "ddp_tag",
						 "with_mesh_header",
						 "connect_timeout_ms",
						 "span_context",
						 "short_connection",
						 "from_method",
						 "stress_tag",
						 "msg_type",
						 "http_content_type",
						 "raw_ring_hash_key",
						 "lb_type",
						 "cluster_shard_id",
						 "frame_type"};
static const char *const reply_names[TTHEADER_KEYS] = {"reply_mesh_version",
						       "reply_transport_type",
						       "reply_log_id",
						       "reply_from_service",
						       "reply_from_cluster",
						       "reply_from_idc",
						       "reply_to_service",
						       "reply_to_cluster",
						       "reply_to_idc",
						       NULL,
						       "reply_env",
						       "reply_dest_address",
						       "reply_rpc_timeout_ms",
						       "reply_read_timeout_ms",
						       "reply_ring_hash_key",
						       "reply_ddp_tag",
						       "reply_with_mesh_header",
						       "reply_connect_timeout_ms",
						       "reply_span_context",
						       "reply_short_connection",
						       "reply_from_method",
						       "reply_stress_tag",
						       NULL,
						       "reply_http_content_type",
						       "reply_raw_ring_hash_key",
						       "reply_lb_type",
						       "reply_cluster_shard_id",
						       NULL};

static _Thread_local struct {
	struct header headers[TTHEADER_HEADERS_MAX];
	struct attribute attributes[TTHEADER_ATTRIBUTES_MAX];
	char others[OTHERS_MAX];
} scratch;

/* A reader that ends where the header does, of which maybe only the beginning is here. */
struct reader {
	struct cursor c;
	size_t beyond; /* bytes of the header that are not here */
	bool more; /* a field is right as far as it is here */
	bool bad; /* a field reaches beyond the header */
};

static struct bytes take(struct reader *r, size_t n)
{
	if (r->more || r->bad)
		return (struct bytes) {NULL, 0};
	if (n <= cursor_left(&r->c))
		return cursor_take(&r->c, n);
	*(n <= cursor_left(&r->c) + r->beyond ? &r->more : &r->bad) = true;
	return (struct bytes) {NULL, 0};
}

static uint16_t take16(struct reader *r)
{
	struct bytes b = take(r, 2);
	return b.n ? (uint16_t)(b.p[0] << 8 | b.p[1]) : 0;
}

static struct bytes take_text(struct reader *r)
{
	return take(r, take16(r));
}

static bool ok(const struct reader *r)
{
	return !r->more && !r->bad;
}

/* metainfo carries W3C's header behind one of these prefixes (bytedance/gopkg cloud/metainfo). */
static bool is_traceparent(struct bytes name)
{
	const struct bytes transient = BYTES("RPC_TRANSIT_"), persistent = BYTES("RPC_PERSIST_");

	return name.n == transient.n + 11 &&
	       (bytes_starts(name, transient) || bytes_starts(name, persistent)) &&
	       bytes_caseeq(bytes_from(name, transient.n), BYTES("traceparent"));
}

static void string_note(struct ttheader_head *h, struct bytes name, struct bytes value)
{
	if (bytes_eq(name, BYTES("isn")))
		h->isn = value;
	else if (bytes_eq(name, BYTES("biz-status")))
		h->biz_status = value;
	else if (bytes_eq(name, BYTES("biz-message")))
		h->biz_message = value;
	else if (bytes_eq(name, BYTES("ttscp")))
		h->cancel_path = value;
	else if (bytes_eq(name, BYTES("crrst")))
		h->ready_to_reset = value;
	else if (is_traceparent(name))
		h->traceparent = value;
}

static void header_add(struct ttheader_head *h, struct bytes name, struct bytes value,
		       const struct framer_limits *limits)
{
	string_note(h, name, value);
	if (h->n_headers >= TTHEADER_HEADERS_MAX || h->n_headers >= limits->header_count)
		h->cap = "header_count";
	else
		scratch.headers[h->n_headers++] = (struct header) {name, value, PROVENANCE_LITERAL};
}

static void strings_read(struct ttheader_head *h, struct reader *r,
			 const struct framer_limits *limits)
{
	for (unsigned n = take16(r); n && ok(r); n--) {
		struct bytes name = take_text(r), value = take_text(r);
		if (ok(r))
			header_add(h, name, value, limits);
	}
}

static void other_add(struct ttheader_head *h, uint16_t key, struct bytes value)
{
	size_t n = h->others.n;
	int width = snprintf(NULL, 0, "%s%u=", n ? "," : "", key);

	if (n + (size_t)width + value.n >= OTHERS_MAX) {
		h->cap = "int_keys";
		return;
	}
	snprintf(scratch.others + n, OTHERS_MAX - n, "%s%u=", n ? "," : "", key);
	if (value.n)
		memcpy(scratch.others + n + width, value.p, value.n);
	h->others = bytes_of(scratch.others, n + (size_t)width + value.n);
}

static void ints_read(struct ttheader_head *h, struct reader *r)
{
	for (unsigned n = take16(r); n && ok(r); n--) {
		uint16_t key = take16(r);
		struct bytes value = take_text(r);
		if (!ok(r))
			return;
		h->n_keys++;
		if (key < TTHEADER_KEYS)
			h->key[key] = value;
		else
			other_add(h, key, value);
	}
}

static void blocks_read(struct ttheader_head *h, struct reader *r,
			const struct framer_limits *limits)
{
	while (ok(r) && (cursor_left(&r->c) || r->beyond)) {
		struct bytes id = take(r, 1);
		if (!id.n)
			return;
		switch (id.p[0]) {
		case INFO_PADDING: break;
		case INFO_STRINGS: strings_read(h, r, limits); break;
		case INFO_INTS: ints_read(h, r); break;
		case INFO_ACL_TOKEN: {
			struct bytes token = take_text(r);
			if (ok(r))
				header_add(h, BYTES("gdpr-token"), token, limits);
			break;
		}
		default: r->bad = true;
		}
	}
}

static bool protocol_known(uint8_t id)
{
	return id == 0 || id == 2 || id == 3 || id == 4 || id == 0x10 || id == 0x11;
}

/* As far as `in` reaches: 1 whole and right, 0 right until there, -EPROTO. */
static int fixed_parse(struct ttheader_head *h, struct bytes in, const struct framer_limits *limits)
{
	struct cursor c = cursor_of(bytes_head(in, TTHEADER_FIXED));

	h->total = (uint64_t)cursor_be32(&c) + 4;
	if (in.n && (uint64_t)in.p[0] << 24 > limits->frame_bytes)
		return -EPROTO;
	if (!c.bad && (h->total > limits->frame_bytes || h->total < TTHEADER_FIXED + 4))
		return -EPROTO;
	if (in.n > 4 && in.p[4] != TTHEADER_MAGIC >> 8)
		return -EPROTO;
	if (cursor_be16(&c) != TTHEADER_MAGIC && !c.bad)
		return -EPROTO;
	h->flags = cursor_be16(&c);
	h->seq = cursor_be32(&c);
	h->size = TTHEADER_FIXED + 4u * cursor_be16(&c);
	if (c.bad)
		return 0;
	h->fixed = h->size > TTHEADER_FIXED && h->size <= h->total;
	return h->fixed ? 1 : -EPROTO;
}

int64_t ttheader_head_parse(struct ttheader_head *h, struct bytes in, bool eager,
			    const struct framer_limits *limits, size_t *need)
{
	*h = (struct ttheader_head) {.headers = scratch.headers};
	int fixed = fixed_parse(h, in, limits);
	*need = TTHEADER_FIXED;
	if (fixed <= 0)
		return fixed;
	size_t most = limits->header_bytes > TTHEADER_FIXED + 2 ? limits->header_bytes
								: TTHEADER_FIXED + 2;
	size_t size = h->size > most ? most : h->size;
	*need = size;
	if (in.n < size && !eager)
		return 0;
	struct reader r = {
		.c = cursor_of(bytes_head(bytes_from(in, TTHEADER_FIXED), size - TTHEADER_FIXED))};
	r.beyond = h->size - TTHEADER_FIXED - cursor_left(&r.c);
	struct bytes start = take(&r, 2);
	if (start.n) {
		h->protocol = start.p[0];
		h->transforms = start.p[1];
		r.bad = !protocol_known(h->protocol);
		take(&r, h->transforms);
		blocks_read(h, &r, limits);
	}
	if (r.bad)
		return -EPROTO;
	if (in.n < size)
		return 0;
	h->cut = size < h->size;
	if (h->cut)
		h->cap = "header_bytes";
	return (int64_t)size;
}

/* Decimal, maybe with a sign, of 32 bits */
static bool number_parse(struct bytes b, int32_t *out)
{
	size_t i = b.n && (b.p[0] == '-' || b.p[0] == '+');
	int64_t v = 0;

	if (b.n == i || b.n > NUMBER_MAX)
		return false;
	for (; i < b.n; i++) {
		if (b.p[i] < '0' || b.p[i] > '9')
			return false;
		v = v * 10 + (b.p[i] - '0');
	}
	if (b.p[0] == '-')
		v = -v;
	if (v > INT32_MAX || v < INT32_MIN)
		return false;
	*out = (int32_t)v;
	return true;
}

static unsigned small_number(struct bytes b, unsigned max)
{
	unsigned v = b.n == 1 && b.p[0] >= '1' && b.p[0] <= '9' ? b.p[0] - '0' : 0;

	return v <= max ? v : 0;
}

unsigned ttheader_head_type(const struct ttheader_head *h)
{
	return small_number(h->key[TTHEADER_MSG_TYPE], 6);
}

unsigned ttheader_head_frame(const struct ttheader_head *h)
{
	return small_number(h->key[TTHEADER_FRAME_TYPE], TTHEADER_RST);
}

bool ttheader_head_is_name(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] <= ' ' || b.p[i] >= 0x7f)
			return false;
	return b.n > 0 && b.n <= THRIFT_NAME_MAX;
}

struct bytes ttheader_head_service(const struct ttheader_head *h)
{
	struct bytes b = h->isn.n ? h->isn : h->key[TTHEADER_TO_SERVICE];

	return ttheader_head_is_name(b) ? b : (struct bytes) {NULL, 0};
}

struct bytes ttheader_head_method(const struct ttheader_head *h)
{
	struct bytes b = h->key[TTHEADER_TO_METHOD];

	return ttheader_head_is_name(b) ? b : (struct bytes) {NULL, 0};
}

bool ttheader_head_biz(const struct ttheader_head *h, int32_t *status)
{
	*status = 0;
	return number_parse(h->biz_status, status) && *status != 0;
}

static void attribute_add(struct head *out, const char *name, struct bytes value)
{
	scratch.attributes[out->n_attributes++] = (struct attribute) {name, value};
}

/* Lower-case hex, not all zeroes (W3C Trace Context 2.2.2) */
static bool is_id(struct bytes b)
{
	bool zero = true;

	for (size_t i = 0; i < b.n; i++) {
		uint8_t c = b.p[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		zero &= c == '0';
	}
	return !zero;
}

/* VERSION-TRACE-PARENT-FLAGS of 2, 32, 16 and 2 digits */
static void traceparent_read(struct bytes v, struct head *out)
{
	if (v.n < 55 || v.p[2] != '-' || v.p[35] != '-' || v.p[52] != '-')
		return;
	struct bytes trace = bytes_of(v.p + 3, 32), span = bytes_of(v.p + 36, 16);
	if (is_id(trace) && is_id(span)) {
		out->trace_id = trace;
		out->span_id = span;
	}
}

void ttheader_head_fill(const struct ttheader_head *h, enum dir dir, struct attribute extra,
			struct head *out)
{
	const char *const *list = dir == DIR_REQUEST ? names : reply_names;
	size_t n = h->n_keys ? TTHEADER_KEYS : 0;

	out->headers = h->headers;
	out->n_headers = h->n_headers;
	out->attributes = scratch.attributes;
	for (size_t i = 0; i < n; i++)
		if (h->key[i].p && list[i] && i != TTHEADER_FRAME_TYPE)
			attribute_add(out, list[i], h->key[i]);
	if (h->others.n)
		attribute_add(out, dir == DIR_REQUEST ? "int_keys" : "reply_int_keys", h->others);
	if (extra.name)
		attribute_add(out, extra.name, extra.value);
	if (dir == DIR_REQUEST)
		traceparent_read(h->traceparent, out);
}

void ttheader_head_biz_fill(const struct ttheader_head *h, struct head *out)
{
	int32_t status;

	if (out->outcome == OUTCOME_SERVER_ERROR || !ttheader_head_biz(h, &status))
		return;
	out->outcome = OUTCOME_DECLARED_EXCEPTION;
	out->status = status;
	out->has_status = true;
	out->status_text = h->biz_message;
}

void ttheader_head_rst_fill(const struct ttheader_head *h, enum dir dir, struct head *out)
{
	static _Thread_local struct attribute list[3];
	static _Thread_local char code[16];
	size_t n = 0;

	list[n++] = (struct attribute) {"rst_by",
					dir == DIR_REQUEST ? BYTES("client") : BYTES("server")};
	if (out->has_status) {
		int len = snprintf(code, sizeof(code), "%d", out->status);
		list[n++] = (struct attribute) {"rst_code", bytes_of(code, (size_t)len)};
	}
	if (h->cancel_path.n)
		list[n++] = (struct attribute) {"ttscp", h->cancel_path};
	out->attributes = list;
	out->n_attributes = n;
	out->outcome = OUTCOME_UNKNOWN;
}
