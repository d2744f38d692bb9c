/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC on whole connections: frames by hand in, records out (faults B16, B17). */
#include "tests/unit/grpc_wire.h"

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
		cmocka_unit_test(a_long_stream),
		cmocka_unit_test(binary_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, drop);
}
