/* SPDX-License-Identifier: Apache-2.0 */
/* Rules on the road of a call: when they are asked, what they see, what they cut, and a change while calls are open. */
#include "tests/unit/call_world.h"

static struct sample_rule named(const char *name)
{
	struct sample_rule r;
	sample_rule_init(&r);
	snprintf(r.name, sizeof(r.name), "%s", name);
	return r;
}

/* One rule, and nothing else is kept. */
static void rules_set(struct sample_rule rule)
{
	struct sample_rule *list = malloc(sizeof(*list)), rest = named("rest");
	rest.drop = true;
	*list = rule;
	struct sampler *s = sampler_new(list, 1, &rest, 1);
	assert_int_equal(recorder_set_rules(w.recorder, &s), 0);
	assert_null(s);
}

static uint64_t sample_exit(const char *name)
{
	struct ledger_stage stages[2];
	recorder_ledger(w.recorder, stages, 2);
	for (unsigned i = 0; i < stages[0].n_exits; i++)
		if (strcmp(stages[0].exits[i].name, name) == 0)
			return stages[0].exits[i].n;
	fail_msg("no exit %s", name);
	return 0;
}

static const struct record_rule *count_of(const char *name)
{
	struct recorder_totals t = recorder_totals(w.recorder);
	for (size_t i = 0; i < t.n_rules; i++)
		if (strcmp(t.rules[i].name, name) == 0)
			return &t.rules[i];
	fail_msg("no rule %s", name);
	return NULL;
}

/* An open call keeps the rules that took it, whatever comes; counters go on by name. */
static void a_change_of_rules(void **state)
{
	(void)state;
	world_fifo();
	struct sample_rule keep = named("keep"), drop = named("drop");
	drop.drop = true;
	rules_set(keep);
	request(0, "/1", PIECE_END);
	rules_set(drop);
	request(0, "/2", PIECE_END);
	rules_set(keep);
	rules_set(keep); /* one that no call ever had */
	request(0, "/3", PIECE_END);
	for (int i = 0; i < 3; i++)
		response(0, 200, "x", PIECE_END);
	assert_string_equal(expect("/1", OUTCOME_OK, "")->rule, "keep");
	assert_string_equal(expect("/3", OUTCOME_OK, "")->rule, "keep");
	expect_none();
	assert_int_equal(count_of("keep")->seen, 2);
	assert_int_equal(count_of("keep")->kept, 2);
	assert_int_equal(count_of("drop")->seen, 1);
	assert_int_equal(count_of("drop")->kept, 0);
	assert_int_equal(sample_exit("rule_dropped"), 1);
	world_close();
}

/* The ledger names so many rules; those of further reloads count together. */
static void more_rules_than_are_named(void **state)
{
	(void)state;
	world_fifo();
	for (int i = 0; i < 600; i++) {
		char name[16];
		snprintf(name, sizeof(name), "r%d", i);
		rules_set(named(name));
		request(0, "/", PIECE_END);
		response(0, 200, "x", PIECE_END);
		assert_string_equal(next_call()->rule, name);
	}
	struct recorder_totals t = recorder_totals(w.recorder);
	assert_int_equal(t.n_rules, 513);
	assert_string_equal(t.rules[512].name, "more_rules");
	uint64_t seen = 0;
	for (size_t i = 0; i < t.n_rules; i++)
		seen += t.rules[i].seen;
	assert_int_equal(seen, 600);
	assert_int_equal(count_of("r7")->kept, 1);
	assert_true(count_of("more_rules")->kept > 1);
	world_close();
}

/* The tail decides when all is known; until then the bodies are held. */
static void the_end_decides(void **state)
{
	(void)state;
	world_fifo();
	struct sample_rule r = named("failures");
	r.probability = 0;
	r.keep_outcomes = SAMPLE_ERRORS;
	rules_set(r);
	request(0, "/fine", PIECE_END);
	response(0, 200, "fine", PIECE_END);
	request(0, "/failed", PIECE_END);
	response(0, 503, "sorry", PIECE_END);
	const Sidetap__V1__Call *c = expect("/failed", OUTCOME_SERVER_ERROR, "");
	body_is(c->response, "sorry");
	assert_true(c->weight == 1);
	expect_none();
	assert_int_equal(sample_exit("sampled_out"), 1);
	request(0, "/gone", PIECE_END);
	close_conn(END_FIN);
	expect("/gone", OUTCOME_NO_RESPONSE, "no_response");
	world_close();
}

/* One that timed out is slower than anything. */
static void a_time_out_is_slow(void **state)
{
	(void)state;
	struct call_limits l = default_limits();
	l.timeout_ns = SECOND;
	world_open(l, PAIRING_FIFO, false);
	struct sample_rule r = named("slow");
	r.probability = 0;
	r.keep_slower_ns = 3600 * SECOND;
	rules_set(r);
	request(0, "/a", PIECE_END);
	calls_expire(w.calls, w.now + 2 * SECOND);
	expect("/a", OUTCOME_NO_RESPONSE, "no_response,timeout");
	world_close();
}

/* By the time from the request's first byte to the last of the reply. */
static void slow_calls(void **state)
{
	(void)state;
	world_fifo();
	struct sample_rule r = named("slow");
	r.probability = 0;
	r.keep_slower_ns = SECOND;
	rules_set(r);
	for (int slow = 0; slow < 2; slow++) {
		request(0, slow ? "/slow" : "/fast", PIECE_END);
		response(0, 200, "begin", 0);
		w.now += slow ? SECOND : SECOND / 2;
		body(RESP, 0, BYTES("end"), PIECE_END);
	}
	expect("/slow", OUTCOME_OK, "");
	expect_none();
	world_close();
}

static void large_reply(int status, size_t n)
{
	uint8_t *big = filled(n);
	request(0, status < 400 ? "/large" : "/large-failed", PIECE_END);
	response(0, status, "x", 0);
	body(RESP, 0, bytes_of(big, n), 0);
	free(big);
}

/* A part that must leave: judged by what is known then, and for good. */
static void a_part_decides(void **state)
{
	(void)state;
	struct call_limits l = default_limits();
	l.body = UINT64_MAX;
	world_open(l, PAIRING_FIFO, false);
	struct sample_rule r = named("failures");
	r.probability = 0;
	r.keep_outcomes = 1 << OUTCOME_SERVER_ERROR | 1 << OUTCOME_ABORTED;
	rules_set(r);
	large_reply(200, 2 << 20);
	close_conn(END_RST); /* ABORTED, but it was fine when its first part had to leave */
	assert_int_equal(w.out.n, 0);
	assert_int_equal(sample_exit("sampled_out"), 1);
	call_queue_init(&w.conn[0].queue, false);
	w.conn[0].queue.pairing = PAIRING_FIFO;
	w.conn[0].queue.protocol = "http1";
	large_reply(500, 2 << 20);
	assert_true(w.out.n >= 3);
	body(RESP, 0, BYTES("end"), PIECE_END);
	expect("", OUTCOME_SERVER_ERROR, "");
	assert_true(w.out.list[0]->weight == 1);
	assert_int_equal(count_of("failures")->seen, 2);
	assert_int_equal(count_of("failures")->kept, 1);
	world_close();
}

/* What is held until the end is held within the memory of open bodies. */
static void held_within_open_bodies(void **state)
{
	(void)state;
	struct call_limits l = default_limits();
	l.open_bodies = 256 << 10;
	world_open(l, PAIRING_FIFO, false);
	struct sample_rule r = named("failures");
	r.probability = 0;
	r.keep_outcomes = SAMPLE_ERRORS;
	rules_set(r);
	uint8_t *big = filled(100 << 10);
	for (int i = 0; i < 2; i++) {
		request(0, "/a", 0);
		for (int k = 0; k < 3; k++)
			body(REQ, 0, bytes_of(big, 100 << 10), 0);
		body(REQ, 0, BYTES(""), PIECE_END);
		response(0, 500, "x", PIECE_END);
		expect("/a", OUTCOME_SERVER_ERROR, "truncated");
	}
	free(big);
	assert_true(calls_bodies_cut(w.calls) > 0);
	world_close();
}

static void bodies_by_rule(void **state)
{
	static const struct {
		enum sample_body body;
		uint64_t bytes;
		const char *want, *flags;
	} t[] = {{SAMPLE_BODY_FULL, 0, "0123456789", ""},
		 {SAMPLE_BODY_HEAD, 4, "0123", "truncated"},
		 {SAMPLE_BODY_HEAD, 10, "0123456789", ""},
		 {SAMPLE_BODY_HEAD, 100, "0123456789", ""},
		 {SAMPLE_BODY_NONE, 0, "", "truncated"}};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		world_fifo();
		struct sample_rule r = named("r");
		r.body = t[i].body;
		r.body_bytes = t[i].bytes;
		rules_set(r);
		request(0, "/", PIECE_END);
		response(0, 200, "01234", 0);
		body(RESP, 0, BYTES("56789"), PIECE_END);
		const Sidetap__V1__Call *c = expect("/", OUTCOME_OK, t[i].flags);
		body_is(c->response, t[i].want);
		assert_int_equal(c->response->body_bytes, 10);
		world_close();
	}
}

/* The governor's limit: from now on, also of a body of which more is kept already; never over the configured one. */
static void bodies_cut_while_they_come(void **state)
{
	static const struct {
		uint64_t limit;
		const char *want, *flags;
	} t[] = {{7, "0123456", "truncated"},
		 {3, "01234", "truncated"},
		 {UINT64_MAX, "0123456789", ""}};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		world_fifo();
		request(0, "/", PIECE_END);
		response(0, 200, "01234", 0);
		calls_set_body(w.calls, t[i].limit);
		body(RESP, 0, BYTES("56789"), PIECE_END);
		body_is(expect("/", OUTCOME_OK, t[i].flags)->response, t[i].want);
		world_close();
	}
	struct call_limits l = default_limits();
	l.body = 4;
	world_open(l, PAIRING_FIFO, false);
	calls_set_body(w.calls, 100);
	request(0, "/", PIECE_END);
	response(0, 200, "01234", PIECE_END);
	body_is(expect("/", OUTCOME_OK, "truncated")->response, "0123");
	world_close();
}

/* What each condition of a match sees */
static void facts_of_a_call(void **state)
{
	(void)state;
	struct header h = {BYTES("X-Debug"), BYTES("yes"), 0};
	struct head head = {.protocol = "grpc",
			    .service = BYTES("shop"),
			    .method = BYTES("Pay"),
			    .path = BYTES("/pay?key=secret"),
			    .headers = &h,
			    .n_headers = 1};
	for (int i = 0; i < 8; i++) {
		for (int right = 0; right < 2; right++) {
			world_id();
			w.flow[0].client_port = 9;
			w.flow[0].server_port = 80;
			w.flow[0].client_addr[15] = 1;
			struct sample_rule r = named("r");
			struct sample_pattern *const p[] = {&r.protocol, &r.service, &r.method,
							    &r.path,     &r.client,  &r.server};
			const char *const text[] = {"grpc",        "shop",    "P?y",
						    "/pay?key=s*", "[::1]:*", "*:80"};
			if (i < 6) {
				assert_int_equal(sample_pattern_set(p[i], right ? text[i] : "no"),
						 0);
			} else if (i == 6) {
				r.header[0].name = strdup("x-debug");
				r.n_headers = 1;
				sample_pattern_set(&r.header[0].value, right ? "yes" : "no");
			} else {
				w.flow[0].orig_port = right ? 81 : 0;
				r.side = SAMPLE_SIDE_OUTBOUND;
			}
			rules_set(r);
			piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END,
						 .dir = REQ,
						 .corr = 1,
						 .head = head});
			response(1, 0, "x", PIECE_END);
			if (right)
				assert_string_equal(next_call()->rule, "r");
			expect_none();
			world_close();
		}
	}
}

/* A reply without a request is judged by itself. */
static void an_orphan(void **state)
{
	(void)state;
	world_open(default_limits(), PAIRING_ID, true);
	struct header h = {BYTES("server"), BYTES("nginx"), 0};
	struct sample_rule r = named("r");
	r.header[0].name = strdup("server");
	r.n_headers = 1;
	sample_pattern_set(&r.header[0].value, "nginx");
	rules_set(r);
	struct head head = head_response(200);
	head.headers = &h;
	head.n_headers = 1;
	piece(0, (struct piece) {
			 .what = PIECE_HEAD | PIECE_END, .dir = RESP, .corr = 5, .head = head});
	expect("", OUTCOME_OK, "orphan_response");
	world_close();
}

/* A call that was none is counted apart from those that chance left out. */
static void a_call_undone(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/", PIECE_END);
	call_undo(w.calls, &w.conn[0].queue);
	expect_none();
	assert_int_equal(sample_exit("undone"), 1);
	assert_int_equal(sample_exit("sampled_out"), 0);
	world_close();
}

/* The share of connections at the head of a call is what it weighs by. */
static void connections_weigh(void **state)
{
	(void)state;
	world_fifo();
	request(0, "/1", PIECE_END);
	recorder_set_connections(w.recorder, 0.25);
	request(0, "/2", PIECE_END);
	recorder_set_connections(w.recorder, 1);
	request(0, "/3", PIECE_END);
	for (int i = 0; i < 3; i++)
		response(0, 200, "x", PIECE_END);
	assert_true(expect("/1", OUTCOME_OK, "")->weight == 1);
	assert_true(expect("/2", OUTCOME_OK, "")->weight == 4);
	assert_true(expect("/3", OUTCOME_OK, "")->weight == 1);
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_of_rules),
		cmocka_unit_test(more_rules_than_are_named),
		cmocka_unit_test(the_end_decides),
		cmocka_unit_test(a_time_out_is_slow),
		cmocka_unit_test(slow_calls),
		cmocka_unit_test(a_part_decides),
		cmocka_unit_test(held_within_open_bodies),
		cmocka_unit_test(bodies_by_rule),
		cmocka_unit_test(bodies_cut_while_they_come),
		cmocka_unit_test(facts_of_a_call),
		cmocka_unit_test(an_orphan),
		cmocka_unit_test(a_call_undone),
		cmocka_unit_test(connections_weigh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
