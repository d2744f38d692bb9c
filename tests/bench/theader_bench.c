/* SPDX-License-Identifier: Apache-2.0 */
/* THeader with binary Thrift, payloads of 1 KiB: usage theader_bench [seconds] */
#include "rpc/protocols.h"
#include "tests/bench/framed.h"

static void frame(struct buf *out, unsigned type)
{
	bench_be(out, 10 + 16 + 17 + 1024, 4);
	bench_be(out, 0x0fff0000, 4);
	bench_be(out, 7, 4);
	bench_be(out, 4, 2);
	BENCH_PUT(out, "\0\0\1\1\3key\5value\0\0");
	bench_be(out, 0x80010000 | type, 4);
	BENCH_PUT(out, "\0\0\0\5touch");
	bench_be(out, 7, 4);
	BENCH_PUT(out, "\x0b\0\0");
	bench_be(out, 1024 - 8, 4);
	bench_fill(out, 't', 1024 - 8);
	bench_be(out, 0, 1);
}

int main(int argc, char **argv)
{
	struct buf q = {0}, r = {0};

	frame(&q, 1);
	frame(&r, 2);
	return bench_framer(&framer_theader, "theader", buf_bytes(&q), buf_bytes(&r),
			    argc > 1 ? atof(argv[1]) : 3);
}
