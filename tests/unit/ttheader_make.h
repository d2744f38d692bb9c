/* SPDX-License-Identifier: Apache-2.0 */
/* Makes TTHeader frames and what goes into them. Include after cmocka.h. What is made lives until make_reset(). */
#pragma once
#include <stdlib.h>

#include "base/arena.h"
#include "rpc/thrift_message.h"
#include "rpc/ttheader_head.h"
#include "tests/unit/drive.h"

enum { MAKE_KEYS_MAX = 40 };

static struct arena make_arena;

struct make_int {
	uint16_t key;
	const char *value;
};

struct make_string {
	const char *name, *value;
};

/* The blocks come in the order strings, ints, token, as Kitex writes them. */
struct make {
	uint16_t flags;
	uint32_t seq;
	uint8_t protocol, transform; /* 0: none */
	struct make_string strings[MAKE_KEYS_MAX];
	struct make_int ints[MAKE_KEYS_MAX]; /* value NULL: the end */
	const char *token;
	struct bytes payload;
};

static inline void make_reset(void)
{
	arena_fini(&make_arena);
}

struct make_out {
	uint8_t *p;
	size_t n, cap;
};

static inline void out_bytes(struct make_out *o, struct bytes b)
{
	if (o->n + b.n > o->cap) {
		o->cap = 2 * (o->n + b.n) + 256;
		uint8_t *p = arena_alloc(&make_arena, o->cap);
		assert_non_null(p);
		if (o->n)
			memcpy(p, o->p, o->n);
		o->p = p;
	}
	if (b.n)
		memcpy(o->p + o->n, b.p, b.n);
	o->n += b.n;
}

static inline void out_number(struct make_out *o, unsigned width, uint64_t v)
{
	for (; width; width--) {
		uint8_t byte = (uint8_t)(v >> (8 * (width - 1)));
		out_bytes(o, bytes_of(&byte, 1));
	}
}

static inline void out_text(struct make_out *o, unsigned width, const char *s)
{
	out_number(o, width, strlen(s));
	out_bytes(o, bytes_str(s));
}

static inline struct bytes made(const struct make_out *o)
{
	return bytes_of(o->p, o->n);
}

static inline struct bytes join(struct bytes a, struct bytes b)
{
	struct make_out o = {0};

	out_bytes(&o, a);
	out_bytes(&o, b);
	return made(&o);
}

static inline struct bytes make_blocks(const struct make *m)
{
	struct make_out o = {0};
	unsigned n = 0;

	while (n < MAKE_KEYS_MAX && m->strings[n].name)
		n++;
	if (n) {
		out_number(&o, 1, 0x01);
		out_number(&o, 2, n);
	}
	for (unsigned i = 0; i < n; i++) {
		out_text(&o, 2, m->strings[i].name);
		out_text(&o, 2, m->strings[i].value);
	}
	for (n = 0; n < MAKE_KEYS_MAX && m->ints[n].value;)
		n++;
	if (n) {
		out_number(&o, 1, 0x10);
		out_number(&o, 2, n);
	}
	for (unsigned i = 0; i < n; i++) {
		out_number(&o, 2, m->ints[i].key);
		out_text(&o, 2, m->ints[i].value);
	}
	if (m->token) {
		out_number(&o, 1, 0x11);
		out_text(&o, 2, m->token);
	}
	return made(&o);
}

/* With the blocks given as bytes */
static inline struct bytes frame_of(const struct make *m, struct bytes blocks)
{
	struct make_out o = {0};
	size_t info = 2 + (m->transform != 0) + blocks.n, size = (info + 3) / 4 * 4;

	out_number(&o, 4, 10 + size + m->payload.n);
	out_number(&o, 2, 0x1000);
	out_number(&o, 2, m->flags);
	out_number(&o, 4, m->seq);
	out_number(&o, 2, size / 4);
	out_number(&o, 1, m->protocol);
	out_number(&o, 1, m->transform != 0);
	if (m->transform)
		out_number(&o, 1, m->transform);
	out_bytes(&o, blocks);
	for (; info < size; info++)
		out_number(&o, 1, 0);
	out_bytes(&o, m->payload);
	return made(&o);
}

static inline struct bytes frame(const struct make *m)
{
	return frame_of(m, make_blocks(m));
}

#define FRAME(...) frame(&(struct make) {__VA_ARGS__})

/* ---- payloads ---- */

static inline struct bytes binary(unsigned type, const char *name, uint32_t seq, struct bytes body)
{
	struct make_out o = {0};

	out_number(&o, 4, 0x80010000 | type);
	out_text(&o, 4, name);
	out_number(&o, 4, seq);
	out_bytes(&o, body);
	return made(&o);
}

static inline void out_varint(struct make_out *o, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		out_number(o, 1, 0x80 | (v & 0x7f));
	out_number(o, 1, v);
}

static inline struct bytes compact(unsigned type, const char *name, uint32_t seq, struct bytes body)
{
	struct make_out o = {0};

	out_number(&o, 1, 0x82);
	out_number(&o, 1, type << 5 | 1);
	out_varint(&o, seq);
	out_varint(&o, strlen(name));
	out_bytes(&o, bytes_str(name));
	out_bytes(&o, body);
	return made(&o);
}

static inline struct bytes protobuf(unsigned type, const char *name, uint32_t seq,
				    struct bytes body)
{
	struct make_out o = {0};

	out_number(&o, 2, 0x9001);
	out_number(&o, 2, type);
	out_text(&o, 4, name);
	out_number(&o, 4, seq);
	out_bytes(&o, body);
	return made(&o);
}

static inline struct bytes framed(struct bytes message)
{
	struct make_out o = {0};

	out_number(&o, 4, message.n);
	out_bytes(&o, message);
	return made(&o);
}

/* A struct with one string field */
static inline struct bytes string_field(unsigned id, const char *value)
{
	struct make_out o = {0};

	out_number(&o, 1, 11);
	out_number(&o, 2, id);
	out_text(&o, 4, value);
	out_number(&o, 1, 0);
	return made(&o);
}

/* A struct with an empty struct in field `id`: a declared exception */
static inline struct bytes struct_field(unsigned id)
{
	struct make_out o = {0};

	out_number(&o, 1, 12);
	out_number(&o, 2, id);
	out_number(&o, 2, 0);
	return made(&o);
}

/* TApplicationException as Kitex writes it: the type comes first when `type_first` */
static inline struct bytes exception(const char *text, int32_t type, bool type_first)
{
	struct make_out o = {0};

	for (int i = 0; i < 2; i++) {
		if ((i == 0) == type_first) {
			out_number(&o, 1, 8);
			out_number(&o, 2, 2);
			out_number(&o, 4, (uint32_t)type);
		} else {
			out_number(&o, 1, 11);
			out_number(&o, 2, 1);
			out_text(&o, 4, text);
		}
	}
	out_number(&o, 1, 0);
	return made(&o);
}

static inline struct bytes error_proto(int32_t type, const char *text)
{
	struct make_out o = {0};

	out_varint(&o, 1 << 3 | 0);
	out_varint(&o, (uint64_t)(int64_t)type);
	out_varint(&o, 2 << 3 | 2);
	out_varint(&o, strlen(text));
	out_bytes(&o, bytes_str(text));
	return made(&o);
}

#define VOID_RESULT bytes_of("", 1)

/* ---- streams ---- */

static inline struct bytes stream_frame(unsigned frame_type, uint32_t id, const char *method,
					struct bytes payload, const struct make_string *strings)
{
	char type[2] = {(char)('0' + frame_type), 0};
	struct make m = {
		.flags = TTHEADER_STREAMING, .seq = id, .protocol = 0x10, .payload = payload};

	for (unsigned i = 0; strings && strings[i].name; i++)
		m.strings[i] = strings[i];
	m.ints[0] = (struct make_int) {TTHEADER_FRAME_TYPE, type};
	m.ints[1] = (struct make_int) {TTHEADER_TO_METHOD, method};
	return frame(&m);
}

#define STRINGS(...) ((const struct make_string[]) {__VA_ARGS__, {NULL, NULL}})
