/* SPDX-License-Identifier: Apache-2.0 */
/* Which record numbers were made and never delivered. */
#include "capture/recorder_state.h"

/* Two neighbours become one, by the exit of the first. */
static void lost_merge(struct recorder *r, size_t i)
{
	if (r->lost[i + 1].last > r->lost[i].last)
		r->lost[i].last = r->lost[i + 1].last;
	memmove(&r->lost[i + 1], &r->lost[i + 2], (r->n_lost - i - 2) * sizeof(r->lost[0]));
	r->n_lost--;
}

static void lost_merge_nearest(struct recorder *r)
{
	size_t best = 0;
	for (size_t i = 1; i + 1 < r->n_lost; i++)
		if (r->lost[i + 1].first - r->lost[i].last <
		    r->lost[best + 1].first - r->lost[best].last)
			best = i;
	lost_merge(r, best);
}

static bool lost_joins(const struct recorder *r, size_t i)
{
	return i + 1 < r->n_lost && r->lost[i].last + 1 == r->lost[i + 1].first &&
	       strcmp(r->lost[i].exit, r->lost[i + 1].exit) == 0;
}

/* Ranges rise and do not overlap, whatever the order of the reports. */
static void lost_add(struct recorder *r, uint64_t number, const char *exit)
{
	size_t at = r->n_lost;
	while (at > 0 && r->lost[at - 1].first > number)
		at--;
	if (at > 0 && r->lost[at - 1].last >= number)
		return; /* in a range that was merged */
	if (r->n_lost == LOST_MAX) {
		lost_merge_nearest(r);
		lost_add(r, number, exit);
		return;
	}
	memmove(&r->lost[at + 1], &r->lost[at], (r->n_lost - at) * sizeof(r->lost[0]));
	r->lost[at] = (struct record_range) {number, number, exit};
	r->n_lost++;
	if (lost_joins(r, at))
		lost_merge(r, at);
	if (at > 0 && lost_joins(r, at - 1))
		lost_merge(r, at - 1);
}

void recorder_lost(struct recorder *r, uint64_t number, const char *exit)
{
	for (int i = 0; i < EXITS_MAX; i++) {
		if (!r->exits[i].name)
			r->exits[i].name = exit;
		if (strcmp(r->exits[i].name, exit) == 0) {
			r->exits[i].n++;
			break;
		}
	}
	lost_add(r, number, exit);
}
