/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions by Vectorscan: automata, no backtracking, one pass however many patterns (C4). It tells every end of
 * every match; what any of them covers is redacted.
 */
#include <errno.h>
#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "capture/redact_state.h"

enum { FLAGS = HS_FLAG_SOM_LEFTMOST | HS_FLAG_DOTALL };

int redact_regex_check(const char *pattern, char err[REDACT_ERROR_MAX])
{
	hs_database_t *db = NULL;
	hs_compile_error_t *e = NULL;
	char safe[100];
	if (hs_compile(pattern, FLAGS, HS_MODE_BLOCK, NULL, &db, &e) == HS_SUCCESS) {
		hs_free_database(db);
		return 0;
	}
	log_escape(safe, sizeof(safe), bytes_str(pattern));
	snprintf(
		err, REDACT_ERROR_MAX,
		"'%s' is no pattern (%s): allowed is PCRE syntax without back-references and "
		"look-around, not matching empty text; instead of a repeat of hundreds write + or *",
		safe, e ? e->message : "no memory");
	hs_free_compile_error(e);
	return -EINVAL;
}

/* The longest text that a pattern can match; SIZE_MAX: no bound, or not known */
static size_t width_of(const char *pattern)
{
	hs_expr_info_t *info = NULL;
	hs_compile_error_t *e = NULL;
	size_t width = SIZE_MAX;
	if (hs_expression_info(pattern, FLAGS, &info, &e) == HS_SUCCESS && info &&
	    info->max_width != UINT32_MAX)
		width = info->max_width;
	free(info);
	hs_free_compile_error(e);
	return width;
}

static int compile(struct redact_regex *x, const char *const *patterns, char *err, size_t err_n)
{
	unsigned flags[REDACT_RULES_MAX], ids[REDACT_RULES_MAX];
	hs_compile_error_t *e = NULL;
	hs_database_t *db = NULL;
	hs_scratch_t *scratch = NULL;
	for (unsigned i = 0; i < x->n; i++) {
		flags[i] = FLAGS;
		ids[i] = i;
	}
	if (hs_compile_multi(patterns, flags, ids, (unsigned)x->n, HS_MODE_BLOCK, NULL, &db, &e) !=
	    HS_SUCCESS) {
		snprintf(err, err_n, "redact: regex: %s%s%s",
			 e && e->expression >= 0 ? patterns[e->expression] : "all together",
			 e ? ": " : "", e ? e->message : "");
		hs_free_compile_error(e);
		return -EINVAL;
	}
	x->db = db;
	if (hs_alloc_scratch(db, &scratch) != HS_SUCCESS)
		return -ENOMEM;
	x->scratch = scratch;
	return 0;
}

int redact_regex_init(struct redact_regex *x, const struct redact_rules *rules, unsigned on,
		      char *err, size_t err_n)
{
	const char *patterns[REDACT_RULES_MAX];
	x->rules = calloc(rules->n ? rules->n : 1, sizeof(*x->rules));
	if (!x->rules)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n; i++) {
		const struct redact_rule *rule = &rules->list[i];
		if (rule->kind != REDACT_REGEX || !(rule->on & on))
			continue;
		size_t width = width_of(rule->what);
		x->width = width > x->width ? width : x->width;
		patterns[x->n] = rule->what;
		x->rules[x->n++] = rule;
	}
	return x->n ? compile(x, patterns, err, err_n) : 0;
}

void redact_regex_fini(struct redact_regex *x)
{
	if (x->scratch)
		hs_free_scratch(x->scratch);
	if (x->db)
		hs_free_database(x->db);
	free(x->rules);
}

/* Of two that meet, the one that tells less: a hash of parts would be no token anyway. */
static enum redact_action stronger(enum redact_action a, enum redact_action b)
{
	if (a == REDACT_HASH)
		return b;
	return b == REDACT_DROP ? b : a;
}

/*
 * Ends come rising. A match that overlaps what is there widens it, back to where it begins: no more is kept than one
 * range a stretch of text, and a pattern that ends at every byte costs a step each.
 */
static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
		    void *ctx)
{
	struct redact_matches *m = ctx;
	enum redact_action action = m->by->rules[id]->action;
	(void)flags;
	if (from >= to)
		return 0;
	while (m->n && from < m->list[m->n - 1].to) {
		const struct redact_match *last = &m->list[--m->n];
		from = last->from < from ? last->from : from;
		to = last->to > to ? last->to : to;
		action = stronger(action, last->action);
	}
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 16;
		void *p = realloc(m->list, cap * sizeof(*m->list));
		m->failed = !p;
		if (!p)
			return 1;
		m->list = p;
		m->cap = cap;
	}
	m->list[m->n++] = (struct redact_match) {(size_t)from, (size_t)to, action};
	return 0;
}

int redact_regex_find(const struct redact_regex *x, struct bytes text, struct redact_matches *out)
{
	out->n = 0;
	out->failed = false;
	out->by = x;
	if (text.n > UINT32_MAX)
		return -1;
	hs_error_t rc = hs_scan(x->db, (const char *)text.p, (unsigned)text.n, 0, x->scratch,
				on_match, out);
	return rc == HS_SUCCESS && !out->failed ? 0 : -1;
}

/* As long as the secret, for a body that says how long it is: [redacted]***, or hex digits of the hash. */
static void put_same_length(struct redact_job *j, const struct redact_match *at)
{
	static const char stars[] = "********************************";
	struct redact_token *t = &j->r->by->token;
	size_t left = at->to - at->from;
	struct bytes text = BYTES(REDACT_MASKED);
	if (at->action == REDACT_HASH && left >= 8) {
		text = redact_token_text(t, REDACT_HASH, bytes_of(j->in.p + at->from, left));
		if (text.n == REDACT_TOKEN && left < REDACT_TOKEN)
			text = bytes_of(text.p + 3, REDACT_TOKEN - 4); /* digits alone */
		text = bytes_head(text, left);
	}
	text = bytes_head(text, text.n <= left ? text.n : 0);
	redact_job_copy(j, at->from);
	redact_job_put(j, text);
	for (left -= text.n; left; left -= text.n) {
		text = bytes_head(BYTES(stars), left);
		redact_job_put(j, text);
		if (j->failed)
			break;
	}
	redact_job_skip(j, at->to);
	redact_job_count(j, REDACT_REGEX);
}

int redact_regex_body(struct redact_job *j, bool same_length)
{
	struct redactor *r = j->r->by;
	struct redact_matches *m = &r->matches;
	struct bytes none = {0};
	if (redact_regex_find(&r->body_regex, j->in, m) < 0)
		return redact_job_fail(j, REDACT_NO_MEMORY);
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].action == REDACT_DROP) {
			redact_job_count(j, REDACT_REGEX);
			return redact_job_fail(j, REDACT_DROPPED);
		}
	for (size_t i = 0; i < m->n && !j->failed; i++) {
		const struct redact_match *at = &m->list[i];
		struct bytes secret = bytes_of(j->in.p + at->from, at->to - at->from);
		if (same_length)
			put_same_length(j, at);
		else
			redact_job_replace(j, REDACT_REGEX, at->action, at->from, at->to, secret,
					   none, none);
	}
	return j->failed;
}
