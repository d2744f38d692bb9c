/* SPDX-License-Identifier: Apache-2.0 */
/* TTHeader with Thrift in it, frames of 1 KiB: usage ttheader_bench [seconds] */
#include <string.h>

#include "rpc/protocols.h"
#include "tests/bench/framed.h"

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

int main(int argc, char **argv)
{
	static uint8_t frames[2][FRAME];

	memcpy(frames[0], request_head, sizeof(request_head) - 1);
	memcpy(frames[1], reply_head, sizeof(reply_head) - 1);
	return bench_framer(&framer_ttheader, "ttheader", bytes_of(frames[0], FRAME),
			    bytes_of(frames[1], FRAME), argc > 1 ? atof(argv[1]) : 3);
}
