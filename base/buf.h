/* SPDX-License-Identifier: Apache-2.0 */
/* An owned, growing byte buffer. Zeroed is empty. */
#pragma once
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

struct buf {
	uint8_t *p;
	size_t n, cap;
};

/* -ENOMEM: nothing was appended. */
static inline int buf_append(struct buf *b, struct bytes add)
{
	if (add.n == 0)
		return 0;
	if (b->cap - b->n < add.n) {
		size_t cap = b->cap ? b->cap : 256;
		while (cap < b->n + add.n)
			cap *= 2;
		uint8_t *p = realloc(b->p, cap);
		if (!p)
			return -ENOMEM;
		b->p = p;
		b->cap = cap;
	}
	memcpy(b->p + b->n, add.p, add.n);
	b->n += add.n;
	return 0;
}

/* Drops the first n bytes. */
static inline void buf_drop(struct buf *b, size_t n)
{
	if (n < b->n)
		memmove(b->p, b->p + n, b->n - n);
	b->n = n < b->n ? b->n - n : 0;
}

static inline struct bytes buf_bytes(const struct buf *b)
{
	return bytes_of(b->p, b->n);
}

static inline void buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf) {0};
}

/* Empties it; keeps memory up to keep_bytes for the next use. */
static inline void buf_reset(struct buf *b, size_t keep_bytes)
{
	if (b->cap > keep_bytes)
		buf_fini(b);
	b->n = 0;
}
