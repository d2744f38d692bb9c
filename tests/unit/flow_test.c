/* SPDX-License-Identifier: Apache-2.0 */
/* Packets to ordered bytes: what each row of the catalogue of faults says of one connection. */
#include "tests/unit/flow_world.h"

static void plain_conversation(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "hello");
	SEND(&g, &c, DIR_RESPONSE, "world");
	SEND(&g, &c, DIR_REQUEST, "again");
	gen_close(&g, &c);
	gen_push(&g, w->t);
	struct told *told = &w->told[0];
	expect(told, DIR_REQUEST, "helloagain");
	expect(told, DIR_RESPONSE, "world");
	assert_string_equal(told->order, "QAQ");
	assert_true(told->half[0] && told->half[1] && told->closed);
	assert_int_equal(told->how, FLOW_FIN);
	assert_true(told->flow.syn_seen && told->flow.server_certain);
	assert_int_equal(told->flow.server_port, 80);
	assert_int_equal(told->flow.orig_port, 0);
	assert_int_equal(packets(w, "data"), 3);
	assert_int_equal(packets(w, "control"), 4);
	assert_int_equal(flow_count(w->t), 0);
	gen_fini(&g);
	world_end(w);
}

static void T1_exact_retransmission(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "hello");
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("hello"));
	SEND(&g, &c, DIR_REQUEST, "more");
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "hellomore");
	assert_int_equal(stream_bytes(w, "duplicate"), 5);
	gen_fini(&g);
	world_end(w);
}

static void T2_other_data_again(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 5, BYTES("FIRST"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 5, BYTES("other"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("hello"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("HELLO"));
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "helloFIRST");
	assert_true(w->told[0].flags & STREAM_CONFLICT);
	assert_int_equal(stream_bytes(w, "conflict_discarded"), 5);
	assert_int_equal(flow_totals(w->t).conflicts, 1);
	gen_fini(&g);
	world_end(w);
}

static void T4_sequence_wrap(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	w->keep = false;
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 0xfffffff0);
	gen_open(&g, &c);
	const uint64_t jump = 1000000000;
	for (int i = 0; i < 10; i++) { /* 10 GB in packets whose payload was not captured */
		struct packet *p = gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, c.sent[0], BYTES(""));
		p->len = (uint32_t)jump;
		c.sent[0] += jump;
		SEND(&g, &c, DIR_REQUEST, "0123456789");
	}
	gen_push(&g, w->t);
	assert_int_equal(w->told[0].next[0], 10 * (jump + 10));
	assert_int_equal(w->told[0].gap_bytes[0], 10 * jump);
	assert_int_equal(stream_bytes(w, "delivered"), 100);
	assert_int_equal(stream_bytes(w, "cut"), 10 * jump);
	assert_int_equal(gap_bytes(w, "cut"), 10 * jump);
	gen_fini(&g);
	world_end(w);

	w = world_new(false);
	gen_init(&g);
	c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 0xfffffff0);
	gen_open(&g, &c);
	uint8_t *data = gen_bytes(DIR_REQUEST, 0, 100);
	gen_send(&g, &c, DIR_REQUEST, bytes_of(data, 100), 7);
	uint64_t random = 3;
	struct gen rest = {.p = g.p + 2, .n = g.n - 2};
	gen_shuffle(&rest, &random, 6);
	gen_push(&g, w->t);
	assert_int_equal(w->told[0].got[0].n, 100);
	assert_memory_equal(w->told[0].got[0].p, data, 100);
	free(data);
	gen_fini(&g);
	world_end(w);
}

static void T7_late_join(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	c.sent[0] = 1000;
	c.sent[1] = 5000;
	SEND(&g, &c, DIR_REQUEST, "request");
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 990, BYTES("before the"));
	gen_raw(&g, &c, DIR_RESPONSE, TCP_ACK, 4990, BYTES("0123456789reply"));
	gen_push(&g, w->t);
	struct told *told = &w->told[0];
	assert_false(told->flow.syn_seen);
	assert_int_equal(told->flow.server_port, 80); /* the lower one */
	expect(told, DIR_REQUEST, "request");
	expect(told, DIR_RESPONSE, "reply");
	assert_int_equal(stream_bytes(w, "before_attach"), 20);
	assert_int_equal(flow_totals(w->t).late_joins, 1);
	gen_fini(&g);
	world_end(w);
}

static void T9_missing_at_close(void **state)
{
	(void)state;
	for (int rst = 0; rst < 2; rst++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_open(&g, &c);
		SEND(&g, &c, DIR_REQUEST, "req");
		SEND(&g, &c, DIR_RESPONSE, "head");
		c.sent[1] += 100; /* lost */
		if (rst) {
			gen_raw(&g, &c, DIR_REQUEST, TCP_RST | TCP_ACK, c.sent[0], BYTES(""));
		} else {
			gen_fin(&g, &c, DIR_RESPONSE);
			gen_fin(&g, &c, DIR_REQUEST);
		}
		gen_push(&g, w->t);
		assert_false(w->told[0].closed);
		settle(w, g.now_ns + 60 * MS);
		struct told *told = &w->told[0];
		assert_true(told->closed);
		assert_int_equal(told->how, rst ? FLOW_RST : FLOW_FIN);
		assert_int_equal(told->gap_bytes[1], rst ? 0 : 100);
		gen_fini(&g);
		world_end(w);
	}
}

static void T10_half_close(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "req");
	gen_fin(&g, &c, DIR_REQUEST);
	SEND(&g, &c, DIR_RESPONSE, "a long ");
	SEND(&g, &c, DIR_RESPONSE, "answer");
	gen_push(&g, w->t);
	assert_true(w->told[0].half[0]);
	assert_false(w->told[0].closed);
	gen_fin(&g, &c, DIR_RESPONSE);
	flow_push(w->t, &g.p[g.n - 1]);
	expect(&w->told[0], DIR_RESPONSE, "a long answer");
	assert_int_equal(w->told[0].how, FLOW_FIN);
	gen_fini(&g);
	world_end(w);
}

static void T11_resets(void **state)
{
	(void)state;
	static const struct {
		int32_t seq;
		bool ack;
		uint32_t ack_ahead;
		bool closes;
	} cases[] = {
		{0, true, 0, true}, /* exact */
		{0, false, 0, true}, /* without ACK */
		{0, true, 1 << 30, true}, /* exact: its ACK does not count (RFC 5961) */
		{-1, true, 0, false}, /* before the window */
		{100, true, 0, true}, /* bytes may have been missed */
		{1 << 30, true, 0, false}, /* out of window */
		{100, true, 1 << 30, false}, /* wrong ACK */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_open(&g, &c);
		SEND(&g, &c, DIR_REQUEST, "half a mess");
		struct packet *p = gen_raw(&g, &c, DIR_REQUEST,
					   (uint8_t)(TCP_RST | (cases[i].ack ? TCP_ACK : 0)),
					   c.sent[0] + (uint64_t)cases[i].seq, BYTES("noise"));
		p->ack += cases[i].ack_ahead;
		gen_push(&g, w->t);
		assert_false(w->told[0].closed); /* not before the rings were read past it */
		settle(w, g.now_ns);
		bool ahead = cases[i].closes && cases[i].seq > 0;
		assert_int_equal(w->told[0].closed, cases[i].closes && !ahead);
		settle(w, g.now_ns + 60 * MS); /* what it proves to be missing may still come */
		settle(w, g.now_ns + 120 * MS);
		assert_int_equal(w->told[0].closed, cases[i].closes);
		assert_int_equal(w->told[0].gap_bytes[0], ahead ? cases[i].seq : 0);
		if (cases[i].closes)
			assert_int_equal(w->told[0].how, FLOW_RST);
		else
			assert_int_equal(packets(w, "rst_ignored"), 1);
		expect(&w->told[0], DIR_REQUEST, "half a mess");
		assert_int_equal(stream_bytes(w, "rst_data"), 5);
		gen_fini(&g);
		world_end(w);
	}
}

/* What was sent before the RST and is read after it is still told. */
static void T11_waits_for_what_is_missing(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "one");
	SEND(&g, &c, DIR_REQUEST, "two");
	gen_raw(&g, &c, DIR_REQUEST, TCP_RST | TCP_ACK, c.sent[0], BYTES(""));
	for (size_t i = 0; i < g.n; i++)
		if (i != 2)
			flow_push(w->t, &g.p[i]);
	flow_settle(w->t, g.now_ns + 60 * MS);
	assert_int_equal(w->n, 0);
	flow_push(w->t, &g.p[2]);
	expect(&w->told[0], DIR_REQUEST, "onetwo");
	assert_false(w->told[0].closed);
	flow_settle(w->t, g.now_ns + 60 * MS);
	assert_true(w->told[0].closed);
	gen_fini(&g);
	world_end(w);
}

static void T11_refused(void **state)
{
	(void)state;
	struct world *w = world_new(true);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
	struct packet *p = gen_raw(&g, &c, DIR_RESPONSE, TCP_RST | TCP_ACK, 0, BYTES(""));
	p->seq = 0;
	gen_push(&g, w->t);
	assert_int_equal(flow_count(w->t), 0);
	assert_int_equal(flow_totals(w->t).ended[FLOW_RST], 1);
	assert_int_equal(w->n, 0); /* a flow without a byte is never told */
	gen_fini(&g);
	world_end(w);
}

static void T12_fins(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_FIN, 0, BYTES("")); /* no ACK: no receiver takes it */
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_FIN, 3,
		BYTES("")); /* out of order; data stands over it */
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("abcdef"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_FIN, 6, BYTES("ghi"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_FIN, 6, BYTES("ghi"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 9, BYTES("after"));
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "abcdefghi");
	assert_true(w->told[0].half[0]);
	assert_int_equal(packets(w, "bad_flags"), 1);
	assert_int_equal(stream_bytes(w, "after_close"), 5);
	assert_int_equal(stream_bytes(w, "duplicate"), 3);
	gen_fini(&g);
	world_end(w);
}

static void T13_probes(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, (uint64_t)-1,
		BYTES("")); /* keep-alive, no byte sent yet */
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, (uint64_t)-1, BYTES("?"));
	SEND(&g, &c, DIR_REQUEST, "data");
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 3, BYTES(""));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 3, BYTES("?"));
	SEND(&g, &c, DIR_REQUEST, "more");
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "datamore");
	assert_int_equal(stream_bytes(w, "duplicate"), 2);
	gen_fini(&g);
	world_end(w);
}

static void T14_urgent_byte(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	struct packet *p = gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_URG, 0, BYTES("abc!def"));
	p->urg = 4;
	c.sent[0] = 7;
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "abcdef");
	assert_true(w->told[0].flags & STREAM_URGENT);
	assert_int_equal(stream_bytes(w, "urgent"), 1);
	/* announced in one packet, sent in the next one */
	p = gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_URG, 7, BYTES("gh"));
	p->urg = 4;
	flow_push(w->t, p);
	flow_push(w->t, gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 9, BYTES("i!j")));
	expect(&w->told[0], DIR_REQUEST, "abcdefghij");
	assert_int_equal(stream_bytes(w, "urgent"), 2);
	gen_fini(&g);
	world_end(w);
}

static void T17_data_with_syn(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES("early"));
	c.sent[0] = 5;
	gen_raw(&g, &c, DIR_RESPONSE, TCP_SYN | TCP_ACK, 0, BYTES("reply"));
	c.sent[1] = 5;
	SEND(&g, &c, DIR_REQUEST, "next");
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "earlynext");
	expect(&w->told[0], DIR_RESPONSE, "reply");
	assert_string_equal(w->told[0].order, "QAQ");
	gen_fini(&g);
	world_end(w);
}

static void T20_one_byte_segments(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	uint8_t *data = gen_bytes(DIR_REQUEST, 0, 100000);
	gen_send(&g, &c, DIR_REQUEST, bytes_of(data, 100000), 1);
	gen_push(&g, w->t);
	assert_int_equal(w->told[0].got[0].n, 100000);
	assert_memory_equal(w->told[0].got[0].p, data, 100000);
	free(data);
	gen_fini(&g);
	world_end(w);
}

static void T22_bad_flags(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN | TCP_FIN, 0, BYTES("x"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN | TCP_RST, 0, BYTES("x"));
	gen_raw(&g, &c, DIR_REQUEST, 0, 0, BYTES("x"));
	SEND(&g, &c, DIR_REQUEST, "ok");
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 1000000000000, BYTES("far away"));
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "ok");
	assert_int_equal(packets(w, "bad_flags"), 3);
	assert_int_equal(stream_bytes(w, "bad_flags"), 3);
	assert_int_equal(stream_bytes(w, "out_of_window"), 8);
	gen_fini(&g);
	world_end(w);
}

static void I6_every_packet_twice(void **state)
{
	(void)state;
	struct world *w = world_new(true);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "hello");
	SEND(&g, &c, DIR_RESPONSE, "world");
	gen_close(&g, &c);
	for (size_t i = 0; i < g.n; i++) {
		flow_push(w->t, &g.p[i]);
		flow_push(w->t, &g.p[i]);
	}
	assert_int_equal(w->n, 1);
	expect(&w->told[0], DIR_REQUEST, "hello");
	expect(&w->told[0], DIR_RESPONSE, "world");
	assert_int_equal(stream_bytes(w, "duplicate"), 10);
	gen_fini(&g);
	world_end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_conversation),
		cmocka_unit_test(T1_exact_retransmission),
		cmocka_unit_test(T2_other_data_again),
		cmocka_unit_test(T4_sequence_wrap),
		cmocka_unit_test(T7_late_join),
		cmocka_unit_test(T9_missing_at_close),
		cmocka_unit_test(T10_half_close),
		cmocka_unit_test(T11_resets),
		cmocka_unit_test(T11_waits_for_what_is_missing),
		cmocka_unit_test(T11_refused),
		cmocka_unit_test(T12_fins),
		cmocka_unit_test(T13_probes),
		cmocka_unit_test(T14_urgent_byte),
		cmocka_unit_test(T17_data_with_syn),
		cmocka_unit_test(T20_one_byte_segments),
		cmocka_unit_test(T22_bad_flags),
		cmocka_unit_test(I6_every_packet_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
