/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 and gRPC: interleaved streams, header blocks by nghttp2's deflater, in HEADERS and CONTINUATION. */
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/sweep_gen.h"

enum { CONNS = 8, TURNS = 14, DEPTH = 4, FIELDS = 12 };
enum { DATA, HEADERS, SETTINGS = 4, CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

struct h2 {
	nghttp2_hd_deflater *hpack[2];
	struct buf out[2];
	bool grpc;
};

static void frame(struct buf *b, unsigned type, unsigned flags, uint32_t stream,
		  struct bytes payload)
{
	sweep_be(b, payload.n, 3);
	sweep_be(b, type, 1);
	sweep_be(b, flags, 1);
	sweep_be(b, stream, 4);
	sweep_bytes(b, payload);
}

struct fields {
	nghttp2_nv nv[FIELDS];
	char text[FIELDS][64];
	size_t n;
};

static void field(struct fields *f, const char *name, const char *fmt, unsigned token)
{
	int n = snprintf(f->text[f->n], sizeof(f->text[0]), fmt, token);
	f->nv[f->n] = (nghttp2_nv) {(uint8_t *)(uintptr_t)name, (uint8_t *)f->text[f->n],
				    strlen(name), (size_t)n, NGHTTP2_NV_FLAG_NONE};
	f->n++;
}

/* In one HEADERS frame, or cut into two. */
static void headers(struct h2 *h, enum dir dir, uint32_t stream, struct fields *f, unsigned flags,
		    bool cut)
{
	uint8_t block[2048];
	ssize_t n = nghttp2_hd_deflate_hd(h->hpack[dir], block, sizeof(block), f->nv, f->n);
	if (n < 2)
		abort();
	size_t first = cut ? (size_t)n / 2 : (size_t)n;
	frame(&h->out[dir], HEADERS, flags | (cut ? 0 : END_HEADERS), stream,
	      bytes_of(block, first));
	if (cut)
		frame(&h->out[dir], CONTINUATION, END_HEADERS, stream,
		      bytes_of(block + first, (size_t)n - first));
}

static void data(struct h2 *h, enum dir dir, uint32_t stream, unsigned token, size_t n, bool end,
		 bool padded)
{
	struct buf b = {0};
	if (padded)
		sweep_be(&b, 3, 1);
	if (h->grpc) {
		sweep_be(&b, 0, 1);
		sweep_be(&b, n * 8, 4);
	}
	sweep_tokens(&b, token, n);
	if (padded)
		sweep_be(&b, 0, 3);
	frame(&h->out[dir], DATA, (end ? END_STREAM : 0) | (padded ? PADDED : 0), stream,
	      buf_bytes(&b));
	buf_fini(&b);
}

static void request(struct h2 *h, uint32_t stream, unsigned token, uint64_t kind)
{
	struct fields f = {0};
	bool body = h->grpc || kind % 2;
	field(&f, ":method", h->grpc || kind % 2 ? "POST" : "GET", 0);
	field(&f, ":scheme", "http", 0);
	field(&f, ":path", h->grpc ? "/demo.Tok/do_t%06u" : "/t%06u", token);
	field(&f, ":authority", kind % 3 ? "always.local" : "t%06u.local", token);
	field(&f, "content-type", h->grpc ? "application/grpc" : "text/plain", 0);
	if (h->grpc)
		field(&f, "te", "trailers", 0);
	field(&f, "x-always", "the same each time", 0);
	if (kind % 7 == 1)
		field(&f, "x-seldom", "t%06u", token);
	field(&f, "x-token", "t%06u", token);
	headers(h, DIR_REQUEST, stream, &f, body ? 0 : END_STREAM, kind % 13 == 5);
	if (body)
		data(h, DIR_REQUEST, stream, token, 1 + kind % 40, true, kind % 9 == 2);
}

static void response_head(struct h2 *h, uint32_t stream, unsigned token, uint64_t kind)
{
	struct fields f = {0};
	field(&f, ":status", h->grpc || kind % 4 ? "200" : "404", 0);
	field(&f, "content-type", h->grpc ? "application/grpc" : "text/plain", 0);
	field(&f, "server", "made", 0);
	field(&f, "x-token", "t%06u", token);
	headers(h, DIR_RESPONSE, stream, &f, 0, kind % 11 == 7);
}

static void response_end(struct h2 *h, uint32_t stream, unsigned token, uint64_t kind)
{
	struct fields f = {0};
	data(h, DIR_RESPONSE, stream, token, 1 + kind % 50, !h->grpc, kind % 8 == 3);
	if (!h->grpc)
		return;
	field(&f, "grpc-status", kind % 4 ? "0" : "5", 0);
	field(&f, "grpc-message", "t%06u", token);
	headers(h, DIR_RESPONSE, stream, &f, END_STREAM, false);
}

static void open_conn(struct h2 *h, struct gen *g, struct gen_conn *c)
{
	for (int i = 0; i < 2; i++)
		if (nghttp2_hd_deflate_new(&h->hpack[i], 4096) != 0)
			abort();
	gen_open(g, c);
	sweep_text(&h->out[0], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	for (int i = 0; i < 2; i++) {
		frame(&h->out[i], SETTINGS, 0, 0, bytes_of(NULL, 0));
		sweep_flush(g, c, (enum dir)i, &h->out[i], 1400);
	}
}

/* Some requests, their replies in another order, heads before bodies. */
static void turn(struct h2 *h, struct gen *g, struct gen_conn *c, uint32_t *stream, unsigned token,
		 size_t mss, uint64_t *seed)
{
	uint64_t kinds[DEPTH];
	unsigned first = (unsigned)gen_below(seed, DEPTH);
	for (unsigned i = 0; i < DEPTH; i++)
		request(h, *stream + 2 * i, token + i, kinds[i] = gen_below(seed, 1000));
	sweep_flush(g, c, DIR_REQUEST, &h->out[0], mss);
	for (unsigned i = 0; i < DEPTH; i++)
		response_head(h, *stream + 2 * ((first + i) % DEPTH), token + (first + i) % DEPTH,
			      kinds[(first + i) % DEPTH]);
	for (unsigned i = 0; i < DEPTH; i++)
		response_end(h, *stream + 2 * i, token + i, kinds[i]);
	sweep_flush(g, c, DIR_RESPONSE, &h->out[1], mss);
	*stream += 2 * DEPTH;
}

static size_t make(struct gen *g, uint64_t seed, bool grpc)
{
	unsigned token = 1;
	for (unsigned conn = 0; conn < CONNS; conn++) {
		struct gen_conn c = gen_conn("10.0.0.1", (uint16_t)(40000 + conn), "10.0.0.2", 80,
					     (uint32_t)seed + conn);
		struct h2 h = {.grpc = grpc};
		uint32_t stream = 1;
		size_t mss = 60 + gen_below(&seed, 1400);
		open_conn(&h, g, &c);
		for (unsigned i = 0; i < TURNS; i++, token += DEPTH)
			turn(&h, g, &c, &stream, token, mss, &seed);
		for (int i = 0; i < 2; i++) {
			nghttp2_hd_deflate_del(h.hpack[i]);
			buf_fini(&h.out[i]);
		}
		if (conn % 3)
			gen_close(g, &c);
	}
	return token - 1;
}

size_t sweep_http2_make(struct gen *g, uint64_t seed)
{
	return make(g, seed, false);
}

size_t sweep_grpc_make(struct gen *g, uint64_t seed)
{
	return make(g, seed, true);
}
