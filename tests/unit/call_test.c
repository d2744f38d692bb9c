/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by synthetic pieces: outcomes and pairing. */
#include "tests/unit/call_world.h"

/* ---- outcomes ---- */

static void ok(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	body(REQ, 0, BYTES("ping"), PIECE_END);
	expect_none();
	uint64_t start = w.now;
	response(0, 200, "po", 0);
	body(RESP, 0, BYTES("ng"), PIECE_END);
	const Sidetap__V1__Call *c = expect("/a", OUTCOME_OK, "");
	assert_string_equal(c->id, "i-1:1");
	assert_string_equal(c->call_type, "unary");
	assert_string_equal(records_attribute(c, "seen_index"), "1");
	assert_int_equal(c->status_code, 200);
	body_is(c->request, "ping");
	body_is(c->response, "pong");
	assert_int_equal(c->request->body_bytes, 4);
	assert_int_equal(c->response->wire_bytes, 2 + 2 + 20);
	assert_int_equal(c->response->start_unix_ns, start);
	assert_int_equal(c->response->end_unix_ns, start + 1000);
	response(0, 500, NULL, PIECE_END);
	expect("", OUTCOME_SERVER_ERROR, "orphan_response");
	world_close();
}

static void times_of_a_cut_head(void **state)
{
	(void)state;
	world_fifo();
	struct piece p = {.what = PIECE_HEAD | PIECE_END, .head = head_request("/a")};
	struct call_wire at = {10, 7000, 9000, 0};
	call_piece(w.calls, &w.conn[0], &w.conn[0].queue, &p, &at);
	close_conn(END_FIN);
	const Sidetap__V1__Call *c = next_call();
	assert_int_equal(c->request->start_unix_ns, 7000);
	assert_int_equal(c->request->end_unix_ns, 9000);
	world_close();
}

static void no_response(void **state)
{
	(void)state;
	for (enum end_how how = END_FIN; how <= END_RST; how++) {
		world_fifo();
		request(0, "/a", PIECE_END);
		close_conn(how);
		const Sidetap__V1__Call *c = expect("/a", OUTCOME_NO_RESPONSE, "no_response");
		assert_null(c->response);
		assert_int_equal(exit_of(CALL_NO_RESPONSE), 1);
		world_close();
	}
}

static void aborted_request(void **state)
{
	(void)state;
	for (enum end_how how = END_FIN; how <= END_RST; how++) {
		world_fifo();
		request(0, "/a", 0);
		body(REQ, 0, BYTES("half"), 0);
		call_cut(&w.conn[0].queue, DIR_REQUEST, 0);
		close_conn(how);
		body_is(expect("/a", OUTCOME_ABORTED, "no_response")->request, "half");
		world_close();
	}
}

static void aborted_response(void **state)
{
	(void)state;
	for (enum end_how how = END_FIN; how <= END_RST; how++) {
		world_fifo();
		request(0, "/a", PIECE_END);
		response(0, 200, "half", 0);
		call_cut(&w.conn[0].queue, DIR_RESPONSE, 0);
		close_conn(how);
		const Sidetap__V1__Call *c = expect("/a", OUTCOME_ABORTED, "");
		assert_int_equal(c->status_code, 200);
		body_is(c->response, "half");
		world_close();
	}
}

static void request_cut_but_answered(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	call_cut(&w.conn[0].queue, DIR_REQUEST, 0);
	response(0, 400, "no", PIECE_END);
	assert_int_equal(expect("/a", OUTCOME_SERVER_ERROR, "")->status_code, 400);
	world_close();
}

static void complete_response_then_rst(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	response(0, 200, "done", PIECE_END);
	expect_none();
	close_conn(END_RST);
	body_is(expect("/a", OUTCOME_OK, "")->response, "done");
	world_close();
}

static void early_response(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	body(REQ, 0, BYTES("1"), 0);
	response(0, 200, "early", PIECE_END);
	expect_none();
	body(REQ, 0, BYTES("2"), PIECE_END);
	body_is(expect("/a", OUTCOME_OK, "")->request, "12");
	request(0, "/b", PIECE_END);
	response(0, 200, "b", PIECE_END);
	body_is(expect("/b", OUTCOME_OK, "")->response, "b");
	world_close();
}

static void rst_stream(void **state)
{
	(void)state;
	const struct attribute code = {"rst_code", BYTES("8")};
	world_id();
	request(1, "/cut", PIECE_END);
	request(3, "/goaway", PIECE_END);
	request(5, "/done", 0);
	response(5, 200, "x", PIECE_END);
	struct piece p = {.what = PIECE_ABORT | PIECE_BOTH,
			  .dir = RESP,
			  .corr = 1,
			  .head = {.attributes = &code, .n_attributes = 1}};
	piece(0, p);
	const Sidetap__V1__Call *c = expect("/cut", OUTCOME_ABORTED, "no_response");
	assert_string_equal(records_attribute(c, "rst_code"), "8");
	p.corr = 3;
	p.head.outcome = OUTCOME_NO_RESPONSE;
	piece(0, p);
	expect("/goaway", OUTCOME_NO_RESPONSE, "no_response");
	p.corr = 5;
	piece(0, p);
	expect("/done", OUTCOME_OK, "");
	world_close();
}

static void oneway(void **state)
{
	(void)state;
	world_id();
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY | PIECE_END,
				 .corr = 4,
				 .body = BYTES("fire"),
				 .head = {.type = CALL_ONEWAY, .method = BYTES("log")}});
	const Sidetap__V1__Call *c = expect("", OUTCOME_OK, "");
	assert_string_equal(c->call_type, "oneway");
	assert_null(c->response);
	assert_int_equal(exit_of(CALL_ONEWAY_DONE), 1);
	world_close();
}

static void oneway_lost_to_a_gap(void **state)
{
	(void)state;
	world_fifo();
	piece(0, (struct piece) {.what = PIECE_HEAD, .head = {.type = CALL_ONEWAY}});
	call_gap(w.calls, &w.conn[0].queue, DIR_REQUEST, 50);
	expect("", OUTCOME_UNKNOWN, "truncated,gap");
	world_close();
}

static void interim(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	piece(0, (struct piece) {.what = PIECE_INTERIM, .dir = RESP, .head = {.status = 100}});
	piece(0, (struct piece) {.what = PIECE_INTERIM, .dir = RESP, .head = {.status = 103}});
	body(REQ, 0, BYTES("x"), PIECE_END);
	response(0, 200, NULL, PIECE_END);
	assert_string_equal(records_attribute(expect("/a", OUTCOME_OK, ""), "interim"), "100,103");
	for (int i = 0; i < 100; i++) /* more than there is room for */
		piece(0,
		      (struct piece) {.what = PIECE_INTERIM, .dir = RESP, .head = {.status = 100}});
	request(0, "/b", PIECE_END);
	for (int i = 0; i < 100; i++)
		piece(0,
		      (struct piece) {.what = PIECE_INTERIM, .dir = RESP, .head = {.status = 100}});
	close_conn(END_FIN);
	expect("/b", OUTCOME_NO_RESPONSE, "no_response");
	world_close();
}

/* ---- pairing ---- */

static void orphan_in_order(void **state)
{
	(void)state;
	world_fifo();
	response(0, 200, "who", PIECE_END);
	const Sidetap__V1__Call *c = expect("", OUTCOME_OK, "orphan_response");
	assert_null(c->request);
	assert_string_equal(c->method, "");
	request(0, "/a", PIECE_END);
	response(0, 200, "a", PIECE_END);
	body_is(expect("/a", OUTCOME_OK, "")->response, "a");
	world_close();
}

static void orphan_by_id_one_pending(void **state)
{
	(void)state;
	world_id();
	request(7, "/a", PIECE_END);
	response(99, 200, "a", PIECE_END); /* a server that does not echo the id */
	body_is(expect("/a", OUTCOME_OK, "")->response, "a");
	world_close();
}

static void orphan_by_id_several_pending(void **state)
{
	(void)state;
	world_id();
	request(7, "/a", PIECE_END);
	request(8, "/b", PIECE_END);
	response(99, 200, "x", PIECE_END);
	expect("", OUTCOME_OK, "orphan_response");
	response(8, 200, "b", PIECE_END);
	body_is(expect("/b", OUTCOME_OK, "")->response, "b");
	response(7, 200, "a", PIECE_END);
	body_is(expect("/a", OUTCOME_OK, "")->response, "a");
	world_close();
}

static void orphan_by_id_joined_late(void **state)
{
	(void)state;
	world_open(default_limits(), PAIRING_ID, true);
	request(7, "/a", PIECE_END);
	response(5, 200, "of before", PIECE_END);
	expect("", OUTCOME_OK, "orphan_response");
	response(7, 200, "a", PIECE_END);
	body_is(expect("/a", OUTCOME_OK, "")->response, "a");
	world_close();
}

static void same_id_in_order(void **state)
{
	(void)state;
	world_id();
	request(0, "/1", PIECE_END);
	request(0, "/2", PIECE_END);
	request(9, "/3", PIECE_END);
	response(9, 200, "3", PIECE_END);
	response(0, 200, "1", 0);
	response(0, 200, "2",
		 PIECE_END); /* begins while the first is open: ids are equal, order decides */
	body(RESP, 0, BYTES("!"), PIECE_END);
	body_is(expect("/3", OUTCOME_OK, "")->response, "3");
	body_is(expect("/2", OUTCOME_OK, "")->response, "2");
	body_is(expect("/1", OUTCOME_OK, "")->response, "1!");
	world_close();
}

static void interleaved(void **state)
{
	(void)state;
	world_id();
	request(1, "/1", 0);
	request(3, "/3", 0);
	body(REQ, 1, BYTES("a"), 0);
	body(REQ, 3, BYTES("c"), PIECE_END);
	response(3, 200, "C", 0);
	body(REQ, 1, BYTES("b"), PIECE_END);
	response(1, 200, "A", 0);
	body(RESP, 3, BYTES("D"), PIECE_END);
	body(RESP, 1, BYTES("B"), PIECE_END);
	const Sidetap__V1__Call *c = expect("/3", OUTCOME_OK, "");
	body_is(c->request, "c");
	body_is(c->response, "CD");
	c = expect("/1", OUTCOME_OK, "");
	body_is(c->request, "ab");
	body_is(c->response, "AB");
	world_close();
}

static void late_reply(enum framer_pairing pairing)
{
	world_open(default_limits(), pairing, false);
	request(1, "/slow", PIECE_END);
	w.now += 30 * SECOND;
	request(2, "/next", PIECE_END);
	calls_expire(w.calls, w.now + 25 * SECOND);
	expect_none();
	calls_expire(w.calls, w.now + 31 * SECOND);
	expect("/slow", OUTCOME_NO_RESPONSE, "no_response,timeout");
	assert_int_equal(calls_open(w.calls), 1);
	response(1, 200, "late", PIECE_END);
	body_is(expect("", OUTCOME_OK, "orphan_response")->response, "late");
	response(2, 200, "next", PIECE_END);
	body_is(expect("/next", OUTCOME_OK, "")->response, "next");
	assert_int_equal(exit_of(CALL_TIMEOUT), 1);
	world_close();
}

static void timeout_in_order(void **state)
{
	(void)state;
	late_reply(PAIRING_FIFO);
}

static void timeout_by_id(void **state)
{
	(void)state;
	late_reply(PAIRING_ID);
}

/* The one that waits was asked after, and before, those that left. */
static void timeout_of_the_middle_one(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/1", 0); /* its upload goes on */
	request(0, "/2", PIECE_END);
	close_conn(END_STOP);
	w.seen = 2;
	world_close();
	world_fifo();
	request(0, "/1", PIECE_END);
	request(0, "/2", PIECE_END);
	request(0, "/3", PIECE_END);
	calls_expire(w.calls, w.now + 61 * SECOND);
	w.seen = 3;
	request(0, "/4", PIECE_END);
	for (int i = 0; i < 3; i++)
		response(0, 200, "late", PIECE_END);
	for (int i = 0; i < 3; i++)
		expect("", OUTCOME_OK, "orphan_response");
	response(0, 200, "4", PIECE_END);
	body_is(expect("/4", OUTCOME_OK, "")->response, "4");
	world_close();
}

/* An orphan that is still coming in while the next requests wait keeps its own bytes. */
static void late_reply_in_pieces(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/1", PIECE_END);
	calls_expire(w.calls, w.now + 61 * SECOND);
	expect("/1", OUTCOME_NO_RESPONSE, "no_response,timeout");
	request(0, "/2", PIECE_END);
	response(0, 200, "la", 0);
	request(0, "/3", PIECE_END);
	body(RESP, 0, BYTES("te"), PIECE_END);
	body_is(expect("", OUTCOME_OK, "orphan_response")->response, "late");
	response(0, 200, "2", PIECE_END);
	response(0, 200, "3", PIECE_END);
	body_is(expect("/2", OUTCOME_OK, "")->response, "2");
	body_is(expect("/3", OUTCOME_OK, "")->response, "3");
	world_close();
}

static void timeout_without_end(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.timeout_ns = UINT64_MAX;
	world_open(limits, PAIRING_FIFO, false);
	request(0, "/1", PIECE_END);
	calls_expire(w.calls, UINT64_MAX / 2);
	expect_none();
	world_close();
}

/* With a time-out behind it, an id that nobody asked for is never guessed to be another call's. */
static void timeout_then_unknown_id(void **state)
{
	(void)state;
	world_id();
	request(1, "/slow", PIECE_END);
	calls_expire(w.calls, w.now + 61 * SECOND);
	expect("/slow", OUTCOME_NO_RESPONSE, "no_response,timeout");
	request(2, "/next", PIECE_END);
	response(77, 200, "?", PIECE_END);
	expect("", OUTCOME_OK, "orphan_response");
	response(2, 200, "next", PIECE_END);
	expect("/next", OUTCOME_OK, "");
	world_close();
}

/* The same id again while the first is reserved: the first reply is the first call's. */
static void timeout_same_id_again(void **state)
{
	(void)state;
	world_id();
	request(1, "/slow", PIECE_END);
	calls_expire(w.calls, w.now + 61 * SECOND);
	request(1, "/again", PIECE_END);
	response(1, 200, "late", PIECE_END);
	response(1, 200, "again", PIECE_END);
	expect("/slow", OUTCOME_NO_RESPONSE, "no_response,timeout");
	expect("", OUTCOME_OK, "orphan_response");
	body_is(expect("/again", OUTCOME_OK, "")->response, "again");
	world_close();
}

static void pipelining_late_join(void **state)
{
	(void)state;
	world_open(default_limits(), PAIRING_FIFO, true);
	request(0, "/1", PIECE_END);
	request(0, "/2", PIECE_END);
	response(0, 200, "1", PIECE_END);
	response(0, 200, "2", PIECE_END);
	expect("/1", OUTCOME_OK, "late_join");
	expect("/2", OUTCOME_OK, "late_join");
	w.now += SECOND / 2; /* not quiet for long enough */
	request(0, "/3", PIECE_END);
	w.now += 5 * SECOND; /* quiet, but a call is open */
	response(0, 200, "3", PIECE_END);
	request(0, "/4", PIECE_END);
	response(0, 200, "4", PIECE_END);
	expect("/3", OUTCOME_OK, "late_join");
	expect("/4", OUTCOME_OK, "late_join");
	w.now += SECOND + SECOND / 10;
	request(0, "/5", PIECE_END);
	response(0, 200, "5", PIECE_END);
	expect("/5", OUTCOME_OK, "");
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ok),
		cmocka_unit_test(times_of_a_cut_head),
		cmocka_unit_test(no_response),
		cmocka_unit_test(aborted_request),
		cmocka_unit_test(aborted_response),
		cmocka_unit_test(request_cut_but_answered),
		cmocka_unit_test(complete_response_then_rst),
		cmocka_unit_test(early_response),
		cmocka_unit_test(rst_stream),
		cmocka_unit_test(oneway),
		cmocka_unit_test(oneway_lost_to_a_gap),
		cmocka_unit_test(interim),
		cmocka_unit_test(orphan_in_order),
		cmocka_unit_test(orphan_by_id_one_pending),
		cmocka_unit_test(orphan_by_id_several_pending),
		cmocka_unit_test(orphan_by_id_joined_late),
		cmocka_unit_test(same_id_in_order),
		cmocka_unit_test(interleaved),
		cmocka_unit_test(timeout_in_order),
		cmocka_unit_test(timeout_by_id),
		cmocka_unit_test(timeout_of_the_middle_one),
		cmocka_unit_test(late_reply_in_pieces),
		cmocka_unit_test(timeout_without_end),
		cmocka_unit_test(timeout_then_unknown_id),
		cmocka_unit_test(timeout_same_id_again),
		cmocka_unit_test(pipelining_late_join),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
