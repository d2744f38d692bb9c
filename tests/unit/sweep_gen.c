/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/sweep_gen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

#define SECOND 1000000000ull

static void text(struct buf *b, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line) || buf_append(b, bytes_of(line, (size_t)n)) < 0)
		abort();
}

static void flush(struct gen *g, struct gen_conn *c, enum dir dir, struct buf *b, size_t mss)
{
	gen_send(g, c, dir, buf_bytes(b), mss);
	buf_reset(b, 0);
}

/* ---- HTTP/1 ---- */

static void http1_body(struct buf *b, unsigned token, size_t n, bool chunked)
{
	if (!chunked) {
		text(b, "Content-Length: %zu\r\n\r\n", n * 8);
		for (size_t i = 0; i < n; i++)
			text(b, "t%06u.", token);
		return;
	}
	text(b, "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 0; i < n; i++)
		text(b, "8\r\nt%06u.\r\n", token);
	text(b, "0\r\nX-Trailer: t%06u\r\n\r\n", token);
}

static bool is_head(uint64_t kind)
{
	return kind % 3 == 0 && kind % 4 == 2;
}

static void http1_request(struct buf *b, unsigned token, uint64_t kind)
{
	text(b, "%s /t%06u HTTP/1.1\r\nHost: s%06u.local\r\nX-Token: t%06u\r\n",
	     kind % 3        ? "POST"
	     : is_head(kind) ? "HEAD"
			     : "GET",
	     token, token, token);
	if (kind % 3)
		http1_body(b, token, kind % 40, kind % 3 == 2);
	else
		text(b, "\r\n");
}

static void http1_response(struct buf *b, unsigned token, uint64_t kind)
{
	static const char *const lines[] = {"200 OK", "404 Not Found", "503 Busy", "201 Made"};
	if (kind % 11 == 3)
		text(b, "HTTP/1.1 100 Continue\r\n\r\n");
	text(b, "HTTP/1.1 %s\r\nX-Token: t%06u\r\n", lines[kind / 7 % 4], token);
	if (is_head(kind))
		text(b, "Content-Length: %llu\r\n\r\n", (unsigned long long)kind);
	else
		http1_body(b, token, kind % 60, kind % 2);
}

/* `depth` requests at once; a quiet second and a half before some. */
static void http1_make(struct gen *g, uint64_t seed)
{
	struct buf b = {0};
	unsigned token = 1;
	for (unsigned conn = 0; conn < 8; conn++) {
		struct gen_conn c = gen_conn("10.0.0.1", (uint16_t)(40000 + conn), "10.0.0.2", 80,
					     (uint32_t)seed + conn);
		size_t mss = 60 + gen_below(&seed, 1400), depth = conn < 6 ? 1 : 3;
		gen_open(g, &c);
		for (unsigned turn = 0; turn < 12; turn++, token += depth) {
			if (gen_below(&seed, 4) == 0)
				g->now_ns += SECOND * 3 / 2;
			for (size_t i = 0; i < depth; i++)
				http1_request(&b, token + (unsigned)i, (token + i) * 5);
			flush(g, &c, DIR_REQUEST, &b, mss);
			for (size_t i = 0; i < depth; i++)
				http1_response(&b, token + (unsigned)i, (token + i) * 5);
			flush(g, &c, DIR_RESPONSE, &b, mss);
		}
		if (conn % 3)
			gen_close(g, &c);
	}
	buf_fini(&b);
}

const struct sweep_gen sweep_gens[] = {{"made_http1", http1_make}, {0}};
