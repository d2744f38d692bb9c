/* SPDX-License-Identifier: Apache-2.0 */
/* What tests ask of the driver's text. Include after cmocka.h. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/drive.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

#define CHUNKED "Transfer-Encoding: chunked\\r\\n\\r\\n"

static inline char *run(const char *fmt, ...)
{
	char *script = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&script, fmt, ap) > 0);
	va_end(ap);
	char *text = drive_text(script);
	free(script);
	return text;
}

static inline void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in\n%s", part, text);
}

static inline void has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" in\n%s", part, text);
}

/* Not by strstr: a sanitizer's looks at the whole text each time. */
static inline size_t count(const char *text, const char *part)
{
	size_t n = 0, len = strlen(part);

	for (const char *p = text; (p = strchrnul(p, part[0])) && *p; p++)
		n += strncmp(p, part, len) == 0;
	return n;
}
