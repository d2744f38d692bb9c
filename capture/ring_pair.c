/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/ring_pair.h"

#include <limits.h>

/* Between two looks for stragglers: what they may be displaced by */
enum { STRIDE = 64 };

struct taker {
	void (*give)(void *ctx, struct bytes rec);
	void *ctx;
	unsigned budget;
};

/* At most `most` records, as far as `end`. 1: stopped by a count; 0: nothing is left; -EAGAIN: a record is being
 * written. */
static int take(struct taker *t, struct ring *r, unsigned long end, unsigned most)
{
	struct bytes rec;
	int got = 0;

	for (; t->budget && most && r->at < end && (got = ring_next(r, &rec)) > 0; most--) {
		t->give(t->ctx, rec);
		ring_release(r);
		t->budget--;
		got = 0;
	}
	return t->budget && most ? got : 1;
}

/* The flag is read after the ring's end: what lies before, while it is clear, is a straggler. */
static int take_stragglers(struct taker *t, struct ring_pair *p)
{
	unsigned long end = __atomic_load_n(p->overflow.producer, __ATOMIC_ACQUIRE);

	if (p->overflow.at >= end || __atomic_load_n(p->spill, __ATOMIC_ACQUIRE))
		return 0;
	return take(t, &p->overflow, end, UINT_MAX);
}

bool ring_pair_drain(struct ring_pair *p, unsigned budget,
		     void (*give)(void *ctx, struct bytes rec), void *ctx)
{
	struct taker t = {give, ctx, budget};

	for (;;) {
		int got = take_stragglers(&t, p);
		if (got == 0)
			got = take(&t, &p->hot, ULONG_MAX, STRIDE);
		if (got > 0 && t.budget)
			continue;
		unsigned before = t.budget;
		if (got == 0)
			got = take(&t, &p->overflow, ULONG_MAX, UINT_MAX);
		if (got)
			return true;
		if (t.budget == before)
			break; /* hot was empty, then overflow was, and nothing was taken in between */
	}
	if (__atomic_load_n(p->spill, __ATOMIC_RELAXED))
		__atomic_store_n(p->spill, 0, __ATOMIC_RELAXED);
	return false;
}
