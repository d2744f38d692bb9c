/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is given back all at once and does not move. The first block stays for the next use. */
#pragma once
#include <stdlib.h>

#include "base/bytes.h"

struct arena_block {
	struct arena_block *next;
	size_t used, cap;
	_Alignas(16) uint8_t data[];
};

struct arena {
	struct arena_block *first; /* newest in front; the last one is kept by arena_reset */
	size_t held; /* bytes of all blocks */
};

enum { ARENA_BLOCK = 2048 };

/* NULL: no memory. Aligned to 8. */
static inline void *arena_alloc(struct arena *a, size_t n)
{
	n = (n + 7) & ~(size_t)7;
	if (!a->first || a->first->cap - a->first->used < n) {
		size_t cap = n > ARENA_BLOCK ? n : ARENA_BLOCK;
		struct arena_block *b = malloc(sizeof(*b) + cap);
		if (!b)
			return NULL;
		*b = (struct arena_block) {.next = a->first, .cap = cap};
		a->first = b;
		a->held += cap;
	}
	void *p = a->first->data + a->first->used;
	a->first->used += n;
	return p;
}

/* A copy that lives as long as the arena; empty when there is no memory or nothing to copy. */
static inline struct bytes arena_copy(struct arena *a, struct bytes b)
{
	void *p = b.n ? arena_alloc(a, b.n) : NULL;
	if (!p)
		return (struct bytes) {NULL, 0};
	memcpy(p, b.p, b.n);
	return bytes_of(p, b.n);
}

static inline void arena_reset(struct arena *a)
{
	while (a->first && (a->first->next || a->first->cap > ARENA_BLOCK)) {
		struct arena_block *b = a->first;
		a->first = b->next;
		a->held -= b->cap;
		free(b);
	}
	if (a->first)
		a->first->used = 0;
}

static inline void arena_fini(struct arena *a)
{
	for (struct arena_block *b = a->first, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct arena) {0};
}
