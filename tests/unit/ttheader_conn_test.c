/* SPDX-License-Identifier: Apache-2.0 */
/* TTHeader over whole connections: the records, to the letter of the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/ttheader_make.h"

typedef const Sidetap__V1__Call record;

static void is_data(ProtobufCBinaryData d, struct bytes want)
{
	assert_int_equal(d.len, want.n);
	if (want.n)
		assert_memory_equal(d.data, want.p, want.n);
}

static void is_header(const Sidetap__V1__Header *h, const char *name, const char *value)
{
	assert_string_equal(h->name, name);
	is_data(h->value, bytes_str(value));
	assert_int_equal(h->provenance, SIDETAP__V1__HEADER__PROVENANCE__LITERAL);
}

static void has_attribute(record *c, const char *name, const char *value)
{
	const char *is = records_attribute(c, name);

	assert_non_null(is);
	assert_string_equal(is, value);
}

static void client(struct bytes b)
{
	wire_send_raw(DIR_REQUEST, b);
}

static void server(struct bytes b)
{
	wire_send_raw(DIR_RESPONSE, b);
}

static void is_call(record *c, const char *type, int outcome, int status, const char *flags)
{
	assert_string_equal(c->call_type, type);
	assert_int_equal(c->outcome, outcome);
	assert_int_equal(c->status_code, status);
	assert_string_equal(records_flags(c), flags);
}

static void unary(void **state)
{
	struct bytes q = binary(1, "Echo", 5, string_field(1, "hello"));
	struct bytes r = binary(2, "Echo", 5, string_field(0, "olleh"));
	struct bytes request =
		FRAME(.seq = 5,
		      .strings = {{"RPC_TRANSIT_traceparent",
				   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
				  {"isn", "EchoService"},
				  {"RPC_PERSIST_K", "v"}},
		      .ints = {{1, "framed"},
			       {2, "log-1"},
			       {3, "from"},
			       {6, "to"},
			       {9, "Echo"},
			       {12, "5000"},
			       {20, "caller"},
			       {22, "1"},
			       {99, "new"}},
		      .token = "secret", .payload = framed(q));
	struct bytes reply = FRAME(.seq = 5, .strings = {{"k", "back"}}, .ints = {{22, "2"}},
				   .payload = framed(r));

	(void)state;
	wire_open(true);
	client(request);
	server(reply);
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "redacted");
	assert_string_equal(c->protocol, "ttheader");
	assert_string_equal(c->transport, "framed+binary");
	assert_string_equal(c->service, "EchoService");
	assert_string_equal(c->method, "Echo");
	assert_string_equal(c->path, "");
	assert_string_equal(c->trace_id, "0af7651916cd43dd8448eb211c80319c");
	assert_string_equal(c->span_id, "b7ad6b7169203331");
	is_data(c->request->body, q);
	assert_int_equal(c->request->body_bytes, q.n);
	assert_int_equal(c->request->wire_bytes, request.n);
	is_data(c->response->body, r);
	assert_int_equal(c->response->body_bytes, r.n);
	assert_int_equal(c->response->wire_bytes, reply.n);
	assert_int_equal(c->n_stream, 0);
	assert_int_equal(c->request->n_headers, 4);
	is_header(c->request->headers[1], "isn", "EchoService");
	is_header(c->request->headers[2], "RPC_PERSIST_K", "v");
	is_header(c->request->headers[3], "gdpr-token", "[redacted]");
	assert_int_equal(c->response->n_headers, 1);
	is_header(c->response->headers[0], "k", "back");
	has_attribute(c, "transport_type", "framed");
	has_attribute(c, "log_id", "log-1");
	has_attribute(c, "from_service", "from");
	has_attribute(c, "to_service", "to");
	has_attribute(c, "from_method", "caller");
	has_attribute(c, "rpc_timeout_ms", "5000");
	has_attribute(c, "msg_type", "1");
	has_attribute(c, "int_keys", "99=new");
	has_attribute(c, "seen_index", "1");
	assert_null(records_attribute(c, "reply_msg_type"));
	wire_close(FLOW_FIN);
	wire_expect_none();
}

/* The token as a block of its own, and as old peers write it: among the strings, behind a prefix. */
static void r10_tokens_are_redacted(void **state)
{
	(void)state;
	wire_open(true);
	client(FRAME(.seq = 1,
		     .strings = {{"RPC_TRANSIT_gdpr-token", "s1"},
				 {"RPC_PERSIST_Authorization", "s2"},
				 {"rpc-transit-cookie", "s3"},
				 {"gdpr-token", "s4"},
				 {"RPC_TRANSIT_", "v"},
				 {"RPC_TRANSITXgdpr-token", "v"}},
		     .token = "s5", .payload = binary(1, "A", 1, VOID_RESULT)));
	server(FRAME(.seq = 1, .payload = binary(2, "A", 1, VOID_RESULT)));
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "redacted");
	assert_int_equal(c->request->n_headers, 7);
	for (size_t i = 0; i < 7; i++)
		is_data(c->request->headers[i]->value,
			i == 4 || i == 5 ? BYTES("v") : BYTES("[redacted]"));
	wire_close(FLOW_FIN);
}

static void in_flight_and_closed(void **state)
{
	(void)state;
	wire_open(true);
	for (uint32_t i = 1; i <= 4; i++)
		client(FRAME(.flags = 1, .seq = i, .payload = binary(1, "A", i, VOID_RESULT)));
	server(FRAME(.seq = 3, .payload = binary(2, "A", 3, struct_field(2))));
	server(FRAME(.seq = 1, .strings = {{"biz-status", "77"}, {"biz-message", "no"}},
		     .payload = binary(2, "A", 1, VOID_RESULT)));
	server(FRAME(.seq = 4, .payload = binary(3, "A", 4, exception("boom", 6, true))));
	client(FRAME(.seq = 9, .payload = binary(4, "Fire", 9, VOID_RESULT)));
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_DECLARED_EXCEPTION, 0, "");
	has_attribute(c, "seen_index", "3");
	assert_string_equal(c->transport, "unframed+mux+binary");
	c = wire_next();
	is_call(c, "unary", OUTCOME_DECLARED_EXCEPTION, 77, "");
	has_attribute(c, "seen_index", "1");
	assert_string_equal(c->status_text, "no");
	c = wire_next();
	is_call(c, "unary", OUTCOME_SERVER_ERROR, 6, "");
	assert_string_equal(c->status_text, "boom");
	c = wire_next();
	is_call(c, "oneway", OUTCOME_OK, 0, "");
	assert_string_equal(c->method, "Fire");
	assert_null(c->response);
	wire_expect_none();
	wire_close(FLOW_FIN);
	c = wire_next();
	is_call(c, "unary", OUTCOME_NO_RESPONSE, 0, "no_response");
	has_attribute(c, "seen_index", "2");
	wire_expect_none();
}

static void r6_reused_and_unknown_ids(void **state)
{
	(void)state;
	wire_open(true);
	client(FRAME(.seq = 7, .payload = binary(1, "First", 7, VOID_RESULT)));
	client(FRAME(.seq = 7, .payload = binary(1, "Second", 7, VOID_RESULT)));
	server(FRAME(.seq = 7, .payload = binary(2, "First", 7, VOID_RESULT)));
	server(FRAME(.seq = 7, .payload = binary(2, "Second", 7, VOID_RESULT)));
	server(FRAME(.seq = 8, .ints = {{2, "l"}}, .payload = binary(2, "Third", 8, VOID_RESULT)));
	record *c = wire_next();
	assert_string_equal(c->method, "First");
	is_call(c, "unary", OUTCOME_OK, 0, "");
	c = wire_next();
	assert_string_equal(c->method, "Second");
	is_call(c, "unary", OUTCOME_OK, 0, "");
	c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "orphan_response");
	assert_string_equal(c->method, "Third");
	assert_string_equal(c->service, "");
	assert_null(c->request);
	has_attribute(c, "reply_log_id", "l");
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static void kitex_protobuf(void **state)
{
	struct bytes q = protobuf(1, "Echo", 5, BYTES("\012\005hello"));

	(void)state;
	wire_open(true);
	client(FRAME(.seq = 5, .protocol = 4, .ints = {{9, "Echo"}, {6, "Pb"}},
		     .payload = framed(q)));
	server(FRAME(.seq = 5, .protocol = 4,
		     .payload = framed(protobuf(3, "Echo", 5, error_proto(-3, "bad")))));
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_SERVER_ERROR, -3, "");
	assert_string_equal(c->protocol, "kitex_protobuf");
	assert_string_equal(c->transport, "framed");
	assert_string_equal(c->service, "Pb");
	assert_string_equal(c->status_text, "bad");
	is_data(c->request->body, q);
	wire_close(FLOW_FIN);
}

static void protocol_error(void **state)
{
	struct make m = {.seq = 2, .payload = VOID_RESULT};

	(void)state;
	wire_open(true);
	client(FRAME(.seq = 1, .payload = binary(1, "A", 1, VOID_RESULT)));
	client(frame_of(&m, BYTES("\x10\0\1\0\x09\0\1M\x7f")));
	record *c = wire_next();
	assert_string_equal(c->method, "A");
	is_call(c, "unary", OUTCOME_UNKNOWN, 0, "protocol_error");
	c = wire_next();
	assert_string_equal(c->method, "M");
	is_call(c, "unary", OUTCOME_UNKNOWN, 0, "protocol_error");
	wire_close(FLOW_FIN);
	c = wire_next();
	assert_string_equal(c->protocol, "opaque");
}

/* ---- streams ---- */

static const char chat[] = "Chat";

static struct bytes opening(uint32_t id)
{
	return stream_frame(TTHEADER_HEADER, id, "Talk", BYTES(""), STRINGS({"isn", chat}));
}

static struct bytes answering(uint32_t id)
{
	return stream_frame(TTHEADER_HEADER, id, "Talk", BYTES(""), STRINGS({"h", "1"}));
}

static struct bytes data(uint32_t id, const char *text)
{
	return stream_frame(TTHEADER_DATA, id, "Talk", string_field(1, text), NULL);
}

static struct bytes trailer(uint32_t id, struct bytes payload, const struct make_string *strings)
{
	return stream_frame(TTHEADER_TRAILER, id, "Talk", payload, strings);
}

static void is_message(record *c, size_t i, enum dir dir, const char *text)
{
	assert_true(i < c->n_stream);
	assert_int_equal(c->stream[i]->direction, dir);
	is_data(c->stream[i]->body, string_field(1, text));
	assert_int_equal(c->stream[i]->body_bytes, string_field(1, text).n);
}

static void is_stream(record *c)
{
	assert_string_equal(c->protocol, "ttheader");
	assert_string_equal(c->transport, "unframed+streaming+binary");
	assert_string_equal(c->service, chat);
	assert_string_equal(c->method, "Talk");
}

static void bidi(void **state)
{
	(void)state;
	wire_open(true);
	client(opening(1));
	client(data(1, "a"));
	server(answering(1));
	server(data(1, "A"));
	client(data(1, "b"));
	server(data(1, "B"));
	client(trailer(1, BYTES(""), NULL));
	server(trailer(1, BYTES(""), STRINGS({"t", "2"})));
	record *c = wire_next();
	is_call(c, "bidi_stream", OUTCOME_OK, 0, "");
	is_stream(c);
	assert_int_equal(c->n_stream, 4);
	is_message(c, 0, DIR_REQUEST, "a");
	is_message(c, 1, DIR_RESPONSE, "A");
	is_message(c, 2, DIR_REQUEST, "b");
	is_message(c, 3, DIR_RESPONSE, "B");
	is_header(c->request->headers[0], "isn", chat);
	is_header(c->response->headers[0], "h", "1");
	assert_int_equal(c->request->n_trailers, 0);
	assert_int_equal(c->response->n_trailers, 1);
	is_header(c->response->trailers[0], "t", "2");
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static void server_and_client_streams(void **state)
{
	(void)state;
	wire_open(true);
	client(join(opening(1), join(data(1, "q"), trailer(1, BYTES(""), NULL))));
	server(join(answering(1), join(data(1, "A"), data(1, "B"))));
	server(trailer(1, binary(3, "Talk", 1, exception("broke", 6, true)), NULL));
	client(join(opening(2), join(data(2, "x"), data(2, "y"))));
	client(trailer(2, BYTES(""), NULL));
	server(join(answering(2), data(2, "z")));
	server(trailer(2, BYTES(""), STRINGS({"biz-status", "9"}, {"biz-message", "biz"})));
	client(join(opening(3), join(data(3, "q"), trailer(3, BYTES(""), NULL))));
	server(join(answering(3), join(data(3, "r"), trailer(3, BYTES(""), NULL))));
	record *c = wire_next();
	is_call(c, "server_stream", OUTCOME_SERVER_ERROR, 6, "");
	is_stream(c);
	assert_string_equal(c->status_text, "broke");
	assert_int_equal(c->n_stream, 3);
	c = wire_next();
	is_call(c, "client_stream", OUTCOME_DECLARED_EXCEPTION, 9, "");
	assert_string_equal(c->status_text, "biz");
	assert_int_equal(c->n_stream, 3);
	is_header(c->response->trailers[0], "biz-status", "9");
	c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "");
	is_stream(c);
	assert_int_equal(c->n_stream, 0);
	is_data(c->request->body, string_field(1, "q"));
	is_data(c->response->body, string_field(1, "r"));
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static struct bytes rst(uint32_t id)
{
	return stream_frame(TTHEADER_RST, id, "Talk",
			    binary(3, "Talk", id, exception("cancelled", 12007, true)),
			    STRINGS({"ttscp", "svc"}));
}

static void resets(void **state)
{
	(void)state;
	wire_open(true);
	client(join(opening(1), data(1, "a")));
	server(join(answering(1), data(1, "A")));
	client(join(rst(1), trailer(1, BYTES(""), NULL)));
	server(join(data(1, "late"), trailer(1, BYTES(""), NULL)));
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_ABORTED, 12007, "");
	assert_string_equal(c->status_text, "cancelled");
	has_attribute(c, "rst_by", "client");
	has_attribute(c, "rst_code", "12007");
	has_attribute(c, "ttscp", "svc");
	is_data(c->response->body, string_field(1, "A"));
	client(opening(2));
	server(rst(2));
	c = wire_next();
	is_call(c, "unary", OUTCOME_ABORTED, 12007, "no_response");
	has_attribute(c, "rst_by", "server");
	client(opening(3));
	server(join(answering(3), trailer(3, BYTES(""), NULL)));
	client(rst(3)); /* the status was there before */
	c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "");
	client(join(opening(4), trailer(4, BYTES(""), NULL)));
	client(rst(4));
	c = wire_next();
	is_call(c, "unary", OUTCOME_ABORTED, 12007, "no_response");
	wire_close(FLOW_FIN);
	wire_expect_none();
}

/* Capped streams leave as evicted, their cap is counted. */
static void b15_streams_over_the_cap(void **state)
{
	(void)state;
	wire_open(true);
	for (uint32_t id = 1; id <= 1026; id++)
		client(opening(id));
	for (int i = 0; i < 2; i++)
		is_call(wire_next(), "unary", OUTCOME_ABORTED, 0, "no_response,evicted");
	wire_expect_none();
	wire_close(FLOW_STOP);
	make_reset();
}

static void large_body_in_pieces(void **state)
{
	static char text[300001];
	struct bytes q, b;

	(void)state;
	memset(text, 'l', sizeof(text) - 1);
	q = binary(1, "Big", 1, string_field(1, text));
	b = FRAME(.seq = 1, .payload = framed(q));
	wire_open(true);
	for (size_t at = 0; at < b.n; at += 1400)
		wire_run(DIR_REQUEST, bytes_head(bytes_from(b, at), 1400), at > 0);
	server(FRAME(.seq = 1, .payload = framed(binary(2, "Big", 1, VOID_RESULT))));
	record *c = wire_next();
	is_call(c, "unary", OUTCOME_OK, 0, "");
	is_data(c->request->body, q);
	assert_int_equal(c->request->wire_bytes, b.n);
	wire_close(FLOW_FIN);
}

static int teardown(void **state)
{
	(void)state;
	make_reset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unary),
		cmocka_unit_test(r10_tokens_are_redacted),
		cmocka_unit_test(in_flight_and_closed),
		cmocka_unit_test(r6_reused_and_unknown_ids),
		cmocka_unit_test(kitex_protobuf),
		cmocka_unit_test(protocol_error),
		cmocka_unit_test(bidi),
		cmocka_unit_test(server_and_client_streams),
		cmocka_unit_test(resets),
		cmocka_unit_test(b15_streams_over_the_cap),
		cmocka_unit_test(large_body_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
