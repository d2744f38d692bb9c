/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1 framer alone, from memory: heads a second of processor time, so that other load does not
 * matter much. Usage: http1_bench [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rpc/protocols.h"

static const char request[] =
	"GET /api/v1/items?page=3&size=20 HTTP/1.1\r\n"
	"Host: catalog.internal:8080\r\n"
	"User-Agent: client/1.4.2 (linux)\r\n"
	"Accept: application/json, text/plain\r\n"
	"Accept-Encoding: gzip, deflate\r\n"
	"Connection: keep-alive\r\n"
	"X-Request-Id: 5b0f3c1e-7d5c-4a5e-9a3b-1c2d3e4f5a6b\r\n"
	"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
	"Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789\r\n"
	"Cookie: session=0123456789abcdef0123456789abcdef\r\n"
	"Cache-Control: no-cache\r\n\r\n";
static const char response[] =
	"HTTP/1.1 200 OK\r\n"
	"Server: nginx/1.22.1\r\n"
	"Date: Tue, 04 Mar 2025 10:00:00 GMT\r\n"
	"Content-Type: application/json\r\n"
	"Content-Length: 64\r\n"
	"Connection: keep-alive\r\n"
	"ETag: \"64-5f0c\"\r\n\r\n"
	"{\"items\":[{\"id\":1,\"name\":\"one\"},{\"id\":2,\"name\":\"two\"}],\"n\":2}  \n";

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void message(void *c, enum dir dir, struct bytes in)
{
	struct piece p = {.dir = dir};
	size_t need;

	while (in.n) {
		int64_t n = framer_http1.next(c, dir, in, &p, &need);
		if (n <= 0)
			exit(1);
		in = bytes_from(in, (size_t)n);
	}
	if (!(p.what & PIECE_END))
		exit(1);
}

int main(int argc, char **argv)
{
	const struct framer_limits limits = {64 * 1024, 256, 1024, 64 << 20};
	double seconds = argc > 1 ? atof(argv[1]) : 3, start = now(), spent;
	struct bytes q = bytes_of(request, sizeof(request) - 1);
	struct bytes r = bytes_of(response, sizeof(response) - 1);
	void *c = calloc(1, framer_http1.state_size);
	unsigned long pairs = 0;

	if (!c || framer_http1.init(c, &limits, false) < 0)
		return 1;
	do {
		for (unsigned i = 0; i < 10000; i++, pairs++) {
			message(c, DIR_REQUEST, q);
			message(c, DIR_RESPONSE, r);
		}
		spent = now() - start;
	} while (spent < seconds);
	printf("pairs %lu seconds %.3f heads/s %.0f MB/s %.0f ns/pair %.1f state %zu bytes\n",
	       pairs, spent, 2 * (double)pairs / spent,
	       (double)pairs * (double)(q.n + r.n) / spent / 1e6, spent * 1e9 / (double)pairs,
	       framer_http1.state_size);
	framer_http1.fini(c);
	free(c);
	return 0;
}
