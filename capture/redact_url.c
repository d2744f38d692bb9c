/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets, URLs and authorities: parameters by name, userinfo. */
#include "capture/redact_state.h"

enum { NAME_MAX_BYTES = 256 };

/* The place of the first byte from `from` on that is one of `set`; b.n: none. */
static inline size_t find(struct bytes b, size_t from, const char *set)
{
	for (; from < b.n; from++)
		for (const char *c = set; *c; c++)
			if (b.p[from] == (uint8_t)*c)
				return from;
	return b.n;
}

/* `ends` closes a value; a name ends there too, and at '='. A fragment is taken for more of them. */
bool redact_param_next(struct bytes q, size_t at, const char *ends, struct redact_param *p)
{
	if (at >= q.n)
		return false;
	p->name = at;
	size_t end = find(q, at, ends);
	p->name_end = find(bytes_head(q, end), at, "=");
	bool value = p->name_end < end;
	p->value = value ? p->name_end + 1 : p->name_end;
	p->end = end;
	return true;
}

static const struct redact_name *first_glob(const struct redact_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		if (names->list[i].glob)
			return &names->list[i];
	return NULL;
}

const struct redact_name *redact_param_secret(const struct redact_names *names, struct bytes q,
					      bool plus, const struct redact_param *p)
{
	uint8_t text[NAME_MAX_BYTES];
	struct bytes raw = bytes_of(q.p + p->name, p->name_end - p->name);
	if (p->value >= p->end)
		return NULL;
	struct bytes name = redact_name_decode(raw, plus, text, sizeof(text));
	if (raw.n && !name.n) /* longer than any name; who knows what a glob says of it */
		return first_glob(names);
	return redact_names_find(names, name);
}

/* Where "user:password@" of an absolute target, or of an authority alone, lies; both 0 when there is none. */
static void userinfo(struct bytes path, size_t *from, size_t *to)
{
	*from = *to = 0;
	if (!path.n || path.p[0] == '?')
		return;
	size_t start = find(path, 0, ":/?#");
	if (bytes_starts(bytes_from(path, start), BYTES("://")))
		start += 3;
	else if (bytes_starts(path,
			      BYTES("//"))) /* a network-path reference, RFC 3986 section 4.2 */
		start = 2;
	else if (path.p[0] == '/')
		return;
	else
		start = 0;
	size_t end = find(path, start, "/?#");
	for (size_t at = end; at > start; at--)
		if (path.p[at - 1] == '@') {
			*from = start;
			*to = at - 1;
			return;
		}
}

struct edit {
	const struct redaction *r;
	struct bytes in;
	uint8_t *out;
	size_t n, done;
};

static void put(struct edit *e, struct bytes b)
{
	if (b.n)
		memcpy(e->out + e->n, b.p, b.n);
	e->n += b.n;
}

/* [from, to) of the input becomes this. */
static void replace(struct edit *e, size_t from, size_t to, struct bytes with)
{
	put(e, bytes_of(e->in.p + e->done, from - e->done));
	put(e, with);
	e->done = to;
}

/* The parameter goes with the separator before it, or with the one behind when it is the first. */
static void param_drop(struct edit *e, const struct redact_param *p, size_t query)
{
	bool first = p->name == query || p->name == e->done; /* all before it went */
	replace(e, first ? p->name : p->name - 1, first && p->end < e->in.n ? p->end + 1 : p->end,
		bytes_of(NULL, 0));
}

static bool in_query(struct bytes in, size_t *at, struct redact_param *p)
{

	if (!redact_param_next(in, *at, "&;#", p))
		return false;
	*at = p->end + 1;
	return true;
}

static void params_edit(struct edit *e, size_t query)
{
	const struct redact_names *names = &e->r->by->params;
	struct redact_param p;
	for (size_t at = query; in_query(e->in, &at, &p);) {
		const struct redact_name *rule = redact_param_secret(names, e->in, false, &p);
		if (!rule)
			continue;
		struct bytes secret = bytes_of(e->in.p + p.value, p.end - p.value);
		struct bytes with = redact_value(e->r, REDACT_QUERY, rule->action, secret);
		if (rule->action == REDACT_DROP)
			param_drop(e, &p, query);
		else
			replace(e, p.value, p.end, with);
	}
}

static bool by_names(const struct redaction *r, struct bytes *path)
{
	struct bytes in = *path;
	if (!in.n || (!memchr(in.p, '=', in.n) && !memchr(in.p, '@', in.n)))
		return false; /* neither a parameter nor userinfo */
	size_t query = find(in, 0, "?#") + 1, u0, u1, secrets = 0;
	struct redact_param p;
	userinfo(in, &u0, &u1);
	for (size_t at = query; in_query(in, &at, &p);)
		secrets += redact_param_secret(&r->by->params, in, false, &p) != NULL;
	if (!secrets && u1 == u0)
		return false;
	struct edit e = {.r = r, .in = in};
	e.out = arena_alloc(r->arena, in.n + (secrets + 1) * REDACT_TOKEN);
	if (!e.out) { /* fail closed */
		*path = BYTES(REDACT_MASKED);
		return true;
	}
	if (u1 > u0) {
		struct bytes secret = bytes_of(in.p + u0, u1 - u0);
		replace(&e, u0, u1, redact_value(r, REDACT_USERINFO, REDACT_MASK, secret));
	}
	params_edit(&e, query);
	put(&e, bytes_from(in, e.done));
	*path = bytes_of(e.out, e.n);
	return true;
}

bool redact_path(const struct redaction *r, struct bytes *path)
{
	bool any = by_names(r, path);
	return redact_text(r, REDACT_ON_PATH, path) || any;
}
