/* SPDX-License-Identifier: Apache-2.0 */
/* `rules:` of the file: a list of mappings, each an entry of capture/sample.h. What is allowed: docs/operating.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/nearest.h"
#include "capture/sample.h"
#include "capture/settings_file.h"
#include "capture/settings_rule_value.h"

enum { WORD_MAX = 80, MESSAGE_MAX = 400 };

/* A rule on its way from the file, and which of its keys were there */
struct draft {
	struct sample_rule rule;
	unsigned seen;
};

static unsigned bit_of(const struct rule_key *k)
{
	return 1u << k->id;
}

/* "'x' is no such value: allowed is ..." */
static int refuse(struct settings_file *f, const struct rule_key *k, const char *text,
		  const char *why)
{
	char safe[WORD_MAX], what[MESSAGE_MAX];
	log_escape(safe, sizeof(safe), bytes_str(text));
	snprintf(what, sizeof(what), "'%s' %s: allowed is %s", safe, why, k->allowed);
	return settings_file_fail(f, k->name, what);
}

static int set_scalar(struct settings_file *f, struct sample_rule *r, const struct rule_key *k)
{
	if (f->item.kind != YAML_SCALAR)
		return refuse(f, k, f->item.kind == YAML_LIST ? "[...]" : "{...}",
			      "is no single value");
	if (settings_file_is_null(f))
		return refuse(f, k, f->item.text, "is no value");
	int err = k->set(r, f->item.text);
	if (err == -ENOMEM)
		return settings_file_fail(f, k->name, "out of memory");
	if (err < 0)
		return refuse(f, k, f->item.text,
			      err == -ERANGE  ? "is out of range"
			      : err == -E2BIG ? "is one too many"
					      : "is no such value");
	return 0;
}

/* One value, or a list of them */
static int set_values(struct settings_file *f, struct sample_rule *r, const struct rule_key *k)
{
	int rc;
	if (!k->list || f->item.kind != YAML_LIST)
		return set_scalar(f, r, k);
	while ((rc = settings_file_next(f)) == 1 && f->item.kind != YAML_LIST_END)
		if (set_scalar(f, r, k) < 0)
			return -EINVAL;
	return rc == 1 ? 0 : -EINVAL;
}

/* header: {x-debug: "1"} */
static int set_headers(struct settings_file *f, struct sample_rule *r, const struct rule_key *k)
{
	int rc;
	if (f->item.kind != YAML_MAP)
		return refuse(f, k, "...", "is no mapping");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR) {
		if (r->n_headers == SAMPLE_HEADERS_MAX)
			return refuse(f, k, f->item.text, "is one too many");
		if (!*f->item.text)
			return refuse(f, k, "", "is no header");
		char *name = strdup(f->item.text);
		if (!name)
			return settings_file_fail(f, k->name, "out of memory");
		r->header[r->n_headers++].name = name;
		if (settings_file_next(f) < 1 || set_scalar(f, r, k) < 0)
			return -EINVAL;
	}
	return rc == 1 ? 0 : -EINVAL;
}

static int unknown_key(struct settings_file *f, unsigned group)
{
	const char *names[RULE_KEYS_MAX];
	char all[MESSAGE_MAX / 2] = "", what[MESSAGE_MAX];
	size_t n = 0, at = 0;
	for (const struct rule_key *k = rule_keys; k->name; k++)
		if (k->group == group)
			names[n++] = k->name;
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", i ? ", " : "", names[i]);
	int near = nearest_name(f->item.text, names, n);
	snprintf(what, sizeof(what), "no such key%s%s%s: allowed are %s",
		 near < 0 ? "" : ": did you mean ", near < 0 ? "" : names[near],
		 near < 0 ? "" : "?", all);
	return settings_file_fail(f, f->item.text, what);
}

static const struct rule_key *key_find(const char *name, unsigned group)
{
	const struct rule_key *k = rule_keys;
	while (k->name && (k->group != group || strcmp(k->name, name) != 0))
		k++;
	return k->name ? k : NULL;
}

static int map_read(struct settings_file *f, struct draft *d, unsigned group, const char *what);

static int value_read(struct settings_file *f, struct draft *d, const struct rule_key *k)
{
	switch (k->id) {
	case RULE_MATCH: return map_read(f, d, RULE_GROUP_MATCH, k->name);
	case RULE_KEEP_IF: return map_read(f, d, RULE_GROUP_KEEP_IF, k->name);
	case RULE_HEADER: return set_headers(f, &d->rule, k);
	default: return set_values(f, &d->rule, k);
	}
}

/* The mapping that begins at f->item */
static int map_read(struct settings_file *f, struct draft *d, unsigned group, const char *what)
{
	int rc;
	if (f->item.kind != YAML_MAP)
		return settings_file_fail(f, what,
					  "not a mapping: allowed are 'name: value' pairs");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR) {
		const struct rule_key *k = key_find(f->item.text, group);
		if (!k)
			return unknown_key(f, group);
		if (d->seen & bit_of(k))
			return settings_file_fail(f, k->name, "given twice: allowed is once");
		d->seen |= bit_of(k);
		if (settings_file_next(f) < 1 || value_read(f, d, k) < 0)
			return -EINVAL;
	}
	return rc == 1 ? 0 : -EINVAL;
}

/* What the whole of a rule must be. NULL, or what is wrong. */
static const char *rule_wrong(const struct settings *s, const struct draft *d)
{
	const unsigned actions = 1u << RULE_PROBABILITY | 1u << RULE_RATE | 1u << RULE_BYTES |
				 1u << RULE_FIRST | 1u << RULE_KEEP_IF | 1u << RULE_BODY;
	if (!d->rule.name[0])
		return "a rule without a name: allowed is 'name: TEXT', it stands in each record";
	if (strcmp(d->rule.name, "all") == 0 || strcmp(d->rule.name, "sample") == 0)
		return "this name is taken by --sample: allowed is any other";
	for (size_t i = 0; i < s->n_rules; i++)
		if (strcmp(s->rules[i].name, d->rule.name) == 0)
			return "two rules of one name: allowed is one, the ledger counts by name";
	if (d->rule.drop && d->seen & actions)
		return "drop and what is kept in one rule: allowed is either";
	return NULL;
}

/* Exceptions alone (keep_if, first_per_method) keep nothing else. */
static void rule_complete(struct draft *d)
{
	const unsigned shares = 1u << RULE_PROBABILITY | 1u << RULE_RATE | 1u << RULE_BYTES;
	const unsigned exceptions = 1u << RULE_KEEP_IF | 1u << RULE_FIRST;
	if (d->seen & exceptions && !(d->seen & shares))
		d->rule.probability = 0;
}

static int rule_read(struct settings_file *f)
{
	struct settings *s = f->s;
	unsigned line = f->item.line, column = f->item.column;
	struct draft d = {.seen = 0};
	sample_rule_init(&d.rule);
	int rc = map_read(f, &d, RULE_GROUP_RULE, "rules");
	const char *wrong = rc == 0 ? rule_wrong(s, &d) : NULL;
	if (s->n_rules == SAMPLE_RULES_MAX)
		wrong = "more than 256 rules";
	struct sample_rule *more =
		rc == 0 && !wrong ? realloc(s->rules, (s->n_rules + 1) * sizeof(*more)) : NULL;
	if (!more) {
		sample_rule_fini(&d.rule);
		return rc < 0 ? rc
			      : settings_file_fail_at(f, line, column, "rules",
						      wrong ? wrong : "out of memory");
	}
	rule_complete(&d);
	s->rules = more;
	s->rules[s->n_rules++] = d.rule;
	return 0;
}

int settings_rules_read(struct settings_file *f)
{
	int rc;
	if (f->item.kind != YAML_LIST)
		return settings_file_fail(f, "rules",
					  "not a list: allowed are '- name: ...' items");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind != YAML_LIST_END)
		if (rule_read(f) < 0)
			return -EINVAL;
	return rc == 1 ? 0 : -EINVAL;
}

void settings_rules_fini(struct settings *s)
{
	for (size_t i = 0; i < s->n_rules; i++)
		sample_rule_fini(&s->rules[i]);
	free(s->rules);
	s->rules = NULL;
	s->n_rules = 0;
}

/* n rules and none after a failure. */
static struct sample_rule *rules_copy(const struct sample_rule *from, size_t n)
{
	struct sample_rule *to = calloc(n ? n : 1, sizeof(*to));
	for (size_t i = 0; to && i < n; i++) {
		if (sample_rule_copy(&to[i], &from[i]) == 0)
			continue;
		while (i-- > 0)
			sample_rule_fini(&to[i]);
		free(to);
		return NULL;
	}
	return to;
}

int settings_rules_copy(struct settings *to, const struct settings *from)
{
	to->rules = rules_copy(from->rules, from->n_rules);
	to->n_rules = to->rules ? from->n_rules : 0;
	return to->rules ? 0 : -ENOMEM;
}

struct sampler *settings_sampler(const struct settings *s, uint64_t seed)
{
	struct sample_rule rest, *rules = rules_copy(s->rules, s->n_rules);
	if (!rules)
		return NULL;
	sample_rule_rest(&rest, s->sample);
	return sampler_new(rules, s->n_rules, &rest, seed);
}

void settings_rules_print(const struct settings *s, FILE *out)
{
	for (size_t i = 0; i < s->n_rules; i++)
		rule_print(&s->rules[i], out);
}
