/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/flow_table.h"

static const char *const exit_names[FLOW_EXITS] = {"data",        "control",     "unknown_flow",
						   "after_close", "rst_ignored", "bad_flags",
						   "no_memory",   "muted",       "sampled_out"};
static const char *const gap_names[FLOW_GAPS] = {"aged",   "evicted",  "cut",
						 "unseen", "at_close", "jump"};

size_t flow_count(const struct flow_table *t)
{
	return t->n_open;
}

struct flow_totals flow_totals(const struct flow_table *t)
{
	struct flow_totals totals = t->totals;
	totals.conflicts = t->bytes.conflicts;
	totals.memory_bytes =
		(t->n_open + t->n_closed) * sizeof(struct flow_node) + t->bytes.charged;
	return totals;
}

size_t flow_ledger(const struct flow_table *t, struct ledger_stage *out, size_t max)
{
	if (max < 3)
		return 0;
	out[0] = (struct ledger_stage) {.name = "flow", .unit = "packets", .in = t->packets};
	for (int i = 0; i < FLOW_EXITS; i++)
		ledger_exit_add(&out[0], exit_names[i], t->exits[i], i == FLOW_EXIT_NO_MEMORY);
	stream_stage(&t->bytes, &out[1]);
	out[2] = (struct ledger_stage) {.name = "gaps", .unit = "bytes", .in = t->gap_bytes};
	for (int i = 0; i < FLOW_GAPS; i++)
		ledger_exit_add(&out[2], gap_names[i], t->gaps[i], true);
	return 3;
}
