/* SPDX-License-Identifier: Apache-2.0 */
/* Names of secrets: exact ones told by length and first letter, globs one by one. */
#include <errno.h>
#include <stdlib.h>

#include "capture/redact_state.h"

bool redact_name_fits(struct bytes glob, struct bytes name)
{
	size_t g = 0, n = 0, star = SIZE_MAX, star_n = 0;
	while (n < name.n) {
		if (g < glob.n && glob.p[g] == '*') {
			star = g++;
			star_n = n;
		} else if (g < glob.n &&
			   (glob.p[g] == '?' ||
			    bytes_caseeq(bytes_of(glob.p + g, 1), bytes_of(name.p + n, 1)))) {
			g++;
			n++;
		} else if (star != SIZE_MAX) { /* the last '*' takes one more */
			g = star + 1;
			n = ++star_n;
		} else {
			return false;
		}
	}
	while (g < glob.n && glob.p[g] == '*')
		g++;
	return g == glob.n;
}

static bool is_glob(struct bytes b)
{
	return b.n && (memchr(b.p, '*', b.n) || memchr(b.p, '?', b.n));
}

static void add(struct redact_names *n, struct bytes name, enum redact_action action, bool listed)
{
	struct redact_name *to = &n->list[n->n++];
	*to = (struct redact_name) {name, action, is_glob(name), listed};
	n->globs |= to->glob;
	if (!to->glob && name.n < REDACT_STARTS)
		n->starts[name.n] |= 1u << (name.p[0] & 31);
}

static bool is_allowed(const struct redact_rules *rules, struct bytes name)
{
	for (size_t i = 0; i < rules->n_allow; i++)
		if (redact_name_fits(bytes_str(rules->allow[i]), name))
			return true;
	return false;
}

int redact_names_init(struct redact_names *n, const struct redact_rules *rules,
		      enum redact_kind kind, const struct bytes *listed, size_t n_listed)
{
	size_t max = rules->n + n_listed;
	n->list = calloc(max ? max : 1, sizeof(*n->list));
	if (!n->list)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].kind == kind)
			add(n, bytes_str(rules->list[i].what), rules->list[i].action, false);
	for (size_t i = 0; i < n_listed; i++)
		if (!is_allowed(rules, listed[i]))
			add(n, listed[i], REDACT_MASK, true);
	return 0;
}

void redact_names_fini(struct redact_names *n)
{
	free(n->list);
}

const struct redact_name *redact_names_find(const struct redact_names *n, struct bytes name)
{
	bool may = name.n >= REDACT_STARTS || (name.n && n->starts[name.n] >> (name.p[0] & 31) & 1);
	if (!may && !n->globs)
		return NULL;
	for (size_t i = 0; i < n->n; i++) {
		const struct redact_name *e = &n->list[i];
		if (e->glob ? redact_name_fits(e->name, name)
			    : e->name.n == name.n && (e->name.p[0] | 0x20) == (name.p[0] | 0x20) &&
				      bytes_caseeq(e->name, name))
			return e;
	}
	return NULL;
}

/* RFC 3986 section 2.1; '+' by application/x-www-form-urlencoded. */
struct bytes redact_name_decode(struct bytes in, bool plus, uint8_t *out, size_t out_n)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (n == out_n)
			return (struct bytes) {NULL, 0};
		out[n] = plus && in.p[i] == '+' ? ' ' : in.p[i];
		int high = i + 2 < in.n && in.p[i] == '%' ? bytes_hex_digit(in.p[i + 1]) : -1;
		int low = high >= 0 ? bytes_hex_digit(in.p[i + 2]) : -1;
		if (high >= 0 && low >= 0) {
			out[n] = (uint8_t)(high << 4 | low);
			i += 2;
		}
		n++;
	}
	return bytes_of(out, n);
}
