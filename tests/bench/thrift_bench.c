/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Thrift framer alone, from memory: calls a second of processor time, a call being a request of 1 KiB and its
 * reply of 1 KiB, each given whole. Usage: thrift_bench [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rpc/protocols.h"
#include "tests/unit/thrift_write.h"

enum { MESSAGE = 1024, ROUND = 10000 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A header of five small fields and a string that fills the rest; a reply has them inside its one field. */
static struct buf message(enum thrift_form form, bool framed, unsigned type)
{
	struct buf b = {0}, text = {0};
	int last = 0;

	tw_message(&b, form, type, "Catalog:getItems", 77);
	tw_field(&b, form, 12, type == THRIFT_REPLY ? 0 : 1, &last);
	last = 0;
	for (int id = 1; id <= 5; id++) {
		tw_field(&b, form, id % 2 ? 8 : 11, id, &last);
		if (id % 2)
			tw_i32(&b, form, 70000 * id);
		else
			tw_string(&b, form, BYTES("0af7651916cd43dd8448eb211c80319c"));
	}
	tw_field(&b, form, 11, 6, &last);
	while (b.n + text.n < MESSAGE - 4)
		tw_u8(&text, 'x');
	tw_string(&b, form, buf_bytes(&text));
	tw_stop(&b);
	tw_stop(&b);
	if (framed)
		tw_frame(&b, 0);
	buf_fini(&text);
	return b;
}

static void feed(void *state, enum dir dir, struct bytes in)
{
	struct piece p = {.dir = dir};
	size_t need;

	while (in.n) {
		int64_t n = framer_thrift.next(state, dir, in, &p, &need);
		if (n <= 0)
			exit(1);
		in = bytes_from(in, (size_t)n);
	}
	if (!(p.what & PIECE_END))
		exit(1);
}

static void bench(enum thrift_form form, bool framed, double seconds)
{
	const struct framer_limits limits = {.frame_bytes = 64 << 20};
	struct buf q = message(form, framed, THRIFT_CALL), r = message(form, framed, THRIFT_REPLY);
	void *state = calloc(1, framer_thrift.state_size);
	double start = now(), spent;
	unsigned long calls = 0;

	if (!state || framer_thrift.init(state, &limits, false) < 0)
		exit(1);
	do {
		for (unsigned i = 0; i < ROUND; i++, calls++) {
			feed(state, DIR_REQUEST, buf_bytes(&q));
			feed(state, DIR_RESPONSE, buf_bytes(&r));
		}
		spent = now() - start;
	} while (spent < seconds);
	printf("%s+%s calls %lu seconds %.3f calls/s %.0f MB/s %.0f ns/call %.1f state %zu bytes\n",
	       framed ? "framed" : "unframed", thrift_form_name(form), calls, spent,
	       (double)calls / spent, (double)calls * (double)(q.n + r.n) / spent / 1e6,
	       spent * 1e9 / (double)calls, framer_thrift.state_size);
	framer_thrift.fini(state);
	free(state);
	buf_fini(&q);
	buf_fini(&r);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;

	for (int form = THRIFT_BINARY; form <= THRIFT_COMPACT; form++) {
		bench((enum thrift_form)form, true, seconds);
		bench((enum thrift_form)form, false, seconds);
	}
	return 0;
}
