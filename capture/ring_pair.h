/* SPDX-License-Identifier: Apache-2.0 */
/* The probe's two rings read as one: a small hot one that stays in cache, and a large one for what it cannot take. */
#pragma once
#include "capture/ring.h"

struct ring_pair {
	struct ring hot, overflow;
	uint32_t *
		spill; /* shared with the probe: it sets it when hot is full, we clear it when both are empty */
};

/*
 * Hands out at most `budget` records, those of hot before those of overflow, but for stragglers: a CPU that saw
 * `spill` just before it was cleared put its record into overflow, and it is older than what hot holds by now. Order
 * then holds but for one record per CPU, displaced by few others. `give` borrows the record until it returns.
 * True: there is more, or a record is being written; false: both were seen empty.
 */
bool ring_pair_drain(struct ring_pair *p, unsigned budget,
		     void (*give)(void *ctx, struct bytes rec), void *ctx);

static inline bool ring_pair_empty(const struct ring_pair *p)
{
	return ring_empty(&p->hot) && ring_empty(&p->overflow);
}
