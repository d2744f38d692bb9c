/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by synthetic pieces: how they leave when something is lost or over. */
#include "tests/unit/call_world.h"

/* ---- how a capture ends ---- */

static void capture_ended(void **state)
{
	(void)state;
	world_id();
	request(1, "/request", 0);
	request(3, "/waiting", PIECE_END);
	request(5, "/reply", PIECE_END);
	response(5, 200, "half", 0);
	close_conn(END_STOP);
	expect("/request", OUTCOME_UNKNOWN, "capture_ended");
	expect("/waiting", OUTCOME_UNKNOWN, "capture_ended");
	body_is(expect("/reply", OUTCOME_UNKNOWN, "capture_ended")->response, "half");
	assert_int_equal(exit_of(CALL_STOPPED), 3);
	world_close();
}

static void evicted_connection(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", PIECE_END);
	close_conn(END_EVICTED);
	expect("/a", OUTCOME_UNKNOWN, "evicted");
	world_close();
}

/* More calls than may be open: the oldest leaves, and no later reply is taken for another's. */
static void evicted_pending(enum framer_pairing pairing)
{
	struct call_limits limits = default_limits();
	limits.pending = 2;
	world_open(limits, pairing, false);
	request(1, "/1", PIECE_END);
	request(2, "/2", PIECE_END);
	request(3, "/3", PIECE_END);
	expect("/1", OUTCOME_UNKNOWN, "evicted");
	response(1, 200, "1", PIECE_END);
	expect("/2", OUTCOME_UNKNOWN, "evicted"); /* gives way to the orphan */
	body_is(expect("", OUTCOME_OK, "orphan_response")->response, "1");
	response(2, 200, "2", PIECE_END);
	body_is(expect("", OUTCOME_OK, "orphan_response")->response, "2");
	response(3, 200, "3", PIECE_END);
	body_is(expect("/3", OUTCOME_OK, "")->response, "3");
	world_close();
}

static void evicted_in_order(void **state)
{
	(void)state;
	evicted_pending(PAIRING_FIFO);
}

static void evicted_by_id(void **state)
{
	(void)state;
	evicted_pending(PAIRING_ID);
}

static void evicted_for_memory(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.open_heads = 64 << 10;
	world_open(limits, PAIRING_ID, false);
	for (uint64_t i = 0; i < 1000; i++)
		request(i, "/x", PIECE_END);
	assert_true(calls_open(w.calls) > 5 && calls_open(w.calls) < 100);
	assert_int_equal(exit_of(CALL_EVICTED), 1000 - calls_open(w.calls));
	response(0, 200, "0", PIECE_END); /* long gone */
	response(999, 200, "999", PIECE_END);
	const Sidetap__V1__Call *c = NULL;
	while (records_last(&w.out, w.seen))
		c = next_call();
	body_is(c->response, "999");
	assert_int_equal(exit_of(CALL_ORPHAN), 1);
	world_close();
}

/* ---- gaps ---- */

static void gap_in_reply_body_in_step(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", PIECE_END);
	response(0, 200, "before", 0);
	piece(0, (struct piece) {.what = PIECE_BODY | PIECE_END,
				 .dir = RESP,
				 .missing = 100,
				 .body = BYTES("after")});
	const Sidetap__V1__Call *c = expect("/a", OUTCOME_OK, "truncated,gap");
	body_is(c->response, "before");
	assert_int_equal(c->response->body_bytes, 6 + 100 + 5);
	world_close();
}

/* The reply's end itself is behind the hole. */
static void gap_up_to_the_end(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", PIECE_END);
	response(0, 200, "before", 0);
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .missing = 100});
	assert_int_equal(expect("/a", OUTCOME_OK, "truncated,gap")->response->body_bytes, 106);
	world_close();
}

static void reply_lost_to_a_gap(void **state)
{
	(void)state;
	world_fifo();
	w.ack = 1000;
	request(0, "/lost", PIECE_END);
	call_gap(w.calls, &w.conn[0].queue, DIR_RESPONSE, 1500);
	const Sidetap__V1__Call *c = expect("/lost", OUTCOME_UNKNOWN, "gap");
	assert_null(c->response);
	w.ack = 1500; /* the client has all that was lost: the next reply is its own */
	request(0, "/next", PIECE_END);
	response(0, 200, "next", PIECE_END);
	body_is(expect("/next", OUTCOME_OK, "late_join")->response, "next");
	assert_int_equal(exit_of(CALL_GAP), 1);
	world_close();
}

/* The client had the bytes behind the gap when it asked: its reply cannot lie in it. */
static void gap_before_the_reply(void **state)
{
	(void)state;
	world_fifo();
	w.ack = 2000;
	request(0, "/a", PIECE_END);
	call_gap(w.calls, &w.conn[0].queue, DIR_RESPONSE, 2000);
	expect_none();
	response(0, 200, "a", PIECE_END);
	body_is(expect("/a", OUTCOME_OK, "")->response, "a");
	world_close();
}

/* The request comes after the gap was told, but its reply lies in it. */
static void reply_lost_before_its_request(void **state)
{
	(void)state;
	world_fifo();
	w.ack = 1000;
	request(0, "/1", PIECE_END);
	response(0, 200, "half", 0);
	call_gap(w.calls, &w.conn[0].queue, DIR_RESPONSE, 2000);
	body_is(expect("/1", OUTCOME_UNKNOWN, "gap")->response, "half");
	w.ack = 1500;
	request(0, "/2", PIECE_END);
	expect("/2", OUTCOME_UNKNOWN, "late_join,gap");
	w.ack = 2000;
	request(0, "/3", PIECE_END);
	response(0, 200, "3", PIECE_END);
	body_is(expect("/3", OUTCOME_OK, "late_join")->response, "3");
	world_close();
}

static void reply_maybe_lost_by_id(void **state)
{
	(void)state;
	world_id();
	request(1, "/comes", PIECE_END);
	request(2, "/lost", PIECE_END);
	request(3, "/open", PIECE_END);
	response(3, 200, "half", 0);
	call_gap(w.calls, &w.conn[0].queue, DIR_RESPONSE, 1500);
	body_is(expect("/open", OUTCOME_UNKNOWN, "gap")->response, "half");
	response(1, 200, "1", PIECE_END);
	body_is(expect("/comes", OUTCOME_OK, "")->response, "1");
	calls_expire(w.calls, w.now + 61 * SECOND);
	expect("/lost", OUTCOME_UNKNOWN, "gap");
	world_close();
}

static void gap_in_request(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	body(REQ, 0, BYTES("begin"), 0);
	call_gap(w.calls, &w.conn[0].queue, DIR_REQUEST, 500);
	body(REQ, 0, BYTES("no"), PIECE_END); /* the framer gives none; none is taken */
	response(0, 200, "yes", PIECE_END);
	const Sidetap__V1__Call *c = expect("/a", OUTCOME_OK, "truncated,gap");
	body_is(c->request, "begin");
	body_is(c->response, "yes");
	request(0, "/b", PIECE_END);
	response(0, 200, "b", PIECE_END);
	expect("/b", OUTCOME_OK, "late_join");
	world_close();
}

static void gap_in_request_then_closed(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/a", 0);
	call_gap(w.calls, &w.conn[0].queue, DIR_REQUEST, 500);
	close_conn(END_FIN);
	expect("/a", OUTCOME_UNKNOWN, "truncated,gap");
	world_close();
}

/* In step again after a loss, the reply that follows is the newest request's. */
static void resynced_replies(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/skipped", PIECE_END);
	request(0, "/answered", PIECE_END);
	call_resynced(w.calls, &w.conn[0].queue, DIR_RESPONSE, 1);
	response(0, 200, "yes", PIECE_END);
	expect("/skipped", OUTCOME_UNKNOWN, "gap");
	body_is(expect("/answered", OUTCOME_OK, "")->response, "yes");
	world_close();
}

/* Sent when the client had all that came before: none of their replies was skipped. */
static void resynced_where_the_replies_begin(void **state)
{
	(void)state;
	world_fifo();
	w.ack = 499;
	request(0, "/skipped", PIECE_END);
	w.ack = 500;
	request(0, "/first", PIECE_END);
	request(0, "/second", PIECE_END);
	call_resynced(w.calls, &w.conn[0].queue, DIR_RESPONSE, 500);
	response(0, 200, "1", PIECE_END);
	response(0, 200, "2", PIECE_END);
	expect("/skipped", OUTCOME_UNKNOWN, "gap");
	body_is(expect("/first", OUTCOME_OK, "")->response, "1");
	body_is(expect("/second", OUTCOME_OK, "")->response, "2");
	world_close();
}

/* ---- framing errors, tunnels ---- */

static void framing_error(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/open", PIECE_END);
	piece(0, (struct piece) {.what = PIECE_HEAD,
				 .flags = FLAG_SMUGGLING_SUSPECT,
				 .head = head_request("/bad")});
	call_error(w.calls, &w.conn[0].queue, FLAG_SMUGGLING_SUSPECT);
	expect("/open", OUTCOME_UNKNOWN, "smuggling_suspect");
	expect("/bad", OUTCOME_UNKNOWN, "smuggling_suspect");
	assert_int_equal(exit_of(CALL_ERROR), 2);
	w.conn[0].queue.pairing = PAIRING_TUNNEL; /* the rest: never OK without a flag */
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY,
				 .body = BYTES("xxx"),
				 .head = {.type = CALL_STREAM, .count_only = true}});
	close_conn(END_FIN);
	expect("", OUTCOME_UNKNOWN, "smuggling_suspect");
	world_close();
}

static void tunnel_end(enum end_how how, enum outcome outcome, const char *flags)
{
	const struct attribute sni = {"tls.sni", BYTES("h")};
	world_open(default_limits(), PAIRING_TUNNEL, false);
	w.conn[0].queue.protocol = "opaque";
	struct head h = {
		.type = CALL_STREAM, .count_only = true, .attributes = &sni, .n_attributes = 1};
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY,
				 .dir = RESP,
				 .head = h,
				 .body = BYTES("server first")});
	h.n_attributes = 0;
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY,
				 .dir = REQ,
				 .head = h,
				 .body = BYTES("hello")});
	body(REQ, 0, BYTES(" again"), 0);
	body(RESP, 0, BYTES("x"), how == END_FIN ? PIECE_END : 0);
	expect_none();
	close_conn(how);
	const Sidetap__V1__Call *c = expect("", outcome, flags);
	assert_string_equal(c->protocol, "opaque");
	assert_string_equal(c->call_type, "stream");
	assert_string_equal(records_attribute(c, "tls.sni"), "h");
	assert_int_equal(c->request->body_bytes, 11);
	assert_int_equal(c->response->body_bytes, 13);
	assert_int_equal(c->request->body.len + c->response->body.len, 0);
	world_close();
}

static void tunnels(void **state)
{
	(void)state;
	tunnel_end(END_FIN, OUTCOME_OK, "");
	tunnel_end(END_RST, OUTCOME_ABORTED, "");
	tunnel_end(END_STOP, OUTCOME_UNKNOWN, "capture_ended");
	tunnel_end(END_EVICTED, OUTCOME_UNKNOWN, "evicted");
}

/* ---- many ---- */

static void pending_70000(enum framer_pairing pairing)
{
	enum { N = 70000 };
	struct call_limits limits = default_limits();
	limits.open_heads = 1ull << 32;
	world_open(limits, pairing, false);
	w.out.count_only = true;
	for (uint64_t i = 0; i < N; i++)
		request(i, "/x", PIECE_END);
	assert_int_equal(calls_open(w.calls), limits.pending);
	assert_int_equal(exit_of(CALL_EVICTED), N - limits.pending);
	w.conn[0].queue.no_guess = false; /* the worst of searches */
	for (uint64_t i = 0; i < N; i++) /* newest first: the ids are looked up, not searched */
		response(pairing == PAIRING_ID ? N - 1 - i : i, 200, NULL, PIECE_END);
	uint64_t orphans = exit_of(CALL_ORPHAN);
	assert_int_equal(orphans, N - limits.pending + (pairing == PAIRING_FIFO));
	assert_int_equal(exit_of(CALL_PAIRED) + exit_of(CALL_EVICTED), N);
	assert_int_equal(calls_open(w.calls), 0);
	world_close();
}

static void pending_70000_in_order(void **state)
{
	(void)state;
	pending_70000(PAIRING_FIFO);
}

static void pending_70000_by_id(void **state)
{
	(void)state;
	pending_70000(PAIRING_ID);
}

static void overlap_conflict(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/open", PIECE_END);
	call_queue_flag(&w.conn[0].queue, FLAG_OVERLAP_CONFLICT);
	response(0, 200, NULL, PIECE_END);
	request(0, "/next", PIECE_END);
	response(0, 200, NULL, PIECE_END);
	expect("/open", OUTCOME_OK, "overlap_conflict");
	expect("/next", OUTCOME_OK, "overlap_conflict");
	world_close();
}

/* What the reply says of the call does not replace what the request said. */
static void reply_repeats_the_method(void **state)
{
	(void)state;
	world_id();
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END,
				 .corr = 1,
				 .head = {.method = BYTES("get"), .service = BYTES("users")}});
	struct head h = head_response(0);
	h.method = BYTES("other");
	piece(0,
	      (struct piece) {.what = PIECE_HEAD | PIECE_END, .dir = RESP, .corr = 1, .head = h});
	assert_string_equal(expect("", OUTCOME_OK, "")->method, "get");
	piece(0,
	      (struct piece) {.what = PIECE_HEAD | PIECE_END, .dir = RESP, .corr = 1, .head = h});
	assert_string_equal(expect("", OUTCOME_OK, "orphan_response")->method, "other");
	world_close();
}

/* Names and values anywhere in memory, not one run of wire bytes. */
static void headers_from_anywhere(void **state)
{
	(void)state;
	world_fifo();
	char *a = strdup("x-one"), *b = strdup("1"), *c = strdup("traceparent"),
	     *d = strdup("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	const struct header h[] = {
		{bytes_str(c), bytes_str(d), PROVENANCE_OBSERVED},
		{bytes_str(a), bytes_str(b), PROVENANCE_LITERAL},
		{BYTES("authorization"), BYTES("Bearer secret"), PROVENANCE_LITERAL}};
	struct head head = head_request("/a?access_token=s&x=1");
	head.headers = h;
	head.n_headers = 3;
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END, .head = head});
	free(a), free(b), free(c), free(d);
	response(0, 200, NULL, PIECE_END);
	const Sidetap__V1__Call *call =
		expect("/a?access_token=[redacted]&x=1", OUTCOME_OK, "redacted");
	assert_int_equal(call->request->n_headers, 3);
	assert_string_equal(call->request->headers[1]->name, "x-one");
	assert_memory_equal(call->request->headers[1]->value.data, "1", 1);
	assert_memory_equal(call->request->headers[2]->value.data, "[redacted]", 10);
	assert_string_equal(call->trace_id, "0af7651916cd43dd8448eb211c80319c");
	assert_string_equal(call->span_id, "b7ad6b7169203331");
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capture_ended),
		cmocka_unit_test(evicted_connection),
		cmocka_unit_test(evicted_in_order),
		cmocka_unit_test(evicted_by_id),
		cmocka_unit_test(evicted_for_memory),
		cmocka_unit_test(gap_in_reply_body_in_step),
		cmocka_unit_test(gap_up_to_the_end),
		cmocka_unit_test(reply_lost_to_a_gap),
		cmocka_unit_test(gap_before_the_reply),
		cmocka_unit_test(reply_lost_before_its_request),
		cmocka_unit_test(reply_maybe_lost_by_id),
		cmocka_unit_test(gap_in_request),
		cmocka_unit_test(gap_in_request_then_closed),
		cmocka_unit_test(resynced_replies),
		cmocka_unit_test(resynced_where_the_replies_begin),
		cmocka_unit_test(framing_error),
		cmocka_unit_test(tunnels),
		cmocka_unit_test(pending_70000_in_order),
		cmocka_unit_test(pending_70000_by_id),
		cmocka_unit_test(overlap_conflict),
		cmocka_unit_test(reply_repeats_the_method),
		cmocka_unit_test(headers_from_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
