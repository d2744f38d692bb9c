/* SPDX-License-Identifier: Apache-2.0 */
/* How calls and their messages left: the stages `messages` and `pairing`. */
#include "capture/call_state.h"

static const char *const cut_names[CUT_N] = {"complete",  "cut_close",   "cut_reset",  "cut_gap",
					     "cut_error", "cut_evicted", "cut_stopped"};
static const bool cut_lost[CUT_N] = {[CUT_GAP] = true, [CUT_EVICTED] = true};

static const char *const exit_names[CALL_EXITS] = {
	"paired", "oneway",      "orphan_response", "tunnel",  "no_response",   "aborted",  "gap",
	"error",  "misdetected", "timeout",         "evicted", "capture_ended", "no_memory"};
static const bool exit_lost[CALL_EXITS] = {
	[CALL_GAP] = true, [CALL_EVICTED] = true, [CALL_NO_MEMORY] = true};

static uint64_t messages_open(const struct list *l)
{
	uint64_t n = 0;
	list_for_each (it, l) {
		const struct call *c = list_entry(it, struct call, in_open);
		for (int d = 0; d < 2; d++)
			n += c->msg[d].started && !c->msg[d].done;
	}
	return n;
}

size_t calls_ledger(const struct calls *cs, struct ledger_stage *out, size_t max)
{
	if (max < 2)
		return 0;
	out[0] = (struct ledger_stage) {.name = "messages", .unit = "messages", .in = cs->started};
	for (int i = 0; i < CUT_N; i++)
		ledger_exit_add(&out[0], cut_names[i], cs->ended[i], cut_lost[i]);
	out[0].held = messages_open(&cs->open) + messages_open(&cs->tunnels);
	out[1] = (struct ledger_stage) {
		.name = "pairing", .unit = "calls", .in = cs->opened, .held = cs->n_open};
	for (int i = 0; i < CALL_EXITS; i++)
		ledger_exit_add(&out[1], exit_names[i], cs->exits[i], exit_lost[i]);
	return 2;
}

void calls_set_body(struct calls *cs, uint64_t bytes)
{
	cs->body_max = bytes;
}
