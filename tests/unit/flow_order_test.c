/* SPDX-License-Identifier: Apache-2.0 */
/* Holes, holds and their caps: nothing is spliced over, nothing is told before its cause. */
#include "capture/flow_table.h"
#include "tests/unit/flow_world.h"

/* A hole that the peer acknowledged is a gap after two settles and 50 ms, not before. */
static void T8_hole_is_declared(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "one");
	c.sent[0] += 10;
	SEND(&g, &c, DIR_REQUEST, "two");
	gen_push(&g, w->t);
	struct told *told = &w->told[0];
	uint64_t now = g.now_ns;
	expect(told, DIR_REQUEST, "one");
	settle(w, now + 49 * MS);
	settle(w, now + 60 * MS);
	expect(told, DIR_REQUEST, "one"); /* nobody acknowledged it */
	struct packet *p = gen_raw(&g, &c, DIR_RESPONSE, TCP_ACK, 0, BYTES(""));
	p->ts_ns = now + 60 * MS;
	flow_push(w->t, p);
	flow_settle(w->t, now + 61 * MS);
	expect(told, DIR_REQUEST, "onetwo");
	assert_string_equal(told->order, "QqQ");
	assert_int_equal(told->gaps[0].off, 3);
	assert_int_equal(told->gaps[0].n, 10);
	assert_int_equal(gap_bytes(w, "aged"), 10);
	/* what comes too late is counted as such */
	flow_push(w->t, gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 3, BYTES("0123456789")));
	assert_int_equal(stream_bytes(w, "late_after_gap"), 10);
	gen_fini(&g);
	world_end(w);
}

static void T8_needs_two_settles(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	c.sent[0] += 4;
	SEND(&g, &c, DIR_REQUEST, "tail");
	gen_push(&g, w->t);
	flow_settle(w->t,
		    g.now_ns + 5000 * MS); /* long ago, but the rings were read empty once only */
	assert_int_equal(w->n, 0);
	flow_settle(w->t, g.now_ns + 5000 * MS);
	assert_string_equal(w->told[0].order, "qQ");
	gen_fini(&g);
	world_end(w);
}

/* Many flows wait behind holes: one settle lets go only some, the next ones the rest. */
static void T8_settles_in_pieces(void **state)
{
	enum { FLOWS = 40, EACH = 64 << 10, MOST = (256 << 10) + EACH };
	(void)state;
	struct world *w = world_new(false);
	uint8_t *bytes = gen_bytes(DIR_REQUEST, 0, EACH);
	struct gen_conn c[FLOWS];
	struct gen g;
	gen_init(&g);
	for (size_t i = 0; i < FLOWS; i++) {
		c[i] = gen_conn("10.0.0.1", (uint16_t)(40000 + i), "10.0.0.2", 80, 1000);
		gen_open(&g, &c[i]);
		c[i].sent[0] += 10;
		gen_send(&g, &c[i], DIR_REQUEST, bytes_of(bytes, EACH), 1 << 20);
	}
	gen_push(&g, w->t);
	uint64_t now = g.now_ns + 5000 * MS;
	flow_settle(w->t, now);
	assert_int_equal(stream_bytes(w, "delivered"), 0);
	unsigned settles = 0;
	for (uint64_t was = 0; was < FLOWS * EACH; settles++) {
		flow_settle(w->t, now);
		uint64_t is = stream_bytes(w, "delivered");
		assert_in_range(is - was, 1, MOST);
		was = is;
	}
	assert_true(settles >= FLOWS * EACH / MOST);
	free(bytes);
	gen_fini(&g);
	world_end(w);
}

/* A piece that comes before the first one does not make the hole younger. */
static void T8_hole_keeps_its_age(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 10, BYTES("second"));
	g.now_ns += 990 * MS;
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 5, BYTES("first"));
	gen_push(&g, w->t);
	settle(w, g.now_ns + 20 * MS);
	assert_string_equal(w->told[0].order, "qQQ");
	assert_int_equal(w->told[0].gaps[0].n, 5);
	gen_fini(&g);
	world_end(w);
}

static void T8_unacknowledged_after_a_second(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	c.sent[0] += 4;
	SEND(&g, &c, DIR_REQUEST, "tail");
	gen_push(&g, w->t);
	settle(w, g.now_ns + 990 * MS);
	assert_int_equal(w->n, 0);
	settle(w, g.now_ns + 1010 * MS);
	assert_string_equal(w->told[0].order, "qQ");
	gen_fini(&g);
	world_end(w);
}

/* From a file, holes age by the time of packets, of whatever flow. */
static void T8_file_ages_by_packet_time(void **state)
{
	(void)state;
	struct world *w = world_new(true);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web(), d = gen_conn("10.0.0.9", 1234, "10.0.0.2", 80, 5);
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "one");
	c.sent[0] += 10;
	SEND(&g, &c, DIR_REQUEST, "two");
	g.now_ns += 900 * MS;
	gen_open(&g, &d);
	gen_push(&g, w->t);
	settle(w, g.now_ns + 5000 * MS); /* says nothing for a file */
	assert_string_equal(w->told[0].order, "Q");
	g.now_ns += 200 * MS;
	flow_push(w->t, gen_raw(&g, &d, DIR_REQUEST, TCP_ACK, 0, BYTES("")));
	assert_string_equal(w->told[0].order, "QqQ");
	gen_fini(&g);
	world_end(w);
}

/* Whatever order the packets come in, a request is told before its answer. */
static void T15_any_order_of_six(void **state)
{
	(void)state;
	int order[6] = {0, 1, 2, 3, 4, 5};
	for (int i = 0; i < 720; i++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_open(&g, &c);
		SEND(&g, &c, DIR_REQUEST, "a");
		SEND(&g, &c, DIR_RESPONSE, "b");
		SEND(&g, &c, DIR_REQUEST, "c");
		SEND(&g, &c, DIR_REQUEST, "d");
		SEND(&g, &c, DIR_RESPONSE, "e");
		SEND(&g, &c, DIR_REQUEST, "f");
		flow_push(w->t, &g.p[0]);
		flow_push(w->t, &g.p[1]);
		int k = i, left[6];
		memcpy(left, order, sizeof(left));
		for (int n = 6; n > 0; n--) { /* the i-th permutation */
			int at = k % n;
			k /= n;
			flow_push(w->t, &g.p[2 + left[at]]);
			memmove(&left[at], &left[at + 1], (size_t)(n - at - 1) * sizeof(int));
			balanced(w);
		}
		expect(&w->told[0], DIR_REQUEST, "acdf");
		expect(&w->told[0], DIR_RESPONSE, "be");
		assert_string_equal(w->told[0].order, "QAQQAQ");
		gen_fini(&g);
		world_end(w);
	}
}

/* A direction that is not captured stalls the other one once, not at every packet. */
static void T15_one_direction_only(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	for (int i = 0; i < 5; i++) {
		SEND(&g, &c, DIR_REQUEST, "ask");
		c.sent[1] += 10; /* never seen */
	}
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "ask");
	settle(w, g.now_ns + 60 * MS);
	expect(&w->told[0], DIR_REQUEST, "askaskaskaskask");
	assert_string_equal(w->told[0].order, "QaQaQaQaQ");
	SEND(&g, &c, DIR_REQUEST, "ask");
	flow_push(w->t, &g.p[g.n - 1]);
	expect(&w->told[0], DIR_REQUEST, "askaskaskaskaskask");
	SEND(&g, &c, DIR_RESPONSE, "seen"); /* from here on it is waited for again */
	flow_push(w->t, &g.p[g.n - 1]);
	c.sent[1] += 10;
	SEND(&g, &c, DIR_REQUEST, "ask");
	flow_push(w->t, &g.p[g.n - 1]);
	expect(&w->told[0], DIR_REQUEST, "askaskaskaskaskask");
	gen_fini(&g);
	world_end(w);
}

/* The only copy of a request that was captured is a retransmission, which acknowledges the
 * answer. */
static void T15_retransmission_with_newer_ack(void **state)
{
	(void)state;
	for (int reply = 0; reply < 2; reply++) { /* either may be the one */
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_open(&g, &c);
		enum dir first = reply ? DIR_RESPONSE : DIR_REQUEST;
		c.sent[first] = 3;
		SEND(&g, &c, !first, "answer");
		gen_raw(&g, &c, first, TCP_ACK, 0, BYTES("ask"));
		gen_push(&g, w->t);
		assert_string_equal(w->told[0].order, reply ? "AQ" : "QA");
		assert_int_equal(w->told[0].n_gaps, 0);
		gen_fini(&g);
		world_end(w);
	}
}

static void T15_garbage_ack_does_not_stall(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_RESPONSE, "banner");
	struct packet *p = gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("ask"));
	p->ack += 1 << 28;
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "ask");
	gen_fini(&g);
	world_end(w);
}

static void T21_holes_are_bounded(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	cfg.max_pending_flow = 64 << 10;
	cfg.max_pending_all = 256 << 10;
	world_of(&cfg, w);
	w->keep = false;
	static uint8_t zero[1000];
	struct gen g;
	gen_init(&g);
	for (int i = 0; i < 1000; i++) {
		struct gen_conn c = gen_conn("10.0.0.1", (uint16_t)(1000 + i), "10.0.0.2", 80, 1);
		gen_open(&g, &c);
		c.sent[0] = 1; /* never comes */
		gen_send(&g, &c, DIR_REQUEST, bytes_of(zero, 1000), 1000);
	}
	struct gen_conn c = gen_conn("10.0.0.1", 999, "10.0.0.2", 80, 1);
	gen_open(&g, &c);
	for (int i = 0; i < 500; i++) { /* every second byte */
		c.sent[0]++;
		gen_send(&g, &c, DIR_REQUEST, bytes_of(zero, 1), 1);
	}
	size_t most = 0, flows = 0;
	for (size_t i = 0; i < g.n; i++) {
		flow_push(w->t, &g.p[i]);
		struct flow_totals totals = flow_totals(w->t);
		flows = flow_count(w->t);
		size_t pending = totals.memory_bytes - flows * sizeof(struct flow_node);
		most = pending > most ? pending : most;
		balanced(w);
	}
	assert_true(most <= (256 << 10) + 2048);
	assert_true(most > 200 << 10); /* or it tests nothing */
	assert_true(flow_totals(w->t).evicted_holes > 500);
	assert_int_equal(gap_bytes(w, "evicted"), flow_totals(w->t).evicted_holes);
	gen_fini(&g);
	world_end(w);
}

static void T21_one_flow(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	cfg.max_pending_flow = 64 << 10;
	world_of(&cfg, w);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	for (int i = 0; i < 500; i++) {
		c.sent[0]++;
		gen_send(&g, &c, DIR_REQUEST, BYTES("x"), 1);
	}
	size_t most = 0;
	for (size_t i = 0; i < g.n; i++) {
		flow_push(w->t, &g.p[i]);
		size_t now = flow_totals(w->t).memory_bytes;
		most = now > most ? now : most;
	}
	assert_true(most < (64 << 10) + 1024 && most > 60 << 10);
	assert_int_equal(w->told[0].got[0].n, flow_totals(w->t).evicted_holes);
	gen_fini(&g);
	world_end(w);
}

/* Gigabytes went by unseen (a muted flow): the stream goes on where the sender is. */
static void T8_jump(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "before");
	c.sent[0] += 3000000000u;
	for (int i = 0; i < 5; i++)
		SEND(&g, &c, DIR_REQUEST, "12345");
	gen_push(&g, w->t);
	expect(&w->told[0], DIR_REQUEST, "before1234512345");
	assert_int_equal(stream_bytes(w, "out_of_window"), 15);
	assert_int_equal(gap_bytes(w, "jump"), 3000000015u);
	gen_fini(&g);
	world_end(w);
}

/*
 * Random conversations, cut, doubled, reordered, dropped. What is told is what was sent, in
 * place, but for exactly the ranges that no packet brought; and the ledger balances after every
 * packet.
 */
struct model {
	uint8_t *have[2]; /* a byte of this offset was in a packet that was pushed */
	uint64_t sent[2];
	uint64_t bad;
};

static struct model model;

static void model_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	(void)ctx, (void)f;
	struct told *told = f->user;
	assert_int_equal(run->off, told->next[dir]);
	told->next[dir] += run->missing + run->data.n;
	assert_true(told->next[dir] <= model.sent[dir]);
	for (uint64_t i = 0; i < run->missing; i++)
		model.bad += model.have[dir][run->off + i];
	for (size_t i = 0; i < run->data.n; i++) {
		model.bad += run->data.p[i] != gen_byte(dir, run->off + i);
		model.bad += !model.have[dir][run->off + i];
	}
	/* by cause: nothing is told before what its sender had acknowledged */
	model.bad += told->next[!dir] < run->ack_off && !run->missing;
}

static void random_send(struct gen *g, struct gen_conn *c, uint64_t *random)
{
	enum dir dir = gen_below(random, 2) ? DIR_REQUEST : DIR_RESPONSE;
	size_t n = 1 + gen_below(random, 400);
	uint8_t *data = gen_bytes(dir, c->sent[dir], n);
	gen_send(g, c, dir, bytes_of(data, n), 1 + gen_below(random, 100));
	free(data);
}

static void random_round(uint64_t seed, bool from_file)
{
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, from_file);
	cfg.on.data = model_data;
	world_of(&cfg, w);
	uint64_t random = seed * 7919 + 1;
	struct gen g;
	gen_init(&g);
	struct gen_conn c =
		gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, (uint32_t)gen_random(&random));
	gen_open(&g, &c);
	size_t body = g.n;
	unsigned loss = seed % 3 ? (unsigned)gen_below(&random, 10) : 0;
	unsigned twice = (unsigned)gen_below(&random, 10);
	for (int i = 0; i < 20; i++)
		random_send(&g, &c, &random);
	uint64_t sent[2] = {c.sent[0], c.sent[1]};
	gen_close(&g, &c);
	for (size_t i = body; i < g.n - 2; i++) {
		if (gen_below(&random, 100) < loss && !(g.p[i].flags & TCP_FIN))
			gen_drop(&g, i);
		else if (gen_below(&random, 100) < twice)
			gen_double(&g, i, gen_below(&random, 8));
	}
	struct gen rest = {.p = g.p + body, .n = g.n - body};
	gen_shuffle(&rest, &random, gen_below(&random, 12));
	for (int d = 0; d < 2; d++) {
		model.sent[d] = sent[d];
		model.have[d] = calloc(1, sent[d] + 1);
	}
	model.bad = 0;
	for (size_t i = 0; i < g.n; i++) {
		enum dir d = g.p[i].sport == 40000 ? DIR_REQUEST : DIR_RESPONSE;
		uint64_t off = g.p[i].seq - (c.isn[d] + 1);
		if (g.p[i].len)
			memset(model.have[d] + off, 1, g.p[i].len);
	}
	for (size_t i = 0; i < g.n; i++) {
		flow_push(w->t, &g.p[i]);
		balanced(w);
	}
	settle(w, g.now_ns + 60 * MS);
	settle(w, g.now_ns + 1200 * MS);
	flow_end_all(w->t, FLOW_STOP);
	assert_int_equal(model.bad, 0);
	for (int d = 0; d < 2; d++)
		assert_int_equal(w->told[0].next[d], sent[d]);
	if (!from_file)
		assert_int_equal(w->told[0].how, FLOW_FIN);
	if (!loss)
		assert_int_equal(stage(w, 2).in, 0);
	for (int d = 0; d < 2; d++)
		free(model.have[d]);
	gen_fini(&g);
	world_end(w);
}

static void random_conversations(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 2000; seed++)
		random_round(seed, seed % 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T8_hole_is_declared),
		cmocka_unit_test(T8_needs_two_settles),
		cmocka_unit_test(T8_settles_in_pieces),
		cmocka_unit_test(T8_hole_keeps_its_age),
		cmocka_unit_test(T8_unacknowledged_after_a_second),
		cmocka_unit_test(T8_file_ages_by_packet_time),
		cmocka_unit_test(T8_jump),
		cmocka_unit_test(T15_any_order_of_six),
		cmocka_unit_test(T15_one_direction_only),
		cmocka_unit_test(T15_retransmission_with_newer_ack),
		cmocka_unit_test(T15_garbage_ack_does_not_stall),
		cmocka_unit_test(T21_holes_are_bounded),
		cmocka_unit_test(T21_one_flow),
		cmocka_unit_test(random_conversations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
