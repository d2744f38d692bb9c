/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sample.h"

int sample_pattern_set(struct sample_pattern *p, const char *text)
{
	size_t n = strlen(text), special = strcspn(text, "*?");
	char *copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(p->text);
	p->text = copy;
	p->kind = special == n                             ? PATTERN_EXACT
		  : special == n - 1 && text[n - 1] == '*' ? PATTERN_PREFIX
							   : PATTERN_GLOB;
	p->n = n;
	if (p->kind == PATTERN_PREFIX)
		copy[--p->n] = 0;
	return 0;
}

/* The classic two-pointer walk: after a mismatch the last star takes one more byte. */
static bool glob(const char *pattern, struct bytes text)
{
	const char *p = pattern, *star = NULL;
	size_t i = 0, resume = 0;
	while (i < text.n) {
		if (*p == '*') {
			star = p++;
			resume = i;
		} else if (*p && (*p == '?' || (uint8_t)*p == text.p[i])) {
			p++;
			i++;
		} else if (star) {
			p = star + 1;
			i = ++resume;
		} else {
			return false;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}

bool sample_pattern_match(const struct sample_pattern *p, struct bytes text)
{
	switch (p->kind) {
	case PATTERN_ANY: return true;
	case PATTERN_EXACT: return bytes_eq(text, bytes_of(p->text, p->n));
	case PATTERN_PREFIX: return bytes_starts(text, bytes_of(p->text, p->n));
	case PATTERN_GLOB: return glob(p->text, text);
	}
	return false;
}
