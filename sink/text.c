/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sink/utf8.h"

static bool reserve(struct text *t, size_t n)
{
	if (t->size - t->n >= n)
		return true;
	size_t size = t->size ? t->size : 256;
	while (size - t->n < n)
		size *= 2;
	char *p = realloc(t->p, size);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->size = size;
	return true;
}

void text_put(struct text *t, const void *p, size_t n)
{
	if (n == 0 || !reserve(t, n))
		return;
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

void text_put_str(struct text *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list args;
	if (!reserve(t, 128))
		return;
	va_start(args, fmt);
	int n = vsnprintf(t->p + t->n, t->size - t->n, fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n >= t->size - t->n) {
		if (!reserve(t, (size_t)n + 1))
			return;
		va_start(args, fmt);
		n = vsnprintf(t->p + t->n, t->size - t->n, fmt, args);
		va_end(args);
	}
	if (n > 0)
		t->n += (size_t)n;
}

/* Unicode's bidi controls, line and paragraph separators, invisible characters */
static bool deceives(uint32_t c)
{
	return c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

/* Bytes of s that may be shown as they are, from its start */
static size_t plain_run(struct bytes s)
{
	size_t n = 0, len;
	uint32_t c;
	while ((len = utf8_next(bytes_from(s, n), &c)) != 0 && !utf8_is_control(c) && !deceives(c))
		n += len;
	return n;
}

void text_escape(struct text *t, struct bytes s)
{
	while (s.n) {
		size_t run = plain_run(s);
		text_put(t, s.p, run);
		s = bytes_from(s, run);
		uint32_t c;
		size_t bad = utf8_next(s, &c);
		if (bad == 0)
			bad = s.n ? 1 : 0;
		for (size_t i = 0; i < bad; i++)
			text_printf(t, "\\x%02x", s.p[i]);
		s = bytes_from(s, bad);
	}
}

const char *text_escape_buf(struct bytes s, char *buf, size_t n)
{
	struct text t = {0};
	text_escape(&t, s);
	size_t len = t.n < n - 1 ? t.n : n - 1;
	if (len)
		memcpy(buf, t.p, len);
	buf[len] = 0;
	text_fini(&t);
	return buf;
}

void text_fini(struct text *t)
{
	free(t->p);
	*t = (struct text) {0};
}
