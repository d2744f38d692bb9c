/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sweep_gen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONNS = 8, TURNS = 12, DEPTH_MAX = 4 };

void sweep_bytes(struct buf *b, struct bytes more)
{
	if (buf_append(b, more) < 0)
		abort();
}

void sweep_text(struct buf *b, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		abort();
	sweep_bytes(b, bytes_of(line, (size_t)n));
}

void sweep_be(struct buf *b, uint64_t v, unsigned n)
{
	while (n--) {
		uint8_t byte = (uint8_t)(v >> 8 * n);
		sweep_bytes(b, bytes_of(&byte, 1));
	}
}

void sweep_tokens(struct buf *b, unsigned token, size_t n)
{
	while (n--)
		sweep_text(b, "t%06u.", token);
}

void sweep_flush(struct gen *g, struct gen_conn *c, enum dir dir, struct buf *b, size_t mss)
{
	gen_send(g, c, dir, buf_bytes(b), mss);
	buf_reset(b, 0);
}

/* ---- HTTP/1 ---- */

static void http1_body(struct buf *b, unsigned token, size_t n, bool chunked)
{
	if (!chunked) {
		sweep_text(b, "Content-Length: %zu\r\n\r\n", n * 8);
		sweep_tokens(b, token, n);
		return;
	}
	sweep_text(b, "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < n; i++)
		sweep_text(b, "8\r\nt%06u.\r\n", token);
	sweep_text(b, "0\r\nX-Trailer: t%06u\r\n\r\n", token);
}

static bool is_head(uint64_t kind)
{
	return kind % 3 == 0 && kind % 4 == 2;
}

static void http1_request(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	(void)form, (void)id;
	const char *method = kind % 3 ? "POST" : is_head(kind) ? "HEAD" : "GET";
	sweep_text(b, "%s /t%06u HTTP/1.1\r\nHost: t%06u.local\r\nX-Token: t%06u\r\n", method,
		   token, token, token);
	if (kind % 3)
		http1_body(b, token, kind % 40, kind % 3 == 2);
	else
		sweep_text(b, "\r\n");
}

static void http1_response(struct buf *b, unsigned form, uint32_t id, unsigned token, uint64_t kind)
{
	static const char *const lines[] = {"200 OK", "404 Not Found", "503 Busy", "201 Made"};
	(void)form, (void)id;
	if (kind % 11 == 3)
		sweep_text(b, "HTTP/1.1 100 Continue\r\n\r\n");
	sweep_text(b, "HTTP/1.1 %s\r\nX-Token: t%06u\r\n", lines[kind / 7 % 4], token);
	if (is_head(kind))
		sweep_text(b, "Content-Length: %llu\r\n\r\n", (unsigned long long)kind);
	else
		http1_body(b, token, kind % 60, kind % 2);
}

static const struct sweep_maker http1 = {http1_request, http1_response, 1, false};

/* ---- conversations ---- */

static void order_make(unsigned *order, unsigned depth, bool shuffle, uint64_t *seed)
{
	for (unsigned i = 0; i < depth; i++)
		order[i] = i;
	for (unsigned i = depth; shuffle && i > 1; i--) {
		unsigned k = (unsigned)gen_below(seed, i), t = order[k];
		order[k] = order[i - 1];
		order[i - 1] = t;
	}
}

/* `depth` requests at once, then their replies; a quiet second and a half before some. */
static void turn_make(struct gen *g, struct gen_conn *c, const struct sweep_maker *m, unsigned form,
		      unsigned token, unsigned depth, size_t mss, uint64_t *seed)
{
	struct buf b = {0};
	unsigned order[DEPTH_MAX];
	uint64_t kinds[DEPTH_MAX];
	if (gen_below(seed, 4) == 0)
		g->now_ns += SWEEP_SECOND * 3 / 2;
	for (unsigned i = 0; i < depth; i++) {
		kinds[i] = gen_below(seed, 1000);
		m->request(&b, form, token + i, token + i, kinds[i]);
	}
	sweep_flush(g, c, DIR_REQUEST, &b, mss);
	order_make(order, depth, m->by_id, seed);
	for (unsigned i = 0; i < depth; i++)
		m->response(&b, form, token + order[i], token + order[i], kinds[order[i]]);
	sweep_flush(g, c, DIR_RESPONSE, &b, mss);
	buf_fini(&b);
}

size_t sweep_gen_make(const struct sweep_gen *s, struct gen *g, uint64_t seed)
{
	unsigned token = 1;
	if (s->make)
		return s->make(g, seed);
	for (unsigned conn = 0; conn < CONNS * s->maker->forms; conn++) {
		struct gen_conn c = gen_conn("10.0.0.1", (uint16_t)(40000 + conn), "10.0.0.2", 80,
					     (uint32_t)seed + conn);
		size_t mss = 60 + gen_below(&seed, 1400);
		unsigned depth = s->maker->by_id ? 1 + conn % DEPTH_MAX : conn % 4 == 3 ? 3 : 1;
		gen_open(g, &c);
		for (unsigned turn = 0; turn < TURNS; turn++, token += depth)
			turn_make(g, &c, s->maker, conn % s->maker->forms, token, depth, mss,
				  &seed);
		if (conn % 3)
			gen_close(g, &c);
	}
	return token - 1;
}

const struct sweep_gen sweep_gens[] = {
	{"made_http1", &http1, NULL},
	{"made_http2", NULL, sweep_http2_make},
	{"made_grpc", NULL, sweep_grpc_make},
	{"made_thrift", &sweep_thrift, NULL},
	{"made_ttheader", &sweep_ttheader, NULL},
	{"made_theader", &sweep_theader, NULL},
	{"made_kitex_protobuf", &sweep_kitex_protobuf, NULL},
	{"made_dubbo2", &sweep_dubbo2, NULL},
	{"made_brpc", &sweep_brpc, NULL},
	{0},
};
