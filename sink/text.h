/* SPDX-License-Identifier: Apache-2.0 */
/* A growing line of text, and bytes of the wire put into it so that no terminal acts on them
 * (S6). */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

struct text {
	char *p; /* malloc'ed, not terminated */
	size_t n, size;
	bool failed; /* no memory: what was put since is missing */
};

void text_put(struct text *t, const void *p, size_t n);
void text_put_str(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Control characters (C0, DEL, C1 in UTF-8 or raw), bytes that are no UTF-8, and format characters
 * that reorder or hide text (bidi, line separators, zero width) become \xNN, each byte; TAB and
 * line ends too.
 */
void text_escape(struct text *t, struct bytes s);

/* The same into a fixed buffer, always terminated, cut where it ends. Returns buf. */
const char *text_escape_buf(struct bytes s, char *buf, size_t n);

void text_fini(struct text *t);
