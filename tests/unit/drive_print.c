/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/drive_print.h"

#include <stdarg.h>

void drive_print(struct buf *b, struct bytes s)
{
	MUST(buf_append(b, s) == 0);
}

void drive_printf(struct buf *b, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	drive_print(b, bytes_of(line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1));
}

void drive_print_escaped(struct buf *b, struct bytes s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r')
			drive_print(b, BYTES("\\r"));
		else if (s.p[i] == '\n')
			drive_print(b, BYTES("\\n"));
		else if (s.p[i] < 0x20 || s.p[i] >= 0x7f || s.p[i] == '\\')
			drive_printf(b, "\\x%02x", s.p[i]);
		else
			drive_print(b, bytes_of(s.p + i, 1));
	}
}

static void put_field(struct buf *b, const char *name, struct bytes v)
{
	if (v.n == 0)
		return;
	drive_printf(b, " %s=", name);
	drive_print_escaped(b, v);
}

void drive_print_flags(struct buf *b, unsigned flags)
{
	static const char *const names[FLAG_N] = {
		[0] = "truncated",      [2] = "gap",
		[6] = "compressed",     [7] = "smuggling_suspect",
		[8] = "protocol_error", [10] = "evicted",
	};

	for (unsigned i = 0; i < FLAG_N; i++)
		if (flags & 1u << i) {
			MUST(names[i]);
			drive_printf(b, " %s", names[i]);
		}
}

void drive_print_list(struct buf *b, const char *mark, const struct header *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		drive_printf(b, "  %s ", mark);
		drive_print_escaped(b, h[i].name);
		drive_print(b, BYTES(": "));
		drive_print_escaped(b, h[i].value);
		drive_print(b, BYTES("\n"));
	}
}

static const char *const outcomes[] = {"",         "ok",          "client_error", "server_error",
				       "declared", "no_response", "aborted"};

static void put_attributes(struct buf *b, const struct head *h)
{
	for (size_t i = 0; i < h->n_attributes; i++) {
		drive_printf(b, "  a %s=", h->attributes[i].name);
		drive_print_escaped(b, h->attributes[i].value);
		drive_print(b, BYTES("\n"));
	}
}

/* What the end of a message adds to its head */
void drive_print_end(struct buf *b, const struct piece *p)
{
	const struct head *h = &p->head;

	drive_print_list(b, "t", h->headers, h->n_headers);
	if (h->has_status || h->outcome || h->status_text.n) {
		drive_print(b, BYTES("  says"));
		if (h->has_status)
			drive_printf(b, " status=%d", h->status);
		put_field(b, "text", h->status_text);
		if (h->outcome)
			drive_printf(b, " %s", outcomes[h->outcome]);
		drive_print(b, BYTES("\n"));
	}
	put_attributes(b, h);
}

void drive_print_both(struct buf *b, const struct piece *p)
{
	drive_printf(b, "%c corr=%llu ends", p->dir == DIR_REQUEST ? '>' : '<',
		     (unsigned long long)p->corr);
	if (p->head.outcome)
		drive_printf(b, " %s", outcomes[p->head.outcome]);
	drive_print_flags(b, p->flags);
	drive_print(b, BYTES("\n"));
	put_attributes(b, &p->head);
}

void drive_print_head(struct buf *b, const struct piece *p, const char *protocol)
{
	static const char *const types[] = {
		"", "oneway", "client_stream", "server_stream", "bidi_stream", "stream"};
	const struct head *h = &p->head;

	drive_printf(b, "%c %s", p->dir == DIR_REQUEST ? '>' : '<',
		     h->protocol ? h->protocol : protocol);
	if (h->transport && h->transport[0])
		drive_printf(b, " transport=%s", h->transport);
	if (p->corr)
		drive_printf(b, " corr=%llu", (unsigned long long)p->corr);
	put_field(b, "method", h->method);
	put_field(b, "path", h->path);
	put_field(b, "service", h->service);
	if (h->has_status)
		drive_printf(b, " status=%d", h->status);
	put_field(b, "text", h->status_text);
	if (h->outcome)
		drive_printf(b, " %s", outcomes[h->outcome]);
	if (h->type)
		drive_printf(b, " %s", types[h->type]);
	drive_print_flags(b, p->flags);
	drive_print(b, BYTES("\n"));
	put_attributes(b, h);
	drive_print_list(b, "h", h->headers, h->n_headers);
}
