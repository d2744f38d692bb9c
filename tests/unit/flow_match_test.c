/* SPDX-License-Identifier: Apache-2.0 */
/* Which flow and direction a packet belongs to: roles, reuse, redirects, caps of the table. */
#include "tests/unit/flow_world.h"

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

/*
 * REDIRECT: the request goes to 127.0.0.1:15001, the reply comes from 10.7.0.99:80. With the
 * sockets of either hook and without any, from the SYN on and joined late, reply or request
 * first.
 */
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

/* Two flows of one client lack the reply, and its numbers fit both: a socket tells, without one
 * nobody. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T5_reused_tuple),
		cmocka_unit_test(T6_two_syn_acks),
		cmocka_unit_test(T6_chosen_by_ack),
		cmocka_unit_test(T7_roles),
		cmocka_unit_test(T7_listening_socket),
		cmocka_unit_test(T18_self_connect),
		cmocka_unit_test(T18_simultaneous_open),
		cmocka_unit_test(T19_a_million_half_open),
		cmocka_unit_test(T19_one_client_port),
		cmocka_unit_test(unknown_flows),
		cmocka_unit_test(after_close),
		cmocka_unit_test(I1_v4_mapped_is_one_flow),
		cmocka_unit_test(I11_redirect),
		cmocka_unit_test(I11_shared_client_port),
		cmocka_unit_test(I11_two_candidates),
		cmocka_unit_test(I11_numbers_must_fit),
		cmocka_unit_test(scopes_are_apart),
		cmocka_unit_test(reverse_in_callback),
		cmocka_unit_test(reverse_of_a_redirect_is_refused),
		cmocka_unit_test(sweep_ends_the_vanished),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
