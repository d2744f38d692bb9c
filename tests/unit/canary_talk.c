/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/canary_talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "tests/unit/encode.h"
#include "tests/unit/gen.h"
#include "tests/unit/thrift_write.h"

/* Canaries are told by position, but for those where only a pattern can know: "pth..." in paths, "sta..." in status texts and
 * attributes, "bdy..." in bodies. */
const char talk_rules[] = "  headers: ['x-tenant-*']\n"
			  "  query: [code]\n"
			  "  json: ['$..secret']\n"
			  "  form: [pin]\n"
			  "  thrift: ['1', '2.1', '0']\n"
			  "  protobuf: ['1', '/s.S/m:2.1']\n"
			  "  regex: [{pattern: 'pth[a-z0-9]{13}', on: path}, "
			  "{pattern: 'sta[a-z0-9]{13}', on: header}, "
			  "{pattern: 'bdy[a-z0-9]{13}', on: body}]";

static struct canary *canary_new(struct talk *t, const char *begin)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	assert_true(t->n_canaries < CANARIES_MAX);
	struct canary *c = &t->canary[t->n_canaries++];
	strcpy(c->text, begin);
	for (size_t i = strlen(begin); i < CANARY; i++)
		c->text[i] = alphabet[gen_below(&t->seed, 36)];
	c->shown = true;
	return c;
}

static const char *c_(struct talk *t)
{
	return canary_new(t, "c")->text;
}

static const char *by_pattern(struct talk *t, const char *begin)
{
	return canary_new(t, begin)->text;
}

/* One that no record tells in any case */
static const char *unseen(struct talk *t)
{
	struct canary *c = canary_new(t, "c");
	c->shown = false;
	return c->text;
}

static struct buf *segment(struct talk *t, enum dir dir)
{
	assert_true(t->n_segments < SEGMENTS_MAX);
	t->segment[t->n_segments].dir = dir;
	return &t->segment[t->n_segments++].b;
}

static void text(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void text(struct buf *b, const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof(line) - 1);
	put_text(b, line);
}

/* ---- HTTP/1 ---- */

static void json_body(struct buf *b, struct talk *t)
{
	text(b, "{\"a\":1,\"s\\u0065cret\":\"%s\",\"deep\":[{\"Secret\":[\"%s\",{\"x\":\"%s\"}]}],",
	     c_(t), c_(t), c_(t));
	text(b, "\"t\":\"%s\"}", by_pattern(t, "bdy"));
}

static void chunked(struct buf *b, const struct buf *body, size_t each)
{
	for (size_t at = 0; at < body->n; at += each) {
		struct bytes part = bytes_head(bytes_from(buf_bytes(body), at), each);
		text(b, "%zx\r\n", part.n);
		put(b, part);
		put_text(b, "\r\n");
	}
	put_text(b, "0\r\n");
}

static void http1_exchange(struct talk *t)
{
	struct buf *b = segment(t, DIR_REQUEST), body = {0};
	text(b,
	     "POST http://u:%s@h.local/a/%s?access_token=%s&x=1&c%%6fde=%s#id_token=%s HTTP/1.1\r\n",
	     c_(t), by_pattern(t, "pth"), c_(t), c_(t), c_(t));
	text(b, "Host: h.local\r\nAUTHORIZATION: Bearer %s\r\nauthorization: Basic %s\r\n", c_(t),
	     c_(t));
	text(b, "Cookie: a=%s; b=%s\r\nX-Tenant-Key: %s\r\nrpc-persist-x-api-key: %s\r\n", c_(t),
	     c_(t), c_(t), c_(t));
	text(b, "Referer: http://x/?password=%s\r\nX-Any: %s\r\n", c_(t), by_pattern(t, "sta"));
	put_text(b, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
	json_body(&body, t);
	chunked(b, &body, 7);
	text(b, "X-Api-Key: %s\r\n\r\n", c_(t));
	buf_fini(&body);
	b = segment(t, DIR_RESPONSE);
	text(b, "HTTP/1.1 103 Early Hints\r\nSet-Cookie: %s\r\n\r\n", unseen(t));
	text(b, "HTTP/1.1 200 %s\r\nSet-Cookie: s=%s; Path=/\r\nLocation: //u:%s@h/?secret=%s\r\n",
	     by_pattern(t, "sta"), c_(t), c_(t), c_(t));
	put_text(b,
		 "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 24\r\n\r\n");
	text(b, "pin=%s&a=1", c_(t));
}

static void http1_multipart(struct talk *t)
{
	struct buf *b = segment(t, DIR_REQUEST), body = {0};
	text(&body,
	     "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
	     "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n%s\r\n--b--\r\n",
	     c_(t));
	put_text(
		b,
		"POST /up HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n");
	text(b, "Content-Length: %zu\r\n\r\n", body.n);
	put(b, buf_bytes(&body));
	buf_fini(&body);
	b = segment(t, DIR_RESPONSE); /* a coding that nobody knows */
	text(b, "HTTP/1.1 200 OK\r\nContent-Encoding: x-own\r\nContent-Length: 16\r\n\r\n%s",
	     c_(t));
}

static void http1_make(struct talk *t)
{
	http1_exchange(t);
	http1_multipart(t);
}

/* A header on two lines makes the connection suspect: what stood before it is told. */
static void http1_fold_make(struct talk *t)
{
	struct buf *b = segment(t, DIR_REQUEST);
	text(b, "GET /a?secret=%s HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n", c_(t), c_(t));
	text(b, "Authorization: a\r\n %s\r\n\tb\r\n\r\n", unseen(t));
}

/* A reply that ends within its header, and one within its body */
static void http1_cut_make(struct talk *t)
{
	struct buf *b = segment(t, DIR_REQUEST);
	text(b, "GET /a?secret=%s HTTP/1.1\r\nHost: h\r\n\r\n", c_(t));
	b = segment(t, DIR_RESPONSE);
	text(b,
	     "HTTP/1.1 200 OK\r\nSet-Cookie: %s\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n",
	     c_(t));
	text(b, "{\"secret\":\"%s", c_(t));
}

/* ---- HTTP/2 ---- */

enum { DATA, HEADERS, SETTINGS = 4, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4 };

static nghttp2_hd_deflater *hpack[2];

static void frame(struct buf *b, unsigned type, unsigned flags, uint32_t stream,
		  struct bytes payload)
{
	put_be(b, payload.n, 3);
	put_be(b, type, 1);
	put_be(b, flags, 1);
	put_be(b, stream, 4);
	put(b, payload);
}

/* Pairs of name and value up to NULL; in HEADERS and CONTINUATION */
static void block(struct buf *b, enum dir dir, uint32_t stream, unsigned flags,
		  const char *const *pairs)
{
	nghttp2_nv nv[16];
	size_t n = 0;
	for (; pairs[2 * n]; n++)
		nv[n] = (nghttp2_nv) {(uint8_t *)(uintptr_t)pairs[2 * n],
				      (uint8_t *)(uintptr_t)pairs[2 * n + 1], strlen(pairs[2 * n]),
				      strlen(pairs[2 * n + 1]), NGHTTP2_NV_FLAG_NONE};
	uint8_t out[2048];
	ssize_t len = nghttp2_hd_deflate_hd(hpack[dir], out, sizeof(out), nv, n);
	assert_true(len > 0);
	size_t first = (size_t)(len + 1) / 2;
	frame(b, HEADERS, flags, stream, bytes_of(out, first));
	frame(b, CONTINUATION, END_HEADERS, stream, bytes_of(out + first, (size_t)len - first));
}

#define PAIRS(...) ((const char *const[]) {__VA_ARGS__, NULL, NULL})

static void data(struct buf *b, uint32_t stream, unsigned flags, struct buf *body)
{
	size_t half = body->n / 2;
	frame(b, DATA, 0, stream, bytes_head(buf_bytes(body), half));
	frame(b, DATA, flags, stream, bytes_from(buf_bytes(body), half));
	buf_fini(body);
}

static void http2_start(struct talk *t)
{
	for (int i = 0; i < 2; i++)
		assert_int_equal(nghttp2_hd_deflate_new(&hpack[i], 4096), 0);
	struct buf *b = segment(t, DIR_REQUEST);
	put_text(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame(b, SETTINGS, 0, 0, bytes_of(NULL, 0));
	frame(segment(t, DIR_RESPONSE), SETTINGS, 0, 0, bytes_of(NULL, 0));
}

static void http2_end(void)
{
	for (int i = 0; i < 2; i++)
		nghttp2_hd_deflate_del(hpack[i]);
}

/* The same secrets on every stream: indexed from the second on. */
static void http2_streams(struct talk *t, unsigned n)
{
	char path[128], pair[64];
	const char *auth = c_(t), *key = c_(t), *set = c_(t), *trailer = c_(t);
	snprintf(path, sizeof(path), "/p/%s?code=%s", by_pattern(t, "pth"), c_(t));
	snprintf(pair, sizeof(pair), "a=%s", c_(t));
	for (uint32_t id = 1; id < 2 * n; id += 2) {
		struct buf *b = segment(t, DIR_REQUEST), body = {0};
		block(b, DIR_REQUEST, id, 0,
		      PAIRS(":method", "POST", ":scheme", "http", ":path", path, ":authority", "h",
			    "authorization", auth, "cookie", pair, "cookie", pair, "x-tenant-k",
			    key, "x-tenant-v", c_(t), "content-type", "application/json"));
		json_body(&body, t);
		data(b, id, END_STREAM, &body);
		b = segment(t, DIR_RESPONSE);
		block(b, DIR_RESPONSE, id, 0,
		      PAIRS(":status", "200", "set-cookie", set, "content-type",
			    "application/json"));
		json_body(&body, t);
		data(b, id, 0, &body);
		block(b, DIR_RESPONSE, id, END_STREAM, PAIRS("x-auth-token", trailer));
	}
}

static void http2_make(struct talk *t)
{
	http2_start(t);
	http2_streams(t, 3);
	http2_end();
}

static void http2_late_make(struct talk *t)
{
	http2_start(t);
	http2_streams(t, 4);
	t->skip = 4; /* the first stream put its secrets into the tables */
	http2_end();
}

/* ---- gRPC ---- */

static void pb_text(struct buf *b, unsigned field, const char *s)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, strlen(s));
	put_text(b, s);
}

/* {1: canary, 2: {1: canary}, 3: a pattern's} */
static void pb_body(struct buf *b, struct talk *t)
{
	struct buf inner = {0};
	pb_text(b, 1, c_(t));
	pb_text(&inner, 1, c_(t));
	put_varint(b, 2 << 3 | 2);
	put_varint(b, inner.n);
	put(b, buf_bytes(&inner));
	buf_fini(&inner);
	pb_text(b, 3, by_pattern(t, "bdy"));
}

static void grpc_message(struct buf *b, struct talk *t)
{
	struct buf m = {0};
	pb_body(&m, t);
	put_be(b, 0, 1);
	put_be(b, m.n, 4);
	put(b, buf_bytes(&m));
	buf_fini(&m);
}

static void grpc_call(struct talk *t, uint32_t id, unsigned messages)
{
	struct buf *b = segment(t, DIR_REQUEST), body = {0};
	block(b, DIR_REQUEST, id, 0,
	      PAIRS(":method", "POST", ":scheme", "http", ":path", "/s.S/m", ":authority", "h",
		    "content-type", "application/grpc", "te", "trailers", "authorization", c_(t),
		    "x-tenant-bin", c_(t)));
	grpc_message(&body, t);
	data(b, id, END_STREAM, &body);
	b = segment(t, DIR_RESPONSE);
	block(b, DIR_RESPONSE, id, 0,
	      PAIRS(":status", "200", "content-type", "application/grpc", "set-cookie", c_(t)));
	for (unsigned i = 0; i < messages; i++)
		grpc_message(&body, t);
	data(b, id, 0, &body);
	block(b, DIR_RESPONSE, id, END_STREAM,
	      PAIRS("grpc-status", "5", "grpc-message", by_pattern(t, "sta"), "x-auth-token",
		    c_(t)));
}

static void grpc_make(struct talk *t)
{
	http2_start(t);
	grpc_call(t, 1, 1);
	grpc_call(t, 3, 3);
	http2_end();
}

/* ---- Thrift, and what carries it ---- */

/* {1: canary, 2: {1: canary}, 3: a pattern's}; of a reply {0: canary} */
static void thrift_body(struct buf *b, struct talk *t, enum thrift_form form, bool reply)
{
	int last = reply ? -1 : 0, inner = 0;
	if (reply) {
		tw_struct(b, form, 0, bytes_str(c_(t)));
		return;
	}
	tw_field(b, form, 11, 1, &last);
	tw_string(b, form, bytes_str(c_(t)));
	tw_field(b, form, 12, 2, &last);
	tw_field(b, form, 11, 1, &inner);
	tw_string(b, form, bytes_str(c_(t)));
	tw_stop(b);
	tw_field(b, form, 11, 3, &last);
	tw_string(b, form, bytes_str(by_pattern(t, "bdy")));
	tw_stop(b);
}

enum { CALL = 1, REPLY, EXCEPTION };

static void thrift_message(struct buf *b, struct talk *t, enum thrift_form form, unsigned type,
			   int32_t seq)
{
	tw_message(b, form, type, "S:m", seq);
	if (type == EXCEPTION)
		tw_exception(b, form, bytes_str(c_(t)), 6, false);
	else
		thrift_body(b, t, form, type == REPLY);
}

static void thrift_framed(struct talk *t, enum dir dir, enum thrift_form form, unsigned type,
			  int32_t seq)
{
	struct buf *b = segment(t, dir);
	put_be(b, 0, 4);
	thrift_message(b, t, form, type, seq);
	put_at(b, 0, b->n - 4, 4);
}

static void thrift_calls(struct talk *t, enum thrift_form form)
{
	for (int32_t seq = 1; seq <= 2; seq++) {
		thrift_framed(t, DIR_REQUEST, form, CALL, seq);
		thrift_framed(t, DIR_RESPONSE, form, seq == 1 ? REPLY : EXCEPTION, seq);
	}
}

static void thrift_make(struct talk *t)
{
	thrift_calls(t, THRIFT_BINARY);
}

static void thrift_compact_make(struct talk *t)
{
	thrift_calls(t, THRIFT_COMPACT);
}

static void pair16(struct buf *b, const char *key, const char *value)
{
	put_be(b, strlen(key), 2);
	put_text(b, key);
	put_be(b, strlen(value), 2);
	put_text(b, value);
}

static void ttheader_frame(struct talk *t, bool reply, uint32_t seq, bool protobuf)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), h = {0}, part = {0};
	if (protobuf) {
		put_be(&part, 0x90010000 | (reply ? REPLY : CALL), 4);
		put_be(&part, 1, 4);
		put_text(&part, "m");
		put_be(&part, seq, 4);
		pb_body(&part, t);
	} else {
		thrift_message(&part, t, THRIFT_BINARY, reply ? seq == 1 ? REPLY : EXCEPTION : CALL,
			       (int32_t)seq);
	}
	put_be(&h, protobuf ? 4 : 0, 1);
	put_be(&h, 0, 1);
	put_be(&h, 1, 1);
	put_be(&h, 3, 2);
	pair16(&h, "Authorization", c_(t));
	pair16(&h, "RPC_TRANSIT_x-api-key", c_(t));
	pair16(&h, "x-tenant-a", c_(t));
	put_be(&h, 0x10, 1);
	put_be(&h, reply ? 1 : 3, 2);
	if (!reply) {
		put_be(&h, 6, 2);
		put_be(&h, 3, 2);
		put_text(&h, "s.S");
		put_be(&h, 9, 2);
		put_be(&h, 1, 2);
		put_text(&h, "m");
	}
	put_be(&h, 2, 2); /* the log id */
	put_be(&h, CANARY, 2);
	put_text(&h, by_pattern(t, "sta"));
	put_be(&h, 0x11, 1);
	put_be(&h, CANARY, 2);
	put_text(&h, c_(t));
	while (h.n % 4)
		put_be(&h, 0, 1);
	put_be(b, 10 + h.n + part.n + 4 * protobuf, 4);
	put_be(b, 0x1000, 2);
	put_be(b, 0, 2);
	put_be(b, seq, 4);
	put_be(b, h.n / 4, 2);
	put(b, buf_bytes(&h));
	if (protobuf)
		put_be(b, part.n, 4);
	put(b, buf_bytes(&part));
	buf_fini(&h);
	buf_fini(&part);
}

static void ttheader_make(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		ttheader_frame(t, false, seq, false);
		ttheader_frame(t, true, seq, false);
	}
}

static void kitex_protobuf_make(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		ttheader_frame(t, false, seq, true);
		ttheader_frame(t, true, seq, true);
	}
}

static void theader_frame(struct talk *t, bool reply, uint32_t seq)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), h = {0}, part = {0};
	thrift_message(&part, t, THRIFT_BINARY, reply ? REPLY : CALL, (int32_t)seq);
	put_be(&h, 0, 2);
	put_be(&h, 0x0102, 2);
	put_be(&h, 13, 1);
	put_text(&h, "authorization");
	put_be(&h, CANARY, 1);
	put_text(&h, c_(t));
	put_be(&h, 10, 1);
	put_text(&h, "X-Tenant-B");
	put_be(&h, CANARY, 1);
	put_text(&h, c_(t));
	while (h.n % 4)
		put_be(&h, 0, 1);
	put_be(b, 10 + h.n + part.n, 4);
	put_be(b, 0x0fff0000, 4);
	put_be(b, seq, 4);
	put_be(b, h.n / 4, 2);
	put(b, buf_bytes(&h));
	put(b, buf_bytes(&part));
	buf_fini(&h);
	buf_fini(&part);
}

static void theader_make(struct talk *t)
{
	for (uint32_t seq = 1; seq <= 2; seq++) {
		theader_frame(t, false, seq);
		theader_frame(t, true, seq);
	}
}

/* ---- Dubbo2, bRPC ---- */

static void hessian(struct buf *b, const char *s)
{
	put_be(b, strlen(s), 1);
	put_text(b, s);
}

static void attachments(struct buf *b, struct talk *t)
{
	put_text(b, "H");
	hessian(b, "path");
	hessian(b, "demo.S");
	hessian(b, "authorization");
	hessian(b, c_(t));
	hessian(b, "x-tenant-c");
	hessian(b, c_(t));
	put_text(b, "Z");
}

static void dubbo2_frame(struct talk *t, bool reply, uint64_t id)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), part = {0};
	if (!reply) {
		hessian(&part, "2.0.2");
		hessian(&part, "demo.S");
		hessian(&part, "1.2.3");
		hessian(&part, "m");
		hessian(&part, "Ljava/lang/String;");
	} else {
		put_be(&part, 0x94, 1); /* a value with attachments */
	}
	hessian(&part, by_pattern(t, "bdy"));
	attachments(&part, t);
	put_be(b, 0xdabb, 2);
	put_be(b, reply ? 2 : 0xc2, 1);
	put_be(b, reply ? 20 : 0, 1);
	put_be(b, id, 8);
	put_be(b, part.n, 4);
	put(b, buf_bytes(&part));
	buf_fini(&part);
}

static void dubbo2_make(struct talk *t)
{
	for (uint64_t id = 1; id <= 2; id++) {
		dubbo2_frame(t, false, id);
		dubbo2_frame(t, true, id);
	}
}

static void pb_part(struct buf *b, unsigned field, struct buf *part)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, part->n);
	put(b, buf_bytes(part));
	buf_fini(part);
}

static void brpc_frame(struct talk *t, bool reply, uint32_t id)
{
	struct buf *b = segment(t, reply ? DIR_RESPONSE : DIR_REQUEST), inner = {0}, meta = {0},
		   body = {0};
	if (reply) {
		put_be(&inner, 0x08, 1);
		put_varint(&inner, 2001);
		pb_text(&inner, 2, by_pattern(t, "sta"));
	} else {
		pb_text(&inner, 1, "s.S");
		pb_text(&inner, 2, "m");
		pb_text(&inner, 7, by_pattern(t, "sta")); /* the request's id */
	}
	pb_body(&body, t);
	pb_part(&meta, reply ? 2 : 1, &inner);
	put_be(&meta, 0x20, 1);
	put_varint(&meta, id);
	put_be(&meta, 0x28, 1);
	put_varint(&meta, CANARY); /* the attachment */
	if (!reply)
		pb_text(&meta, 7, unseen(t)); /* authentication */
	put_text(&body, by_pattern(t, "bdy"));
	put_text(b, "PRPC");
	put_be(b, meta.n + body.n, 4);
	put_be(b, meta.n, 4);
	put(b, buf_bytes(&meta));
	put(b, buf_bytes(&body));
	buf_fini(&meta);
	buf_fini(&body);
}

static void brpc_make(struct talk *t)
{
	for (uint32_t id = 1; id <= 2; id++) {
		brpc_frame(t, false, id);
		brpc_frame(t, true, id);
	}
}

const struct talk_kind talk_kinds[] = {
	{"http1", http1_make, false},
	{"http1_fold", http1_fold_make, false},
	{"http1_cut", http1_cut_make, false},
	{"http2", http2_make, false},
	{"http2_late", http2_late_make, true},
	{"grpc", grpc_make, false},
	{"thrift", thrift_make, false},
	{"thrift_compact", thrift_compact_make, false},
	{"ttheader", ttheader_make, false},
	{"kitex_protobuf", kitex_protobuf_make, false},
	{"theader", theader_make, false},
	{"dubbo2", dubbo2_make, false},
	{"brpc", brpc_make, false},
	{0},
};

void talk_make(const struct talk_kind *k, struct talk *t, uint64_t seed)
{
	*t = (struct talk) {.seed = seed * 2 + 1};
	k->make(t);
	for (size_t i = 0; i < t->n_segments; i++)
		if (t->segment[i].b.n > t->longest)
			t->longest = t->segment[i].b.n;
}

void talk_fini(struct talk *t)
{
	for (size_t i = 0; i < t->n_segments; i++)
		buf_fini(&t->segment[i].b);
}
