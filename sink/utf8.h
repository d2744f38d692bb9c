/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629): one code point at a time; and a quick test for text that needs no second
 * look. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"

/* Length of the valid sequence at s.p (1..4) and its code point; 0: the byte there begins none. */
static inline size_t utf8_next(struct bytes s, uint32_t *code)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	if (s.n == 0)
		return 0;
	uint8_t first = s.p[0];
	if (first < 0x80) {
		*code = first;
		return 1;
	}
	size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || n > s.n)
		return 0;
	uint32_t c = first & (0xff >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s.p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*code = c;
	return n;
}

/* High bits are set in the result when a byte of s is 0 or not ASCII: OR the results, look once. */
static inline uint64_t utf8_suspicion(struct bytes s)
{
	const uint64_t ones = 0x0101010101010101;
	const uint8_t *p = s.p;
	uint64_t bad = 0, w;
	uint32_t a, b;
	if (s.n >= 8) {
		for (size_t i = 0; i + 8 < s.n; i += 8) {
			memcpy(&w, p + i, 8);
			bad |= w | (w - ones);
		}
		memcpy(&w, p + s.n - 8, 8);
	} else if (s.n >= 4) {
		memcpy(&a, p, 4);
		memcpy(&b, p + s.n - 4, 4);
		w = (uint64_t)a << 32 | b;
	} else if (s.n) {
		w = (ones << 24) | (uint32_t)p[0] << 16 | (uint32_t)p[s.n / 2] << 8 | p[s.n - 1];
	} else {
		return 0;
	}
	return (bad | w | (w - ones)) & (ones << 7);
}

/* Control characters of Unicode (category Cc), TAB, LF and CR among them */
static inline bool utf8_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}
