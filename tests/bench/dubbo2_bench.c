/* SPDX-License-Identifier: Apache-2.0 */
/* Dubbo2 in hessian2, bodies of 1 KiB: usage dubbo2_bench [seconds] */
#include "rpc/protocols.h"
#include "tests/bench/framed.h"

static void frame(struct buf *out, unsigned flags, unsigned status, const struct buf *body)
{
	bench_be(out, 0xdabb, 2);
	bench_be(out, flags, 1);
	bench_be(out, status, 1);
	bench_be(out, 0x2f060771e6dc3699, 8);
	bench_be(out, body->n, 4);
	bench_put(out, body->p, body->n);
}

int main(int argc, char **argv)
{
	struct buf body = {0}, q = {0}, r = {0};

	BENCH_PUT(&body, "\5"
			 "2.0.2\x09"
			 "demo.Shop\5"
			 "1.2.3\5"
			 "touch\x12"
			 "Ljava/lang/String;\x33\x66");
	bench_fill(&body, 'a', 870);
	BENCH_PUT(&body, "H\4path\x09"
			 "demo.Shop\x09"
			 "interface\x09"
			 "demo.Shop\7version\5"
			 "1.2.3\7timeout\4"
			 "3000\x12remote.application\6clientZ");
	frame(&q, 0xc2, 0, &body);
	body.n = 0;
	BENCH_PUT(&body, "\x94\x33\xe0");
	bench_fill(&body, 'r', 992);
	BENCH_PUT(&body, "H\5dubbo\5"
			 "2.0.2Z");
	frame(&r, 2, 20, &body);
	return bench_framer(&framer_dubbo2, "dubbo2", buf_bytes(&q), buf_bytes(&r),
			    argc > 1 ? atof(argv[1]) : 3);
}
