/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of Thrift: pairing (R6), errors, losses and the places where it goes on. Exchanges with their text:
 * tests/corpus/thrift.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

static void send_message(enum dir dir, enum thrift_form form, bool framed, unsigned type,
			 const char *name, int32_t seqid)
{
	struct buf b = tw_text_message(form, framed, type, name, seqid, 4);

	wire_send_raw(dir, buf_bytes(&b));
	buf_fini(&b);
}

/* ---- R6: pairing ---- */

static void ask(int32_t seqid, const char *name)
{
	send_message(DIR_REQUEST, THRIFT_BINARY, true, THRIFT_CALL, name, seqid);
}

static void answer(int32_t seqid, const char *name)
{
	send_message(DIR_RESPONSE, THRIFT_BINARY, true, THRIFT_REPLY, name, seqid);
}

static void r6_out_of_order(void **state)
{
	(void)state;
	wire_open(true);
	ask(1, "a");
	ask(2, "b");
	ask(3, "c");
	answer(3, "c");
	answer(1, "a");
	answer(2, "b");
	wire_close(FLOW_FIN);
	for (int i = 0; i < 3; i++) {
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, i == 0 ? "c" : i == 1 ? "a" : "b");
		assert_true(c->request && c->response);
		assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__OK);
		assert_string_equal(c->protocol, "thrift");
		assert_string_equal(c->transport, "framed+binary");
		assert_string_equal(records_flags(c), "");
	}
	wire_expect_none();
}

/* No ids: a call that nobody answers does not take another method's answer; among equal ones order decides. */
static void r6_ids_that_prove_nothing(void **state)
{
	(void)state;
	wire_open(true);
	ask(0, "oneway_as_call");
	ask(0, "b");
	answer(0, "b");
	ask(0, "b");
	ask(0, "b");
	answer(0, "b");
	answer(0, "b");
	wire_close(FLOW_FIN);
	for (int i = 0; i < 3; i++) {
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, "b");
		assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__OK);
	}
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "oneway_as_call");
	assert_string_equal(c->call_type, "unary");
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__NO_RESPONSE);
	wire_expect_none();
}

static void r6_reply_without_a_call(void **state)
{
	(void)state;
	wire_open(true);
	ask(1, "a");
	answer(1, "a");
	answer(77, "stray");
	ask(2, "b");
	answer(2, "b");
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->method, "a");
	const Sidetap__V1__Call *c = wire_next();
	assert_true(!c->request && records_flag(c, "orphan_response"));
	assert_string_equal(c->method, "stray");
	assert_string_equal(wire_next()->method, "b");
	wire_expect_none();
}

static void r6_oneway(void **state)
{
	(void)state;
	wire_open(true);
	send_message(DIR_REQUEST, THRIFT_COMPACT, true, THRIFT_ONEWAY, "Svc:note", 5);
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->service, "Svc");
	assert_string_equal(c->method, "note");
	assert_string_equal(c->call_type, "oneway");
	assert_string_equal(c->transport, "framed+compact");
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__OK);
	assert_null(c->response);
}

/* ---- what an error costs ---- */

static void struct_that_is_none_in_a_frame(void **state)
{
	struct buf b = {0};

	(void)state;
	wire_open(true);
	tw_message(&b, THRIFT_BINARY, THRIFT_CALL, "bad", 1);
	tw_bytes(&b, BYTES("\x0b\0\1\0\0\0\x09short"));
	tw_frame(&b, 0);
	wire_send_raw(DIR_REQUEST, buf_bytes(&b));
	answer(1, "bad");
	ask(2, "good");
	answer(2, "good");
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(records_flags(c), "protocol_error");
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__UNKNOWN);
	assert_int_equal(c->request->body_bytes, b.n - 4);
	c = wire_next();
	assert_string_equal(c->method, "good");
	assert_string_equal(records_flags(c), "");
	buf_fini(&b);
}

static void contradiction_is_for_good(void **state)
{
	(void)state;
	wire_open(true);
	ask(1, "a");
	answer(1, "a");
	ask(2, "b");
	wire_send(DIR_REQUEST, "GET / HTTP/1.1\r\n\r\n");
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->method, "a");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "b");
	assert_true(records_flag(c, "protocol_error"));
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__UNKNOWN);
	assert_string_equal(wire_next()->protocol, "opaque");
	wire_expect_none();
}

/* A weak guess that was wrong is taken back. */
static void weak_is_undone(void **state)
{
	struct buf b = {0};

	(void)state;
	wire_open(true);
	tw_message(&b, THRIFT_OLD_BINARY, THRIFT_CALL, "a", 0);
	tw_bytes(&b, BYTES("\x0b\0\1\0\0\0\1"));
	wire_send_raw(DIR_REQUEST, buf_bytes(&b));
	send_message(DIR_RESPONSE, THRIFT_OLD_BINARY, false, THRIFT_REPLY, "a", 0);
	wire_send(DIR_REQUEST, "something else altogether");
	assert_int_equal(wire_counted("undone"), 1);
	assert_int_equal(wire_counted("misdetected"), 1);
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->protocol, "opaque");
	wire_expect_none();
	buf_fini(&b);
}

/* ---- exceptions whose text is long ---- */

static void long_exception(void **state)
{
	struct buf text = {0}, b = {0};

	(void)state;
	while (text.n < 10000)
		tw_u8(&text, 't');
	for (int i = 0; i < 12; i++) {
		enum thrift_form form = (enum thrift_form)(i / 4);
		bool framed = i & 1, turned = i & 2;
		wire_open(true);
		send_message(DIR_REQUEST, form, framed, THRIFT_CALL, "no", 3);
		b.n = 0;
		tw_message(&b, form, THRIFT_EXCEPTION, "no", 3);
		tw_exception(&b, form, buf_bytes(&text), 7, turned);
		size_t n = b.n;
		if (framed)
			tw_frame(&b, 0);
		for (size_t at = 0; at < b.n; at += 700)
			wire_run(DIR_RESPONSE, bytes_head(bytes_from(buf_bytes(&b), at), 700),
				 at > 0);
		wire_close(FLOW_FIN);
		const Sidetap__V1__Call *c = wire_next();
		assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__SERVER_ERROR);
		assert_int_equal(c->status_code, 7);
		assert_int_equal(strlen(c->status_text), 1024);
		assert_int_equal(c->response->body_bytes, n);
		assert_string_equal(records_flags(c), "");
	}
	buf_fini(&text);
	buf_fini(&b);
}

/* A reply whose head waits for more is given out when the connection ends. */
static void exception_cut_by_close(void **state)
{
	struct buf b = {0};

	(void)state;
	wire_open(true);
	ask(3, "no");
	tw_message(&b, THRIFT_BINARY, THRIFT_EXCEPTION, "no", 3);
	tw_exception(&b, THRIFT_BINARY, BYTES("some text"), 7, false);
	tw_frame(&b, 0);
	wire_send_raw(DIR_RESPONSE, bytes_head(buf_bytes(&b), b.n - 4));
	wire_close(FLOW_RST);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__ABORTED);
	assert_string_equal(c->status_text, "some text");
	assert_non_null(c->response);
	buf_fini(&b);
}

/* ---- losses ---- */

static void hole_in_a_frame(void **state)
{
	struct buf b = tw_text_message(THRIFT_BINARY, true, THRIFT_CALL, "put", 9, 5000);

	(void)state;
	wire_open(true);
	wire_send_raw(DIR_REQUEST, bytes_head(buf_bytes(&b), 1000));
	wire_lose(DIR_REQUEST, 1500);
	wire_run(DIR_REQUEST, bytes_from(buf_bytes(&b), 2500), false);
	answer(9, "put");
	ask(10, "next");
	answer(10, "next");
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "put");
	assert_true(records_flag(c, "gap"));
	assert_int_equal(c->request->body_bytes, b.n - 4);
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__OK);
	c = wire_next();
	assert_string_equal(c->method, "next");
	assert_string_equal(records_flags(c), "");
	buf_fini(&b);
}

/* The hole begins before a frame and ends in it, or covers some: no length tells. */
static void hole_over_frames(void **state)
{
	(void)state;
	wire_open(true);
	ask(1, "a");
	answer(1, "a");
	wire_lose(DIR_REQUEST, 100);
	answer(2, "lost");
	ask(3, "c");
	answer(3, "c");
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->method, "a");
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "orphan_response"));
	assert_string_equal(c->method, "lost");
	c = wire_next();
	assert_string_equal(c->method, "c");
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__OK);
	wire_expect_none();
}

/*
 * A body that carries messages, sent as segments of their own: out of step, they are no calls. The real one behind
 * it is found.
 */
static void forwarded_messages(void **state)
{
	(void)state;
	for (int framed = 0; framed < 2; framed++) {
		wire_open(true);
		send_message(DIR_REQUEST, THRIFT_BINARY, framed, THRIFT_CALL, "a", 1);
		send_message(DIR_RESPONSE, THRIFT_BINARY, framed, THRIFT_REPLY, "a", 1);
		wire_lose(DIR_REQUEST, 30);
		send_message(DIR_REQUEST, THRIFT_BINARY, framed, THRIFT_CALL, "inside", 50);
		wire_send_raw(DIR_REQUEST, BYTES("\0\0"));
		send_message(DIR_RESPONSE, THRIFT_BINARY, framed, THRIFT_REPLY, "forward", 2);
		send_message(DIR_REQUEST, THRIFT_BINARY, framed, THRIFT_CALL, "c", 3);
		send_message(DIR_RESPONSE, THRIFT_BINARY, framed, THRIFT_REPLY, "c", 3);
		wire_close(FLOW_FIN);
		assert_string_equal(wire_next()->method, "a");
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, "forward");
		assert_null(c->request);
		c = wire_next();
		assert_string_equal(c->method, "c");
		assert_true(c->request && c->response);
		wire_expect_none();
	}
}

/* The same place, and what stands there is one: its answer proves it, or the next request. */
static void request_proved_by_its_answer(void **state)
{
	(void)state;
	for (int answered = 0; answered < 2; answered++) {
		wire_open(true);
		ask(1, "a");
		answer(1, "a");
		wire_lose(DIR_REQUEST, 30);
		ask(3, "b");
		if (answered)
			answer(3, "b");
		ask(4, "c");
		if (!answered)
			answer(3, "b");
		answer(4, "c");
		wire_close(FLOW_FIN);
		assert_string_equal(wire_next()->method, "a");
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, "b");
		assert_true(c->request && c->response);
		assert_string_equal(wire_next()->method, "c");
		wire_expect_none();
	}
}

/* Without ids a lost reply's place is unknown: its call leaves at once, the next ones are marked. */
static void lost_reply_without_ids(void **state)
{
	(void)state;
	wire_open(true);
	ask(0, "a");
	wire_lose(DIR_RESPONSE, 40);
	ask(0, "a");
	answer(0, "a");
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "gap") && !c->response);
	assert_int_equal(c->outcome, SIDETAP__V1__CALL__OUTCOME__UNKNOWN);
	c = wire_next();
	assert_true(c->request && c->response && records_flag(c, "late_join"));
	wire_expect_none();
}

static void late_join_marks_by_order(void **state)
{
	(void)state;
	for (int ids = 0; ids < 2; ids++) {
		wire_open(false);
		wire_send(DIR_RESPONSE, "rest of a reply");
		for (int i = 0; i < 3; i++) {
			ask(ids ? 5 + i : 0, "a");
			answer(ids ? 5 + i : 0, "a");
		}
		wire_close(FLOW_FIN);
		for (int i = 0; i < 3; i++) {
			const Sidetap__V1__Call *c = wire_next();
			assert_true(c->request && c->response);
			assert_int_equal(records_flag(c, "late_join"), !ids || i == 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(r6_out_of_order),
		cmocka_unit_test(r6_ids_that_prove_nothing),
		cmocka_unit_test(r6_reply_without_a_call),
		cmocka_unit_test(r6_oneway),
		cmocka_unit_test(struct_that_is_none_in_a_frame),
		cmocka_unit_test(contradiction_is_for_good),
		cmocka_unit_test(weak_is_undone),
		cmocka_unit_test(long_exception),
		cmocka_unit_test(exception_cut_by_close),
		cmocka_unit_test(hole_in_a_frame),
		cmocka_unit_test(hole_over_frames),
		cmocka_unit_test(forwarded_messages),
		cmocka_unit_test(request_proved_by_its_answer),
		cmocka_unit_test(lost_reply_without_ids),
		cmocka_unit_test(late_join_marks_by_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
