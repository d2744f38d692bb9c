/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a budget of CPU and memory: decides, from what was used, how much is captured. Down the ladder at once and as
 * far as the overload asks; up by itself when what a step more would cost fits, and more slowly each time that
 * proved wrong.
 *
 *     all -> bodies cut -> heads only -> connections (1/2 ... 1/128, in the kernel) -> counters only -> detached
 *
 * Over every 10 s the CPU used is to stay within 1.2 times the budget: what a burst used beyond it before it was
 * noticed is saved in the seconds after it. Time is an argument; no I/O.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ledger.h"

enum governor_step {
	GOVERNOR_ALL,
	GOVERNOR_BODIES, /* bodies cut to GOVERNOR_BODY_BYTES */
	GOVERNOR_HEADS, /* no bodies; so in all that follow */
	GOVERNOR_CONNECTIONS, /* a share of them */
	GOVERNOR_COUNTERS, /* none: the probe only counts */
	GOVERNOR_DETACHED,
	GOVERNOR_STEPS
};

enum { GOVERNOR_BODY_BYTES = 4096, GOVERNOR_TICK_MS = 100 };

struct governor_cfg {
	double cpu; /* of one CPU; 0: no budget */
	uint64_t memory_bytes; /* 0: no budget */
	bool can_detach; /* and attach again */
};

/* Since the start, but for memory */
struct governor_use {
	uint64_t now_ns;
	uint64_t cpu_ns; /* of all threads and of the probe */
	uint64_t memory_bytes; /* now */
};

struct governor;
struct governor *governor_new(const struct governor_cfg *cfg, const struct governor_use *start);
void governor_free(struct governor *g);
void governor_set(struct governor *g,
		  const struct governor_cfg *cfg); /* other budgets, from the next tick on */

/* Every GOVERNOR_TICK_MS or so; earlier calls do nothing. True: the step is another one, and is to be taken. */
bool governor_tick(struct governor *g, const struct governor_use *use);

struct governor_state {
	enum governor_step step;
	double share; /* of connections: 1 but in CONNECTIONS; 0 from COUNTERS on */
	double cpu; /* used over the last 10 s, of one CPU */
	uint64_t memory_bytes; /* at the last tick */
	const char *why; /* of the last move: "cpu", "memory", "room" */
};
struct governor_state governor_state(const struct governor *g);
const char *governor_step_name(enum governor_step s); /* snake_case */

/* Stages `governor` (ms at each step) and `governor_moves` (moves by why). */
size_t governor_ledger(const struct governor *g, struct ledger_stage *out, size_t max);
