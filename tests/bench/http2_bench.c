/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/2 framer alone, from memory: calls with a 1 KiB answer, and small frames that belong to no call, a second
 * of processor time. Usage: http2_bench [seconds]
 */
#include <nghttp2/nghttp2.h>

#include "rpc/http2_frame.h"
#include "rpc/protocols.h"
#include "tests/bench/framed.h"

enum { BATCH = 1024, BODY = 1024, PINGS = 64 };

static void frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t id, struct bytes payload)
{
	const uint8_t head[] = {(uint8_t)(payload.n >> 16),
				(uint8_t)(payload.n >> 8),
				(uint8_t)payload.n,
				type,
				flags,
				(uint8_t)(id >> 24),
				(uint8_t)(id >> 16),
				(uint8_t)(id >> 8),
				(uint8_t)id};

	bench_put(b, head, sizeof(head));
	bench_put(b, payload.p, payload.n);
}

#define NV(name, value)                                                                            \
	{                                                                                          \
		(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, 0      \
	}

static void block(struct buf *out, nghttp2_hd_deflater *d, uint8_t flags, uint32_t id,
		  const nghttp2_nv *nv, size_t n)
{
	uint8_t b[2048];
	ssize_t len = nghttp2_hd_deflate_hd(d, b, sizeof(b), nv, n);

	if (len < 0)
		exit(1);
	frame(out, HTTP2_HEADERS, flags, id, bytes_of(b, (size_t)len));
}

/* A batch of calls: all requests, then all answers; grpc with a message each way and trailers. */
static void calls_make(struct buf out[2], nghttp2_hd_deflater *d[2], uint32_t first, bool grpc)
{
	static const nghttp2_nv get[] = {
		NV(":method", "GET"),
		NV(":scheme", "http"),
		NV(":path", "/api/v1/items?page=3&size=20"),
		NV(":authority", "catalog:8080"),
		NV("user-agent", "client/1.4.2 (linux)"),
		NV("accept", "application/json"),
		NV("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")};
	static const nghttp2_nv ok[] = {NV(":status", "200"), NV("server", "nginx/1.22.1"),
					NV("content-type", "application/json"),
					NV("content-length", "1024")};
	static const nghttp2_nv call[] = {NV(":method", "POST"),
					  NV(":scheme", "http"),
					  NV(":path", "/demo.Catalog/Items"),
					  NV(":authority", "catalog:8080"),
					  NV("content-type", "application/grpc"),
					  NV("te", "trailers"),
					  NV("user-agent", "grpc-go/1.60.0"),
					  NV("grpc-timeout", "1S")};
	static const nghttp2_nv head[] = {NV(":status", "200"),
					  NV("content-type", "application/grpc")};
	static const nghttp2_nv tail[] = {NV("grpc-status", "0"), NV("grpc-message", "")};
	static uint8_t body[5 + BODY] = {0, 0, 0, BODY >> 8, 0};
	const struct bytes question = BYTES("\0\0\0\0\x02\x08\x01");

	for (uint32_t i = 0; i < BATCH; i++) {
		uint32_t id = first + 2 * i;
		if (grpc) {
			block(&out[0], d[0], 4, id, call, sizeof(call) / sizeof(call[0]));
			frame(&out[0], HTTP2_DATA, 1, id, question);
			block(&out[1], d[1], 4, id, head, 2);
			frame(&out[1], HTTP2_DATA, 0, id, bytes_of(body, sizeof(body)));
			block(&out[1], d[1], 5, id, tail, 2);
		} else {
			block(&out[0], d[0], 5, id, get, sizeof(get) / sizeof(get[0]));
			block(&out[1], d[1], 4, id, ok, sizeof(ok) / sizeof(ok[0]));
			frame(&out[1], HTTP2_DATA, 1, id, bytes_of(body, BODY));
		}
	}
}

static unsigned long read_all(void *c, enum dir dir, struct bytes in)
{
	unsigned long ends = 0;
	struct piece p;
	size_t need;

	while (in.n) {
		int64_t n = framer_http2.next(c, dir, in, &p, &need);
		if (n <= 0 && !p.what)
			exit(1);
		ends += (p.what & PIECE_END) != 0;
		in = bytes_from(in, (size_t)n);
	}
	return ends;
}

/* Frames are made outside the time that counts; the ids of a stream go up for as long as it takes. */
static int calls_run(bool grpc, double seconds)
{
	const struct framer_limits limits = {64 * 1024, 256, BATCH, 64 << 20};
	struct buf out[2] = {{0}, {0}};
	nghttp2_hd_deflater *d[2];
	void *c = calloc(1, framer_http2.state_size);
	double spent = 0;
	unsigned long calls = 0, bytes = 0;

	if (!c || framer_http2.init(c, &limits, false) < 0 || nghttp2_hd_deflate_new(&d[0], 4096) ||
	    nghttp2_hd_deflate_new(&d[1], 4096))
		return 1;
	bench_put(&out[0], http2_preface.p, http2_preface.n);
	for (uint32_t id = 1; spent < seconds; id += 2 * BATCH) {
		calls_make(out, d, id, grpc);
		double start = bench_now();
		unsigned long q = read_all(c, DIR_REQUEST, buf_bytes(&out[0]));
		unsigned long r = read_all(c, DIR_RESPONSE, buf_bytes(&out[1]));
		spent += bench_now() - start;
		if (q != BATCH || r != BATCH)
			return 1;
		calls += BATCH;
		bytes += out[0].n + out[1].n;
		out[0].n = out[1].n = 0;
	}
	bench_print(grpc ? "grpc" : "http2", calls, (double)bytes, spent, framer_http2.state_size);
	framer_http2.fini(c);
	free(c);
	for (int i = 0; i < 2; i++) {
		nghttp2_hd_deflate_del(d[i]);
		buf_fini(&out[i]);
	}
	return 0;
}

static int frames_run(double seconds)
{
	const struct framer_limits limits = {64 * 1024, 256, BATCH, 64 << 20};
	struct buf out = {0};
	void *c = calloc(1, framer_http2.state_size);
	unsigned long frames = 0;

	if (!c || framer_http2.init(c, &limits, false) < 0)
		return 1;
	for (unsigned i = 0; i < PINGS; i++) {
		frame(&out, HTTP2_PING, 0, 0, BYTES("12345678"));
		frame(&out, HTTP2_WINDOW_UPDATE, 0, 1, BYTES("\0\0\x10\0"));
	}
	double start = bench_now(), spent;
	do {
		for (unsigned i = 0; i < 1000; i++, frames += 2 * PINGS)
			read_all(c, DIR_RESPONSE, buf_bytes(&out));
		spent = bench_now() - start;
	} while (spent < seconds);
	printf("small frames: %.0f frames/s\n", (double)frames / spent);
	framer_http2.fini(c);
	free(c);
	buf_fini(&out);
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 3;

	return calls_run(false, seconds / 3) || calls_run(true, seconds / 3) ||
	       frames_run(seconds / 3);
}
