/* SPDX-License-Identifier: Apache-2.0 */
/* What a turn's time went to: computing, waiting for a processor, being blocked. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "capture/turn.h"

enum { MS = 1000000 };

static void compute(uint64_t cpu_ns)
{
	uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + cpu_ns;
	while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void block(long ns)
{
	nanosleep(&(struct timespec) {0, ns}, NULL);
}

static int setup(void **state)
{
	static struct turn t;
	turn_open(&t);
	*state = &t;
	return 0;
}

static int teardown(void **state)
{
	turn_close(*state);
	return 0;
}

static void need_schedstat(const struct turn *t)
{
	if (turn_knows_blocked(t))
		return;
	print_message("SKIP: this kernel has no /proc/thread-self/schedstat\n");
	skip();
}

static void a_turn_that_computes(void **state)
{
	struct turn *t = *state;
	turn_begin(t);
	compute(20 * MS);
	assert_true(turn_end(t) >= 20 * MS);
	assert_true(t->longest.clock_ns >= 20 * MS);
	assert_true(t->longest.cpu_ns >= 20 * MS);
	assert_true(t->longest.blocked_ns <= t->longest.clock_ns - 20 * MS);
}

static void a_turn_that_is_blocked(void **state)
{
	struct turn *t = *state;
	need_schedstat(t);
	turn_begin(t);
	block(20 * MS);
	turn_end(t);
	assert_true(t->longest.blocked_ns >= 19 * MS);
	assert_true(t->longest.cpu_ns <= t->longest.clock_ns - 19 * MS);
}

static void *other(void *stop)
{
	while (!atomic_load((atomic_bool *)stop))
		;
	return NULL;
}

/* Two threads on one processor: half of the time this one is ready and does not run. That is not blocked. */
static void a_turn_that_waits_for_a_processor(void **state)
{
	struct turn *t = *state;
	cpu_set_t before, one;
	pthread_t thread;
	atomic_bool stop = false;
	need_schedstat(t);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(pthread_create(&thread, NULL, other, &stop), 0);
	turn_begin(t);
	compute(60 * MS);
	turn_end(t);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(before), &before);
	uint64_t waited = t->longest.clock_ns - t->longest.cpu_ns;
	assert_true(waited >= 10 * MS);
	assert_true(t->longest.blocked_ns < waited / 2);
}

static void the_longest_of_each_stays(void **state)
{
	struct turn *t = *state;
	turn_begin(t);
	compute(5 * MS);
	uint64_t first = turn_end(t);
	turn_begin(t);
	assert_true(turn_end(t) < first);
	assert_int_equal(t->longest.clock_ns, first);
	assert_true(t->longest.cpu_ns >= 5 * MS);
	assert_int_equal(turn_end(t), 0); /* none had begun */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(a_turn_that_computes),
		TEST(a_turn_that_is_blocked),
		TEST(a_turn_that_waits_for_a_processor),
		TEST(the_longest_of_each_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
