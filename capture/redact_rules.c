/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/redact_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/redact_state.h"
#include "sink/utf8.h"

static const char *const keys[REDACT_RULES] = {"headers", "query",  "cookies",  "json",
					       "form",    "thrift", "protobuf", "regex"};
static const char *const names[REDACT_KINDS] = {"header",   "query",        "cookie",     "json",
						"form",     "thrift",       "protobuf",   "regex",
						"userinfo", "unknown_name", "status_text"};
static const char *const actions[] = {"mask", "hash", "drop"};

const char *redact_kind_key(enum redact_kind kind)
{
	return keys[kind];
}

const char *redact_kind_name(enum redact_kind kind)
{
	return names[kind];
}

const char *redact_kind_member(enum redact_kind kind)
{
	return kind == REDACT_REGEX                          ? "pattern"
	       : redact_kind_on(kind) && kind != REDACT_FORM ? "path"
							     : "name";
}

unsigned redact_kind_on(enum redact_kind kind)
{
	switch (kind) {
	case REDACT_REGEX: return REDACT_ON_HEADER | REDACT_ON_PATH | REDACT_ON_BODY;
	case REDACT_JSON:
	case REDACT_FORM:
	case REDACT_THRIFT:
	case REDACT_PROTOBUF: return REDACT_ON_REQUEST | REDACT_ON_RESPONSE;
	default: return 0;
	}
}

const char *redact_on_name(unsigned bit)
{
	static const char *const places[REDACT_ON_N] = {"header", "path", "body", "request",
							"response"};
	return places[bit];
}

const char *redact_action_name(enum redact_action action)
{
	return actions[action];
}

void redact_rules_fini(struct redact_rules *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->list[i].what);
	for (size_t i = 0; i < r->n_allow; i++)
		free(r->allow[i]);
	free(r->list);
	free(r->allow);
	free(r->key);
	*r = (struct redact_rules) {0};
}

int redact_rules_add(struct redact_rules *r, enum redact_kind kind, enum redact_action action,
		     unsigned on, const char *what)
{
	if (r->n == REDACT_RULES_MAX)
		return -E2BIG;
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 8;
		void *p = realloc(r->list, cap * sizeof(*r->list));
		if (!p)
			return -ENOMEM;
		r->list = p;
		r->cap = cap;
	}
	char *copy = strdup(what);
	if (!copy)
		return -ENOMEM;
	r->list[r->n++] = (struct redact_rule) {kind, action, on, copy};
	return 0;
}

int redact_rules_allow(struct redact_rules *r, const char *name)
{
	if (r->n_allow == REDACT_RULES_MAX)
		return -E2BIG;
	if (r->n_allow == r->cap_allow) {
		size_t cap = r->cap_allow ? 2 * r->cap_allow : 8;
		void *p = realloc(r->allow, cap * sizeof(*r->allow));
		if (!p)
			return -ENOMEM;
		r->allow = p;
		r->cap_allow = cap;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	r->allow[r->n_allow++] = copy;
	return 0;
}

int redact_rules_copy(struct redact_rules *to, const struct redact_rules *from)
{
	int rc = 0;
	*to = (struct redact_rules) {0};
	for (size_t i = 0; rc == 0 && i < from->n; i++) {
		const struct redact_rule *f = &from->list[i];
		rc = redact_rules_add(to, f->kind, f->action, f->on, f->what);
	}
	for (size_t i = 0; rc == 0 && i < from->n_allow; i++)
		rc = redact_rules_allow(to, from->allow[i]);
	if (rc == 0 && from->key && !(to->key = strdup(from->key)))
		rc = -ENOMEM;
	if (rc < 0)
		redact_rules_fini(to);
	return rc;
}

bool redact_rules_empty(const struct redact_rules *r)
{
	return !r->n && !r->n_allow && !r->key;
}

/* A double-quoted YAML scalar of ASCII alone: on one line, and nothing that a terminal acts on */
static void print_text(const char *text, FILE *out)
{
	struct bytes rest = bytes_str(text);
	uint32_t c;
	fputc('"', out);
	while (rest.n) {
		size_t n = utf8_next(rest, &c);
		if (n == 0)
			c = rest.p[0];
		rest = bytes_from(rest, n ? n : 1);
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (char)c);
		else if (c >= 0x20 && c < 0x7f)
			fputc((char)c, out);
		else
			fprintf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
	}
	fputc('"', out);
}

static void print_on(const struct redact_rule *rule, FILE *out)
{
	const char *comma = ", on: [";
	unsigned may = redact_kind_on(rule->kind);
	if ((rule->on & may) == may)
		return;
	for (unsigned i = 0; i < REDACT_ON_N; i++)
		if (rule->on & may & 1u << i) {
			fprintf(out, "%s%s", comma, redact_on_name(i));
			comma = ", ";
		}
	fputc(']', out);
}

static void print_kind(const struct redact_rules *r, enum redact_kind kind, const char **sep,
		       FILE *out)
{
	const char *comma = "";
	for (size_t i = 0; i < r->n; i++) {
		const struct redact_rule *rule = &r->list[i];
		if (rule->kind != kind)
			continue;
		if (!*comma)
			fprintf(out, "%s%s: [", *sep, keys[kind]);
		fprintf(out, "%s{%s: ", comma, redact_kind_member(kind));
		print_text(rule->what, out);
		fprintf(out, ", action: %s", actions[rule->action]);
		print_on(rule, out);
		fputc('}', out);
		comma = *sep = ", ";
	}
	if (*comma)
		fputc(']', out);
}

void redact_rules_print(const struct redact_rules *r, FILE *out)
{
	const char *sep = "", *comma = "";
	fputc('{', out);
	if (r->key) {
		fputs("key: ", out);
		print_text(r->key, out);
		sep = ", ";
	}
	for (int k = 0; k < REDACT_RULES; k++)
		print_kind(r, (enum redact_kind)k, &sep, out);
	if (r->n_allow)
		fprintf(out, "%sallow: [", sep);
	for (size_t i = 0; i < r->n_allow; i++, comma = ", ") {
		fputs(comma, out);
		print_text(r->allow[i], out);
	}
	fputs(r->n_allow ? "]}" : "}", out);
}

static int refuse(char err[REDACT_ERROR_MAX], const char *what, const char *why,
		  const char *allowed)
{
	char safe[100];
	log_escape(safe, sizeof(safe), bytes_str(what));
	snprintf(err, REDACT_ERROR_MAX, "'%s' %s: allowed %s", safe, why, allowed);
	return -EINVAL;
}

int redact_rule_check(enum redact_kind kind, const char *what, char err[REDACT_ERROR_MAX])
{
	struct redact_path path;
	const char *why = NULL;
	if (!*what)
		return refuse(err, what, "is empty", "is a name, path or pattern");
	if (strlen(what) > REDACT_WHAT_MAX)
		return refuse(err, "", "is too long", "are 4096 bytes");
	switch (kind) {
	case REDACT_JSON:
		if (redact_json_path_parse(what, &path, &why) == 0)
			return 0;
		return refuse(err, what, why,
			      "are paths such as $.user.password, $..token, $.items[*].card, "
			      "$['a b']");
	case REDACT_THRIFT:
	case REDACT_PROTOBUF:
		if (redact_field_path_parse(what, &path, &why) == 0)
			return 0;
		return refuse(err, what, why,
			      "are field numbers such as 1.3 or 2.*, behind Method: or "
			      "/Service/Method: when they are one method's");
	case REDACT_REGEX: return redact_regex_check(what, err);
	default: return 0;
	}
}

int redact_key_check(const char *key, char err[REDACT_ERROR_MAX])
{
	bool ok = (strncmp(key, "file:", 5) == 0 && key[5]) ||
		  (strncmp(key, "env:", 4) == 0 && key[4]);
	if (ok)
		return 0;
	/* whoever wrote the key itself here finds it in no log */
	snprintf(err, REDACT_ERROR_MAX,
		 "neither file:PATH nor env:NAME (the key itself does not go into the file)");
	return -EINVAL;
}
