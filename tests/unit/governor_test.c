/* SPDX-License-Identifier: Apache-2.0 */
/* The governor against a model of what capturing costs: the budget is held over every 10 s, and it climbs back. */
#include "capture/governor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS     1000000ull
#define SECOND (1000 * MS)
enum { TICKS_MAX = 16384, WINDOW_TICKS = 10000 / GOVERNOR_TICK_MS };

struct model {
	struct governor *g;
	struct governor_use use;
	double budget, heads, bodies,
		probe; /* CPU at a load of 1: of heads, of bodies, of counting */
	double megabytes; /* at a load of 1, with bodies */
	double noise;
	uint64_t seed;
	double tick_cpu[TICKS_MAX]; /* used in each tick */
	size_t n;
	double worst; /* of all windows, in budgets */
	unsigned moves;
};

static double noise(struct model *m)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return 1 + m->noise * ((double)(m->seed >> 11) / 4503599627370496.0 - 1);
}

static void open_model(struct model *m, double cpu, uint64_t memory)
{
	*m = (struct model) {.budget = cpu,
			     .heads = 0.5,
			     .bodies = 0.45,
			     .probe = 0.02,
			     .megabytes = 64,
			     .noise = 0.15,
			     .seed = 88172645463325252ull,
			     .use = {.now_ns = 5 * SECOND, .memory_bytes = 4 << 20}};
	struct governor_cfg cfg = {.cpu = cpu, .memory_bytes = memory, .can_detach = true};
	m->g = governor_new(&cfg, &m->use);
	assert_non_null(m->g);
}

static void close_model(struct model *m)
{
	struct ledger_stage s[2];
	assert_int_equal(governor_ledger(m->g, s, 2), 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ledger_residue(&s[i]), 0);
	assert_int_equal(s[1].in, m->moves);
	assert_true(fabs((double)s[0].in - (double)m->n * GOVERNOR_TICK_MS) <= GOVERNOR_STEPS);
	governor_free(m->g);
}

/* What the present step leaves of a load of 1 */
static double kept(const struct governor_state *s, double heads, double bodies)
{
	static const double of_bodies[GOVERNOR_STEPS] = {1, 0.3};
	return s->share * (heads + bodies * of_bodies[s->step]);
}

static void run(struct model *m, double load, double seconds)
{
	for (size_t i = 0; i < seconds * 1000 / GOVERNOR_TICK_MS; i++) {
		struct governor_state s = governor_state(m->g);
		double probe = s.step == GOVERNOR_DETACHED ? 0 : m->probe;
		double cpu = load * (probe + kept(&s, m->heads, m->bodies)) * noise(m);
		double mb = 4 + load * m->megabytes * kept(&s, 0.2, 0.8);
		m->use.now_ns += GOVERNOR_TICK_MS * MS;
		m->use.cpu_ns += (uint64_t)(cpu * GOVERNOR_TICK_MS * (double)MS);
		m->use.memory_bytes = (uint64_t)(mb * 1048576);
		assert_true(m->n < TICKS_MAX);
		m->tick_cpu[m->n++] = cpu;
		double sum = 0;
		for (size_t k = m->n > WINDOW_TICKS ? m->n - WINDOW_TICKS : 0; k < m->n; k++)
			sum += m->tick_cpu[k];
		if (m->budget > 0)
			m->worst = fmax(m->worst, sum / WINDOW_TICKS / m->budget);
		m->moves += governor_tick(m->g, &m->use);
	}
}

static enum governor_step step(const struct model *m)
{
	return governor_state(m->g).step;
}

/* At a tenth of a CPU: an overload of 2, 5, 10 and 40 budgets, out of nothing and out of calm */
static void the_budget_is_held(void **state)
{
	static const double loads[] = {0.2, 0.5, 1, 4};
	(void)state;
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++)
		for (int calm = 0; calm < 2; calm++) {
			struct model m;
			open_model(&m, 0.1, 0);
			run(&m, 0.05, calm * 30);
			assert_int_equal(step(&m), GOVERNOR_ALL);
			run(&m, loads[i], 300);
			printf("# %.0f budgets: worst 10 s %.2f, %u moves, now %s 1/%.0f\n",
			       loads[i] * (m.heads + m.bodies) / m.budget, m.worst, m.moves,
			       governor_step_name(step(&m)), 1 / governor_state(m.g).share);
			assert_true(m.worst <= 1.2);
			assert_int_not_equal(step(&m), GOVERNOR_ALL);
			assert_in_range(m.moves, 1, 16); /* it does not flap */
			close_model(&m);
		}
}

/* Uses what it may: not just anything below the budget. */
static void the_budget_is_used(void **state)
{
	(void)state;
	struct model m;
	double sum = 0;
	open_model(&m, 0.1, 0);
	run(&m, 0.5, 120);
	size_t from = m.n;
	run(&m, 0.5, 300);
	for (size_t i = from; i < m.n; i++)
		sum += m.tick_cpu[i];
	double mean = sum / (double)(m.n - from) / m.budget;
	printf("# uses %.2f of the budget\n", mean);
	assert_true(mean > 0.3 && mean < 1.05);
	close_model(&m);
}

static void it_climbs_back(void **state)
{
	(void)state;
	for (double load = 0.3; load < 8; load *= 2) {
		struct model m;
		open_model(&m, 0.1, 0);
		run(&m, load, 60);
		assert_int_not_equal(step(&m), GOVERNOR_ALL);
		run(&m, 0.02, 180);
		assert_int_equal(step(&m), GOVERNOR_ALL);
		assert_true(governor_state(m.g).share == 1);
		unsigned moves = m.moves;
		run(&m, 0.02, 60);
		assert_int_equal(m.moves, moves);
		assert_true(m.worst <= 1.2);
		close_model(&m);
	}
}

/* Bodies that cost far more than twice the heads: each climb is taken back, so there are few. */
static void climbs_that_prove_wrong(void **state)
{
	(void)state;
	struct model m;
	open_model(&m, 0.1, 0);
	m.heads = 0.05;
	m.bodies = 2;
	run(&m, 0.5, 400);
	printf("# dear bodies: worst 10 s %.2f, %u moves\n", m.worst, m.moves);
	assert_true(m.worst <= 1.2);
	assert_in_range(m.moves, 4, 30);
	close_model(&m);
}

/* A load that comes and goes: held as well. */
static void bursts(void **state)
{
	(void)state;
	struct model m;
	open_model(&m, 0.1, 0);
	for (int i = 0; i < 40; i++) {
		run(&m, 0.6, 4 + i % 5);
		run(&m, 0.01, 3 + i % 7 * 3);
	}
	printf("# bursts: worst 10 s %.2f, %u moves\n", m.worst, m.moves);
	assert_true(m.worst <= 1.2);
	close_model(&m);
}

/* When even counting is too much it detaches, and tries again. */
static void down_to_the_last_step(void **state)
{
	(void)state;
	struct model m;
	open_model(&m, 0.1, 0);
	m.probe = 0.5;
	run(&m, 1, 60);
	assert_int_equal(step(&m), GOVERNOR_DETACHED);
	assert_true(m.worst <= 1.2);
	m.probe = 0.02;
	run(&m, 0.02, 300);
	assert_int_equal(step(&m), GOVERNOR_ALL);
	close_model(&m);
	/* not before counters alone were too much */
	open_model(&m, 0.001, 0);
	run(&m, 4, 0.1);
	assert_int_equal(step(&m), GOVERNOR_COUNTERS);
	close_model(&m);
	/* and not where it could not come back */
	open_model(&m, 0.1, 0);
	governor_free(m.g);
	struct governor_cfg cfg = {.cpu = 0.1};
	m.g = governor_new(&cfg, &m.use);
	m.probe = 0.5;
	run(&m, 1, 60);
	assert_int_equal(step(&m), GOVERNOR_COUNTERS);
	close_model(&m);
}

static void memory(void **state)
{
	(void)state;
	struct model m;
	open_model(&m, 0, 32 << 20);
	run(&m, 0.3, 20);
	assert_int_equal(step(&m), GOVERNOR_ALL);
	run(&m, 4, 60);
	assert_true(m.use.memory_bytes <= 32 << 20);
	assert_string_equal(governor_state(m.g).why, "memory");
	assert_in_range(m.moves, 1, 10);
	run(&m, 0.1, 120);
	assert_int_equal(step(&m), GOVERNOR_ALL);
	close_model(&m);
}

/* A reload: more is captured when it may, all without a budget, less with a smaller one. */
static void other_budgets(void **state)
{
	(void)state;
	struct model m;
	struct governor_cfg cfg = {.cpu = 0.8, .can_detach = true};
	open_model(&m, 0.1, 0);
	run(&m, 0.5, 30);
	enum governor_step before = step(&m);
	assert_int_not_equal(before, GOVERNOR_ALL);
	governor_set(m.g, &cfg);
	run(&m, 0.5, 120);
	assert_int_equal(step(&m), GOVERNOR_ALL);
	cfg.cpu = m.budget = 0.1;
	governor_set(m.g, &cfg);
	run(&m, 0.5, 30);
	assert_int_not_equal(step(&m), GOVERNOR_ALL);
	cfg.cpu = m.budget = 0;
	governor_set(m.g, &cfg);
	run(&m, 0.5, 30);
	assert_int_equal(step(&m), GOVERNOR_ALL);
	close_model(&m);
}

static void ticks_too_early(void **state)
{
	(void)state;
	struct model m;
	open_model(&m, 0.1, 0);
	struct governor_use use = m.use;
	use.now_ns += GOVERNOR_TICK_MS * MS - 1;
	use.cpu_ns += 10 * SECOND;
	assert_false(governor_tick(m.g, &use));
	assert_int_equal(step(&m), GOVERNOR_ALL);
	close_model(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_budget_is_held),
		cmocka_unit_test(the_budget_is_used),
		cmocka_unit_test(it_climbs_back),
		cmocka_unit_test(climbs_that_prove_wrong),
		cmocka_unit_test(bursts),
		cmocka_unit_test(down_to_the_last_step),
		cmocka_unit_test(memory),
		cmocka_unit_test(other_budgets),
		cmocka_unit_test(ticks_too_early),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
