/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/canary_talk.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "tests/unit/canary_make.h"

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

const struct talk_kind talk_kinds[] = {
	{"http1", http1_make, false},          {"http1_fold", http1_fold_make, false},
	{"http1_cut", http1_cut_make, false},  {"http2", http2_make, false},
	{"http2_late", http2_late_make, true}, {"grpc", grpc_make, false},
	{"thrift", canary_thrift, false},      {"thrift_compact", canary_thrift_compact, false},
	{"ttheader", canary_ttheader, false},  {"kitex_protobuf", canary_kitex_protobuf, false},
	{"theader", canary_theader, false},    {"dubbo2", canary_dubbo2, false},
	{"brpc", canary_brpc, false},          {0},
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
