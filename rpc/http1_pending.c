/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http1_pending.h"

#include <stdlib.h>

static uint8_t *at(struct http1_pending *q, uint32_t i)
{
	uint8_t *ring = q->heap ? q->heap : q->few;

	return &ring[(q->first + i) & (q->cap - 1)];
}

static bool grow(struct http1_pending *q)
{
	uint8_t *p = q->cap < HTTP1_PENDING_MAX ? malloc((size_t)q->cap * 2) : NULL;

	if (!p)
		return false;
	for (uint32_t i = 0; i < q->n; i++)
		p[i] = *at(q, i);
	free(q->heap);
	q->heap = p;
	q->cap *= 2;
	q->first = 0;
	return true;
}

void http1_pending_init(struct http1_pending *q)
{
	*q = (struct http1_pending) {.cap = HTTP1_PENDING_FEW};
}

bool http1_pending_push(struct http1_pending *q, uint8_t kind)
{
	if (q->uncounted || (q->n == q->cap && !grow(q))) {
		q->uncounted++;
		return false;
	}
	*at(q, q->n++) = kind;
	return true;
}

uint8_t http1_pending_pop(struct http1_pending *q)
{
	if (q->n == 0) {
		q->uncounted -= q->uncounted > 0;
		return HTTP1_KIND_UNKNOWN;
	}
	uint8_t kind = *at(q, 0);
	q->first = (q->first + 1) & (q->cap - 1);
	if (--q->n == 0 && q->heap) {
		uint32_t uncounted = q->uncounted;
		http1_pending_fini(q);
		q->uncounted = uncounted;
	}
	return kind;
}

void http1_pending_forget(struct http1_pending *q, uint32_t keep)
{
	q->uncounted = 0;
	if (q->n <= keep)
		return;
	q->first = (q->first + q->n - keep) & (q->cap - 1);
	q->n = keep;
}

void http1_pending_fini(struct http1_pending *q)
{
	free(q->heap);
	http1_pending_init(q);
}
