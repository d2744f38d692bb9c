/* SPDX-License-Identifier: Apache-2.0 */
/* All connections of a capture: made, counted, freed. */
#include <stdlib.h>

#include "capture/conn_state.h"

enum { GATHER_ALL_DEFAULT = 16 << 20 };

static const char *const exit_names[CONN_EXIT_N] = {
	"in_messages", "control",          "opaque",    "skipped_attach",
	"skipped_gap", "partial_at_close", "no_memory",
};
static const bool exit_lost[CONN_EXIT_N] = {
	[CONN_EXIT_SKIPPED_GAP] = true, [CONN_EXIT_NO_MEMORY] = true};

struct conns *conns_new(const struct conns_cfg *cfg)
{
	struct conns *cs = calloc(1, sizeof(*cs));
	if (!cs)
		return NULL;
	cs->cfg = *cfg;
	if (!cs->cfg.gather_all)
		cs->cfg.gather_all = GATHER_ALL_DEFAULT;
	return cs;
}

void conns_set_flows(struct conns *cs, struct flow_table *flows)
{
	cs->flows = flows;
}

size_t conns_ledger(const struct conns *cs, struct ledger_stage *out, size_t max)
{
	if (!max)
		return 0;
	out[0] = (struct ledger_stage) {
		.name = "framing", .unit = "bytes", .in = cs->in, .held = cs->gathered};
	for (int i = 0; i < CONN_EXIT_N; i++)
		ledger_exit_add(out, exit_names[i], cs->exits[i], exit_lost[i]);
	if (max < 2)
		return 1;
	out[1] = (struct ledger_stage) {.name = "limits", .unit = "hits"};
	for (int i = 0; i < CAPS_MAX && cs->caps[i].name; i++) {
		out[1].in += cs->caps[i].n;
		ledger_exit_add(&out[1], cs->caps[i].name, cs->caps[i].n, false);
	}
	return 2;
}

uint64_t conns_gaps(const struct conns *cs, const uint64_t **numbers, size_t *n)
{
	*numbers = cs->gap_numbers;
	*n = cs->gap_conns < GAP_NAMES_MAX ? cs->gap_conns : GAP_NAMES_MAX;
	return cs->gap_conns;
}

void conns_free(struct conns *cs)
{
	free(cs);
}
