/* SPDX-License-Identifier: Apache-2.0 */
/* bRPC baidu_std, data of 1 KiB: usage brpc_bench [seconds] */
#include "rpc/protocols.h"
#include "tests/bench/framed.h"

static void frame(struct buf *out, const char *meta, size_t n)
{
	BENCH_PUT(out, "PRPC");
	bench_be(out, n + 1024, 4);
	bench_be(out, n, 4);
	bench_put(out, meta, n);
	bench_fill(out, 'd', 1024);
}

int main(int argc, char **argv)
{
	static const char request[] = "\x0a\x1a\x0a\x11"
				      "demo.DepotService\x12\5Touch\x18\0\x18\0\x20\x05";
	static const char reply[] = "\x12\2\x08\0\x18\0\x20\5";
	struct buf q = {0}, r = {0};

	frame(&q, request, sizeof(request) - 1);
	frame(&r, reply, sizeof(reply) - 1);
	return bench_framer(&framer_brpc, "brpc", buf_bytes(&q), buf_bytes(&r),
			    argc > 1 ? atof(argv[1]) : 3);
}
