/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC on connections joined late and with holes: what can be proven, and what stays open (faults B8, B9). */
#include "tests/unit/grpc_wire.h"

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

static void late_answer(uint32_t stream, char status, struct bytes body, bool trailers_follow)
{
	const char head[2] = {status, '\xbe'};
	frame(HEADERS, END_HEADERS, stream, bytes_of(head, 2));
	data(stream, trailers_follow ? NO_FLAGS : END_STREAM, body);
	if (trailers_follow)
		frame(HEADERS, END_HEADERS | END_STREAM, stream, BYTES("\xbf"));
	flush(RESP);
}

#define MESSAGE BYTES("\0\0\0\0\5reply")

/* Indices of the static table (RFC 7541 appendix A) */
enum { STATUS_200 = 0x88, STATUS_500 = 0x8e };

static const Sidetap__V1__Call *late_call_as(uint32_t stream, const char *block, int status,
					     struct bytes reply, bool trailers_follow)
{
	late_ask(stream, block);
	late_answer(stream, (char)status, reply, trailers_follow);
	return wire_next();
}

static const Sidetap__V1__Call *late_call(uint32_t stream, const char *block)
{
	return late_call_as(stream, block, STATUS_200, MESSAGE, true);
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
	is_unsure(late_call(101, "\x83\x86\xbe\xbf\xc0"));
	is_proven(late_call(103, "\x83\x86\xbe\xbf\xc0"));
	is_proven(late_call(105, "\x83\x86\xc0\xc1\xbf\xbe")); /* and one more */
	is_unsure(late_call(107, "\x83\x86\xbe\xbf\xc1")); /* lacks one of them */
	/* an entry inserted meanwhile moves the indices, not the entries */
	const char inserted[] = "\x83\x86\xbe\xbf\xc0\x40\1x\1y";
	is_proven(late_call(109, inserted));
	is_proven(late_call(111, "\x83\x86\xbf\xc0\xc1"));
	is_proven(late_call(113, "\x83\x86\xbf\xc0\xc2\xbe")); /* as 107: proven by it */
	is_unsure(late_call(115, "\x83\x86\xc0\xc1\xc3"));
	done();
}

/* Frames beyond 16 KiB, which the two ends agreed on before our eyes, in the first segment */
static void b8_late_and_large_frames(void **state)
{
	enum { SIZE = 200 << 10 };
	uint8_t *big = calloc(1, SIZE);
	(void)state;
	memcpy(big, "\0\0\3\x1f\xfb", 5); /* SIZE - 5 */
	wire_open(false);
	frame(PING, NO_FLAGS, 0, BYTES("\0\0\0\0\0\0\0\0"));
	flush(RESP);
	frame(HEADERS, END_HEADERS, 101, BYTES("\x83\x86\xbe\xbf\xc0"));
	data(101, END_STREAM, bytes_of(big, SIZE));
	struct bytes all = buf_bytes(&out);
	wire_send_raw(REQ, bytes_head(all, 60000));
	wire_send_raw(REQ, bytes_from(all, 60000));
	out.n = 0;
	late_answer(101, (char)STATUS_200, MESSAGE, true);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->request->body_bytes, SIZE);
	assert_false(records_flag(c, "gap") || records_flag(c, "truncated"));
	is_proven(late_call(103, "\x83\x86\xbe\xbf\xc0"));
	free(big);
	done();
}

/* What proves nothing: other frames than messages, no trailers, a name that is unknown with its value */
static void b8_late_calls_are_not_proven(void **state)
{
	static const struct {
		const char *block;
		int status;
		struct bytes reply;
		bool trailers_follow;
	} cases[] = {
		{"\x83\x86\xbe\xbf\xc0", STATUS_200, MESSAGE, false},
		{"\x83\x86\xbe\xbf\xc0", STATUS_200, BYTES("{\"a\": 1}"), true},
		{"\x83\x86\xbe\xbf\xc0", STATUS_200, BYTES("\0\0\0\0\6reply"), true},
		{"\x83\x86\xbe\xbf\xc0", STATUS_200, BYTES("\0\0\0\0\5reply\200\0\0\0\0"), true},
		{"\x83\x86\xbe\xbf\x7e\1v", STATUS_200, MESSAGE, true},
		{"\x83\x86\xbe\xbf\xc0", STATUS_500, MESSAGE, true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		late_hello();
		is_unsure(late_call_as(101, cases[i].block, cases[i].status, cases[i].reply,
				       cases[i].trailers_follow));
		is_unsure(late_call_as(103, cases[i].block, cases[i].status, cases[i].reply,
				       cases[i].trailers_follow));
		done();
	}
}

/* b9: a loss in the requests' direction ends all that was known of the table. */
static void b9_a_loss_takes_the_proof(void **state)
{
	(void)state;
	late_hello();
	is_unsure(late_call(101, "\x83\x86\xbe\xbf\xc0"));
	is_proven(late_call(103, "\x83\x86\xbe\xbf\xc0"));
	wire_lose(REQ, 40);
	is_unsure(late_call(107, "\x83\x86\xbe\xbf\xc0"));
	is_proven(late_call(109, "\x83\x86\xbe\xbf\xc0"));
	wire_close(FLOW_FIN);
}

/* The reply of a stream after `lost` of its bytes from `from` on did not come; then another call, whole */
static const Sidetap__V1__Call *holed(size_t from, size_t lost)
{
	hello();
	asked(1);
	answer(1);
	size_t head = out.n;
	message(1, NO_FLAGS, 0, "first");
	message(1, NO_FLAGS, 0, "second");
	trailers(1, TRAILER);
	struct bytes all = buf_bytes(&out);
	wire_send_raw(RESP, bytes_head(all, head + from));
	wire_lose(RESP, lost);
	wire_send_raw(RESP, bytes_from(all, head + from + lost));
	out.n = 0;
	asked(3);
	answer(3);
	message(3, NO_FLAGS, 0, "r");
	trailers(3, TRAILER);
	flush(RESP);
	return wire_next();
}

/* Messages that were lost may make a stream of what looks like one each way: the kind is open then. */
static void b9_the_kind_of_a_holed_call(void **state)
{
	enum { FRAME = 9, PREFIX = 5 };
	(void)state;
	/* inside the first message: all of them were counted */
	const Sidetap__V1__Call *c = holed(FRAME + PREFIX, 2);
	assert_string_equal(c->call_type, "server_stream");
	assert_true(records_flag(c, "gap"));
	wire_close(FLOW_FIN);
	/* both messages whole, with the frames around them */
	c = holed(0, 2 * (FRAME + PREFIX) + 11);
	assert_string_equal(c->call_type, "stream");
	assert_true(records_flag(c, "gap"));
	wire_close(FLOW_FIN);
	/* the head and the messages, but not the trailers */
	hello();
	asked(1);
	wire_lose(RESP, 90);
	frame(PING, NO_FLAGS, 0, BYTES("\0\0\0\0\0\0\0\0"));
	trailers(1, TRAILER);
	frame(PING, NO_FLAGS, 0, BYTES("\0\0\0\0\0\0\0\0"));
	flush(RESP);
	c = expect(OUTCOME_OK, 0, "stream");
	assert_true(records_flag(c, "gap"));
	wire_close(FLOW_FIN);
	/* the prefix of the first: what follows in its frame is not read as messages */
	c = holed(FRAME, 2);
	assert_true(records_flag(c, "gap"));
	assert_string_not_equal(c->call_type, "unary");
	wire_close(FLOW_FIN);
}

/* A hole over the end of one message and the prefix of the next, in one frame: every byte of it is counted. */
static void b9_a_hole_over_two_messages(void **state)
{
	static const char two[] = "\0\0\0\0\3one\0\0\0\0\3two";
	(void)state;
	for (size_t lost = 1; lost <= 8; lost++) {
		hello();
		asked(1);
		answer(1);
		data(1, NO_FLAGS, bytes_of(two, sizeof(two) - 1));
		struct bytes all = buf_bytes(&out);
		wire_send_raw(RESP, bytes_head(all, all.n - 9));
		wire_lose(RESP, lost);
		wire_send_raw(RESP, bytes_from(all, all.n - 9 + lost));
		out.n = 0;
		trailers(1, TRAILER);
		flush(RESP);
		const Sidetap__V1__Call *c = wire_next();
		assert_true(records_flag(c, "gap"));
		/* bytes behind a whole message are another one's */
		assert_string_equal(c->call_type, "server_stream");
		assert_int_equal(c->response->body_bytes, lost == 1 ? 6 : 11);
		assert_memory_equal(c->stream[1]->body.data, "on", 2);
		assert_int_equal(c->stream[1]->body_bytes, 3);
		wire_close(FLOW_FIN);
	}
}

/* Reset by a client that may have had an answer, which a hole took: not known to be unanswered. */
static void b9_a_reset_behind_a_lost_reply(void **state)
{
	(void)state;
	for (int replied = 0; replied < 2; replied++) {
		hello();
		asked(1);
		if (replied)
			wire_lose(RESP, 60);
		rst(1, 0);
		flush(REQ);
		const Sidetap__V1__Call *c = expect(replied ? OUTCOME_UNKNOWN : OUTCOME_ABORTED, 0,
						    replied ? "stream" : "unary");
		assert_int_equal(records_flag(c, "gap"), replied);
		wire_close(FLOW_FIN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holes),
		cmocka_unit_test(b8_late_calls_are_proven),
		cmocka_unit_test(b8_late_and_large_frames),
		cmocka_unit_test(b8_late_calls_are_not_proven),
		cmocka_unit_test(b9_a_loss_takes_the_proof),
		cmocka_unit_test(b9_the_kind_of_a_holed_call),
		cmocka_unit_test(b9_a_hole_over_two_messages),
		cmocka_unit_test(b9_a_reset_behind_a_lost_reply),
	};

	return cmocka_run_group_tests(tests, NULL, drop);
}
