/* SPDX-License-Identifier: Apache-2.0 */
/* One framer alone, from memory: calls a second of processor time, so that other load does not matter much. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "rpc/framer.h"

static inline double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void bench_message(const struct framer_ops *ops, void *c, enum dir dir,
				 struct bytes in)
{
	struct piece p = {.dir = dir};
	size_t need;

	while (in.n) {
		int64_t n = ops->next(c, dir, in, &p, &need);
		if (n <= 0)
			exit(1);
		in = bytes_from(in, (size_t)n);
	}
	if (!(p.what & PIECE_END))
		exit(1);
}

/* The line that tests/bench/run.py reads: "NAME: N calls/s ..." */
static inline void bench_print(const char *name, unsigned long calls, double bytes, double spent,
			       size_t state_size)
{
	printf("%s: %.0f calls/s %.0f MB/s %.1f ns/call state %zu bytes\n", name,
	       (double)calls / spent, bytes / spent / 1e6, spent * 1e9 / (double)calls, state_size);
}

/* A request and its reply, over and over; prints the figures under this name. */
static inline int bench_framer(const struct framer_ops *ops, const char *name, struct bytes q,
			       struct bytes r, double seconds)
{
	const struct framer_limits limits = {64 * 1024, 256, 1024, 64 << 20};
	double start = bench_now(), spent;
	void *c = calloc(1, ops->state_size);
	unsigned long calls = 0;

	if (!c || ops->init(c, &limits, false) < 0)
		return 1;
	do {
		for (unsigned i = 0; i < 10000; i++, calls++) {
			bench_message(ops, c, DIR_REQUEST, q);
			bench_message(ops, c, DIR_RESPONSE, r);
		}
		spent = bench_now() - start;
	} while (spent < seconds);
	bench_print(name, calls, (double)calls * (double)(q.n + r.n), spent, ops->state_size);
	ops->fini(c);
	free(c);
	return 0;
}

static inline void bench_put(struct buf *b, const void *p, size_t n)
{
	if (buf_append(b, bytes_of(p, n)) < 0)
		exit(1);
}

#define BENCH_PUT(b, lit) bench_put(b, lit, sizeof(lit) - 1)

static inline void bench_be(struct buf *b, uint64_t v, unsigned n)
{
	for (; n; n--) {
		uint8_t byte = (uint8_t)(v >> 8 * (n - 1));
		bench_put(b, &byte, 1);
	}
}

static inline void bench_fill(struct buf *b, char c, size_t n)
{
	for (; n; n--)
		bench_put(b, &c, 1);
}
