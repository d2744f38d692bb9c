/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stage of the ledger, as a stage hands it out: in = sum(exits) + held, exactly, in one unit.
 * Counters are monotonic and never reset. No exit is called "other".
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { LEDGER_EXITS_MAX = 40 };

struct ledger_exit {
	const char *name; /* snake_case, static */
	uint64_t n;
	bool lost; /* counts as a loss: bytes, packets or calls that a complete capture would have */
};

struct ledger_stage {
	const char *name, *unit; /* unit: "packets" "events" "bytes" "messages" "calls" "records" */
	uint64_t in, held;
	uint64_t made; /* a stage that changes units (calls in, records made); else 0 */
	bool approximate; /* libpcap cannot prove its loss */
	unsigned n_exits;
	struct ledger_exit exits[LEDGER_EXITS_MAX];
};

static inline void ledger_exit_add(struct ledger_stage *s, const char *name, uint64_t n, bool lost)
{
	if (s->n_exits < LEDGER_EXITS_MAX)
		s->exits[s->n_exits++] = (struct ledger_exit) {name, n, lost};
}

/* in - exits - held: 0, or the ledger does not balance */
static inline int64_t ledger_residue(const struct ledger_stage *s)
{
	uint64_t out = s->held;
	for (unsigned i = 0; i < s->n_exits; i++)
		out += s->exits[i].n;
	return (int64_t)(s->in - out);
}
