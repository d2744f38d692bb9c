/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/hessian.h"

enum level_kind { LEVEL_COUNT, LEVEL_LIST, LEVEL_MAP };

/* A container whose values are being passed */
struct level {
	uint32_t left; /* LEVEL_COUNT */
	uint8_t kind;
	bool odd; /* LEVEL_MAP: a key without its value */
};

/* Bytes behind the tag of a value of fixed size, plus one; 0: another kind. */
static const uint8_t fixed[256] = {
	[0x38 ... 0x3f] = 3, ['D'] = 9,           ['F'] = 1,           ['I'] = 5,
	['J'] = 9,           ['K'] = 5,           ['L'] = 9,           ['N'] = 1,
	['T'] = 1,           ['Y'] = 5,           [0x5b ... 0x5c] = 1, [0x5d] = 2,
	[0x5e] = 3,          [0x5f] = 5,          [0x80 ... 0xbf] = 1, [0xc0 ... 0xcf] = 2,
	[0xd0 ... 0xd7] = 3, [0xd8 ... 0xef] = 1, [0xf0 ... 0xff] = 2,
};

struct hessian hessian_of(struct bytes in)
{
	return (struct hessian) {.c = cursor_of(in)};
}

int hessian_peek(const struct hessian *h)
{
	return cursor_left(&h->c) ? h->c.p[0] : -1;
}

static size_t utf8_size(uint8_t b, size_t *units)
{
	*units = b >= 0xf0 ? 2 : 1;
	return b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

/* How many of n bytes are ASCII before another one, in steps of eight; the rest is left to others. */
static size_t ascii_run(const uint8_t *p, size_t n)
{
	size_t i = 0;

	for (uint64_t w[4]; n - i >= sizeof(w); i += sizeof(w)) {
		memcpy(w, p + i, sizeof(w));
		if ((w[0] | w[1] | w[2] | w[3]) & 0x8080808080808080)
			break;
	}
	for (uint64_t w; n - i >= sizeof(w); i += sizeof(w)) {
		memcpy(&w, p + i, sizeof(w));
		if (w & 0x8080808080808080)
			break;
	}
	return i;
}

/* So many UTF-16 units of text. */
static struct bytes text_take(struct cursor *c, size_t units)
{
	const uint8_t *p = c->p, *start = p;

	while (units) {
		size_t left = (size_t)(c->end - p), n = 1;
		size_t some = units < left ? units : left, run = some < 8 ? 0 : ascii_run(p, some);
		if (run) {
			p += run;
			units -= run;
			continue;
		}
		size_t size = left ? utf8_size(*p, &n) : 1;
		if (size > left || n > units) {
			c->bad = true;
			return bytes_of(NULL, 0);
		}
		p += size;
		units -= n;
	}
	c->p = p;
	return bytes_of(start, (size_t)(p - start));
}

static bool is_string(int tag)
{
	return (tag >= 0 && tag <= 0x1f) || (tag >= 0x30 && tag <= 0x33) || tag == 'R' ||
	       tag == 'S';
}

/* The chunk behind its tag. */
static struct bytes chunk_take(struct cursor *c, int tag)
{
	size_t units = (size_t)tag;

	if (tag == 'R' || tag == 'S')
		units = cursor_be16(c);
	else if (tag >= 0x30)
		units = (size_t)(tag - 0x30) << 8 | cursor_u8(c);
	return text_take(c, units);
}

bool hessian_string(struct hessian *h, struct bytes *s)
{
	int tag = hessian_peek(h);

	*s = bytes_of(NULL, 0);
	if (tag == 'R' || (!is_string(tag) && tag != 'N'))
		return false;
	cursor_u8(&h->c);
	if (tag != 'N')
		*s = chunk_take(&h->c, tag);
	return !h->c.bad;
}

bool hessian_string_start(struct hessian *h, struct bytes *s)
{
	int tag = hessian_peek(h);

	*s = bytes_of(NULL, 0);
	if (!is_string(tag))
		return false;
	cursor_u8(&h->c);
	*s = chunk_take(&h->c, tag);
	return !h->c.bad;
}

bool hessian_int(struct hessian *h, int32_t *v)
{
	int tag = hessian_peek(h);

	*v = 0;
	if (tag != 'I' && (tag < 0x80 || tag > 0xd7))
		return false;
	cursor_u8(&h->c);
	if (tag == 'I')
		*v = (int32_t)cursor_be32(&h->c);
	else if (tag <= 0xbf)
		*v = tag - 0x90;
	else if (tag <= 0xcf)
		*v = (tag - 0xc8) * 256 + cursor_u8(&h->c);
	else
		*v = (tag - 0xd4) * 65536 + cursor_be16(&h->c);
	return !h->c.bad;
}

bool hessian_number(struct hessian *h, int64_t *v)
{
	int tag = hessian_peek(h);
	int32_t small;

	if (hessian_int(h, &small)) {
		*v = small;
		return true;
	}
	*v = 0;
	if (tag < 0 || (tag != 'L' && tag != 'Y' && tag < 0xd8 && (tag < 0x38 || tag > 0x3f)))
		return false;
	cursor_u8(&h->c);
	if (tag == 'L')
		*v = (int64_t)cursor_be64(&h->c);
	else if (tag == 'Y')
		*v = (int32_t)cursor_be32(&h->c);
	else if (tag >= 0xf0)
		*v = (tag - 0xf8) * 256 + cursor_u8(&h->c);
	else if (tag >= 0xd8)
		*v = tag - 0xe0;
	else
		*v = (tag - 0x3c) * 65536 + cursor_be16(&h->c);
	return !h->c.bad;
}

/* A count of values that follow: each is a byte at least. */
static uint32_t count_take(struct hessian *h)
{
	int32_t n;

	if (!hessian_int(h, &n) || n < 0 || (uint32_t)n > cursor_left(&h->c))
		h->c.bad = true;
	return h->c.bad ? 0 : (uint32_t)n;
}

static bool strings_skip(struct hessian *h)
{
	for (int tag = 'R'; tag == 'R' && !h->c.bad;) {
		tag = cursor_u8(&h->c);
		if (!is_string(tag))
			h->c.bad = true;
		else
			chunk_take(&h->c, tag);
	}
	return !h->c.bad;
}

static void binary_skip(struct cursor *c, int tag)
{
	while (tag == 'A' && !c->bad) {
		cursor_take(c, cursor_be16(c));
		tag = cursor_u8(c);
	}
	if (tag == 'B')
		cursor_take(c, cursor_be16(c));
	else if (tag >= 0x20 && tag <= 0x2f)
		cursor_take(c, (size_t)tag - 0x20);
	else if (tag >= 0x34 && tag <= 0x37)
		cursor_take(c, (size_t)(tag - 0x34) << 8 | cursor_u8(c));
	else
		c->bad = true;
}

/* The type of a list or map: a name, or the number of one. */
static void type_skip(struct hessian *h)
{
	int32_t ref;

	if (!hessian_int(h, &ref) && !h->c.bad)
		strings_skip(h);
}

/* Behind 'C': type, number of fields, their names. Which of them is `name`? -1: none. */
static int class_take(struct hessian *h, struct bytes name)
{
	int at = -1;

	strings_skip(h);
	uint32_t n = count_take(h);
	h->steps += n;
	for (uint32_t i = 0; i < n && !h->c.bad; i++) {
		struct bytes field;
		if (!hessian_string(h, &field))
			h->c.bad = true;
		else if (name.n && bytes_eq(field, name))
			at = (int)i;
	}
	if (n > UINT16_MAX || h->n_classes == HESSIAN_CLASSES_MAX || h->steps > HESSIAN_STEPS_MAX)
		h->over = h->c.bad = true;
	else
		h->fields[h->n_classes++] = (uint16_t)n;
	return at;
}

/* The fields of an object of that class. */
static uint32_t object_fields(struct hessian *h, int32_t class)
{
	if (class < 0 || class >= h->n_classes)
		h->c.bad = true;
	return h->c.bad ? 0 : h->fields[class];
}

static bool is_container(int tag)
{
	return tag == 'H' || tag == 'M' || (tag >= 'U' && tag <= 'X') || tag == 'O' ||
	       (tag >= 0x60 && tag <= 0x7f);
}

/* The start of a container, behind its tag. */
static struct level container_take(struct hessian *h, int tag)
{
	struct level l = {0};
	int32_t class;

	if (tag == 'M' || tag == 'U' || tag == 'V' || (tag >= 0x70 && tag <= 0x77))
		type_skip(h);
	if (tag == 'H' || tag == 'M')
		l.kind = LEVEL_MAP;
	else if (tag == 'U' || tag == 'W')
		l.kind = LEVEL_LIST;
	else if (tag == 'V' || tag == 'X')
		l.left = count_take(h);
	else if (tag == 'O')
		l.left = hessian_int(h, &class) ? object_fields(h, class) : (h->c.bad = true, 0);
	else if (tag <= 0x6f)
		l.left = object_fields(h, tag - 0x60);
	else
		l.left = (uint32_t)tag & 7;
	return l;
}

/* A value that is no container, behind its tag. */
static void plain_skip(struct hessian *h, int tag)
{
	int32_t ref;

	if (fixed[tag]) {
		cursor_take(&h->c, fixed[tag] - 1u);
	} else if (is_string(tag)) {
		chunk_take(&h->c, tag);
		if (tag == 'R')
			strings_skip(h);
	} else if (tag == 'Q') {
		if (!hessian_int(h, &ref))
			h->c.bad = true;
	} else {
		binary_skip(&h->c, tag);
	}
}

bool hessian_map(struct hessian *h)
{
	int tag = hessian_peek(h);

	if (tag != 'H' && tag != 'M')
		return false;
	cursor_u8(&h->c);
	if (tag == 'M')
		type_skip(h);
	return !h->c.bad;
}

bool hessian_map_end(struct hessian *h)
{
	if (hessian_peek(h) != 'Z')
		return false;
	cursor_u8(&h->c);
	return true;
}

bool hessian_skip(struct hessian *h)
{
	struct level levels[HESSIAN_DEPTH_MAX];
	unsigned depth = 0;

	do {
		int tag = cursor_u8(&h->c);
		struct level *l = depth ? &levels[depth - 1] : NULL;
		if (++h->steps > HESSIAN_STEPS_MAX)
			h->over = h->c.bad = true;
		if (h->c.bad)
			return false;
		for (; tag == 'C' && !h->c.bad; tag = cursor_u8(&h->c))
			class_take(h, BYTES(""));
		if (tag == 'Z') {
			if (!l || l->kind == LEVEL_COUNT || l->odd)
				h->c.bad = true;
			else
				depth--;
		} else {
			if (l) {
				l->left--;
				l->odd = l->kind == LEVEL_MAP && !l->odd;
			}
			if (!is_container(tag)) {
				plain_skip(h, tag);
			} else if (depth == HESSIAN_DEPTH_MAX) {
				h->over = h->c.bad = true;
			} else {
				levels[depth++] = container_take(h, tag);
			}
		}
		while (depth && levels[depth - 1].kind == LEVEL_COUNT && !levels[depth - 1].left)
			depth--;
	} while (depth && !h->c.bad);
	return !h->c.bad;
}

bool hessian_exception_text(struct hessian *h, struct bytes *s)
{
	*s = bytes_of(NULL, 0);
	if (hessian_peek(h) != 'C')
		return false;
	cursor_u8(&h->c);
	int at = class_take(h, BYTES("detailMessage"));
	int tag = cursor_u8(&h->c);
	if (h->c.bad || at < 0 || tag != 0x60)
		return false;
	for (int i = 0; i < at; i++)
		if (!hessian_skip(h))
			return false;
	return hessian_string_start(h, s);
}
