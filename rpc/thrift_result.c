/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/thrift_message.h"

#include <errno.h>

enum { BINARY_I32 = 8, BINARY_STRING = 11, COMPACT_I32 = 5, COMPACT_STRING = 8 };
enum { FIELD_MESSAGE = 1, FIELD_TYPE = 2 };
enum { TEXT_KEPT = 1024 }; /* of status_text, docs/record.md */

struct reader {
	enum thrift_form form;
	struct bytes in; /* what is unread */
	uint8_t type; /* of the field, 0: the struct ends */
	int16_t id;
};

static void used(struct reader *r, size_t n)
{
	r->in = bytes_from(r->in, n);
}

static int32_t zigzag(uint64_t v)
{
	return (int32_t)((uint32_t)v >> 1 ^ -((uint32_t)v & 1));
}

/* 1: type and id are of the next field; 0: it is cut; -EPROTO */
static int binary_field(struct reader *r)
{
	struct cursor c = cursor_of(r->in);

	r->type = cursor_u8(&c);
	if (r->type)
		r->id = (int16_t)cursor_be16(&c);
	if (c.bad)
		return 0;
	used(r, r->type ? 3 : 1);
	return 1;
}

static int compact_field(struct reader *r)
{
	uint64_t id = 0;
	int n = 0;

	if (r->in.n == 0)
		return 0;
	uint8_t head = r->in.p[0], delta = head >> 4;
	r->type = head & 15;
	if (head && delta == 0) {
		n = thrift_varint(bytes_from(r->in, 1), 3, &id);
		if (n <= 0)
			return n;
		r->id = (int16_t)zigzag(id);
	} else {
		r->id = (int16_t)(r->id + delta);
	}
	used(r, 1 + (size_t)n);
	return head && r->type == 0 ? -EPROTO : 1;
}

static int field_next(struct reader *r)
{
	return r->form == THRIFT_COMPACT ? compact_field(r) : binary_field(r);
}

/* 1: the value is read; 0: it is cut; -EPROTO, -E2BIG */
static int value_skip(struct reader *r)
{
	struct thrift_skip s;
	bool done;

	if (thrift_skip_value_start(&s, r->form, r->type) < 0)
		return -EPROTO;
	int64_t n = thrift_skip_next(&s, r->in, &done);
	if (n >= 0)
		used(r, (size_t)n);
	if (!done && n > 0 && s.failed)
		n = s.failed;
	return n < 0 ? (int)n : done;
}

/* A text that is cut is told only when it is longer than a record keeps of it: a shorter one would be wrong. */
static int text_read(struct reader *r, struct bytes *out)
{
	uint64_t len;
	int n = 4;

	if (r->form == THRIFT_COMPACT)
		n = thrift_varint(r->in, 5, &len);
	else if (r->in.n < 4)
		n = 0;
	else
		len = (uint32_t)r->in.p[0] << 24 | (uint32_t)r->in.p[1] << 16 |
		      (uint32_t)r->in.p[2] << 8 | r->in.p[3];
	if (n <= 0)
		return n;
	if (len > INT32_MAX)
		return -EPROTO;
	*out = bytes_head(bytes_from(r->in, (size_t)n), len);
	used(r, (size_t)n + out->n);
	bool whole = out->n == len;
	if (!whole && out->n < TEXT_KEPT)
		*out = (struct bytes) {NULL, 0};
	return whole;
}

static int code_read(struct reader *r, struct thrift_result *out)
{
	uint64_t v;
	int n = 4;

	if (r->form == THRIFT_COMPACT) {
		n = thrift_varint(r->in, 10, &v);
		if (n <= 0)
			return n;
		out->code = zigzag(v);
	} else if (r->in.n < 4) {
		return 0;
	} else {
		struct cursor c = cursor_of(r->in);
		out->code = (int32_t)cursor_be32(&c);
	}
	out->has_code = true;
	used(r, (size_t)n);
	return 1;
}

static int exception_field(struct reader *r, struct thrift_result *out)
{
	bool compact = r->form == THRIFT_COMPACT;

	if (r->id == FIELD_MESSAGE && r->type == (compact ? COMPACT_STRING : BINARY_STRING))
		return text_read(r, &out->text);
	if (r->id == FIELD_TYPE && r->type == (compact ? COMPACT_I32 : BINARY_I32))
		return code_read(r, out);
	return value_skip(r);
}

static int exception_read(struct reader *r, struct thrift_result *out)
{
	int got;

	out->outcome = OUTCOME_SERVER_ERROR;
	do {
		got = field_next(r);
		if (got == 1 && r->type == 0) {
			out->known = true;
			return 1;
		}
		if (got == 1)
			got = exception_field(r, out);
	} while (got == 1);
	return got;
}

static int reply_read(struct reader *r, struct thrift_result *out)
{
	struct thrift_skip s;
	int got = field_next(r);

	if (got <= 0)
		return got;
	if (r->type && thrift_skip_value_start(&s, r->form, r->type) < 0)
		return -EPROTO;
	out->known = true;
	out->is_void = r->type == 0;
	out->outcome = r->type && r->id != 0 ? OUTCOME_DECLARED_EXCEPTION : OUTCOME_OK;
	return 1;
}

struct thrift_result thrift_result_read(enum thrift_form form, uint8_t type, struct bytes body)
{
	struct thrift_result out = {0};
	struct reader r = {.form = form, .in = body};

	int got = type == THRIFT_EXCEPTION ? exception_read(&r, &out) : reply_read(&r, &out);
	out.broken = got < 0;
	return out;
}
