/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed bytes, and a cursor over them whose error sticks: read what the format says, check once.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Borrowed: whoever hands it out says until when it is valid. p may be NULL when n is 0. */
struct bytes {
	const uint8_t *p;
	size_t n;
};

#define BYTES(lit) ((struct bytes) {(const uint8_t *)(lit), sizeof(lit) - 1})

static inline struct bytes bytes_of(const void *p, size_t n)
{
	return (struct bytes) {p, n};
}

static inline struct bytes bytes_str(const char *s)
{
	return (struct bytes) {(const uint8_t *)s, s ? strlen(s) : 0};
}

/* The bytes from `off` on; empty when off is beyond the end. */
static inline struct bytes bytes_from(struct bytes b, size_t off)
{
	if (off > b.n)
		off = b.n;
	return (struct bytes) {b.p ? b.p + off : NULL, b.n - off};
}

/* At most the first n bytes. */
static inline struct bytes bytes_head(struct bytes b, size_t n)
{
	return (struct bytes) {b.p, b.n < n ? b.n : n};
}

/* The value of a hexadecimal digit; -1: it is none. */
static inline int bytes_hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case folded */
static inline bool bytes_caseeq(struct bytes a, struct bytes b)
{
	return a.n == b.n &&
	       (a.n == 0 || strncasecmp((const char *)a.p, (const char *)b.p, a.n) == 0);
}

static inline bool bytes_starts(struct bytes b, struct bytes head)
{
	return b.n >= head.n && (head.n == 0 || memcmp(b.p, head.p, head.n) == 0);
}

struct cursor {
	const uint8_t *p, *end;
	bool bad; /* a read went past the end; every later read gives 0 */
};

static inline struct cursor cursor_of(struct bytes b)
{
	return (struct cursor) {b.p, b.p ? b.p + b.n : NULL, false};
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

static inline struct bytes cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return (struct bytes) {NULL, 0};
	}
	struct bytes b = {c->p, n};
	c->p += n;
	return b;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	struct bytes b = cursor_take(c, 1);
	return b.p ? b.p[0] : 0;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
	struct bytes b = cursor_take(c, 2);
	return b.p ? (uint16_t)(b.p[0] << 8 | b.p[1]) : 0;
}

static inline uint32_t cursor_be32(struct cursor *c)
{
	struct bytes b = cursor_take(c, 4);
	return b.p ? (uint32_t)b.p[0] << 24 | (uint32_t)b.p[1] << 16 | (uint32_t)b.p[2] << 8 |
			       b.p[3]
		   : 0;
}

static inline uint64_t cursor_be64(struct cursor *c)
{
	uint64_t hi = cursor_be32(c);
	return hi << 32 | cursor_be32(c);
}
