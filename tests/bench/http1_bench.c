/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1, a small answer: usage http1_bench [seconds] */
#include "rpc/protocols.h"
#include "tests/bench/framed.h"

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

int main(int argc, char **argv)
{
	return bench_framer(&framer_http1, "http1", bytes_of(request, sizeof(request) - 1),
			    bytes_of(response, sizeof(response) - 1), argc > 1 ? atof(argv[1]) : 3);
}
