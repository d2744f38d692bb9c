/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long turns of a loop take, each told apart by what the time went to: the clock goes on while a thread computes,
 * while it is ready and waits for a processor, and while it is blocked (a lock, a disk, a page that is being written).
 * Only the last two make a turn longer than its CPU time, and only the last is the program's own fault: on a shared
 * machine the clock alone proves nothing. In a virtual machine, time that the host took also shows as blocked.
 *
 * Begins and ends on one thread. Costs two system calls a turn (3 us), and two more for one that took long.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct turn_times {
	uint64_t clock_ns;
	uint64_t cpu_ns, blocked_ns; /* 0 of turns below TURN_LONG_NS: they are not looked into */
};

enum { TURN_LONG_NS = 1000000 };

struct turn {
	int schedstat; /* of the thread; -1: this kernel does not tell, nothing is known to be blocked */
	uint64_t begin_ns, cpu_ns, delay_ns; /* when this one began; 0: none has */
	struct turn_times longest; /* each by itself: they need not be of the same turn */
};

/* On the loop's thread, before /proc may be closed to it. */
void turn_open(struct turn *t);
void turn_close(struct turn *t);

void turn_begin(struct turn *t);
/* The clock's time of this turn; 0: none had begun. */
uint64_t turn_end(struct turn *t);

/* blocked_ns means something */
static inline bool turn_knows_blocked(const struct turn *t)
{
	return t->schedstat >= 0;
}
