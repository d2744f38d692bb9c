/* SPDX-License-Identifier: Apache-2.0 */
/* Flows of which nothing is wanted: what the probe is told, what is counted, how they come back. */
#include "bpf/event.h"
#include "capture/flow_table.h"
#include "tests/unit/flow_world.h"

static uint32_t words[VERDICT_SLOTS];
static bool refuse;

static bool verdict(void *ctx, uint32_t slot, uint32_t word)
{
	(void)ctx;
	if (refuse)
		return false;
	words[slot] = word;
	return true;
}

static struct world *begin(struct gen *g)
{
	struct world *w = calloc(1, sizeof(*w));
	struct flow_cfg cfg = config(w, false);
	memset(words, 0, sizeof(words));
	refuse = false;
	cfg.verdict = verdict;
	world_of(&cfg, w);
	w->keep = true;
	gen_init(g);
	return w;
}

static void end(struct world *w, struct gen *g)
{
	gen_fini(g);
	world_end(w);
}

/* As from the probe, which says where a connection's verdict stands */
static void push(struct world *w, const struct gen *g, size_t from, uint32_t slot, uint32_t tag)
{
	for (size_t i = from; i < g->n; i++) {
		struct packet p = g->p[i];
		p.slot = slot;
		p.tag = tag;
		flow_push(w->t, &p);
		balanced(w);
	}
}

static struct flow *only(struct world *w)
{
	return &list_entry(w->t->open.prev, struct flow_node, lru)->f;
}

static struct gen_conn begun(struct world *w, struct gen *g, uint16_t port, uint32_t slot)
{
	struct gen_conn c = gen_conn("10.0.0.1", port, "10.0.0.2", 80, (uint32_t)g->n << 24);
	size_t at = g->n;
	gen_open(g, &c);
	gen_send(g, &c, DIR_REQUEST, BYTES("hello"), 100);
	push(w, g, at, slot, port);
	return c;
}

/* Muted until it ends; then the slot is free, and the next connection of that client is whole. */
static void until_its_end(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	struct gen_conn c = begun(w, &g, 1000, 7);
	assert_true(flow_mute(w->t, only(w)));
	assert_true(flow_mute(w->t, only(w)));
	assert_int_equal(words[7], 1000 << 4 | VERDICT_MUTE);
	assert_int_equal(flow_muted(w->t), 1);
	size_t at = g.n;
	gen_send(&g, &c, DIR_REQUEST, BYTES("underway"), 100);
	push(w, &g, at, 7, 1000);
	c.sent[DIR_REQUEST] += 100000; /* never came */
	at = g.n;
	gen_close(&g, &c);
	push(w, &g, at, 7, 1000);
	assert_int_equal(words[7], 0);
	assert_int_equal(flow_muted(w->t), 0);
	assert_int_equal(exit_of(w, 1, "muted"), 8);
	assert_true(exit_of(w, 0, "muted") >= 2);
	assert_int_equal(flow_totals(w->t).gaps, 0); /* what the probe left out is no loss */
	assert_true(w->told[0].closed);
	assert_int_equal(w->told[0].got[0].n, 5);
	begun(w, &g, 1000, 7);
	assert_int_equal(w->n, 2);
	assert_int_equal(w->told[1].got[0].n, 5);
	end(w, &g);
}

/* A new SYN of that client ends it too: the new connection is seen from its beginning. */
static void until_the_client_comes_again(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	begun(w, &g, 1000, 7);
	flow_mute(w->t, only(w));
	begun(w, &g, 1000, 7);
	assert_int_equal(words[7], 0);
	assert_int_equal(w->n, 2);
	assert_int_equal(w->told[0].how, FLOW_REUSED);
	assert_true(w->told[1].flow.syn_seen);
	assert_int_equal(w->told[1].got[0].n, 5);
	end(w, &g);
}

/* Also one joined late, to which a SYN close by would be its own that came late. */
static void until_the_client_comes_again_nearby(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	struct gen_conn c = gen_conn("10.0.0.1", 1000, "10.0.0.2", 80, 5000);
	gen_send(&g, &c, DIR_REQUEST, BYTES("middle"), 100);
	push(w, &g, 0, 7, 1000);
	assert_true(flow_mute(w->t, only(w)));
	c = gen_conn("10.0.0.1", 1000, "10.0.0.2", 80, 4000);
	size_t at = g.n;
	gen_open(&g, &c);
	gen_drop(&g, at + 1); /* its answer would tell too */
	gen_send(&g, &c, DIR_REQUEST, BYTES("hello"), 100);
	push(w, &g, at, 7, 1000);
	assert_int_equal(w->n, 2);
	assert_int_equal(w->told[1].got[0].n, 5);
	end(w, &g);
}

/* New rules: what goes on is a late join. */
static void unmuted(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	struct gen_conn c = begun(w, &g, 1000, 7), d = begun(w, &g, 1001, 8);
	for (struct list *it = w->t->open.next; it != &w->t->open; it = it->next)
		flow_mute(w->t, &list_entry(it, struct flow_node, lru)->f);
	assert_int_equal(flow_muted(w->t), 2);
	flow_unmute_all(w->t);
	assert_int_equal(flow_muted(w->t), 0);
	assert_int_equal(words[7] | words[8], 0);
	assert_int_equal(w->told[0].how, FLOW_UNMUTED);
	c.sent[DIR_REQUEST] += 5000;
	d.sent[DIR_REQUEST] += 5000;
	size_t at = g.n;
	gen_send(&g, &c, DIR_REQUEST, BYTES("again"), 100);
	push(w, &g, at, 7, 1000);
	assert_int_equal(w->n, 3);
	assert_false(w->told[2].flow.syn_seen);
	assert_int_equal(w->told[2].got[0].n, 5);
	assert_int_equal(flow_totals(w->t).gaps, 0);
	end(w, &g);
}

/* A slot serves one flow; a back end that cannot mutes none. */
static void not_muted(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	begun(w, &g, 1000, 7);
	flow_mute(w->t, only(w));
	begun(w, &g, 1001, 7);
	assert_false(flow_mute(w->t, only(w)));
	assert_int_equal(words[7], 1000 << 4 | VERDICT_MUTE);
	begun(w, &g, 1002, 9);
	refuse = true;
	assert_false(flow_mute(w->t, only(w)));
	refuse = false;
	assert_int_equal(flow_muted(w->t), 1);
	/* another back end is told what stands */
	memset(words, 0, sizeof(words));
	flow_mute_again(w->t);
	assert_int_equal(words[7], 1000 << 4 | VERDICT_MUTE);
	end(w, &g);
}

/* What waits for its turn when a flow is muted is not wanted either. */
static void pending_bytes(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	struct gen_conn c = begun(w, &g, 1000, 7);
	c.sent[DIR_REQUEST] += 10;
	size_t at = g.n;
	gen_send(&g, &c, DIR_REQUEST, BYTES("later"), 100);
	push(w, &g, at, 7, 1000);
	flow_mute(w->t, only(w));
	flow_end_all(w->t, FLOW_STOP);
	assert_int_equal(exit_of(w, 1, "muted"), 5);
	assert_int_equal(flow_totals(w->t).gaps, 0);
	end(w, &g);
}

static bool odd_port(void *ctx, const struct flow *f)
{
	(void)ctx;
	return f->client_port & 1;
}

static void sampled_out(void **state)
{
	(void)state;
	struct gen g;
	struct world *w = begin(&g);
	for (uint16_t port = 1000; port < 1010; port++)
		begun(w, &g, port, port);
	assert_int_equal(flow_sample_out(w->t, odd_port, NULL), 5);
	assert_int_equal(flow_count(w->t), 5);
	assert_int_equal(w->told[1].how, FLOW_SAMPLED_OUT);
	assert_false(w->told[0].closed);
	size_t at = g.n;
	struct gen_conn c = gen_conn("10.0.0.1", 1001, "10.0.0.2", 80, 1);
	gen_send(&g, &c, DIR_REQUEST, BYTES("underway"), 100);
	flow_skip(w->t, &g.p[at]);
	balanced(w);
	assert_int_equal(exit_of(w, 0, "sampled_out"), 1);
	assert_int_equal(exit_of(w, 1, "sampled_out"), 8);
	end(w, &g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(until_its_end),
		cmocka_unit_test(until_the_client_comes_again),
		cmocka_unit_test(until_the_client_comes_again_nearby),
		cmocka_unit_test(unmuted),
		cmocka_unit_test(not_muted),
		cmocka_unit_test(pending_bytes),
		cmocka_unit_test(sampled_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
