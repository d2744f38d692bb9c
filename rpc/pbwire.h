/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields of one protobuf message (protobuf.dev/programming-guides/encoding), read where they lie: no
 * allocation, no recursion, no length believed beyond the input.
 */
#pragma once
#include "base/bytes.h"

enum pbwire_type { PBWIRE_VARINT = 0, PBWIRE_I64 = 1, PBWIRE_LEN = 2, PBWIRE_I32 = 5 };

struct pbwire_field {
	uint32_t number;
	uint8_t type; /* enum pbwire_type */
	uint64_t value; /* of VARINT, I64, I32 */
	struct bytes bytes; /* of LEN; borrowed */
};

/* At most ten bytes; more, or a cut one, makes the cursor bad. */
static inline uint64_t pbwire_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b = cursor_u8(c);
		v |= shift < 64 ? (uint64_t)(b & 0x7f) << shift : 0;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static inline uint64_t pbwire_le(struct cursor *c, unsigned n)
{
	struct bytes b = cursor_take(c, n);
	uint64_t v = 0;

	for (size_t i = 0; i < b.n; i++)
		v |= (uint64_t)b.p[i] << 8 * i;
	return v;
}

/* The next field. false: the message is at its end, or c->bad: it is none (groups count as none). */
static inline bool pbwire_next(struct cursor *c, struct pbwire_field *f)
{
	if (!cursor_left(c))
		return false;
	uint64_t tag = pbwire_varint(c), n;
	*f = (struct pbwire_field) {.number = (uint32_t)(tag >> 3), .type = tag & 7};
	if (tag >> 32 || f->number == 0)
		c->bad = true;
	switch (f->type) {
	case PBWIRE_VARINT: f->value = pbwire_varint(c); break;
	case PBWIRE_I64: f->value = pbwire_le(c, 8); break;
	case PBWIRE_I32: f->value = pbwire_le(c, 4); break;
	case PBWIRE_LEN:
		n = pbwire_varint(c);
		if (n > cursor_left(c))
			c->bad = true;
		else
			f->bytes = cursor_take(c, (size_t)n);
		break;
	default: c->bad = true;
	}
	return !c->bad;
}
