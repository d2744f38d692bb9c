/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: ordered bytes in, records out, through the real framers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

/* Three calls of one keep-alive connection; what each says is told by its number. */
static const char *const requests[] = {
	"GET /1 HTTP/1.1\r\nHost: a\r\nX-N: 1\r\n\r\n",
	"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nrequest-two!",
	"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
};
static const char *const responses[] = {
	"HTTP/1.1 201 One\r\nContent-Length: 11\r\n\r\nfirst-reply",
	"HTTP/1.1 202 Two\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nsecond-\r\n5\r\nreply\r\n0\r\n\r\n",
	"HTTP/1.1 203 Three\r\nContent-Length: 11\r\n\r\nthird-reply",
};
static const char *const request_bodies[] = {"", "request-two!", ""};
static const char *const response_bodies[] = {"first-reply", "second-reply", "third-reply"};

static bool data_is(ProtobufCBinaryData d, const char *text)
{
	return d.len == strlen(text) && (d.len == 0 || memcmp(d.data, text, d.len) == 0);
}

/* The number of the call whose path it is, from 1; 0: another. */
static int number_of(const Sidetap__V1__Call *c)
{
	return strlen(c->path) == 2 && c->path[1] >= '1' && c->path[1] <= '3' ? c->path[1] - '0'
									      : 0;
}

static bool is_exact(const Sidetap__V1__Call *c)
{
	int k = number_of(c);
	return k && c->request && c->response && (int)c->outcome == OUTCOME_OK &&
	       c->status_code == 200 + k && data_is(c->request->body, request_bodies[k - 1]) &&
	       data_is(c->response->body, response_bodies[k - 1]) &&
	       c->response->body_bytes == strlen(response_bodies[k - 1]) &&
	       c->request->n_headers == (k == 3 ? 1u : 2u) && c->response->n_headers == 1;
}

static void expect_three(void)
{
	for (size_t i = 0; i < 3; i++) {
		const Sidetap__V1__Call *c = wire_next();
		assert_int_equal(number_of(c), i + 1);
		assert_true(is_exact(c));
		assert_int_equal(c->n_flags, 0);
		assert_int_equal(c->request->wire_bytes, strlen(requests[i]));
		assert_int_equal(c->response->wire_bytes, strlen(responses[i]));
	}
	wire_expect_none();
}

/* ---- cuts ---- */

static void one_segment_each(void **state)
{
	(void)state;
	wire_open(true);
	for (int i = 0; i < 3; i++) {
		wire_send(DIR_REQUEST, requests[i]);
		wire_send(DIR_RESPONSE, responses[i]);
	}
	expect_three();
	wire_close(FLOW_FIN);
}

static void cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t cut = 1; cut < 80; cut++) {
		wire_open(true);
		for (int i = 0; i < 3; i++) {
			wire_send_cut(DIR_REQUEST, requests[i], cut);
			wire_send_cut(DIR_RESPONSE, responses[i], cut);
		}
		expect_three();
		wire_close(FLOW_FIN);
	}
}

static void byte_at_a_time(void **state)
{
	(void)state;
	wire_open(true);
	for (int i = 0; i < 3; i++) {
		wire_send_bytes(DIR_REQUEST, requests[i]);
		wire_send_bytes(DIR_RESPONSE, responses[i]);
	}
	expect_three();
	wire_close(FLOW_FIN);
}

static void pipelined(void **state)
{
	(void)state;
	wire_open(true);
	for (int i = 0; i < 3; i++)
		wire_send(DIR_REQUEST, requests[i]);
	char all[400];
	snprintf(all, sizeof(all), "%s%s%s", responses[0], responses[1], responses[2]);
	wire_send_cut(DIR_RESPONSE, all, 100);
	expect_three();
	wire_close(FLOW_FIN);
}

/* First and last byte of a message that came in two segments */
static void times(void **state)
{
	(void)state;
	wire_open(true);
	uint64_t t0 = wire.now;
	wire_send_cut(DIR_REQUEST, requests[0], 10);
	uint64_t t1 = wire.now;
	wire_send_cut(DIR_RESPONSE, responses[0], 45); /* in the body */
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->request->start_unix_ns, t0);
	assert_int_equal(c->request->end_unix_ns, t0 + WIRE_STEP_NS);
	assert_int_equal(c->response->start_unix_ns, t1);
	assert_int_equal(c->response->end_unix_ns, t1 + WIRE_STEP_NS);
	wire_close(FLOW_FIN);
}

/* Answered before the request's end, and the server closes: what the client still sends belongs to the call. */
static void early_answer_then_close(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
	wire_send(DIR_RESPONSE, "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno");
	wire_half_close(DIR_RESPONSE);
	wire_expect_none();
	wire_run(DIR_REQUEST, BYTES("-rest"), true);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->status_code, 413);
	assert_true(data_is(c->request->body, "first-rest"));
	assert_int_equal(c->n_flags, 0);
	wire_close(FLOW_RST);
	wire_expect_none();

	wire_open(true);
	wire_send(DIR_REQUEST, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst");
	wire_send(DIR_RESPONSE, "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno");
	wire_half_close(DIR_RESPONSE);
	wire_close(FLOW_RST);
	c = wire_next();
	assert_int_equal(c->status_code, 413);
	assert_int_equal(c->request->body_bytes, 5);
	wire_expect_none();
}

/* ---- switches ---- */

static void upgrade_with_optimistic_bytes(void **state)
{
	(void)state;
	for (int half_close = 0; half_close < 2; half_close++) {
		wire_open(true);
		wire_send(DIR_REQUEST, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
				       "Upgrade: websocket\r\n\r\noptimistic");
		wire_send(DIR_REQUEST, "more");
		if (half_close)
			wire_half_close(DIR_REQUEST);
		wire_expect_none();
		wire_send(DIR_RESPONSE, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n"
					"Upgrade: websocket\r\n\r\nframe");
		const Sidetap__V1__Call *c = wire_next();
		assert_int_equal(c->status_code, 101);
		assert_int_equal(c->outcome, OUTCOME_OK);
		wire_send(DIR_RESPONSE, "frame");
		if (!half_close)
			wire_send(DIR_REQUEST, "last");
		wire_expect_none();
		wire_half_close(DIR_REQUEST);
		wire_half_close(DIR_RESPONSE);
		wire_close(FLOW_FIN);
		c = wire_next();
		assert_string_equal(c->protocol, "opaque");
		assert_string_equal(c->call_type, "stream");
		assert_int_equal(c->outcome, OUTCOME_OK);
		assert_int_equal(c->n_flags, 0);
		assert_int_equal(c->request->body_bytes, half_close ? 14 : 18);
		assert_int_equal(c->response->body_bytes, 10);
		wire_expect_none();
	}
}

/* Refused: the bytes behind the request are the next request after all. */
static void upgrade_refused(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
			       "Upgrade: websocket\r\n\r\n");
	wire_send(DIR_REQUEST, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
	wire_send(DIR_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
	wire_send(DIR_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
	assert_true(data_is(wire_next()->response->body, "1"));
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->path, "/2");
	assert_true(data_is(c->response->body, "2"));
	wire_close(FLOW_FIN);
}

static void proxy_preamble(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < 60; cut++) {
		wire_open(true);
		char text[300];
		snprintf(text, sizeof(text), "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n%s",
			 requests[0]);
		wire_send_cut(DIR_REQUEST, text, cut);
		wire_send(DIR_RESPONSE, responses[0]);
		for (int i = 1; i < 3; i++) {
			wire_send(DIR_REQUEST, requests[i]);
			wire_send(DIR_RESPONSE, responses[i]);
		}
		for (int i = 0; i < 3; i++) {
			const Sidetap__V1__Call *c = wire_next();
			assert_true(is_exact(c));
			assert_int_equal(c->n_flags, 0);
			assert_string_equal(records_attribute(c, "proxy_source"), "1.2.3.4:1000");
			assert_string_equal(records_attribute(c, "proxy_destination"),
					    "5.6.7.8:80");
		}
		wire_close(FLOW_FIN);
	}
}

/* ---- late joins ---- */

/* In the middle of a reply's body: what is there of it belongs to nobody; the next call is exact. */
static void late_in_a_body(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_RESPONSE, "the rest of a body");
	for (int i = 1; i < 3; i++) {
		wire_send(DIR_REQUEST, requests[i]);
		wire_send(DIR_RESPONSE, responses[i]);
	}
	for (int i = 1; i < 3; i++) {
		const Sidetap__V1__Call *c = wire_next();
		assert_int_equal(number_of(c), i + 1);
		assert_true(is_exact(c));
		assert_string_equal(records_flags(c), "late_join");
	}
	wire_expect_none();
	assert_int_equal(wire_exit("skipped_attach"), strlen("the rest of a body"));
	wire_close(FLOW_FIN);
}

/* Between a request and its reply: the reply of before is never the next request's. */
static void late_before_a_reply(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_RESPONSE, responses[0]);
	for (int i = 1; i < 3; i++) {
		wire_send(DIR_REQUEST, requests[i]);
		wire_send(DIR_RESPONSE, responses[i]);
	}
	for (int i = 1; i < 3; i++)
		assert_true(is_exact(wire_next()));
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* The same, once the two directions are known to turn: the old reply is gathered as a candidate. */
static void late_with_an_old_reply(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_REQUEST, "end of a request body");
	wire_send(DIR_RESPONSE, responses[0]);
	for (int i = 1; i < 3; i++) {
		wire_send(DIR_REQUEST, requests[i]);
		wire_send(DIR_RESPONSE, responses[i]);
	}
	for (int i = 1; i < 3; i++)
		assert_true(is_exact(wire_next()));
	wire_expect_none();
	wire_close(FLOW_FIN);
}

static void late_pipelined(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_RESPONSE, "old");
	wire_send(DIR_REQUEST, requests[0]);
	wire_send(DIR_REQUEST, requests[1]);
	wire_send(DIR_RESPONSE, responses[0]);
	wire_send(DIR_RESPONSE, responses[1]);
	wire_close(FLOW_FIN);
	for (const Sidetap__V1__Call *c; (c = records_last(&wire.out, wire.seen++));)
		assert_true(records_flag(c, "late_join"));
}

/* ... and after a quiet second without a flag. */
static void late_then_quiet(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_RESPONSE, "old");
	wire_send(DIR_REQUEST, requests[0]);
	wire_send(DIR_RESPONSE, responses[0]);
	assert_string_equal(records_flags(wire_next()), "late_join");
	wire.now += 1100000000;
	wire_send(DIR_REQUEST, requests[1]);
	wire_send(DIR_RESPONSE, responses[1]);
	const Sidetap__V1__Call *c = wire_next();
	assert_true(is_exact(c));
	assert_int_equal(c->n_flags, 0);
	wire_close(FLOW_FIN);
}

/* Client and server were taken for each other: found out by what they say. */
static void late_reversed(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_REQUEST, "old");
	wire_send(DIR_RESPONSE, requests[0]);
	wire_send(DIR_REQUEST, responses[0]);
	assert_true(wire.reversed);
	const Sidetap__V1__Call *c = wire_next();
	assert_true(is_exact(c));
	wire_send(DIR_REQUEST, requests[1]);
	wire_send(DIR_RESPONSE, responses[1]);
	assert_true(is_exact(wire_next()));
	wire_close(FLOW_FIN);
}

static void late_never_known(void **state)
{
	(void)state;
	wire_open(false);
	char junk[8192];
	memset(junk, 0x80, sizeof(junk) - 1);
	junk[sizeof(junk) - 1] = 0;
	for (int i = 0; i < 100; i++) {
		wire_send(DIR_REQUEST, junk);
		wire_send(DIR_RESPONSE, junk);
	}
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "opaque");
	assert_string_equal(records_flags(c), "late_join");
	wire_expect_none();
}

/* ---- ends ---- */

static void half_close(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, requests[0]);
	wire_half_close(DIR_REQUEST);
	wire_send(DIR_RESPONSE, "HTTP/1.1 201 One\r\n\r\nuntil ");
	wire_send(DIR_RESPONSE, "close");
	wire_expect_none();
	wire_half_close(DIR_RESPONSE);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_true(data_is(c->response->body, "until close"));
	wire_close(FLOW_FIN);
}

static void ends_in_the_middle(void **state)
{
	(void)state;
	static const enum flow_end ends[] = {FLOW_FIN,      FLOW_RST,     FLOW_REUSED,
					     FLOW_VANISHED, FLOW_EVICTED, FLOW_STOP};
	for (size_t i = 0; i < 6; i++)
		for (size_t n = 1; n < strlen(requests[1]) + strlen(responses[1]); n++) {
			size_t q = strlen(requests[1]), r = n > q ? n - q : 0;
			wire_open(true);
			wire_send_raw(DIR_REQUEST, bytes_of(requests[1], n < q ? n : q));
			wire_send_raw(DIR_RESPONSE, bytes_of(responses[1], r));
			wire_close(ends[i]);
			const Sidetap__V1__Call *c = records_last(&wire.out, wire.seen++);
			if (!c) { /* no head was seen whole */
				assert_true(n < q);
				continue;
			}
			enum outcome want = n == q ? OUTCOME_NO_RESPONSE : OUTCOME_ABORTED;
			if (ends[i] == FLOW_EVICTED || ends[i] == FLOW_STOP)
				want = OUTCOME_UNKNOWN;
			if (c->path[0] == 0) /* a beginning that no framer knew */
				continue;
			assert_string_equal(record_outcome_name((enum outcome)c->outcome),
					    record_outcome_name(want));
		}
}

/* ---- memory ---- */

static void idle_memory(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, requests[0]);
	wire_send(DIR_RESPONSE, responses[0]);
	const struct conn *c = wire.flow.user;
	assert_int_equal(c->d[0].gather.cap + c->d[1].gather.cap, 0);
	size_t n = sizeof(*c) + c->ops->state_size + sizeof(*c->names) + 64;
	print_message("an idle http1 connection: %zu bytes (conn %zu, framer %zu)\n", n, sizeof(*c),
		      c->ops->state_size);
	assert_true(n < 1024);
	wire_close(FLOW_FIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_segment_each),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(byte_at_a_time),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(times),
		cmocka_unit_test(early_answer_then_close),
		cmocka_unit_test(upgrade_with_optimistic_bytes),
		cmocka_unit_test(upgrade_refused),
		cmocka_unit_test(proxy_preamble),
		cmocka_unit_test(late_in_a_body),
		cmocka_unit_test(late_before_a_reply),
		cmocka_unit_test(late_with_an_old_reply),
		cmocka_unit_test(late_pipelined),
		cmocka_unit_test(late_then_quiet),
		cmocka_unit_test(late_reversed),
		cmocka_unit_test(late_never_known),
		cmocka_unit_test(half_close),
		cmocka_unit_test(ends_in_the_middle),
		cmocka_unit_test(idle_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
