/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/turn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* "RUN-NS DELAY-NS SLICES"; a kernel that was built without it, or booted so, says "0 0 0". */
static bool run_delay(const struct turn *t, uint64_t *delay_ns)
{
	char text[80], *end;
	ssize_t n = t->schedstat < 0 ? -1 : pread(t->schedstat, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (strtoull(text, &end, 10) == 0)
		return false;
	*delay_ns = strtoull(end, NULL, 10);
	return true;
}

void turn_open(struct turn *t)
{
	uint64_t delay;
	*t = (struct turn) {.schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)};
	if (!run_delay(t, &delay))
		turn_close(t);
}

void turn_close(struct turn *t)
{
	if (t->schedstat >= 0)
		close(t->schedstat);
	t->schedstat = -1;
}

void turn_begin(struct turn *t)
{
	run_delay(t, &t->delay_ns);
	t->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	t->begin_ns = clock_ns(CLOCK_MONOTONIC);
}

static void keep_max(uint64_t *max, uint64_t ns)
{
	if (ns > *max)
		*max = ns;
}

static void look_into(struct turn *t, uint64_t took_ns)
{
	uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - t->cpu_ns, delay;
	keep_max(&t->longest.cpu_ns, cpu);
	if (!run_delay(t, &delay))
		return;
	uint64_t other = cpu + delay - t->delay_ns;
	keep_max(&t->longest.blocked_ns, took_ns > other ? took_ns - other : 0);
}

uint64_t turn_end(struct turn *t)
{
	if (!t->begin_ns)
		return 0;
	uint64_t took = clock_ns(CLOCK_MONOTONIC) - t->begin_ns;
	keep_max(&t->longest.clock_ns, took);
	if (took > TURN_LONG_NS)
		look_into(t, took);
	t->begin_ns = 0;
	return took;
}
