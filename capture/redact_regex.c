/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns. One search is linear, all matches of a text need not be: a search may look at the rest of it in vain each
 * time ("a.*b|a" of many a). So they have a cap of processor time, in proportion to the text (C4); beyond it, the text
 * goes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/redact_re2.h"
#include "capture/redact_state.h"

enum { MATCHES_MAX = 1 << 16, CLOCK_EVERY = 8, CAP_NS = 2000000, CAP_NS_A_BYTE = 20 };

static int refuse(char err[REDACT_ERROR_MAX], const char *pattern, const char *why)
{
	char safe[100], safe_why[80];
	log_escape(safe, sizeof(safe), bytes_str(pattern));
	log_escape(safe_why, sizeof(safe_why), bytes_str(why));
	snprintf(err, REDACT_ERROR_MAX,
		 "'%s' is no pattern (%s): allowed is RE2 syntax, without back-references and "
		 "look-around, that does not match empty text",
		 safe, safe_why);
	return -EINVAL;
}

int redact_regex_check(const char *pattern, char err[REDACT_ERROR_MAX])
{
	char why[80];
	struct redact_re2 *re = redact_re2_new(pattern, strlen(pattern), why, sizeof(why));
	if (!re)
		return refuse(err, pattern, why);
	bool empty = redact_re2_empty(re);
	redact_re2_free(re);
	return empty ? refuse(err, pattern, "it matches empty text") : 0;
}

/* All patterns as one: most texts hold none, and one search tells. */
static int any_compile(struct redact_regex *x, char *err, size_t err_n)
{
	struct buf all = {0};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < x->n; i++) {
		rc = buf_append(&all, i ? BYTES("|(?:") : BYTES("(?:"));
		if (rc == 0)
			rc = buf_append(&all, bytes_str(x->rules[i]->what));
		if (rc == 0)
			rc = buf_append(&all, BYTES(")"));
	}
	char why[80];
	x->any = rc == 0 ? redact_re2_new((const char *)all.p, all.n, why, sizeof(why)) : NULL;
	buf_fini(&all);
	if (rc == 0 && !x->any) {
		snprintf(err, err_n, "redact: regex: all patterns together: %s", why);
		rc = -EINVAL;
	}
	return rc;
}

int redact_regex_init(struct redact_regex *x, const struct redact_rules *rules, unsigned on,
		      char *err, size_t err_n)
{
	char why[80];
	x->list = calloc(rules->n ? rules->n : 1, sizeof(*x->list));
	x->rules = calloc(rules->n ? rules->n : 1, sizeof(*x->rules));
	if (!x->rules || !x->list)
		return -ENOMEM;
	for (size_t i = 0; i < rules->n; i++) {
		const struct redact_rule *rule = &rules->list[i];
		if (rule->kind != REDACT_REGEX || !(rule->on & on))
			continue;
		x->list[x->n] = redact_re2_new(rule->what, strlen(rule->what), why, sizeof(why));
		if (!x->list[x->n]) {
			snprintf(err, err_n, "redact: regex: %s", why);
			return -EINVAL;
		}
		x->rules[x->n++] = rule;
	}
	return x->n > 1 ? any_compile(x, err, err_n) : 0;
}

void redact_regex_fini(struct redact_regex *x)
{
	for (size_t i = 0; x->list && i < x->n; i++)
		redact_re2_free(x->list[i]);
	redact_re2_free(x->any);
	free(x->list);
	free(x->rules);
}

static int match_add(struct redact_matches *m, struct redact_match at)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 16;
		void *p = m->n < MATCHES_MAX ? realloc(m->list, cap * sizeof(*m->list)) : NULL;
		if (!p)
			return -ENOMEM;
		m->list = p;
		m->cap = cap;
	}
	m->list[m->n++] = at;
	return 0;
}

/* Of two that meet, the one that tells less: a hash of parts would be no token anyway. */
static enum redact_action stronger(enum redact_action a, enum redact_action b)
{
	if (a == REDACT_HASH)
		return b;
	return b == REDACT_DROP ? b : a;
}

static int by_from(const void *a, const void *b)
{
	const struct redact_match *x = a, *y = b;
	return x->from < y->from ? -1 : x->from > y->from;
}

/* Sorted, and those of several patterns that overlap made one */
static void matches_join(struct redact_matches *m)
{
	size_t n = 0;
	qsort(m->list, m->n, sizeof(*m->list), by_from);
	for (size_t i = 0; i < m->n; i++) {
		struct redact_match *last = n ? &m->list[n - 1] : NULL;
		const struct redact_match *at = &m->list[i];
		if (!last || at->from >= last->to) {
			m->list[n++] = *at;
			continue;
		}
		if (at->from != last->from || at->to != last->to || at->action == REDACT_DROP ||
		    last->action == REDACT_HASH)
			last->action = stronger(at->action, last->action);
		last->to = at->to > last->to ? at->to : last->to;
	}
	m->n = n;
}

static int pattern_find(const struct redact_regex *x, size_t i, struct bytes text,
			uint64_t until_ns, struct redact_matches *out)
{
	struct redact_match at = {.action = x->rules[i]->action};
	int rc;
	for (size_t pos = 0, turn = 1; pos < text.n; turn++) {
		rc = redact_re2_next(x->list[i], text.p, text.n, &pos, &at.from, &at.to);
		if (rc < 1)
			return rc;
		if (at.from < at.to && match_add(out, at) < 0)
			return -1;
		if (turn % CLOCK_EVERY == 0 && clock_ns(CLOCK_THREAD_CPUTIME_ID) > until_ns)
			return -1;
	}
	return 0;
}

int redact_regex_find(const struct redact_regex *x, struct bytes text, struct redact_matches *out)
{
	const struct redact_re2 *any = x->any ? x->any : x->list[0];
	out->n = 0;
	if (!redact_re2_any(any, text.p, text.n))
		return 0;
	uint64_t until_ns =
		clock_ns(CLOCK_THREAD_CPUTIME_ID) + CAP_NS + x->n * CAP_NS_A_BYTE * text.n;
	for (size_t i = 0; i < x->n; i++)
		if (pattern_find(x, i, text, until_ns, out) < 0)
			return -1;
	matches_join(out);
	return 0;
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
	for (left -= text.n; left && !j->failed; left -= text.n) {
		text = bytes_head(BYTES(stars), left);
		redact_job_put(j, text);
	}
	redact_job_skip(j, at->to);
	redact_job_count(j, REDACT_REGEX);
}

static void match_redact(struct redact_job *j, const struct redact_match *at, bool same_length)
{
	struct bytes none = {0}, secret = bytes_of(j->in.p + at->from, at->to - at->from);
	if (same_length)
		put_same_length(j, at);
	else
		redact_job_replace(j, REDACT_REGEX, at->action, at->from, at->to, secret, none,
				   none);
}

int redact_regex_body(struct redact_job *j, bool same_length)
{
	struct redactor *r = j->r->by;
	struct redact_matches *m = &r->matches;
	if (j->body->cut) /* a match may begin in it and end behind it */
		return redact_job_fail(j, REDACT_CUT);
	if (redact_regex_find(&r->body_regex, j->in, m) < 0)
		return redact_job_fail(j, REDACT_SLOW);
	for (size_t i = 0; i < m->n; i++)
		if (m->list[i].action == REDACT_DROP) {
			redact_job_count(j, REDACT_REGEX);
			return redact_job_fail(j, REDACT_DROPPED);
		}
	for (size_t i = 0; i < m->n && !j->failed; i++)
		match_redact(j, &m->list[i], same_length);
	return j->failed;
}
