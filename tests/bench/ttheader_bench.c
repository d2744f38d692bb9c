/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TTHeader framer alone, from memory: calls of 1 KiB a second of processor time, so that other load does not
 * matter much. Usage: ttheader_bench [seconds]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rpc/protocols.h"

enum { FRAME = 1024 };

/* As Kitex writes it with its two handlers of meta information */
static const char request_head[] = "\0\0\3\xfc\x10\0\0\1\0\0\0\1\0\x2a\0\0"
				   "\x01\0\3\0\x15RPC_TRANSIT_DEMO_CALL\0\2"
				   "12\0\x12RPC_PERSIST_REGION\0\1n\0\3isn\0\x0b"
				   "EchoService"
				   "\x10\0\7\0\3\0\x0c"
				   "demo.clientA\0\6\0\x10"
				   "demo.EchoService\0\x09\0\5"
				   "Touch\0\x14\0\x12"
				   "demo.clientA.CallT\0\x16\0\1"
				   "1\0\1\0\x08unframed\0\x0c\0\4"
				   "5000"
				   "\x80\1\0\1\0\0\0\5Touch\0\0\0\1\x0b\0\1\0\0\3\x37";
static const char reply_head[] = "\0\0\3\xfc\x10\0\0\0\0\0\0\1\0\3\0\0\x10\0\1\0\x16\0\1"
				 "2\0\0"
				 "\x80\1\0\2\0\0\0\5Touch\0\0\0\1\x0b\0\0\0\0\3\xd0";

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void message(void *c, enum dir dir, struct bytes in, const char *method)
{
	struct piece p;
	size_t need;
	int64_t n = framer_ttheader.next(c, dir, in, &p, &need);

	if (n != FRAME || p.what != (PIECE_HEAD | PIECE_BODY | PIECE_END) ||
	    !bytes_eq(p.head.method, bytes_str(method)) ||
	    p.head.outcome != (dir == DIR_REQUEST ? OUTCOME_UNKNOWN : OUTCOME_OK))
		exit(1);
}

int main(int argc, char **argv)
{
	const struct framer_limits limits = {64 << 10, 256, 1024, 64 << 20};
	static uint8_t frames[2][FRAME];
	double seconds = argc > 1 ? atof(argv[1]) : 3, start = now(), spent;
	void *c = calloc(1, framer_ttheader.state_size);
	unsigned long calls = 0;

	memcpy(frames[0], request_head, sizeof(request_head) - 1);
	memcpy(frames[1], reply_head, sizeof(reply_head) - 1);
	if (!c || framer_ttheader.init(c, &limits, false) < 0)
		return 1;
	do {
		for (unsigned i = 0; i < 10000; i++, calls++) {
			message(c, DIR_REQUEST, bytes_of(frames[0], FRAME), "Touch");
			message(c, DIR_RESPONSE, bytes_of(frames[1], FRAME), "Touch");
		}
		spent = now() - start;
	} while (spent < seconds);
	printf("calls %lu seconds %.3f calls/s %.0f MB/s %.0f ns/call %.1f state %zu bytes\n",
	       calls, spent, (double)calls / spent, 2.0 * FRAME * (double)calls / spent / 1e6,
	       spent * 1e9 / (double)calls, framer_ttheader.state_size);
	framer_ttheader.fini(c);
	free(c);
	return 0;
}
