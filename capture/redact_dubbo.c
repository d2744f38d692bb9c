/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Dubbo2 body holds the attachments, which are told as headers, once more: values of secret names are masked there
 * too. Names are looked for wherever they may stand, also where rpc/dubbo2_body.c could not read so far: a string of
 * hessian2, of fastjson2's JSONB, of JSON text. What follows such a name and is no string that is known makes the body go.
 */
#include <string.h>

#include "capture/redact_state.h"

enum {
	NAME_MIN = 4,
	NAME_MAX_BYTES = 47,
	ASCII_FIX = 0x49,
	ASCII = 0x79,
	UTF8 = 0x7a,
	ENCODED_MAX = 0x7e
};

enum form { NO_NAME, HESSIAN, JSONB, TEXT };

/* Which form says that a name of n bytes begins at `at`? */
static enum form form_of(struct bytes in, size_t at, size_t *n)
{
	uint8_t before = in.p[at - 1];
	if (before == '"') {
		const uint8_t *end = memchr(in.p + at, '"', in.n - at < 64 ? in.n - at : 64);
		*n = end ? (size_t)(end - in.p) - at : 0;
		return *n ? TEXT : NO_NAME;
	}
	bool jsonb = before > ASCII_FIX && before <= ASCII_FIX + NAME_MAX_BYTES;
	*n = jsonb ? before - ASCII_FIX : before;
	return jsonb ? JSONB : before < 32 ? HESSIAN : NO_NAME;
}

static bool is_name(struct bytes b)
{
	for (size_t i = 0; i < b.n; i++) {
		uint8_t c = b.p[i], low = c | 0x20;
		if (!((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '_' || c == '.'))
			return false;
	}
	return b.n >= NAME_MIN;
}

/* Bytes of `chars` UTF-16 units of UTF-8 at `at`; what is cut or broken counts up to the end. */
static size_t utf8_bytes(struct bytes in, size_t at, size_t chars)
{
	size_t from = at;
	while (chars && at < in.n) {
		uint8_t c = in.p[at];
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		chars -= n == 4 && chars > 1 ? 2 : 1;
		at += n;
	}
	return at < in.n ? at - from : in.n - from;
}

static void stars(struct redact_job *j, size_t n)
{
	static const char text[] = "********************************";
	for (size_t some; n && !j->failed; n -= some) {
		some = n < sizeof(text) - 1 ? n : sizeof(text) - 1;
		redact_job_put(j, bytes_of(text, some));
	}
}

/* [from, to) becomes text of `chars` characters. */
static void mask(struct redact_job *j, size_t from, size_t to, size_t chars)
{
	struct bytes text = BYTES(REDACT_MASKED);
	redact_job_copy(j, from);
	if (chars < text.n) {
		stars(j, chars);
	} else {
		redact_job_put(j, text);
		stars(j, chars - text.n);
	}
	redact_job_skip(j, to);
}

/* Chunks 'R' length text, then a last string. Behind it; 0: no string. */
static size_t hessian_value(struct redact_job *j, size_t at)
{
	struct bytes in = j->in;
	for (;;) {
		uint8_t c = at < in.n ? in.p[at] : 0;
		size_t head = c < 32 ? 1 : c >= '0' && c <= '3' ? 2 : c == 'S' || c == 'R' ? 3 : 0;
		if (c == 'N' || at >= in.n)
			return at + 1; /* null, or cut before it */
		if (!head)
			return 0;
		if (at + head > in.n)
			return in.n;
		size_t chars = head == 1   ? c
			       : head == 2 ? (size_t)(c - '0') << 8 | in.p[at + 1]
					   : (size_t)in.p[at + 1] << 8 | in.p[at + 2];
		size_t from = at + head, to = from + utf8_bytes(in, from, chars);
		mask(j, from, to, chars < to - from || to < in.n ? chars : to - from);
		at = to;
		if (c != 'R')
			return at;
	}
}

/* fastjson2's int: its bytes, 0: none or cut */
static size_t jsonb_int(struct bytes in, size_t at, size_t *v)
{
	uint8_t c = at < in.n ? in.p[at] : 0xff;
	size_t n = c < 0x30 ? 1 : c < 0x40 ? 2 : c < 0x48 ? 3 : c == 0x48 ? 5 : 0;
	if (!n || at + n > in.n)
		return 0;
	*v = n == 1   ? c
	     : n == 2 ? (size_t)(c - 0x38) << 8 | in.p[at + 1]
	     : n == 3 ? (size_t)(c - 0x44) << 16 | (size_t)in.p[at + 1] << 8 | in.p[at + 2]
		      : (size_t)in.p[at + 1] << 24 | (size_t)in.p[at + 2] << 16 |
				(size_t)in.p[at + 3] << 8 | in.p[at + 4];
	return n;
}

static size_t jsonb_value(struct redact_job *j, size_t at)
{
	struct bytes in = j->in;
	uint8_t c = at < in.n ? in.p[at] : 0;
	size_t n = 0, from = at + 1;
	if (at >= in.n || c == 0xaf) /* cut; null */
		return at + 1;
	if (c >= ASCII_FIX && c < ASCII) {
		n = c - ASCII_FIX;
	} else if (c >= ASCII && c <= ENCODED_MAX) {
		size_t used = jsonb_int(in, from, &n);
		if (!used)
			return in.n - from < 5 ? in.n : 0;
		from += used;
	} else {
		return 0;
	}
	size_t to = n < in.n - from ? from + n : in.n;
	mask(j, from, to, to - from);
	return to;
}

static size_t text_value(struct redact_job *j, size_t at)
{
	struct bytes in = j->in;
	at++; /* the name's quote */
	while (at < in.n && (in.p[at] == ' ' || in.p[at] == ':'))
		at++;
	if (at >= in.n)
		return at;
	if (in.p[at] != '"')
		return 0;
	size_t from = ++at;
	while (at < in.n && in.p[at] != '"')
		at += in.p[at] == '\\' ? 2 : 1;
	at = at < in.n ? at : in.n;
	mask(j, from, at, at - from);
	return at;
}

int redact_dubbo(struct redact_job *j)
{
	struct bytes in = j->in;
	const struct redact_names *names = &j->r->by->headers;
	for (size_t at = 1; at < in.n && !j->failed; at++) {
		size_t n;
		enum form form = form_of(in, at, &n);
		struct bytes name = bytes_of(in.p + at, n);
		if (form == NO_NAME || n > in.n - at || n < NAME_MIN ||
		    (form == TEXT && (at + n + 1 >= in.n || in.p[at + n + 1] != ':')) ||
		    !is_name(name) || !redact_names_find(names, redact_plain_name(name)))
			continue;
		size_t value = at + n;
		size_t next = form == HESSIAN ? hessian_value(j, value)
			      : form == JSONB ? jsonb_value(j, value)
					      : text_value(j, value);
		if (!next)
			return redact_job_fail(j, REDACT_INVALID);
		redact_job_count(j, REDACT_HEADER);
		at = next;
	}
	return j->failed;
}
