/* SPDX-License-Identifier: Apache-2.0 */
/* `redact:` of the YAML file: lists of rules by kind, `allow:`, `key:`. Each value is checked where it stands. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "capture/settings_file.h"

/* One rule being read, with the place of its name, path or pattern */
struct rule {
	enum redact_kind kind;
	enum redact_action action;
	unsigned on; /* 0: not said */
	char what[REDACT_WHAT_MAX + 2];
	unsigned line, column, seen;
	const char *key; /* "redact.json" */
};

static int refuse(struct settings_file *f, const char *key, const char *text, const char *why)
{
	char what[400];
	snprintf(what, sizeof(what), "'%.60s' %s", text, why);
	for (char *c = what; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return settings_file_fail(f, key, what);
}

/* A scalar with something in it */
static int text_of(struct settings_file *f, const char *key)
{
	if (f->item.kind != YAML_SCALAR)
		return settings_file_fail(f, key, "neither a list nor a mapping belongs here");
	if (settings_file_is_null(f))
		return settings_file_fail(f, key, "no value: allowed is text");
	return 0;
}

static int what_set(struct settings_file *f, struct rule *r)
{
	if (text_of(f, r->key) < 0)
		return -EINVAL;
	snprintf(r->what, sizeof(r->what), "%s", f->item.text);
	r->line = f->item.line;
	r->column = f->item.column;
	return 0;
}

static int action_set(struct settings_file *f, struct rule *r)
{
	if (text_of(f, r->key) < 0)
		return -EINVAL;
	for (int a = REDACT_MASK; a <= REDACT_DROP; a++)
		if (strcmp(f->item.text, redact_action_name((enum redact_action)a)) == 0) {
			r->action = (enum redact_action)a;
			return 0;
		}
	return refuse(f, r->key, f->item.text, "is no action: allowed are mask, hash and drop");
}

static int on_add(struct settings_file *f, struct rule *r)
{
	char allowed[120] = "is no place: allowed are ";
	unsigned may = redact_kind_on(r->kind);
	if (text_of(f, r->key) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < REDACT_ON_N; i++) {
		if (!(may >> i & 1))
			continue;
		if (strcmp(f->item.text, redact_on_name(i)) == 0) {
			r->on |= 1u << i;
			return 0;
		}
		strcat(allowed, redact_on_name(i));
		strcat(allowed, ", ");
	}
	if (strcmp(f->item.text, "all") == 0) {
		r->on |= may;
		return 0;
	}
	strcat(allowed, "all");
	return refuse(f, r->key, f->item.text, allowed);
}

/* on: body, or on: [body, path] */
static int on_set(struct settings_file *f, struct rule *r)
{
	int rc;
	if (!redact_kind_on(r->kind))
		return settings_file_fail(f, r->key, "on: is not for names");
	if (f->item.kind != YAML_LIST)
		return on_add(f, r);
	while ((rc = settings_file_next(f)) == 1 && f->item.kind != YAML_LIST_END)
		if (on_add(f, r) < 0)
			return -EINVAL;
	return rc == 1 ? 0 : -EINVAL;
}

/* A member of {name: x, action: hash, on: body}: its value is next. */
static int member(struct settings_file *f, struct rule *r)
{
	const char *names[] = {redact_kind_member(r->kind), "action", "on"};
	int (*const set[])(struct settings_file *, struct rule *) = {what_set, action_set, on_set};
	unsigned i = 0;
	char why[120];
	while (i < 3 && strcmp(f->item.text, names[i]) != 0)
		i++;
	if (i == 3) {
		snprintf(why, sizeof(why), "is no member of a rule: allowed are %s, action%s",
			 names[0], redact_kind_on(r->kind) ? ", on" : "");
		return refuse(f, r->key, f->item.text, why);
	}
	if (r->seen & 1u << i)
		return refuse(f, r->key, f->item.text, "given twice: allowed is once");
	r->seen |= 1u << i;
	return settings_file_next(f) < 1 ? -EINVAL : set[i](f, r);
}

static int rule_map(struct settings_file *f, struct rule *r)
{
	char why[100];
	unsigned line = f->item.line, column = f->item.column;
	int rc;
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR)
		if (member(f, r) < 0)
			return -EINVAL;
	if (rc < 1)
		return -EINVAL;
	if (f->item.kind != YAML_MAP_END)
		return settings_file_fail(f, r->key, "a member of a rule is named by a word");
	if (r->seen & 1)
		return 0;
	snprintf(why, sizeof(why), "a rule without its %s", redact_kind_member(r->kind));
	return settings_file_fail_at(f, line, column, r->key, why);
}

static int rule_add(struct settings_file *f, struct rule *r)
{
	char err[REDACT_ERROR_MAX];
	unsigned may = redact_kind_on(r->kind);
	unsigned on = REDACT_ON_ALL & ~(may & ~(r->on ? r->on : may));
	if (redact_rule_check(r->kind, r->what, err) < 0)
		return settings_file_fail_at(f, r->line, r->column, r->key, err);
	int rc = redact_rules_add(&f->s->redact_rules, r->kind, r->action, on, r->what);
	if (rc < 0)
		return settings_file_fail_at(f, r->line, r->column, r->key,
					     rc == -E2BIG ? "too many rules: allowed are 256"
							  : "out of memory");
	return 0;
}

static int rules(struct settings_file *f, enum redact_kind kind)
{
	char key[SETTINGS_KEY_MAX];
	int rc;
	snprintf(key, sizeof(key), "redact.%s", redact_kind_key(kind));
	if (f->item.kind != YAML_LIST)
		return settings_file_fail(f, key, "not a list: allowed is [...], a rule each");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind != YAML_LIST_END) {
		struct rule *r = calloc(1, sizeof(*r));
		if (!r)
			return settings_file_fail(f, key, "out of memory");
		r->kind = kind;
		r->key = key;
		rc = f->item.kind == YAML_MAP ? rule_map(f, r) : what_set(f, r);
		if (rc == 0)
			rc = rule_add(f, r);
		free(r);
		if (rc < 0)
			return -EINVAL;
	}
	return rc == 1 ? 0 : -EINVAL;
}

static int allow(struct settings_file *f)
{
	static const char key[] = "redact.allow";
	int rc;
	if (f->item.kind != YAML_LIST)
		return settings_file_fail(f, key, "not a list: allowed is [...], a name each");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind != YAML_LIST_END) {
		if (text_of(f, key) < 0)
			return -EINVAL;
		rc = redact_rules_allow(&f->s->redact_rules, f->item.text);
		if (rc < 0)
			return settings_file_fail(f, key,
						  rc == -E2BIG ? "too many names: allowed are 256"
							       : "out of memory");
	}
	return rc == 1 ? 0 : -EINVAL;
}

static int key_set(struct settings_file *f)
{
	static const char key[] = "redact.key";
	char err[REDACT_ERROR_MAX];
	if (text_of(f, key) < 0)
		return -EINVAL;
	if (redact_key_check(f->item.text, err) < 0)
		return settings_file_fail(f, key, err);
	f->s->redact_rules.key = strdup(f->item.text);
	return f->s->redact_rules.key ? 0 : settings_file_fail(f, key, "out of memory");
}

/* By the word at f->item, whose value is next. *seen: a bit for each that was. */
static int section(struct settings_file *f, unsigned *seen)
{
	const char *names[REDACT_RULES + 2] = {[REDACT_RULES] = "allow", "key"};
	char why[200];
	unsigned i = 0, n = REDACT_RULES + 2;
	for (int k = 0; k < REDACT_RULES; k++)
		names[k] = redact_kind_key((enum redact_kind)k);
	while (i < n && strcmp(f->item.text, names[i]) != 0)
		i++;
	if (i == n) {
		int near = nearest_name(f->item.text, names, n);
		snprintf(why, sizeof(why),
			 "is no part of it%s%s%s: allowed are headers, query, cookies, json, form, "
			 "thrift, protobuf, regex, allow and key",
			 near < 0 ? "" : ": did you mean ", near < 0 ? "" : names[near],
			 near < 0 ? "" : "?");
		return refuse(f, "redact", f->item.text, why);
	}
	if (*seen & 1u << i)
		return refuse(f, "redact", f->item.text, "given twice: allowed is once");
	*seen |= 1u << i;
	if (settings_file_next(f) < 1)
		return -EINVAL;
	return i < REDACT_RULES    ? rules(f, (enum redact_kind)i)
	       : i == REDACT_RULES ? allow(f)
				   : key_set(f);
}

int settings_redact(struct settings_file *f)
{
	unsigned line = f->item.line, column = f->item.column, seen = 0;
	int rc;
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR)
		if (section(f, &seen) < 0)
			return -EINVAL;
	if (rc < 1)
		return -EINVAL;
	if (f->item.kind != YAML_MAP_END)
		return settings_file_fail(f, "redact", "a part of it is named by a word");
	if (!seen)
		return settings_file_fail_at(f, line, column, "redact",
					     "nothing in it: allowed are true, false or rules");
	return 0;
}
