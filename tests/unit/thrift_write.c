/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/thrift_write.h"

#include <stdlib.h>

#include "tests/unit/drive.h"

enum { BOOL = 2, I8 = 3, DOUBLE = 4, I16 = 6, I32 = 8, I64 = 10, STRING = 11, STRUCT = 12 };
enum { MAP = 13, SET = 14, LIST = 15, UUID = 16 };

static const uint8_t compact_of[17] = {
	[BOOL] = 1,   [I8] = 3,   [I16] = 4,  [I32] = 5,  [I64] = 6,     [DOUBLE] = 7,
	[STRING] = 8, [LIST] = 9, [SET] = 10, [MAP] = 11, [STRUCT] = 12, [UUID] = 13};

void tw_bytes(struct buf *b, struct bytes s)
{
	if (buf_append(b, s) < 0)
		abort();
}

void tw_u8(struct buf *b, unsigned v)
{
	uint8_t c = (uint8_t)v;

	tw_bytes(b, bytes_of(&c, 1));
}

void tw_be16(struct buf *b, unsigned v)
{
	tw_u8(b, v >> 8);
	tw_u8(b, v);
}

void tw_be32(struct buf *b, uint32_t v)
{
	tw_be16(b, v >> 16);
	tw_be16(b, v & 0xffff);
}

void tw_varint(struct buf *b, uint64_t v)
{
	for (; v > 0x7f; v >>= 7)
		tw_u8(b, 0x80 | (v & 0x7f));
	tw_u8(b, (unsigned)v);
}

static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

void tw_message(struct buf *b, enum thrift_form form, unsigned type, const char *name,
		int32_t seqid)
{
	struct bytes n = bytes_str(name);

	if (form == THRIFT_COMPACT) {
		tw_u8(b, 0x82);
		tw_u8(b, type << 5 | 1);
		tw_varint(b, (uint32_t)seqid);
		tw_varint(b, n.n);
		tw_bytes(b, n);
		return;
	}
	if (form == THRIFT_BINARY)
		tw_be32(b, 0x80010000u | type);
	tw_be32(b, (uint32_t)n.n);
	tw_bytes(b, n);
	if (form == THRIFT_OLD_BINARY)
		tw_u8(b, type);
	tw_be32(b, (uint32_t)seqid);
}

void tw_field(struct buf *b, enum thrift_form form, unsigned type, int id, int *last)
{
	if (form != THRIFT_COMPACT) {
		tw_u8(b, type);
		tw_be16(b, (unsigned)id & 0xffff);
		return;
	}
	int delta = id - *last;
	*last = id;
	if (delta > 0 && delta < 16) {
		tw_u8(b, (unsigned)delta << 4 | compact_of[type]);
	} else {
		tw_u8(b, compact_of[type]);
		tw_varint(b, zigzag(id));
	}
}

static void put_length(struct buf *b, enum thrift_form form, uint32_t n)
{
	if (form == THRIFT_COMPACT)
		tw_varint(b, n);
	else
		tw_be32(b, n);
}

void tw_string(struct buf *b, enum thrift_form form, struct bytes s)
{
	put_length(b, form, (uint32_t)s.n);
	tw_bytes(b, s);
}

void tw_i32(struct buf *b, enum thrift_form form, int32_t v)
{
	if (form == THRIFT_COMPACT)
		tw_varint(b, zigzag(v));
	else
		tw_be32(b, (uint32_t)v);
}

void tw_stop(struct buf *b)
{
	tw_u8(b, 0);
}

void tw_struct(struct buf *b, enum thrift_form form, int id, struct bytes text)
{
	int last = 0;

	tw_field(b, form, STRING, id, &last);
	tw_string(b, form, text);
	tw_stop(b);
}

void tw_exception(struct buf *b, enum thrift_form form, struct bytes text, int32_t code,
		  bool turned)
{
	int last = 0;

	for (int i = 0; i < 2; i++) {
		bool message = (i == 0) != turned;
		tw_field(b, form, message ? STRING : I32, message ? 1 : 2, &last);
		if (message)
			tw_string(b, form, text);
		else
			tw_i32(b, form, code);
	}
	tw_stop(b);
}

/* ---- random structs ---- */

static unsigned pick(uint64_t *seed, unsigned n)
{
	return drive_random(seed) % n;
}

static unsigned pick_type(unsigned depth, uint64_t *seed)
{
	static const uint8_t types[] = {BOOL, I8,     DOUBLE, I16, I32, I64,
					UUID, STRING, STRUCT, MAP, SET, LIST};

	return types[pick(seed, depth ? 12 : 8)];
}

static void put_random(struct buf *b, size_t n, uint64_t *seed)
{
	while (n--)
		tw_u8(b, drive_random(seed));
}

static void put_value(struct buf *b, enum thrift_form form, unsigned type, unsigned depth,
		      uint64_t *seed);

static void put_items(struct buf *b, enum thrift_form form, unsigned type, unsigned depth,
		      uint64_t *seed)
{
	bool map = type == MAP, compact = form == THRIFT_COMPACT;
	unsigned key = pick_type(depth - 1, seed), value = pick_type(depth - 1, seed);
	unsigned n = pick(seed, 5) ? pick(seed, 4) : pick(seed, 40);

	if (!compact) {
		if (map)
			tw_u8(b, key);
		tw_u8(b, value);
		tw_be32(b, n);
	} else if (map) {
		tw_varint(b, n);
		if (n)
			tw_u8(b, (unsigned)compact_of[key] << 4 | compact_of[value]);
	} else {
		tw_u8(b, (n < 15 ? n : 15) << 4 | compact_of[value]);
		if (n >= 15)
			tw_varint(b, n);
	}
	while (n--) {
		if (map)
			put_value(b, form, key, depth - 1, seed);
		put_value(b, form, value, depth - 1, seed);
	}
}

static void put_value(struct buf *b, enum thrift_form form, unsigned type, unsigned depth,
		      uint64_t *seed)
{
	static const uint8_t sizes[17] = {[I16] = 2, [I32] = 4, [I64] = 8};
	uint64_t v = (uint64_t)drive_random(seed) << pick(seed, 33);

	switch (type) {
	case BOOL: tw_u8(b, 1 + pick(seed, 2)); break;
	case I8: tw_u8(b, (unsigned)v); break;
	case DOUBLE: put_random(b, 8, seed); break;
	case UUID: put_random(b, 16, seed); break;
	case STRING:
		v = pick(seed, 8) ? pick(seed, 12) : pick(seed, 300);
		put_length(b, form, (uint32_t)v);
		put_random(b, v, seed);
		break;
	case STRUCT: tw_random(b, form, depth - 1, seed); break;
	case MAP:
	case SET:
	case LIST: put_items(b, form, type, depth, seed); break;
	default:
		if (form == THRIFT_COMPACT)
			tw_varint(b, type == I64 ? v : v & (type == I16 ? 0xffff : 0xffffffff));
		else
			put_random(b, sizes[type], seed);
	}
}

void tw_random(struct buf *b, enum thrift_form form, unsigned depth, uint64_t *seed)
{
	int id = 0, last = 0;

	for (unsigned n = pick(seed, 7); n; n--) {
		unsigned type = pick_type(depth, seed);
		id = pick(seed, 6) ? id + 1 + (int)pick(seed, 17) : (int)pick(seed, 65536) - 32768;
		id = (int16_t)id;
		tw_field(b, form, type, id, &last);
		if (type != BOOL || form != THRIFT_COMPACT)
			put_value(b, form, type, depth, seed);
	}
	tw_stop(b);
}

void tw_frame(struct buf *b, size_t off)
{
	size_t n = b->n - off;

	tw_be32(b, 0);
	memmove(b->p + off + 4, b->p + off, n);
	for (int i = 0; i < 4; i++)
		b->p[off + (size_t)i] = (uint8_t)(n >> (24 - 8 * i));
}

struct buf tw_text_message(enum thrift_form form, bool framed, unsigned type, const char *name,
			   int32_t seqid, size_t length)
{
	struct buf b = {0}, text = {0};

	while (text.n < length)
		tw_u8(&text, 'x');
	tw_message(&b, form, type, name, seqid);
	tw_struct(&b, form, type == THRIFT_REPLY ? 0 : 1, buf_bytes(&text));
	if (framed)
		tw_frame(&b, 0);
	buf_fini(&text);
	return b;
}
