/* SPDX-License-Identifier: Apache-2.0 */
/* Packets to ordered bytes: the rows T1 - T22, I1, I6, I11 of the catalogue of faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "capture/flow.h"
#include "tests/unit/gen.h"

#define MS 1000000ull
enum { FLOWS_MAX = 2048, GAPS_MAX = 64, ORDER_MAX = 256 };

/* What the callbacks of one flow told */
struct told {
	struct flow flow; /* as of the last callback */
	bool open, half[2], closed;
	enum flow_end how;
	struct buf got[2]; /* without the gaps */
	uint64_t next[2];
	struct { enum dir dir; uint64_t off, n; } gaps[GAPS_MAX];
	size_t n_gaps;
	uint64_t gap_bytes[2];
	char order[ORDER_MAX]; /* a letter a run: Q request, A response, q a gap in requests, a in responses */
	unsigned flags;
};

struct world {
	struct flow_table *t;
	struct told told[FLOWS_MAX];
	size_t n;
	bool reverse; /* at the first data */
	bool keep;    /* store the bytes */
};

static void on_open(void *ctx, struct flow *f)
{
	struct world *w = ctx;
	if (w->n == FLOWS_MAX)
		w->n = 0;
	struct told *told = &w->told[w->n++];
	for (int d = 0; d < 2; d++)
		buf_fini(&told->got[d]);
	*told = (struct told){.open = true};
	assert_null(f->user);
	f->user = told;
}

static void on_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	struct world *w = ctx;
	struct told *told = f->user;
	assert_non_null(told);
	assert_false(told->closed);
	assert_false(told->half[dir]);
	assert_true(run->missing == 0 || run->data.n == 0);
	assert_true(run->missing + run->data.n > 0);
	if (run->flags & STREAM_URGENT && run->off == told->next[dir] + 1)
		told->next[dir]++;
	assert_int_equal(run->off, told->next[dir]);
	told->next[dir] += run->missing + run->data.n;
	told->flags |= run->flags;
	size_t n = strlen(told->order);
	if (n + 1 < ORDER_MAX)
		told->order[n] = run->missing ? "qa"[dir] : "QA"[dir];
	if (run->missing) {
		if (told->n_gaps < GAPS_MAX) {
			told->gaps[told->n_gaps].dir = dir;
			told->gaps[told->n_gaps].off = run->off;
			told->gaps[told->n_gaps++].n = run->missing;
		}
		told->gap_bytes[dir] += run->missing;
	} else if (w->keep) {
		assert_int_equal(buf_append(&told->got[dir], run->data), 0);
	}
	told->flow = *f;
	if (w->reverse) {
		w->reverse = false;
		flow_reverse(w->t, f);
	}
}

static void on_half_close(void *ctx, struct flow *f, enum dir dir)
{
	(void)ctx;
	struct told *told = f->user;
	assert_false(told->half[dir]);
	told->half[dir] = true;
}

static void on_close(void *ctx, struct flow *f, enum flow_end how)
{
	(void)ctx;
	struct told *told = f->user;
	assert_false(told->closed);
	told->closed = true;
	told->how = how;
	told->flow = *f;
	f->user = NULL;
}

static struct flow_cfg config(struct world *w, bool from_file)
{
	return (struct flow_cfg){.max_flows = 65536,
				 .max_pending_flow = 1 << 20,
				 .max_pending_all = 16 << 20,
				 .hole_ns = 50 * MS,
				 .hole_max_ns = 1000 * MS,
				 .seed = 42,
				 .from_file = from_file,
				 .on = {on_open, on_data, on_half_close, on_close},
				 .ctx = w};
}

static struct world *world_of(const struct flow_cfg *cfg, struct world *w)
{
	w->keep = true;
	w->t = flow_table_new(cfg);
	assert_non_null(w->t);
	return w;
}

static struct world *world_new(bool from_file)
{
	struct world *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	struct flow_cfg cfg = config(w, from_file);
	return world_of(&cfg, w);
}

static struct ledger_stage stage(struct world *w, size_t i)
{
	struct ledger_stage s[3];
	assert_int_equal(flow_ledger(w->t, s, 3), 3);
	return s[i];
}

static uint64_t exit_of(struct world *w, size_t i, const char *name)
{
	struct ledger_stage s = stage(w, i);
	for (unsigned k = 0; k < s.n_exits; k++)
		if (strcmp(s.exits[k].name, name) == 0)
			return s.exits[k].n;
	fail_msg("no exit %s", name);
	return 0;
}
#define packets(w, name) exit_of(w, 0, name)
#define stream_bytes(w, name) exit_of(w, 1, name)
#define gap_bytes(w, name) exit_of(w, 2, name)

static void balanced(struct world *w)
{
	for (size_t i = 0; i < 3; i++) {
		struct ledger_stage s = stage(w, i);
		assert_int_equal(ledger_residue(&s), 0);
	}
}

/* The ledger must balance, nothing is held at the end, no flow stays open. */
static void world_end(struct world *w)
{
	balanced(w);
	flow_end_all(w->t, FLOW_STOP);
	balanced(w);
	assert_int_equal(stage(w, 1).held, 0);
	assert_int_equal(flow_count(w->t), 0);
	for (size_t i = 0; i < w->n; i++)
		assert_true(w->told[i].closed);
	flow_table_free(w->t);
	for (size_t i = 0; i < FLOWS_MAX; i++)
		for (int d = 0; d < 2; d++)
			buf_fini(&w->told[i].got[d]);
	free(w);
}

static void expect(const struct told *told, enum dir dir, const char *text)
{
	assert_int_equal(told->got[dir].n, strlen(text));
	if (*text)
		assert_memory_equal(told->got[dir].p, text, strlen(text));
}

static struct gen_conn web(void)
{
	return gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 1000);
}

/* Both rings empty, several times, so much later than the last packet */
static void settle(struct world *w, uint64_t now_ns)
{
	flow_settle(w->t, now_ns);
	flow_settle(w->t, now_ns);
}

#define SEND(g, c, dir, text) gen_send(g, c, dir, BYTES(text), 1 << 20)

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

static void T5_reused_tuple(void **state)
{
	(void)state;
	for (int fin = 0; fin < 2; fin++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_open(&g, &c);
		SEND(&g, &c, DIR_REQUEST, "old");
		if (fin)
			gen_close(&g, &c);
		struct gen_conn d = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 777777);
		gen_open(&g, &d);
		gen_raw(&g, &d, DIR_REQUEST, TCP_SYN, 0, BYTES("")); /* sent again: nothing new */
		SEND(&g, &d, DIR_REQUEST, "new");
		gen_push(&g, w->t);
		assert_int_equal(w->n, 2);
		expect(&w->told[0], DIR_REQUEST, "old");
		assert_true(w->told[0].closed);
		assert_int_equal(w->told[0].how, fin ? FLOW_FIN : FLOW_REUSED);
		expect(&w->told[1], DIR_REQUEST, "new");
		assert_true(w->told[1].flow.syn_seen);
		gen_fini(&g);
		world_end(w);
	}
}

/* Two answers to a SYN: the acknowledged one counts, whichever came first. */
static void T6_two_syn_acks(void **state)
{
	(void)state;
	for (int right = 0; right < 2; right++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = web();
		gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
		gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
		uint32_t isn = c.isn[1];
		for (int i = 0; i < 2; i++) {
			c.isn[1] = i == right ? isn : isn + 500000000;
			gen_raw(&g, &c, DIR_RESPONSE, TCP_SYN | TCP_ACK, 0, BYTES(""));
		}
		c.isn[1] = isn;
		SEND(&g, &c, DIR_REQUEST, "ask");
		SEND(&g, &c, DIR_RESPONSE, "answer");
		gen_push(&g, w->t);
		assert_string_equal(w->told[0].order, "QA");
		expect(&w->told[0], DIR_RESPONSE, "answer");
		assert_int_equal(w->told[0].n_gaps, 0);
		gen_fini(&g);
		world_end(w);
	}
}

/* The acknowledgement alone tells which one: what it acknowledges is waited for. */
static void T6_chosen_by_ack(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	c.isn[1] += 500000000;
	gen_raw(&g, &c, DIR_RESPONSE, TCP_SYN | TCP_ACK, 0, BYTES(""));
	SEND(&g, &c, DIR_REQUEST, "ask");
	SEND(&g, &c, DIR_RESPONSE, "answer");
	SEND(&g, &c, DIR_REQUEST, "more");
	gen_swap(&g, g.n - 1, g.n - 2);
	gen_push(&g, w->t);
	assert_string_equal(w->told[0].order, "QAQ");
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

static void T7_roles(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	uint16_t port = 50000;
	cfg.ports = &port;
	cfg.n_ports = 1;
	world_of(&cfg, w);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 50000, 5);
	SEND(&g, &c, DIR_RESPONSE, "the chosen port is the server's");
	gen_push(&g, w->t);
	assert_int_equal(w->told[0].flow.server_port, 50000);
	assert_false(w->told[0].flow.server_certain);
	gen_fini(&g);
	world_end(w);
}

static bool listens_40000(void *ctx, uint64_t scope, const uint8_t addr[16], uint16_t port)
{
	(void)ctx, (void)scope, (void)addr;
	return port == 40000;
}

static void T7_listening_socket(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	cfg.listens = listens_40000;
	world_of(&cfg, w);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	SEND(&g, &c, DIR_REQUEST, "from the server");
	gen_push(&g, w->t);
	assert_int_equal(w->told[0].flow.server_port, 40000);
	assert_true(w->told[0].flow.server_certain);
	assert_string_equal(w->told[0].order, "A");
	gen_fini(&g);
	world_end(w);
}

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
	flow_settle(w->t, g.now_ns + 5000 * MS); /* long ago, but the rings were read empty once only */
	assert_int_equal(w->n, 0);
	flow_settle(w->t, g.now_ns + 5000 * MS);
	assert_string_equal(w->told[0].order, "qQ");
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
	static const struct { int32_t seq; bool ack; uint32_t ack_ahead; bool closes; } cases[] = {
		{0, true, 0, true},	      /* exact */
		{0, false, 0, true},	      /* without ACK */
		{0, true, 1 << 30, true},     /* exact: its ACK does not count (RFC 5961) */
		{-1, true, 0, false},	      /* before the window */
		{100, true, 0, true},	      /* bytes may have been missed */
		{1 << 30, true, 0, false},    /* out of window */
		{100, true, 1 << 30, false},  /* wrong ACK */
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
		assert_int_equal(w->told[0].closed, cases[i].closes);
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
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK | TCP_FIN, 3, BYTES("")); /* out of order; data stands over it */
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
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, (uint64_t)-1, BYTES("")); /* keep-alive, no byte sent yet */
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

/* The only copy of a request that was captured is a retransmission, which acknowledges the answer. */
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

static void T18_self_connect(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("127.0.0.1", 5000, "127.0.0.1", 5000, 9);
	c.isn[1] = c.isn[0];
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN | TCP_ACK, 0, BYTES(""));
	c.sent[1] = 0;
	for (int i = 0; i < 3; i++) {
		SEND(&g, &c, DIR_REQUEST, "echo");
		c.sent[1] = c.sent[0];
	}
	gen_fin(&g, &c, DIR_REQUEST);
	gen_push(&g, w->t);
	assert_int_equal(w->n, 1);
	expect(&w->told[0], DIR_REQUEST, "echoechoecho");
	assert_string_equal(w->told[0].order, "QQQ");
	assert_int_equal(w->told[0].how, FLOW_FIN);
	assert_true(w->told[0].closed);
	gen_fini(&g);
	world_end(w);
}

static void T18_simultaneous_open(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 5000, "10.0.0.2", 5001, 9);
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN, 0, BYTES(""));
	gen_raw(&g, &c, DIR_RESPONSE, TCP_SYN, 0, BYTES(""));
	gen_raw(&g, &c, DIR_REQUEST, TCP_SYN | TCP_ACK, 0, BYTES(""));
	gen_raw(&g, &c, DIR_RESPONSE, TCP_SYN | TCP_ACK, 0, BYTES(""));
	SEND(&g, &c, DIR_RESPONSE, "me first");
	SEND(&g, &c, DIR_REQUEST, "ok");
	gen_push(&g, w->t);
	assert_int_equal(flow_totals(w->t).opened, 1);
	assert_string_equal(w->told[0].order, "AQ");
	assert_int_equal(w->told[0].flow.server_port, 5001);
	gen_fini(&g);
	world_end(w);
}

static void T19_a_million_half_open(void **state)
{
	(void)state;
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	cfg.max_flows = 4096;
	world_of(&cfg, w);
	struct packet p = {.flags = TCP_SYN, .sport = 1, .dport = 80, .hook = PACKET_FILTER};
	gen_addr(p.dst, "10.0.0.2");
	size_t most = 0;
	for (uint32_t i = 0; i < 1000000; i++) {
		gen_addr(p.src, "10.0.0.1");
		memcpy(p.src + 12, &i, 4);
		p.seq = i;
		p.ts_ns = i;
		flow_push(w->t, &p);
		size_t now = flow_totals(w->t).memory_bytes;
		most = now > most ? now : most;
	}
	assert_int_equal(flow_count(w->t), 4096);
	assert_int_equal(flow_totals(w->t).ended[FLOW_EVICTED], 1000000 - 4096);
	assert_true(most <= 4096 * 512);
	world_end(w);
}

/* One client port, many servers: no chain grows. */
static void T19_one_client_port(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct packet p = {.flags = TCP_SYN, .sport = 1, .dport = 80, .hook = PACKET_FILTER};
	gen_addr(p.src, "10.0.0.1");
	gen_addr(p.dst, "10.0.0.2");
	for (uint32_t i = 0; i < 10000; i++) {
		memcpy(p.dst + 12, &i, 4);
		flow_push(w->t, &p);
	}
	assert_int_equal(flow_count(w->t), 64);
	assert_int_equal(flow_totals(w->t).ended[FLOW_EVICTED], 10000 - 64);
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
		size_t pending = totals.memory_bytes - flows * 408;
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

static void unknown_flows(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_raw(&g, &c, DIR_REQUEST, TCP_RST, 0, BYTES("x"));
	gen_raw(&g, &c, DIR_REQUEST, TCP_FIN | TCP_ACK, 0, BYTES(""));
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES(""));
	gen_push(&g, w->t);
	assert_int_equal(packets(w, "unknown_flow"), 3);
	assert_int_equal(flow_totals(w->t).opened, 0);
	gen_fini(&g);
	world_end(w);
}

static void after_close(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "hello");
	gen_close(&g, &c);
	gen_raw(&g, &c, DIR_REQUEST, TCP_ACK, 0, BYTES("hello"));
	gen_push(&g, w->t);
	assert_int_equal(w->n, 1);
	assert_int_equal(stream_bytes(w, "after_close"), 5);
	assert_int_equal(packets(w, "after_close"), 1);
	/* another connection whose SYN was lost */
	struct gen_conn d = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 3000000000u);
	SEND(&g, &d, DIR_REQUEST, "fresh");
	flow_push(w->t, &g.p[g.n - 1]);
	assert_int_equal(w->n, 2);
	expect(&w->told[1], DIR_REQUEST, "fresh");
	gen_fini(&g);
	world_end(w);
}

static void I1_v4_mapped_is_one_flow(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("::ffff:127.0.0.1", 40000, "127.0.0.1", 80, 1);
	struct gen_conn d = gen_conn("127.0.0.1", 40000, "::ffff:127.0.0.1", 80, 1);
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "v6 socket");
	d.sent[0] = c.sent[0];
	SEND(&g, &d, DIR_REQUEST, ", v4 packet");
	gen_push(&g, w->t);
	assert_int_equal(w->n, 1);
	expect(&w->told[0], DIR_REQUEST, "v6 socket, v4 packet");
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

static void expect_redirect(const struct told *told)
{
	uint8_t server[16], orig[16];
	gen_addr(server, "127.0.0.1");
	gen_addr(orig, "10.7.0.99");
	expect(told, DIR_REQUEST, "ask");
	expect(told, DIR_RESPONSE, "answer");
	assert_int_equal(told->flow.client_port, 40000);
	assert_int_equal(told->flow.server_port, 15001);
	assert_memory_equal(told->flow.server_addr, server, 16);
	assert_int_equal(told->flow.orig_port, 80);
	assert_memory_equal(told->flow.orig_addr, orig, 16);
}

/* REDIRECT: the request goes to 127.0.0.1:15001, the reply comes from 10.7.0.99:80. With the sockets of
 * either hook and without any, from the SYN on and joined late, reply or request first. */
static void I11_redirect(void **state)
{
	(void)state;
	for (int i = 0; i < 3 * 2 * 2; i++) {
		enum { NONE, EGRESS, INGRESS } hook = i % 3;
		bool late = i / 3 % 2, reply_first = i / 6;
		struct world *w = world_new(false);
		struct gen g, out;
		gen_init(&g);
		struct gen_conn c = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15001, 1000);
		gen_open(&g, &c);
		if (reply_first) {
			SEND(&g, &c, DIR_RESPONSE, "answer");
			SEND(&g, &c, DIR_REQUEST, "ask");
		} else {
			SEND(&g, &c, DIR_REQUEST, "ask");
			SEND(&g, &c, DIR_RESPONSE, "answer");
		}
		for (size_t k = 0; k < g.n; k++) {
			struct packet *p = &g.p[k];
			bool reply = p->sport == 15001;
			if (reply) {
				gen_addr(p->src, "10.7.0.99");
				p->sport = 80;
			}
			if (hook == EGRESS) {
				p->hook = PACKET_EGRESS;
				p->sk_lport = reply ? 15001 : 40000;
				p->sk_rport = reply ? 40000 : 80;
			} else if (hook == INGRESS) {
				p->hook = PACKET_INGRESS;
				p->sk_lport = reply ? 40000 : 15001;
				p->sk_rport = reply ? 80 : 40000;
			} else {
				p->hook = PACKET_FILTER;
			}
		}
		out = g;
		if (late) {
			out.p += 2;
			out.n -= 2;
		}
		gen_push(&out, w->t);
		assert_int_equal(w->n, 1);
		flow_end_all(w->t, FLOW_STOP);

		expect_redirect(&w->told[0]);
		gen_fini(&g);
		world_end(w);
	}
}

/* One client port, several servers of the same port: no byte goes to the other flow. */
static void I11_shared_client_port(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 1);
	struct gen_conn d = gen_conn("10.0.0.1", 40000, "10.0.0.3", 80, 2);
	gen_open(&g, &c);
	gen_open(&g, &d);
	SEND(&g, &c, DIR_REQUEST, "to 2");
	SEND(&g, &d, DIR_REQUEST, "to 3");
	SEND(&g, &d, DIR_RESPONSE, "from 3");
	SEND(&g, &c, DIR_RESPONSE, "from 2");
	gen_push(&g, w->t);
	assert_int_equal(w->n, 2);
	expect(&w->told[0], DIR_REQUEST, "to 2");
	expect(&w->told[0], DIR_RESPONSE, "from 2");
	expect(&w->told[1], DIR_REQUEST, "to 3");
	expect(&w->told[1], DIR_RESPONSE, "from 3");
	gen_fini(&g);
	world_end(w);
}

/* The reply of `c` comes from 10.7.0.99:80, as after a REDIRECT. */
static struct packet *redirected_reply(struct gen *g, struct gen_conn *c)
{
	SEND(g, c, DIR_RESPONSE, "answer");
	struct packet *p = &g->p[g->n - 1];
	gen_addr(p->src, "10.7.0.99");
	p->sport = 80;
	return p;
}

/* Numbers that cannot be of a flow are of another one. */
static void I11_numbers_must_fit(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15001, 1000);
	SEND(&g, &c, DIR_REQUEST, "ask");
	redirected_reply(&g, &c)->ack += 1 << 28;
	gen_push(&g, w->t);
	assert_int_equal(w->n, 2);
	expect(&w->told[1], DIR_RESPONSE, "answer");
	gen_fini(&g);
	world_end(w);
}

/* Two flows of one client lack the reply, and its numbers fit both: a socket tells, without one nobody. */
static void I11_two_candidates(void **state)
{
	(void)state;
	for (int socket = 0; socket < 2; socket++) {
		struct world *w = world_new(false);
		struct gen g;
		gen_init(&g);
		struct gen_conn c = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15001, 1000);
		struct gen_conn d = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15002, 1000);
		SEND(&g, &c, DIR_REQUEST, "one");
		SEND(&g, &d, DIR_REQUEST, "two");
		struct packet *p = redirected_reply(&g, &c);
		if (socket) {
			p->hook = PACKET_EGRESS;
			p->sk_lport = 15001;
			p->sk_rport = 40000;
		}
		gen_push(&g, w->t);
		assert_int_equal(w->n, socket ? 2 : 3);
		expect(&w->told[socket ? 0 : 2], DIR_RESPONSE, "answer");
		gen_fini(&g);
		world_end(w);
	}
}

static void scopes_are_apart(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = web();
	SEND(&g, &c, DIR_REQUEST, "pod");
	SEND(&g, &c, DIR_REQUEST, "pod");
	g.p[1].seq = g.p[0].seq;
	g.p[1].scope = 7;
	gen_push(&g, w->t);
	assert_int_equal(w->n, 2);
	gen_fini(&g);
	world_end(w);
}

static void reverse_in_callback(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	w->reverse = true;
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 80, "10.0.0.2", 40000, 1);
	SEND(&g, &c, DIR_RESPONSE, "question"); /* 40000 looks like the client */
	SEND(&g, &c, DIR_REQUEST, "reply");
	SEND(&g, &c, DIR_RESPONSE, "bye");
	gen_fin(&g, &c, DIR_REQUEST);
	for (size_t i = 0; i < g.n; i++) {
		flow_push(w->t, &g.p[i]);
		if (i == 0) { /* what the user of a flow does with its own directions */
			struct buf b = w->told[0].got[0];
			w->told[0].got[0] = w->told[0].got[1];
			w->told[0].got[1] = b;
			uint64_t next = w->told[0].next[0];
			w->told[0].next[0] = w->told[0].next[1];
			w->told[0].next[1] = next;
		}
	}
	struct told *told = &w->told[0];
	assert_int_equal(w->n, 1);
	expect(told, DIR_RESPONSE, "questionbye");
	expect(told, DIR_REQUEST, "reply");
	assert_string_equal(told->order, "QQA");
	assert_true(told->half[0] && !told->half[1]);
	assert_int_equal(told->flow.client_port, 80);
	assert_int_equal(told->flow.server_port, 40000);
	gen_fini(&g);
	world_end(w);
}

/* A redirected connection has another address in each direction: its server is certain. */
static void reverse_of_a_redirect_is_refused(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	struct gen_conn c = gen_conn("10.7.0.2", 40000, "127.0.0.1", 15001, 1000);
	gen_open(&g, &c);
	SEND(&g, &c, DIR_REQUEST, "ask");
	gen_addr(g.p[1].src, "10.7.0.99");
	g.p[1].sport = 80;
	w->reverse = true;
	gen_push(&g, w->t);
	SEND(&g, &c, DIR_REQUEST, "more");
	flow_push(w->t, &g.p[g.n - 1]);
	assert_string_equal(w->told[0].order, "QQ");
	assert_int_equal(w->told[0].flow.client_port, 40000);
	gen_fini(&g);
	world_end(w);
}

struct sweep {
	unsigned asked;
	uint16_t dead_port;
};

static bool sweep_alive(void *ctx, const struct flow *f)
{
	struct sweep *s = ctx;
	s->asked++;
	return f->client_port != s->dead_port;
}

static void sweep_ends_the_vanished(void **state)
{
	(void)state;
	struct world *w = world_new(false);
	struct gen g;
	gen_init(&g);
	for (uint16_t i = 0; i < 10; i++) {
		struct gen_conn c = gen_conn("10.0.0.1", (uint16_t)(1000 + i), "10.0.0.2", 80, 1);
		SEND(&g, &c, DIR_REQUEST, "x");
	}
	gen_push(&g, w->t);
	struct sweep s = {.dead_port = 1007};
	flow_sweep(w->t, g.p[9].ts_ns, sweep_alive, &s, 4);
	assert_int_equal(s.asked, 4);
	flow_sweep(w->t, g.p[9].ts_ns, sweep_alive, &s, 4);
	assert_int_equal(s.asked, 8); /* goes on where it stopped */
	assert_true(w->told[7].closed);
	assert_int_equal(w->told[7].how, FLOW_VANISHED);
	flow_sweep(w->t, g.p[9].ts_ns, sweep_alive, &s, 4);
	assert_int_equal(s.asked, 9); /* the last one is not idle */
	assert_int_equal(flow_count(w->t), 9);
	gen_fini(&g);
	world_end(w);
}

/*
 * Random conversations, cut, doubled, reordered, dropped. What is told is what was sent, in place, but for
 * exactly the ranges that no packet brought; and the ledger balances after every packet.
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
	struct gen_conn c = gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, (uint32_t)gen_random(&random));
	gen_open(&g, &c);
	size_t body = g.n;
	unsigned loss = seed % 3 ? (unsigned)gen_below(&random, 10) : 0;
	unsigned twice = (unsigned)gen_below(&random, 10);
	for (int i = 0; i < 20; i++)
		random_send(&g, &c, &random);
	uint64_t sent[2] = {c.sent[0], c.sent[1]};
	gen_close(&g, &c);
	for (size_t i = body; i < g.n - 2; i++) {
		if (gen_below(&random, 100) < loss)
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
		cmocka_unit_test(plain_conversation),
		cmocka_unit_test(T1_exact_retransmission),
		cmocka_unit_test(T2_other_data_again),
		cmocka_unit_test(T4_sequence_wrap),
		cmocka_unit_test(T5_reused_tuple),
		cmocka_unit_test(T6_two_syn_acks),
		cmocka_unit_test(T6_chosen_by_ack),
		cmocka_unit_test(T7_late_join),
		cmocka_unit_test(T7_roles),
		cmocka_unit_test(T7_listening_socket),
		cmocka_unit_test(T8_hole_is_declared),
		cmocka_unit_test(T8_needs_two_settles),
		cmocka_unit_test(T8_hole_keeps_its_age),
		cmocka_unit_test(T8_unacknowledged_after_a_second),
		cmocka_unit_test(T8_file_ages_by_packet_time),
		cmocka_unit_test(T8_jump),
		cmocka_unit_test(T9_missing_at_close),
		cmocka_unit_test(T10_half_close),
		cmocka_unit_test(T11_resets),
		cmocka_unit_test(T11_waits_for_what_is_missing),
		cmocka_unit_test(T11_refused),
		cmocka_unit_test(T12_fins),
		cmocka_unit_test(T13_probes),
		cmocka_unit_test(T14_urgent_byte),
		cmocka_unit_test(T15_any_order_of_six),
		cmocka_unit_test(T15_one_direction_only),
		cmocka_unit_test(T15_retransmission_with_newer_ack),
		cmocka_unit_test(T15_garbage_ack_does_not_stall),
		cmocka_unit_test(T17_data_with_syn),
		cmocka_unit_test(T18_self_connect),
		cmocka_unit_test(T18_simultaneous_open),
		cmocka_unit_test(T19_a_million_half_open),
		cmocka_unit_test(T19_one_client_port),
		cmocka_unit_test(T20_one_byte_segments),
		cmocka_unit_test(T21_holes_are_bounded),
		cmocka_unit_test(T21_one_flow),
		cmocka_unit_test(T22_bad_flags),
		cmocka_unit_test(unknown_flows),
		cmocka_unit_test(after_close),
		cmocka_unit_test(I1_v4_mapped_is_one_flow),
		cmocka_unit_test(I6_every_packet_twice),
		cmocka_unit_test(I11_redirect),
		cmocka_unit_test(I11_shared_client_port),
		cmocka_unit_test(I11_two_candidates),
		cmocka_unit_test(I11_numbers_must_fit),
		cmocka_unit_test(scopes_are_apart),
		cmocka_unit_test(reverse_in_callback),
		cmocka_unit_test(reverse_of_a_redirect_is_refused),
		cmocka_unit_test(sweep_ends_the_vanished),
		cmocka_unit_test(random_conversations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
