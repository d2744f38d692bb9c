/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML file: a mapping of the flags' long names. All of it is applied, or nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/yaml.h"
#include "capture/settings_file.h"

/* Text that came from the file goes through here escaped: never acted on by a terminal. */
int settings_file_fail_at(struct settings_file *f, unsigned line, unsigned column, const char *key,
			  const char *what)
{
	char name[300], safe_key[SETTINGS_KEY_MAX * 2];
	log_escape(name, sizeof(name), bytes_str(f->name));
	log_escape(safe_key, sizeof(safe_key), bytes_str(key));
	fprintf(f->err, "%s:%u:%u: %s%s%s\n", name, line, column, safe_key, *key ? ": " : "", what);
	return -EINVAL;
}

int settings_file_fail(struct settings_file *f, const char *key, const char *what)
{
	return settings_file_fail_at(f, f->item.line, f->item.column, key, what);
}

int settings_file_next(struct settings_file *f)
{
	int rc = yaml_doc_next(f->yaml, &f->item);
	if (rc >= 0)
		return rc;
	char what[400];
	log_escape(what, sizeof(what), bytes_str(f->item.text));
	return settings_file_fail(f, "", what);
}

bool settings_file_is_null(const struct settings_file *f)
{
	const struct yaml_item *i = &f->item;
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	for (size_t k = 0; !i->quoted && k < 5; k++)
		if (strcmp(i->text, nulls[k]) == 0)
			return true;
	return false;
}

/* Sets o from the scalar at f->item; prefix ("calls=") for a member of a mapping. */
static int set_scalar(struct settings_file *f, const struct option *o, bool on, const char *key,
		      const char *prefix)
{
	char err[OPTION_ERROR_MAX];
	const char *text = f->item.text;

	if (settings_file_is_null(f) || (o->kind == OPTION_BOOL && f->item.quoted)) {
		option_refuse(o, text, settings_file_is_null(f) ? "is no value" : "is text", err);
		return settings_file_fail(f, key, err);
	}
	if (o->kind == OPTION_BOOL && !on)
		text = strcmp(text, "true") == 0    ? "false"
		       : strcmp(text, "false") == 0 ? "true"
						    : text;
	size_t n = strlen(prefix) + strlen(text) + 1;
	char *joined = malloc(n);
	if (!joined)
		return settings_file_fail(f, key, "out of memory");
	snprintf(joined, n, "%s%s", prefix, text);
	int rc = option_set(f->s, o, joined, err);
	free(joined);
	return rc < 0 ? settings_file_fail(f, key, err) : 0;
}

/* port: [80, 8080-8090] */
static int set_list(struct settings_file *f, const struct option *o, const char *key)
{
	char err[OPTION_ERROR_MAX];
	unsigned line = f->item.line, column = f->item.column, n = 0;
	int rc;

	if (o->kind != OPTION_PORTS) {
		option_refuse(o, "[...]", "is a list", err);
		return settings_file_fail(f, key, err);
	}
	for (; (rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR; n++)
		if (set_scalar(f, o, true, key, "") < 0)
			return -EINVAL;
	if (rc == 1 && f->item.kind != YAML_LIST_END)
		return settings_file_fail(f, key, "a list inside the list: allowed are values");
	if (rc == 1 && n == 0) {
		option_refuse(o, "[]", "is an empty list", err);
		return settings_file_fail_at(f, line, column, key, err);
	}
	return rc == 1 ? 0 : -EINVAL;
}

/* limit: {calls: 100, time: 5s} */
static int limit_member(struct settings_file *f, const struct option *o, const char *key,
			unsigned *seen)
{
	static const char *const members[] = {"calls", "bytes", "time"};
	char err[OPTION_ERROR_MAX], prefix[16];
	unsigned m = 0;

	while (m < 3 && strcmp(f->item.text, members[m]) != 0)
		m++;
	if (m == 3) {
		option_refuse(o, f->item.text, "is no limit", err);
		return settings_file_fail(f, key, err);
	}
	if (*seen & 1u << m)
		return settings_file_fail(f, key, "a limit given twice: allowed is once");
	*seen |= 1u << m;
	int rc = settings_file_next(f);
	if (rc == 1 && f->item.kind != YAML_SCALAR)
		return settings_file_fail(f, key, "a limit is one value");
	snprintf(prefix, sizeof(prefix), "%s=", members[m]);
	return rc < 1 ? -EINVAL : set_scalar(f, o, true, key, prefix);
}

static int pair_of(struct settings_file *f, const struct option *o, bool on, const char *key);

/* budget: {cpu: 10%}: the option budget-cpu */
static int group_member(struct settings_file *f, const struct option *o, const char *key)
{
	char name[SETTINGS_KEY_MAX];
	bool on;
	snprintf(name, sizeof(name), "%s-%s", o->name, f->item.text);
	const struct option *member = settings_find(bytes_str(name), &on);
	if (!member) {
		char err[OPTION_ERROR_MAX];
		option_refuse(o, f->item.text, "is no member", err);
		return settings_file_fail(f, key, err);
	}
	return pair_of(f, member, true, name);
}

static int set_map(struct settings_file *f, const struct option *o, const char *key)
{
	char err[OPTION_ERROR_MAX];
	unsigned seen = 0;
	int rc;

	if (o->kind != OPTION_LIMIT && o->kind != OPTION_GROUP) {
		option_refuse(o, "{...}", "is a mapping", err);
		return settings_file_fail(f, key, err);
	}
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR) {
		rc = o->kind == OPTION_LIMIT ? limit_member(f, o, key, &seen)
					     : group_member(f, o, key);
		if (rc < 0)
			return -EINVAL;
	}
	if (rc == 1 && f->item.kind != YAML_MAP_END)
		return settings_file_fail(f, key, "what it is made of is named by words");
	return rc == 1 ? 0 : -EINVAL;
}

static int unknown_key(struct settings_file *f, const char *key)
{
	const char *near = settings_nearest(key, true);
	char what[200];
	snprintf(what, sizeof(what),
		 "no such key%s%s%s: allowed are the long names of 'sidetap capture --help'",
		 near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
	return settings_file_fail(f, key, what);
}

static int value_of(struct settings_file *f, const struct option *o, bool on, const char *key)
{
	if (o->kind == OPTION_RULES)
		return settings_rules_read(f);
	if (strcmp(key, "redact") == 0 && f->item.kind == YAML_MAP)
		return settings_redact(f);
	switch (f->item.kind) {
	case YAML_SCALAR: return set_scalar(f, o, on, key, "");
	case YAML_LIST: return set_list(f, o, key);
	default: return set_map(f, o, key);
	}
}

static bool key_wanted(const struct settings_file *f, const struct option *o)
{
	for (const char *const *k = f->keys; k && *k; k++)
		if (strcmp(*k, o->name) == 0)
			return true;
	return !f->keys;
}

/* The value of a key. What a flag set is checked as well, into a settings that is thrown away. */
static int pair_of(struct settings_file *f, const struct option *o, bool on, const char *key)
{
	struct settings *into = f->s, scratch;
	uint64_t bit = 1ull << (o - settings_options);
	if (!key_wanted(f, o))
		return settings_file_fail(
			f, key, "not for here: allowed are sample, connections and rules");
	if (f->seen & bit)
		return settings_file_fail(f, key, "given twice: allowed is once");
	f->seen |= bit;
	int rc = settings_file_next(f);
	if (rc < 1)
		return -EINVAL;
	if (!f->keys && into->flag_set & bit) {
		settings_init(&scratch);
		f->s = &scratch;
	}
	if (f->keys) /* lists begin anew */
		option_reset(f->s, o);
	rc = value_of(f, o, on, key);
	if (f->s != into)
		settings_fini(&scratch);
	f->s = into;
	return rc;
}

static int pair(struct settings_file *f)
{
	char key[SETTINGS_KEY_MAX];
	bool on = true;

	snprintf(key, sizeof(key), "%s", f->item.text);
	const struct option *o = settings_find(bytes_str(f->item.text), &on);
	if (!o || o->kind == OPTION_ACTION || o->flag_only)
		return unknown_key(f, key);
	return pair_of(f, o, on, key);
}

static int mapping(struct settings_file *f)
{
	int rc = settings_file_next(f);
	if (rc < 0)
		return rc;
	if (rc == 0 || (f->item.kind == YAML_SCALAR && settings_file_is_null(f)))
		return settings_file_fail(
			f, "", "nothing in it: allowed are 'name: value' lines, one at least");
	if (f->item.kind != YAML_MAP)
		return settings_file_fail(f, "", "not a mapping: allowed are 'name: value' lines");
	while ((rc = settings_file_next(f)) == 1 && f->item.kind == YAML_SCALAR) {
		rc = pair(f);
		if (rc < 0)
			return rc;
	}
	if (rc == 1 && f->item.kind != YAML_MAP_END)
		return settings_file_fail(f, "", "a key is a word");
	return rc == 1 ? settings_file_next(f) : rc;
}

static void start_over(struct settings *s)
{
	redact_rules_fini(&s->redact_rules);
	for (size_t i = 0; i < settings_n_options; i++) {
		const struct option *o = &settings_options[i];
		if (o->kind != OPTION_ACTION && !o->flag_only && !(s->flag_set & 1ull << i))
			option_reset(s, o);
	}
}

/* All of it into a copy, which takes the place of *s when nothing was wrong. */
static int load(struct settings_file *f, struct settings *s, struct bytes text)
{
	struct settings copy;

	f->item.line = f->item.column = 1;
	if (settings_copy(&copy, s) < 0)
		return settings_file_fail(f, "", "out of memory");
	f->s = &copy;
	if (!f->keys)
		start_over(&copy);
	f->yaml = yaml_doc_new(text);
	int rc = f->yaml && copy.attach && copy.sink ? mapping(f)
						     : settings_file_fail(f, "", "out of memory");
	yaml_doc_free(f->yaml);
	f->s = NULL;
	if (rc < 0) {
		settings_fini(&copy);
		return -EINVAL;
	}
	settings_hash(&copy);
	settings_fini(s);
	*s = copy;
	return 0;
}

int settings_load_text(struct settings *s, const char *name, struct bytes text, FILE *err)
{
	struct settings_file f = {.name = name, .err = err};
	return load(&f, s, text);
}

int settings_overlay(struct settings *s, const char *name, struct bytes text,
		     const char *const *keys, FILE *err)
{
	struct settings_file f = {.name = name, .err = err, .keys = keys};
	return load(&f, s, text);
}

int settings_load(struct settings *s, const char *path, FILE *err)
{
	struct buf text = {0};
	struct settings_file f = {.name = path, .err = err, .item = {.line = 1, .column = 1}};
	int rc = yaml_doc_read(path, SETTINGS_FILE_MAX, &text);

	if (rc == -E2BIG)
		rc = settings_file_fail(&f, "", "larger than 1 MiB: no configuration is");
	else if (rc == -EINVAL)
		rc = settings_file_fail(&f, "", "not a regular file");
	else if (rc < 0)
		rc = settings_file_fail(&f, "", strerror(-rc));
	else
		rc = settings_load_text(s, path, buf_bytes(&text), err);
	buf_fini(&text);
	return rc;
}
