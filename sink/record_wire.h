/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf's wire format (protobuf.dev/programming-guides/encoding), for the writers of a record
 * only. Each function runs twice: sizing, it adds to w->n; writing, it advances w->p. They are
 * inlined into one function for each of the two, where `sizing` and `careful` are constants and p,
 * n are registers. Fields with their default value are left out.
 *
 * Strings must be valid UTF-8 and hold no NUL (readers in C end there): offending bytes become the
 * text \xNN. The first sizing pass only collects suspicion; `careful` is set when there is any.
 */
#pragma once
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "sink/utf8.h"

struct wire {
	uint8_t *p;
	size_t n;
	uint64_t suspicion;
	bool sizing, careful;
};

#define WIRE_INLINE static inline __attribute__((always_inline))

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2 };

WIRE_INLINE size_t wire_varint_size(uint64_t v)
{
	return ((63u - (unsigned)__builtin_clzll(v | 1)) * 9 + 73) >>
	       6; /* (bits + 6) / 7 for 1..64 */
}

WIRE_INLINE void wire_varint(struct wire *w, uint64_t v)
{
	if (w->sizing) {
		w->n += wire_varint_size(v);
		return;
	}
	if (v < 0x80) {
		*w->p++ = (uint8_t)v;
		return;
	}
	for (; v >= 0x80; v >>= 7)
		*w->p++ = (uint8_t)(v | 0x80);
	*w->p++ = (uint8_t)v;
}

WIRE_INLINE void wire_tag(struct wire *w, unsigned field, unsigned type)
{
	wire_varint(w, field << 3 | type);
}

/* Most of what a record holds is short: a call of memcpy costs more than the copy. */
WIRE_INLINE uint8_t *wire_copy(uint8_t *to, const uint8_t *p, size_t n)
{
	if (n > 32)
		memcpy(to, p, n);
	else if (n >= 16) {
		memcpy(to, p, 16);
		memcpy(to + n - 16, p + n - 16, 16);
	} else if (n >= 8) {
		memcpy(to, p, 8);
		memcpy(to + n - 8, p + n - 8, 8);
	} else if (n >= 4) {
		memcpy(to, p, 4);
		memcpy(to + n - 4, p + n - 4, 4);
	} else if (n) {
		to[0] = p[0];
		to[n / 2] = p[n / 2];
		to[n - 1] = p[n - 1];
	}
	return to + n;
}

WIRE_INLINE void wire_raw(struct wire *w, const void *p, size_t n)
{
	if (w->sizing)
		w->n += n;
	else
		w->p = wire_copy(w->p, p, n);
}

WIRE_INLINE void wire_uint(struct wire *w, unsigned field, uint64_t v)
{
	if (!v)
		return;
	wire_tag(w, field, WIRE_VARINT);
	wire_varint(w, v);
}

WIRE_INLINE void wire_sint32(struct wire *w, unsigned field, int32_t v)
{
	wire_uint(w, field, (uint32_t)v << 1 ^ (uint32_t)(v >> 31));
}

WIRE_INLINE void wire_fixed64(struct wire *w, unsigned field, uint64_t v)
{
	if (!v)
		return;
	uint64_t le = htole64(v);
	wire_tag(w, field, WIRE_FIXED64);
	wire_raw(w, &le, sizeof(le));
}

WIRE_INLINE void wire_double(struct wire *w, unsigned field, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	wire_fixed64(w, field, bits);
}

/* The head of a nested message or of bytes; n bytes must follow. */
WIRE_INLINE void wire_head(struct wire *w, unsigned field, size_t n)
{
	wire_tag(w, field, WIRE_LEN);
	wire_varint(w, n);
}

WIRE_INLINE void wire_bytes(struct wire *w, unsigned field, struct bytes b)
{
	if (!b.n)
		return;
	wire_head(w, field, b.n);
	wire_raw(w, b.p, b.n);
}

/* Text of s with its bad bytes escaped: its length, and at `to` unless that is NULL. */
size_t wire_clean(struct bytes s, uint8_t *to);

/* Written also when empty (elements of a repeated field). The span of the text in w->p - start. */
WIRE_INLINE size_t wire_text(struct wire *w, unsigned field, struct bytes s)
{
	if (!w->careful) {
		if (w->sizing)
			w->suspicion |= utf8_suspicion(s);
		wire_head(w, field, s.n);
		wire_raw(w, s.p, s.n);
		return s.n;
	}
	size_t n = wire_clean(s, NULL);
	wire_head(w, field, n);
	if (!w->sizing)
		w->p += wire_clean(s, w->p);
	else
		w->n += n;
	return n;
}

WIRE_INLINE size_t wire_string(struct wire *w, unsigned field, struct bytes s)
{
	return s.n ? wire_text(w, field, s) : 0;
}
