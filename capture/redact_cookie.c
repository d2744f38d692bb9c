/* SPDX-License-Identifier: Apache-2.0 */
/* Cookies one by one (RFC 6265 sections 4.1.1, 4.2.1): Cookie: a=1; b=2 and Set-Cookie: a=1; Path=/ */
#include "capture/redact_state.h"

struct cookie {
	size_t from, name_end, value, end; /* end: of the value, without blanks behind */
	size_t next; /* behind its ';' */
};

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Some read a quoted value with ';' in it as one: so does this. */
static size_t value_end(struct bytes v, size_t at)
{
	if (at < v.n && v.p[at] == '"') {
		size_t quote = at + 1;
		while (quote < v.n && v.p[quote] != '"')
			quote += v.p[quote] == '\\' ? 2 : 1;
		if (quote < v.n)
			at = quote;
	}
	while (at < v.n && v.p[at] != ';')
		at++;
	return at;
}

static bool cookie_next(struct bytes v, size_t at, struct cookie *c)
{
	while (at < v.n && (blank(v.p[at]) || v.p[at] == ';'))
		at++;
	if (at >= v.n)
		return false;
	c->from = at;
	while (at < v.n && v.p[at] != '=' && v.p[at] != ';')
		at++;
	c->name_end = at;
	bool named = at < v.n && v.p[at] == '=';
	c->value = named ? at + 1 : c->from; /* without a name: all of it is value */
	if (!named)
		c->name_end = c->from;
	while (c->name_end > c->from && blank(v.p[c->name_end - 1]))
		c->name_end--;
	while (named && c->value < v.n && blank(v.p[c->value]))
		c->value++;
	c->end = value_end(v, c->value);
	c->next = c->end < v.n ? c->end + 1 : c->end;
	while (c->end > c->value && blank(v.p[c->end - 1]))
		c->end--;
	return true;
}

/* One without a name may be anything: masked. */
static const struct redact_name *secret(const struct redaction *r, struct bytes v,
					const struct cookie *c)
{
	static const struct redact_name nameless = {.action = REDACT_MASK};
	if (c->value >= c->end)
		return NULL;
	if (c->name_end == c->from)
		return &nameless;
	return redact_names_find(&r->by->cookies, bytes_of(v.p + c->from, c->name_end - c->from));
}

static size_t secrets_count(const struct redaction *r, bool set_cookie, struct bytes v)
{
	struct cookie c;
	size_t n = 0;
	for (size_t at = 0; cookie_next(v, at, &c); at = set_cookie ? v.n : c.next)
		n += secret(r, v, &c) != NULL;
	return n;
}

static size_t put(uint8_t *out, size_t n, struct bytes b)
{
	if (b.n)
		memcpy(out + n, b.p, b.n);
	return n + b.n;
}

bool redact_cookies(const struct redaction *r, bool set_cookie, struct bytes *value, bool *gone)
{
	struct bytes v = *value;
	struct cookie c;
	size_t secrets = secrets_count(r, set_cookie, v), n = 0, done = 0;
	bool dropped = false;
	*gone = false;
	if (!secrets)
		return false;
	uint8_t *out = arena_alloc(r->arena, v.n + secrets * REDACT_TOKEN);
	if (!out) {
		*value = BYTES(REDACT_MASKED);
		return true;
	}
	for (size_t at = 0; cookie_next(v, at, &c); at = set_cookie ? v.n : c.next) {
		const struct redact_name *rule = secret(r, v, &c);
		if (!rule)
			continue;
		bool drop = rule->action == REDACT_DROP;
		struct bytes with = redact_value(r, REDACT_COOKIE, rule->action,
						 bytes_of(v.p + c.value, c.end - c.value));
		n = put(out, n, bytes_of(v.p + done, (drop ? c.from : c.value) - done));
		n = put(out, n, with);
		done = drop ? (set_cookie ? v.n : c.next) : c.end;
		while (drop && (n == 0 || blank(out[n - 1])) && done < v.n && blank(v.p[done]))
			done++;
		dropped |= drop;
	}
	n = put(out, n, bytes_from(v, done));
	while (dropped && n && (blank(out[n - 1]) || out[n - 1] == ';'))
		n--;
	*value = bytes_of(out, n);
	*gone = n == 0;
	return true;
}
