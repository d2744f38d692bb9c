/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the bytes of messages in tests. Include after cmocka.h. */
#pragma once
#include <string.h>

#include "base/buf.h"

static inline void put(struct buf *b, struct bytes s)
{
	assert_int_equal(buf_append(b, s), 0);
}

static inline void put_text(struct buf *b, const char *s)
{
	put(b, bytes_str(s));
}

/* The low n bytes of v, the highest first */
static inline void put_be(struct buf *b, uint64_t v, unsigned n)
{
	for (; n; n--) {
		uint8_t byte = (uint8_t)(v >> 8 * (n - 1));
		put(b, bytes_of(&byte, 1));
	}
}

/* LEB128: varints of protobuf, compact Thrift and THeader */
static inline void put_varint(struct buf *b, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		put_be(b, (v & 0x7f) | 0x80, 1);
	put_be(b, v, 1);
}

static inline void put_fill(struct buf *b, char c, size_t n)
{
	for (; n; n--)
		put(b, bytes_of(&c, 1));
}

/* Writes v over the bytes at `off`. */
static inline void put_at(struct buf *b, size_t off, uint64_t v, unsigned n)
{
	for (; n; n--)
		b->p[off++] = (uint8_t)(v >> 8 * (n - 1));
}
