/* SPDX-License-Identifier: Apache-2.0 */
/* Paths into bodies: their syntax, and the set of places that all of them are at together. */
#include <errno.h>
#include <string.h>

#include "capture/redact_state.h"

static int wrong(const char **why, const char *what)
{
	*why = what;
	return -EINVAL;
}

static struct redact_step *step_add(struct redact_path *p, enum redact_step_kind kind)
{
	if (p->n == REDACT_PATH_STEPS)
		return NULL;
	p->step[p->n] = (struct redact_step) {.kind = kind};
	return &p->step[p->n++];
}

/* Digits at *s, moved behind them. -1: none, or more than max. */
static int64_t number(const char **s, uint32_t max)
{
	size_t n = strspn(*s, "0123456789");
	uint64_t v = 0;
	if (n == 0 || n > 10)
		return -1;
	for (size_t i = 0; i < n; i++)
		v = v * 10 + (uint64_t)((*s)[i] - '0');
	*s += n;
	return v > max ? -1 : (int64_t)v;
}

/* ---- JSON ---- */

/* [0] [*] ['name'] ["name"], *s behind its '[' */
static int bracket(const char **s, struct redact_path *p, const char **why)
{
	struct redact_step *step = step_add(p, REDACT_STEP_ANY);
	const char *at = *s;
	if (!step)
		return wrong(why, "has more than 16 steps");
	if (*at == '*') {
		at++;
	} else if (*at == '\'' || *at == '"') {
		const char *end = strchr(at + 1, *at);
		if (!end || end == at + 1)
			return wrong(why, "has a name without its quote");
		step->kind = REDACT_STEP_NAME;
		step->name = bytes_of(at + 1, (size_t)(end - at - 1));
		at = end + 1;
	} else {
		int64_t n = number(&at, UINT32_MAX);
		if (n < 0)
			return wrong(why, "has no number, * or quoted name in its brackets");
		step->kind = REDACT_STEP_INDEX;
		step->number = (uint32_t)n;
	}
	if (*at != ']')
		return wrong(why, "has a bracket that does not close");
	*s = at + 1;
	return 0;
}

/* .name .* ..name ..*, *s behind its first '.' */
static int dotted(const char **s, struct redact_path *p, const char **why)
{
	bool deep = **s == '.';
	const char *at = *s + deep;
	size_t n = strcspn(at, ".[");
	bool any = n == 1 && *at == '*';
	struct redact_step *step = step_add(p, any ? deep ? REDACT_STEP_DEEP_ANY : REDACT_STEP_ANY
					       : deep ? REDACT_STEP_DEEP_NAME
						      : REDACT_STEP_NAME);
	if (!step)
		return wrong(why, "has more than 16 steps");
	if (n == 0)
		return wrong(why, "has a dot without a name");
	if (!any && memchr(at, '*', n))
		return wrong(why, "has a * within a name");
	step->name = bytes_of(at, n);
	*s = at + n;
	return 0;
}

int redact_json_path_parse(const char *text, struct redact_path *out, const char **why)
{
	*out = (struct redact_path) {0};
	if (text[0] != '$')
		return wrong(why, "does not begin with $");
	for (const char *s = text + 1; *s;) {
		int rc = *s == '.'   ? (s++, dotted(&s, out, why))
			 : *s == '[' ? (s++, bracket(&s, out, why))
				     : wrong(why, "has text where a . or [ belongs");
		if (rc < 0)
			return rc;
	}
	return out->n ? 0 : wrong(why, "names the whole body");
}

/* ---- fields ---- */

int redact_field_path_parse(const char *text, struct redact_path *out, const char **why)
{
	const char *colon = strrchr(text, ':'), *s = colon ? colon + 1 : text;
	*out = (struct redact_path) {0};
	if (colon)
		out->call = bytes_of(text, (size_t)(colon - text));
	if (colon && colon == text)
		return wrong(why, "has a colon without a method before it");
	do {
		bool any = *s == '*';
		int64_t n = any ? 0 : number(&s, (1u << 29) - 1);
		struct redact_step *step = step_add(out, any ? REDACT_STEP_ANY : REDACT_STEP_FIELD);
		s += any;
		if (!step)
			return wrong(why, "has more than 16 steps");
		if (n < 0)
			return wrong(why, "has no field number where one belongs");
		step->number = (uint32_t)n;
	} while (*s == '.' && s++);
	return *s ? wrong(why, "has text behind its numbers") : 0;
}

/* ---- places ---- */

/* "Method" or "/Service/Method" */
static bool call_fits(struct bytes call, const struct redact_body *b)
{
	if (!call.n)
		return true;
	if (call.p[0] != '/')
		return bytes_eq(call, b->method);
	struct bytes rest = bytes_from(call, 1);
	return rest.n == b->service.n + 1 + b->method.n && bytes_starts(rest, b->service) &&
	       rest.p[b->service.n] == '/' &&
	       bytes_eq(bytes_from(rest, b->service.n + 1), b->method);
}

bool redact_paths_start(const struct redact_paths *p, const struct redact_body *b,
			redact_mask *masks)
{
	unsigned on = b->dir == DIR_REQUEST ? REDACT_ON_REQUEST : REDACT_ON_RESPONSE;
	bool any = false;
	for (size_t i = 0; i < p->n; i++) {
		bool fits = p->list[i].rule->on & on && call_fits(p->list[i].call, b);
		masks[i] = fits;
		any |= fits;
	}
	return any;
}

bool redact_mask_any(const redact_mask *m, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (m[i])
			return true;
	return false;
}

bool redact_paths_field(const struct redact_paths *p, const redact_mask *from, uint32_t number,
			redact_mask *to, const struct redact_rule **hit)
{
	*hit = NULL;
	for (size_t i = 0; i < p->n; i++) {
		const struct redact_path *path = &p->list[i];
		to[i] = 0;
		for (unsigned k = 0; from[i] >> k && k < path->n; k++)
			if (from[i] >> k & 1 && (path->step[k].kind == REDACT_STEP_ANY ||
						 path->step[k].number == number))
				to[i] |= 1u << (k + 1);
		if (to[i] >> path->n & 1 && !*hit)
			*hit = path->rule;
	}
	return *hit != NULL;
}
