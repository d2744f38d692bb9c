/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a struct, token by token: the header of a field, of a container, a length; what has a known size lies
 * behind in `left`. A token that is cut waits in `part`. Containers of values of one size are one run of bytes.
 */
#include "rpc/thrift_message.h"

#include <errno.h>

enum state {
	STATE_START,
	STATE_FIELD,
	STATE_LENGTH, /* of a string */
	STATE_LIST,
	STATE_MAP,
	STATE_VARINTS, /* `left` of them, `have` bytes into one */
	STATE_BYTES, /* `left` of them */
	STATE_CODE, /* an i32 that is kept */
	STATE_DONE,
};

enum kind { KIND_STRUCT, KIND_LIST, KIND_MAP };

/* How a value of a type is encoded. SIZE + n: in n bytes. */
enum shape {
	SHAPE_NONE, /* no such type */
	SHAPE_STRING,
	SHAPE_STRUCT,
	SHAPE_MAP,
	SHAPE_LIST,
	SHAPE_VARINT,
	SHAPE_SIZE,
};

enum { BINARY_I32 = 8, COMPACT_TRUE = 1, COMPACT_FALSE = 2, COMPACT_I32 = 5 };
enum { CODE_FIELD = 2, VARINT_MAX = 10 };

static const uint8_t binary_shapes[] = {
	[2] = SHAPE_SIZE + 1, [3] = SHAPE_SIZE + 1,  [4] = SHAPE_SIZE + 8, [6] = SHAPE_SIZE + 2,
	[8] = SHAPE_SIZE + 4, [10] = SHAPE_SIZE + 8, [11] = SHAPE_STRING,  [12] = SHAPE_STRUCT,
	[13] = SHAPE_MAP,     [14] = SHAPE_LIST,     [15] = SHAPE_LIST,    [16] = SHAPE_SIZE + 16,
};
/* of elements; a bool that is a field lies in the field's header */
static const uint8_t compact_shapes[] = {
	[1] = SHAPE_SIZE + 1,   [2] = SHAPE_SIZE + 1, [3] = SHAPE_SIZE + 1, [4] = SHAPE_VARINT,
	[5] = SHAPE_VARINT,     [6] = SHAPE_VARINT,   [7] = SHAPE_SIZE + 8, [8] = SHAPE_STRING,
	[9] = SHAPE_LIST,       [10] = SHAPE_LIST,    [11] = SHAPE_MAP,     [12] = SHAPE_STRUCT,
	[13] = SHAPE_SIZE + 16,
};

static uint8_t shape_of(const struct thrift_skip *s, unsigned type)
{
	if (s->form == THRIFT_COMPACT)
		return type < sizeof(compact_shapes) ? compact_shapes[type] : SHAPE_NONE;
	return type < sizeof(binary_shapes) ? binary_shapes[type] : SHAPE_NONE;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Limits show in `failed`, once the token that went over them is used; what is no struct shows before. */
static void step(struct thrift_skip *s)
{
	if (++s->steps > THRIFT_STEPS_MAX)
		s->failed = -E2BIG;
}

static void push(struct thrift_skip *s, enum kind kind, uint8_t key, uint8_t value, uint32_t n)
{
	step(s);
	if (s->depth == THRIFT_DEPTH_MAX) {
		s->failed = -E2BIG;
		return;
	}
	s->level[s->depth].kind = (uint8_t)kind;
	s->level[s->depth].key = key;
	s->level[s->depth].value = value;
	s->level[s->depth].n = n;
	s->depth++;
}

static void run(struct thrift_skip *s, enum state state, uint64_t n)
{
	step(s);
	s->state = (uint8_t)state;
	s->left = n;
	s->have = 0;
	if (s->longest && n > s->longest)
		s->failed = -E2BIG;
}

/* A value of this shape comes next. */
static void value_begin(struct thrift_skip *s, uint8_t shape)
{
	switch (shape) {
	case SHAPE_STRING: s->state = STATE_LENGTH; break;
	case SHAPE_STRUCT:
		s->state = STATE_FIELD;
		push(s, KIND_STRUCT, 0, 0, 0);
		break;
	case SHAPE_MAP: s->state = STATE_MAP; break;
	case SHAPE_LIST: s->state = STATE_LIST; break;
	case SHAPE_VARINT: run(s, STATE_VARINTS, 1); break;
	default: run(s, STATE_BYTES, shape - SHAPE_SIZE); break;
	}
}

/* A value is over: what comes behind it? */
static void value_end(struct thrift_skip *s)
{
	for (; s->depth; s->depth--) {
		typeof(&s->level[0]) l = &s->level[s->depth - 1];
		if (l->kind == KIND_STRUCT) {
			s->state = STATE_FIELD;
			return;
		}
		if (l->n) {
			bool key = l->kind == KIND_MAP && l->n % 2 == 0;
			l->n--;
			step(s);
			value_begin(s, key ? l->key : l->value);
			return;
		}
	}
	s->state = STATE_DONE;
}

/* n elements, or n pairs when there are keys. Of one size they are a run. */
static void items_begin(struct thrift_skip *s, bool map, uint8_t key, uint8_t value, uint32_t n)
{
	if (n == 0) {
		value_end(s);
	} else if (value >= SHAPE_SIZE && (!map || key >= SHAPE_SIZE)) {
		unsigned size = (value - SHAPE_SIZE) + (map ? key - SHAPE_SIZE : 0);
		run(s, STATE_BYTES, (uint64_t)size * n);
	} else if (value == SHAPE_VARINT && (!map || key == SHAPE_VARINT)) {
		run(s, STATE_VARINTS, map ? 2ull * n : n);
	} else {
		push(s, map ? KIND_MAP : KIND_LIST, key, value, map ? 2 * n : n);
		value_end(s);
	}
}

static void bytes_begin(struct thrift_skip *s, uint64_t n)
{
	run(s, STATE_BYTES, n);
	if (n == 0)
		value_end(s);
}

/* ---- tokens: > 0 bytes used; 0 needs more; -EPROTO; in both these cases nothing has changed ---- */

static int field_stop(struct thrift_skip *s)
{
	s->depth--;
	value_end(s);
	return 1;
}

static int binary_field(struct thrift_skip *s, struct bytes in)
{
	unsigned type = in.p[0];
	uint8_t shape = shape_of(s, type);

	if (type == 0)
		return field_stop(s);
	if (shape == SHAPE_NONE)
		return -EPROTO;
	if (in.n < 3)
		return 0;
	step(s);
	if (s->depth == 1 && type == BINARY_I32 && in.p[1] == 0 && in.p[2] == CODE_FIELD)
		s->state = STATE_CODE;
	else
		value_begin(s, shape);
	return 3;
}

static int32_t zigzag(uint64_t v)
{
	return (int32_t)((uint32_t)v >> 1 ^ -((uint32_t)v & 1));
}

/* u4 delta | u4 type, or 0 | type and a zigzag varint id */
static int compact_field(struct thrift_skip *s, struct bytes in)
{
	unsigned delta = in.p[0] >> 4, type = in.p[0] & 15;
	uint64_t id;
	int n = 0;

	if (in.p[0] == 0)
		return field_stop(s);
	uint8_t shape = shape_of(s, type);
	if (shape == SHAPE_NONE)
		return -EPROTO;
	if (delta == 0) {
		n = thrift_varint(bytes_from(in, 1), 3, &id);
		if (n <= 0)
			return n;
	}
	uint32_t *last = &s->level[s->depth - 1].n;
	*last = (uint16_t)(delta ? *last + delta : (uint32_t)zigzag(id));
	step(s);
	if (type == COMPACT_TRUE || type == COMPACT_FALSE)
		value_end(s);
	else if (s->depth == 1 && type == COMPACT_I32 && *last == CODE_FIELD)
		s->state = STATE_CODE;
	else
		value_begin(s, shape);
	return 1 + n;
}

/* A length or a count. */
static int length_read(const struct thrift_skip *s, struct bytes in, uint32_t *out)
{
	uint64_t v = 0;
	int n = 4;

	if (s->form == THRIFT_COMPACT)
		n = thrift_varint(in, 5, &v);
	else if (in.n && in.p[0] > 0x7f)
		return -EPROTO;
	else if (in.n >= 4)
		v = be32(in.p);
	else
		return 0;
	if (n > 0 && v > INT32_MAX)
		return -EPROTO;
	if (n > 0)
		*out = (uint32_t)v;
	return n;
}

static int length_token(struct thrift_skip *s, struct bytes in)
{
	uint32_t len;
	int n = length_read(s, in, &len);

	if (n > 0)
		bytes_begin(s, len);
	return n;
}

/* Binary: u8 type, i32 count. Compact: u4 count | u4 type, a count of 15 follows as a varint. */
static int list_token(struct thrift_skip *s, struct bytes in)
{
	bool compact = s->form == THRIFT_COMPACT, counted = compact && in.p[0] >> 4 != 15;
	uint8_t shape = shape_of(s, compact ? in.p[0] & 15 : in.p[0]);
	uint32_t count = in.p[0] >> 4;
	int n = counted ? 0 : length_read(s, bytes_from(in, 1), &count);

	if (!counted && n <= 0)
		return n;
	if (count && shape == SHAPE_NONE)
		return -EPROTO;
	items_begin(s, false, 0, shape, count); /* empty: some writers name no type */
	return 1 + n;
}

static int map_types(struct thrift_skip *s, unsigned key, unsigned value, uint32_t count)
{
	uint8_t k = shape_of(s, key), v = shape_of(s, value);

	if (count && (k == SHAPE_NONE || v == SHAPE_NONE))
		return -EPROTO;
	items_begin(s, true, k, v, count);
	return 0;
}

/* Binary: u8 key, u8 value, i32 count. Compact: varint count, then u4 key | u4 value unless it is 0. */
static int map_token(struct thrift_skip *s, struct bytes in)
{
	bool compact = s->form == THRIFT_COMPACT;
	size_t types = compact ? 0 : 2;
	uint32_t count;

	if (in.n <= types)
		return 0;
	int n = length_read(s, bytes_from(in, types), &count);
	if (n <= 0)
		return n;
	if (compact && count && in.n == (size_t)n)
		return 0;
	unsigned pair = compact && count ? in.p[n] : 0;
	int r = compact ? map_types(s, pair >> 4, pair & 15, count)
			: map_types(s, in.p[0], in.p[1], count);
	return r < 0 ? r : (int)types + n + (compact && count ? 1 : 0);
}

static int code_token(struct thrift_skip *s, struct bytes in)
{
	uint64_t v;
	int n = 4;

	if (s->form == THRIFT_COMPACT) {
		n = thrift_varint(in, VARINT_MAX, &v);
		if (n <= 0)
			return n;
		s->code = zigzag(v);
	} else if (in.n < 4) {
		return 0;
	} else {
		s->code = (int32_t)be32(in.p);
	}
	s->has_code = true;
	value_end(s);
	return n;
}

static int token(struct thrift_skip *s, struct bytes in)
{
	switch ((enum state)s->state) {
	case STATE_FIELD:
		return s->form == THRIFT_COMPACT ? compact_field(s, in) : binary_field(s, in);
	case STATE_LENGTH: return length_token(s, in);
	case STATE_LIST: return list_token(s, in);
	case STATE_MAP: return map_token(s, in);
	case STATE_CODE: return code_token(s, in);
	default: return -EPROTO;
	}
}

/* ---- runs ---- */

static size_t skip_bytes(struct thrift_skip *s, struct bytes in)
{
	size_t n = bytes_head(in, s->left).n;

	s->left -= n;
	if (s->left == 0)
		value_end(s);
	return n;
}

static size_t skip_varints(struct thrift_skip *s, struct bytes in)
{
	size_t i = 0;

	while (i < in.n && s->left) {
		if (!(in.p[i++] & 0x80)) {
			s->left--;
			s->have = 0;
		} else if (++s->have == VARINT_MAX) {
			s->failed = -EPROTO;
			return i;
		}
	}
	if (s->left == 0)
		value_end(s);
	return i;
}

/* A token of which a part waits: byte by byte, so that a fault shows at the same one however it was cut. */
static size_t token_join(struct thrift_skip *s, struct bytes in)
{
	size_t i = 0;
	int r = 0;

	while (r == 0 && i < in.n) {
		s->part[s->have++] = in.p[i++];
		r = token(s, bytes_of(s->part, s->have));
	}
	if (r < 0)
		s->failed = r;
	if (r)
		s->have = 0;
	return i;
}

static size_t skip_token(struct thrift_skip *s, struct bytes in)
{
	if (s->have)
		return token_join(s, in);
	int r = token(s, in);
	return r > 0 ? (size_t)r : token_join(s, in);
}

void thrift_skip_start(struct thrift_skip *s, enum thrift_form form)
{
	s->form = form;
	s->has_code = false;
	s->failed = 0;
	s->code = 0;
	s->longest = 0;
	s->steps = 0;
	s->depth = s->state = s->have = 0;
}

int thrift_skip_value_start(struct thrift_skip *s, enum thrift_form form, unsigned type)
{
	thrift_skip_start(s, form);
	uint8_t shape = shape_of(s, type);
	if (shape == SHAPE_NONE)
		return -EPROTO;
	if (form == THRIFT_COMPACT && (type == COMPACT_TRUE || type == COMPACT_FALSE))
		s->state = STATE_DONE;
	else
		value_begin(s, shape);
	return 0;
}

int64_t thrift_skip_next(struct thrift_skip *s, struct bytes in, bool *done)
{
	size_t i = 0;

	*done = s->state == STATE_DONE;
	if (s->state == STATE_START)
		value_begin(s, SHAPE_STRUCT);
	while (i < in.n && !s->failed && s->state != STATE_DONE) {
		struct bytes rest = bytes_from(in, i);
		if (s->state == STATE_BYTES)
			i += skip_bytes(s, rest);
		else if (s->state == STATE_VARINTS)
			i += skip_varints(s, rest);
		else
			i += skip_token(s, rest);
	}
	*done = s->state == STATE_DONE;
	return i ? (int64_t)i : s->failed;
}
