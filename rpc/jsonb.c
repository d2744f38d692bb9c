/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/jsonb.h"

enum {
	INT8 = 0xbd,
	INT16 = 0xbc,
	INT64 = 0xbe,
	INT64_INT = 0xbf,
	INT32 = 0x48,
	ASCII_0 = 0x49, /* .. ASCII_47, 0x78 */
	ASCII = 0x79,
	UTF8 = 0x7a,
	SYMBOL = 0x7f,
};

/* An int32 behind its tag. */
static bool int32_take(struct cursor *c, int tag, int64_t *v)
{
	if (tag <= 0x2f || tag >= 0xf0)
		*v = (tag ^ 0x80) - 0x80; /* the tag is the value, signed */
	else if (tag <= 0x3f)
		*v = (tag - 0x38) * 256 + cursor_u8(c);
	else if (tag <= 0x47)
		*v = (tag - 0x44) * 65536 + cursor_be16(c);
	else if (tag == INT32)
		*v = (int32_t)cursor_be32(c);
	else
		return false;
	return !c->bad;
}

bool jsonb_int(struct cursor *c, int64_t *v)
{
	int tag = cursor_u8(c);

	*v = 0;
	if (c->bad)
		return false;
	if (int32_take(c, tag, v))
		return true;
	if (tag >= 0xd8 && tag <= 0xef)
		*v = tag - 0xe0;
	else if (tag >= 0xc8 && tag <= 0xd7)
		*v = (tag - 0xd0) * 256 + cursor_u8(c);
	else if (tag >= 0xc0 && tag <= 0xc7)
		*v = (tag - 0xc4) * 65536 + cursor_be16(c);
	else if (tag == INT8)
		*v = (cursor_u8(c) ^ 0x80) - 0x80;
	else if (tag == INT16)
		*v = (int16_t)cursor_be16(c);
	else if (tag == INT64_INT)
		*v = (int32_t)cursor_be32(c);
	else if (tag == INT64)
		*v = (int64_t)cursor_be64(c);
	else
		c->bad = true;
	return !c->bad;
}

bool jsonb_string(struct cursor *c, struct bytes *s)
{
	int tag = cursor_u8(c);
	bool symbol = tag == SYMBOL;
	int64_t n = tag - ASCII_0;

	*s = bytes_of(NULL, 0);
	if (c->bad || tag == JSONB_NULL)
		return !c->bad;
	if (symbol) { /* a string, and its number; the number alone would name an earlier one */
		tag = cursor_u8(c);
		n = tag - ASCII_0;
	}
	if (tag == ASCII || tag == UTF8) {
		if (!int32_take(c, cursor_u8(c), &n) || n < 0)
			return false;
	} else if (tag < ASCII_0 || tag > 0x78) {
		return false;
	}
	*s = cursor_take(c, (size_t)n);
	if (symbol && !jsonb_int(c, &n))
		return false;
	return !c->bad;
}
