/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC on whole connections: frames by hand in, records out (faults B16, B17). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

#define REQ  DIR_REQUEST
#define RESP DIR_RESPONSE

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7 };
enum { NO_FLAGS = 0, END_STREAM = 1, END_HEADERS = 4, PADDED = 8 };

static struct buf out; /* frames gathered for the next segment */

static void add(const void *p, size_t n)
{
	assert_int_equal(buf_append(&out, bytes_of(p, n)), 0);
}

static void frame(uint8_t type, uint8_t flags, uint32_t stream, struct bytes body)
{
	uint8_t head[9] = {
		(uint8_t)(body.n >> 16), (uint8_t)(body.n >> 8), (uint8_t)body.n, type, flags, 0, 0,
		(uint8_t)(stream >> 8),  (uint8_t)stream};
	add(head, sizeof(head));
	add(body.p, body.n);
}

/* Sends what was gathered in one segment. */
static void flush(enum dir dir)
{
	wire_send_raw(dir, buf_bytes(&out));
	out.n = 0;
}

static void block_text(struct buf *b, const char *s, size_t n)
{
	uint8_t len[3] = {(uint8_t)n};
	size_t k = 1;
	if (n >= 127) { /* an integer of 7 bits and one or two more bytes */
		len[0] = 127;
		len[1] = (uint8_t)((n - 127) & 127);
		len[2] = (uint8_t)((n - 127) >> 7);
		k = 2;
		if (len[2]) {
			len[1] |= 128;
			k = 3;
		}
	}
	assert_int_equal(buf_append(b, bytes_of(len, k)), 0);
	assert_int_equal(buf_append(b, bytes_of(s, n)), 0);
}

/* "name=value\n..." as literals without indexing */
static void headers(uint32_t stream, uint8_t flags, const char *fields)
{
	struct buf b = {0};
	while (*fields) {
		const char *eq = strchr(fields, '='), *nl = strchr(fields, '\n');
		assert_int_equal(buf_append(&b, BYTES("\0")), 0);
		block_text(&b, fields, (size_t)(eq - fields));
		block_text(&b, eq + 1, (size_t)(nl - eq - 1));
		fields = nl + 1;
	}
	frame(HEADERS, END_HEADERS | flags, stream, buf_bytes(&b));
	buf_fini(&b);
}

/* One message in one DATA frame */
static void message(uint32_t stream, uint8_t flags, uint8_t compressed, const char *text)
{
	struct buf b = {0};
	size_t n = strlen(text);
	uint8_t prefix[5] = {compressed, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
			     (uint8_t)n};
	assert_int_equal(buf_append(&b, bytes_of(prefix, 5)), 0);
	assert_int_equal(buf_append(&b, bytes_of(text, n)), 0);
	frame(DATA, flags, stream, buf_bytes(&b));
	buf_fini(&b);
}

static void data(uint32_t stream, uint8_t flags, struct bytes b)
{
	frame(DATA, flags, stream, b);
}

static void rst(uint32_t stream, uint8_t code)
{
	uint8_t body[4] = {0, 0, 0, code};
	frame(RST_STREAM, NO_FLAGS, stream, bytes_of(body, 4));
}

static void hello(void)
{
	wire_open(true);
	add("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	frame(SETTINGS, NO_FLAGS, 0, BYTES(""));
	flush(REQ);
	frame(SETTINGS, NO_FLAGS, 0, BYTES(""));
	frame(SETTINGS, 1, 0, BYTES(""));
	flush(RESP);
}

#define ASK_AS(type, more)                                                                         \
	":method=POST\n:scheme=http\n:path=/shop.Cart/Add\n:authority=cart:50051\nte=trailers\n"   \
	"content-type=" type "\n" more
#define ASK     ASK_AS("application/grpc", "")
#define ANSWER  ":status=200\ncontent-type=application/grpc\n"
#define TRAILER "grpc-status=0\n"

static void ask(uint32_t stream)
{
	headers(stream, NO_FLAGS, ASK);
}

static void answer(uint32_t stream)
{
	headers(stream, NO_FLAGS, ANSWER);
}

static void trailers(uint32_t stream, const char *fields)
{
	headers(stream, END_STREAM, fields);
}

/* A unary question, whole */
static void asked(uint32_t stream)
{
	ask(stream);
	message(stream, END_STREAM, 0, "question");
	flush(REQ);
}

static const Sidetap__V1__Call *expect(enum outcome outcome, int status, const char *type)
{
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "grpc");
	assert_string_equal(c->service, "shop.Cart");
	assert_string_equal(c->method, "Add");
	assert_string_equal(c->path, "/shop.Cart/Add");
	assert_string_equal(record_outcome_name((enum outcome)c->outcome),
			    record_outcome_name(outcome));
	assert_int_equal(c->status_code, status);
	assert_string_equal(c->call_type, type);
	return c;
}

static void body_is(const Sidetap__V1__Message *m, const char *text)
{
	assert_non_null(m);
	assert_int_equal(m->body.len, strlen(text));
	assert_memory_equal(m->body.data, text, m->body.len);
	assert_int_equal(m->body_bytes, strlen(text));
}

/* "<text" for each: direction and body, "c" behind it when compressed; separated by blanks */
static void stream_is(const Sidetap__V1__Call *c, const char *want)
{
	char text[512] = "";
	size_t n = 0;
	for (size_t i = 0; i < c->n_stream; i++) {
		const Sidetap__V1__StreamMessage *m = c->stream[i];
		assert_int_equal(m->body.len, m->body_bytes);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c%.*s%s", i ? " " : "",
				      m->direction ? '<' : '>', (int)m->body.len,
				      (char *)m->body.data, m->compressed ? ":c" : "");
	}
	assert_string_equal(text, want);
}

static const char *attribute(const Sidetap__V1__Call *c, const char *name)
{
	const char *v = records_attribute(c, name);
	return v ? v : "";
}

static void done(void)
{
	wire_expect_none();
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static void unary(void **state)
{
	(void)state;
	hello();
	asked(1);
	answer(1);
	message(1, NO_FLAGS, 0, "reply");
	trailers(1, "grpc-status=0\ngrpc-message=\nx-t=v\n");
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_OK, 0, "unary");
	assert_string_equal(records_flags(c), "");
	assert_int_equal(c->n_stream, 0);
	body_is(c->request, "question");
	body_is(c->response, "reply");
	assert_int_equal(c->request->n_headers, 6);
	assert_int_equal(c->response->n_headers, 2);
	assert_int_equal(c->response->n_trailers, 3);
	assert_string_equal(c->response->trailers[0]->name, "grpc-status");
	done();
}

static void an_error_with_text(void **state)
{
	(void)state;
	hello();
	asked(1);
	answer(1);
	trailers(1, "grpc-status=5\ngrpc-message=no %C3%A4pple%0A%4\n");
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_CLIENT_ERROR, 5, "unary");
	assert_string_equal(c->status_text, "no \xc3\xa4pple\n%4");
	assert_int_equal(c->response->body.len, 0);
	done();
}

/* b17 */
static void trailers_only(void **state)
{
	(void)state;
	hello();
	asked(1);
	headers(1, END_STREAM, ANSWER "grpc-status=14\ngrpc-message=away\n");
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_SERVER_ERROR, 14, "unary");
	assert_string_equal(c->status_text, "away");
	assert_int_equal(c->response->n_headers, 4);
	assert_int_equal(c->response->n_trailers, 0);
	done();
}

/* No grpc-status: by :status, else cut short. */
static void without_a_status(void **state)
{
	static const struct {
		const char *head, *trailer;
		enum outcome outcome;
		int status;
	} cases[] = {
		{ANSWER, NULL, OUTCOME_ABORTED, 0},
		{ANSWER, "x-other=1\n", OUTCOME_ABORTED, 0},
		{":status=503\ncontent-type=text/html\n", NULL, OUTCOME_SERVER_ERROR, 503},
		{":status=404\n", NULL, OUTCOME_CLIENT_ERROR, 404},
		{":status=503\n", TRAILER, OUTCOME_OK, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello();
		asked(1);
		headers(1, cases[i].trailer ? NO_FLAGS : END_STREAM, cases[i].head);
		if (cases[i].trailer)
			trailers(1, cases[i].trailer);
		flush(RESP);
		expect(cases[i].outcome, cases[i].status, "unary");
		done();
	}
	/* a page of a proxy instead of messages */
	hello();
	asked(1);
	headers(1, NO_FLAGS, ":status=502\ncontent-type=text/html\n");
	data(1, END_STREAM, BYTES("<html>bad gateway</html>"));
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_SERVER_ERROR, 502, "unary");
	body_is(c->response, "<html>bad gateway</html>");
	assert_string_equal(records_flags(c), "");
	done();
}

static void streams(void **state)
{
	(void)state;
	hello();
	/* client */
	ask(1);
	message(1, NO_FLAGS, 0, "a");
	message(1, NO_FLAGS, 0, "");
	message(1, END_STREAM, 0, "c");
	flush(REQ);
	answer(1);
	message(1, NO_FLAGS, 0, "sum");
	trailers(1, TRAILER);
	flush(RESP);
	stream_is(expect(OUTCOME_OK, 0, "client_stream"), ">a > >c <sum");
	/* server */
	asked(3);
	answer(3);
	message(3, NO_FLAGS, 0, "1");
	message(3, NO_FLAGS, 0, "2");
	trailers(3, "grpc-status=8\n");
	flush(RESP);
	stream_is(expect(OUTCOME_CLIENT_ERROR, 8, "server_stream"), ">question <1 <2");
	/* both, in turns: wire order */
	ask(5);
	message(5, NO_FLAGS, 0, "p");
	flush(REQ);
	answer(5);
	message(5, NO_FLAGS, 0, "P");
	flush(RESP);
	message(5, END_STREAM, 0, "q");
	flush(REQ);
	message(5, NO_FLAGS, 0, "Q");
	trailers(5, TRAILER);
	flush(RESP);
	stream_is(expect(OUTCOME_OK, 0, "bidi_stream"), ">p <P >q <Q");
	/* one each of a streaming method */
	ask(7);
	message(7, NO_FLAGS, 0, "only");
	flush(REQ);
	data(7, END_STREAM, BYTES(""));
	flush(REQ);
	answer(7);
	message(7, NO_FLAGS, 0, "one");
	trailers(7, TRAILER);
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_OK, 0, "unary");
	assert_int_equal(c->n_stream, 0);
	body_is(c->request, "only");
	body_is(c->response, "one");
	/* none at all */
	headers(9, END_STREAM, ASK);
	flush(REQ);
	answer(9);
	trailers(9, TRAILER);
	flush(RESP);
	c = expect(OUTCOME_OK, 0, "unary");
	body_is(c->request, "");
	body_is(c->response, "");
	done();
}

/* Two streams with their frames mixed, many messages in a frame and a message in many frames (b16) */
static void interleaved_and_cut_anywhere(void **state)
{
	static const char first[] = "\0\0\0\0\3one\0\0\0\0\0\0\0\0\0\5three";
	static const char second[] = "\0\0\0\0\2aa\0\0\0\0\2bb";
	(void)state;
	for (int step = 1; step <= 7; step++) {
		hello();
		ask(1);
		ask(3);
		flush(REQ);
		size_t a = 0, b = 0;
		while (a < sizeof(first) - 1 || b < sizeof(second) - 1) {
			size_t n = sizeof(first) - 1 - a < (size_t)step ? sizeof(first) - 1 - a
									: (size_t)step;
			if (n)
				data(1, NO_FLAGS, bytes_of(first + a, n));
			a += n;
			n = b < sizeof(second) - 1;
			if (n)
				data(3, NO_FLAGS, bytes_of(second + b, n));
			b += n;
			flush(REQ);
		}
		data(3, END_STREAM, BYTES(""));
		data(1, END_STREAM, BYTES(""));
		flush(REQ);
		answer(1);
		answer(3);
		trailers(1, TRAILER);
		trailers(3, TRAILER);
		flush(RESP);
		stream_is(expect(OUTCOME_OK, 0, "client_stream"), ">one > >three");
		stream_is(expect(OUTCOME_OK, 0, "client_stream"), ">aa >bb");
		done();
	}
}

/* b16: kept as they are and marked: the call when it is one each way, else each message. */
static void compressed(void **state)
{
	(void)state;
	hello();
	headers(1, NO_FLAGS, ASK_AS("application/grpc+proto", "grpc-encoding=gzip\n"));
	message(1, END_STREAM, 1, "zipped");
	flush(REQ);
	answer(1);
	message(1, NO_FLAGS, 0, "plain");
	trailers(1, TRAILER);
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_OK, 0, "unary");
	assert_string_equal(records_flags(c), "compressed");
	body_is(c->request, "zipped");
	asked(3);
	answer(3);
	message(3, NO_FLAGS, 1, "z1");
	message(3, NO_FLAGS, 0, "p2");
	message(3, NO_FLAGS, 1, "");
	trailers(3, TRAILER);
	flush(RESP);
	c = expect(OUTCOME_OK, 0, "server_stream");
	stream_is(c, ">question <z1:c <p2 <:c");
	assert_string_equal(records_flags(c), "");
	done();
}

/* b16: no prefix: never OK without a flag, its bytes kept as they are; other calls go on. */
static void a_prefix_that_is_none(void **state)
{
	(void)state;
	hello();
	asked(1);
	ask(3);
	data(3, END_STREAM, BYTES("\2\0\0\0\1x"));
	flush(REQ);
	answer(3);
	message(3, NO_FLAGS, 0, "r");
	trailers(3, TRAILER);
	answer(1);
	message(1, NO_FLAGS, 0, "fine");
	trailers(1, TRAILER);
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_UNKNOWN, 0, "unary");
	assert_true(records_flag(c, "protocol_error"));
	assert_int_equal(c->request->body.len, 6);
	assert_memory_equal(c->request->body.data, "\2\0\0\0\1x", 6);
	c = expect(OUTCOME_OK, 0, "unary");
	assert_string_equal(records_flags(c), "");
	body_is(c->response, "fine");
	done();
}

/* A message that its stream ends inside of, and one of 4 GiB that never comes */
static void a_message_that_ends_early(void **state)
{
	static const struct bytes cut[] = {BYTES("\0\0\0\0\5he"), BYTES("\0\377\377\377\377he"),
					   BYTES("\0\0\0")};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		hello();
		asked(1);
		answer(1);
		data(1, NO_FLAGS, cut[i]);
		trailers(1, TRAILER);
		flush(RESP);
		const Sidetap__V1__Call *c = expect(OUTCOME_UNKNOWN, 0, "unary");
		assert_true(records_flag(c, "protocol_error"));
		done();
	}
}

/* Reset by either side, before and after the head, and behind the status */
static void resets(void **state)
{
	(void)state;
	hello();
	asked(1);
	rst(1, 8);
	flush(REQ);
	const Sidetap__V1__Call *c = expect(OUTCOME_ABORTED, 0, "unary");
	assert_string_equal(attribute(c, "rst_code"), "8");
	assert_string_equal(attribute(c, "rst_by"), "client");
	body_is(c->request, "question");
	asked(3);
	answer(3);
	message(3, NO_FLAGS, 0, "one");
	flush(RESP);
	rst(3, 8);
	flush(REQ);
	c = expect(OUTCOME_ABORTED, 0, "unary");
	body_is(c->response, "one");
	asked(5);
	answer(5);
	rst(5, 2);
	flush(RESP);
	c = expect(OUTCOME_ABORTED, 0, "unary");
	assert_string_equal(attribute(c, "rst_code"), "2");
	assert_string_equal(attribute(c, "rst_by"), "server");
	/* the status while the client still sends, then the reset that tells it to stop: complete before it */
	ask(7);
	message(7, NO_FLAGS, 0, "more to come");
	flush(REQ);
	headers(7, END_STREAM, ANSWER "grpc-status=7\n");
	rst(7, 0);
	flush(RESP);
	c = expect(OUTCOME_CLIENT_ERROR, 7, "unary");
	body_is(c->request, "more to come");
	done();
}

/* A deadline that the server tells, and one that only the client's reset tells */
static void deadlines(void **state)
{
	(void)state;
	hello();
	headers(1, NO_FLAGS, ASK_AS("application/grpc", "grpc-timeout=100m\n"));
	message(1, END_STREAM, 0, "slow");
	flush(REQ);
	headers(1, END_STREAM, ANSWER "grpc-status=4\ngrpc-message=Deadline Exceeded\n");
	flush(RESP);
	rst(1, 8);
	flush(REQ);
	const Sidetap__V1__Call *c = expect(OUTCOME_SERVER_ERROR, 4, "unary");
	assert_string_equal(c->status_text, "Deadline Exceeded");
	headers(3, NO_FLAGS, ASK_AS("application/grpc", "grpc-timeout=100m\n"));
	message(3, END_STREAM, 0, "slow");
	rst(3, 8);
	flush(REQ);
	expect(OUTCOME_ABORTED, 0, "unary");
	done();
}

/* Streams that the server never took: no reply, not an error of theirs. */
static void goaway(void **state)
{
	(void)state;
	hello();
	asked(1);
	asked(3);
	asked(5);
	frame(GOAWAY, NO_FLAGS, 0, BYTES("\0\0\0\1\0\0\0\0"));
	flush(RESP);
	for (int i = 0; i < 2; i++) {
		const Sidetap__V1__Call *c = expect(OUTCOME_NO_RESPONSE, 0, "unary");
		assert_true(records_flag(c, "no_response"));
	}
	answer(1);
	message(1, NO_FLAGS, 0, "last");
	trailers(1, TRAILER);
	flush(RESP);
	body_is(expect(OUTCOME_OK, 0, "unary")->response, "last");
	done();
}

/* gRPC-Web and Connect are plain HTTP/2: their framing is theirs. */
static void web_and_connect(void **state)
{
	static const char *types[] = {"content-type=application/grpc-web+proto\n",
				      "content-type=application/connect+proto\n",
				      "content-type=application/proto\n"};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char head[512];
		hello();
		snprintf(head, sizeof(head),
			 ":method=POST\n:scheme=http\n:path=/shop.Cart/Add\n:authority=h\n%s",
			 types[i]);
		headers(1, NO_FLAGS, head);
		data(1, END_STREAM, BYTES("\0\0\0\0\1a"));
		flush(REQ);
		headers(1, NO_FLAGS, ":status=200\n");
		data(1, END_STREAM, BYTES("\0\0\0\0\1b\200\0\0\0\0"));
		flush(RESP);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->protocol, "http2");
		assert_string_equal(c->method, "POST");
		assert_string_equal(c->service, "h");
		assert_int_equal(c->status_code, 200);
		assert_int_equal(c->request->body.len, 6);
		assert_int_equal(c->response->body.len, 11);
		done();
	}
}

/* A path without two halves: what is no name stays empty. */
static void a_path_without_halves(void **state)
{
	(void)state;
	hello();
	headers(1, END_STREAM,
		":method=POST\n:scheme=http\n:path=/odd\n:authority=h\ncontent-type=application/grpc\n");
	flush(REQ);
	headers(1, END_STREAM, ANSWER "grpc-status=12\n");
	flush(RESP);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "grpc");
	assert_string_equal(c->path, "/odd");
	assert_string_equal(c->service, "");
	assert_string_equal(c->method, "");
	assert_int_equal(c->status_code, 12);
	done();
}

/* A hole inside a message; one that takes a prefix; each keeps what was seen and says so. */
static void holes(void **state)
{
	(void)state;
	hello();
	asked(1);
	answer(1);
	message(1, NO_FLAGS, 0, "0123456789");
	struct bytes all = buf_bytes(&out);
	wire_send_raw(RESP, bytes_head(all, all.n - 4));
	wire_lose(RESP, 4);
	out.n = 0;
	trailers(1, TRAILER);
	flush(RESP);
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "gap"));
	assert_string_equal(c->path, "/shop.Cart/Add");
	assert_memory_equal(c->response->body.data, "012345", c->response->body.len);
	assert_int_not_equal(c->outcome, OUTCOME_CLIENT_ERROR);
	done();
}

/* A stream that never ends leaves in parts and at the end of the connection */
static void a_long_stream(void **state)
{
	(void)state;
	hello();
	asked(1);
	answer(1);
	flush(RESP);
	for (int i = 0; i < 2200; i++) {
		message(1, NO_FLAGS, 0, "tick");
		flush(RESP);
	}
	assert_int_equal(wire.out.n, 2);
	assert_string_equal(wire.out.list[0]->call_type, "server_stream");
	wire_expect_none();
	rst(1, 8);
	flush(REQ);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->part, 2);
	assert_int_equal(c->outcome, OUTCOME_ABORTED);
	size_t n = 0;
	for (size_t i = 0; i < wire.out.n; i++)
		n += wire.out.list[i]->n_stream;
	assert_int_equal(n, 2201);
	done();
}

/* A head whose fields beyond the pseudo-headers are entries from before our eyes: indices from 62 on */
static void late_ask(uint32_t stream, const char *block)
{
	frame(HEADERS, END_HEADERS, stream, bytes_str(block));
	message(stream, END_STREAM, 0, "question");
	flush(REQ);
}

/* Joined in the middle, at a turn */
static void late_hello(void)
{
	wire_open(false);
	frame(PING, NO_FLAGS, 0, BYTES("\0\0\0\0\0\0\0\0"));
	frame(PING, NO_FLAGS, 0, BYTES("\0\0\0\0\0\0\0\0"));
	flush(RESP);
}

static void late_answer(uint32_t stream, struct bytes body, bool trailers_follow)
{
	frame(HEADERS, END_HEADERS, stream, BYTES("\x88\xbe"));
	data(stream, trailers_follow ? NO_FLAGS : END_STREAM, body);
	if (trailers_follow)
		frame(HEADERS, END_HEADERS | END_STREAM, stream, BYTES("\xbf"));
	flush(RESP);
}

#define MESSAGE BYTES("\0\0\0\0\5reply")

static const Sidetap__V1__Call *late_call(uint32_t stream, const char *block, struct bytes reply,
					  bool trailers_follow)
{
	late_ask(stream, block);
	late_answer(stream, reply, trailers_follow);
	return wire_next();
}

static void is_unsure(const Sidetap__V1__Call *c)
{
	assert_string_equal(c->protocol, "http2");
	assert_memory_equal(attribute(c, "unknown"), "protocol,call_type,", 19);
	assert_int_equal(c->request->body.len, 13);
	assert_string_equal(c->service, "");
	assert_string_equal(c->method, "");
}

static void is_proven(const Sidetap__V1__Call *c)
{
	assert_string_equal(c->protocol, "grpc");
	assert_string_equal(c->path, "");
	assert_string_equal(attribute(c, "unknown"), "service,method,path,status_code");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	body_is(c->request, "question");
	body_is(c->response, "reply");
}

/* b8: after a late join the content-type is an index from before; a call that was gRPC by its frames proves it. */
static void b8_late_calls_are_proven(void **state)
{
	(void)state;
	late_hello();
	is_unsure(late_call(101, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	is_proven(late_call(103, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	is_proven(late_call(105, "\x83\x86\xc0\xc1\xbf\xbe", MESSAGE, true)); /* and one more */
	is_unsure(late_call(107, "\x83\x86\xbe\xbf\xc1", MESSAGE, true)); /* lacks one of them */
	/* an entry inserted meanwhile moves the indices, not the entries */
	const char inserted[] = "\x83\x86\xbe\xbf\xc0\x40\1x\1y";
	is_proven(late_call(109, inserted, MESSAGE, true));
	is_proven(late_call(111, "\x83\x86\xbf\xc0\xc1", MESSAGE, true));
	is_proven(late_call(113, "\x83\x86\xbf\xc0\xc2\xbe", MESSAGE,
			    true)); /* as 107: proven by it */
	is_unsure(late_call(115, "\x83\x86\xc0\xc1\xc3", MESSAGE, true));
	done();
}

/* What proves nothing: other frames than messages, no trailers, a name that is unknown with its value */
static void b8_late_calls_are_not_proven(void **state)
{
	static const struct {
		const char *block;
		struct bytes reply;
		bool trailers_follow;
	} cases[] = {
		{"\x83\x86\xbe\xbf\xc0", MESSAGE, false},
		{"\x83\x86\xbe\xbf\xc0", BYTES("{\"a\": 1}"), true},
		{"\x83\x86\xbe\xbf\xc0", BYTES("\0\0\0\0\6reply"), true},
		{"\x83\x86\xbe\xbf\xc0", BYTES("\0\0\0\0\5reply\200\0\0\0\0"), true},
		{"\x83\x86\xbe\xbf\x7e\1v", MESSAGE, true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		late_hello();
		is_unsure(late_call(101, cases[i].block, cases[i].reply, cases[i].trailers_follow));
		is_unsure(late_call(103, cases[i].block, cases[i].reply, cases[i].trailers_follow));
		done();
	}
}

/* b9: a loss in the requests' direction ends all that was known of the table. */
static void b9_a_loss_takes_the_proof(void **state)
{
	(void)state;
	late_hello();
	is_unsure(late_call(101, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	is_proven(late_call(103, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	wire_lose(REQ, 40);
	is_unsure(late_call(107, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	is_proven(late_call(109, "\x83\x86\xbe\xbf\xc0", MESSAGE, true));
	wire_close(FLOW_FIN);
}

/* Metadata of gRPC's libraries, as it is and not in base64: a 0 and any bytes (names end in -bin) */
static void binary_metadata(void **state)
{
	(void)state;
	hello();
	struct buf b = {0};
	assert_int_equal(
		buf_append(&b, BYTES("\x83\x86\0\5:path\016/shop.Cart/Add\0\014content-type\020"
				     "application/grpc\0\5x-bin\4\0\1\n\xff")),
		0);
	frame(HEADERS, END_HEADERS, 1, buf_bytes(&b));
	buf_fini(&b);
	message(1, END_STREAM, 0, "q");
	flush(REQ);
	answer(1);
	trailers(1, TRAILER);
	flush(RESP);
	const Sidetap__V1__Call *c = expect(OUTCOME_OK, 0, "unary");
	assert_string_equal(records_flags(c), "");
	assert_int_equal(c->request->headers[4]->value.len, 4);
	assert_memory_equal(c->request->headers[4]->value.data, "\0\1\n\xff", 4);
	done();
}

static int drop(void **state)
{
	(void)state;
	buf_fini(&out);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unary),
		cmocka_unit_test(an_error_with_text),
		cmocka_unit_test(trailers_only),
		cmocka_unit_test(without_a_status),
		cmocka_unit_test(streams),
		cmocka_unit_test(interleaved_and_cut_anywhere),
		cmocka_unit_test(compressed),
		cmocka_unit_test(a_prefix_that_is_none),
		cmocka_unit_test(a_message_that_ends_early),
		cmocka_unit_test(resets),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(goaway),
		cmocka_unit_test(web_and_connect),
		cmocka_unit_test(a_path_without_halves),
		cmocka_unit_test(holes),
		cmocka_unit_test(a_long_stream),
		cmocka_unit_test(b8_late_calls_are_proven),
		cmocka_unit_test(b8_late_calls_are_not_proven),
		cmocka_unit_test(b9_a_loss_takes_the_proof),
		cmocka_unit_test(binary_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, drop);
}
