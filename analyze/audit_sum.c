/* SPDX-License-Identifier: Apache-2.0 */
/* Holes of one instance, and the counters of all of them added up by name. */
#include "analyze/audit_sum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const audit_open_exits[AUDIT_OPEN_EXITS] = {"spooled", "killed", "possibly_persisted"};

/* -1: none of them */
static int open_exit(const char *name)
{
	for (int i = 0; i < AUDIT_OPEN_EXITS; i++)
		if (strcmp(audit_open_exits[i], name) == 0)
			return i;
	return -1;
}

/* Ranges of the ledger in ascending order, to walk beside the numbers */
struct range {
	uint64_t first, last;
	int open;
};
struct ranges {
	struct range *p;
	size_t n, at;
};

static int ascending(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

static struct ranges lost_ranges(const Sidetap__V1__Ledger *l)
{
	struct ranges r = {calloc(l->n_lost ? l->n_lost : 1, sizeof(*r.p)), 0, 0};
	if (!r.p)
		return r;
	for (size_t i = 0; i < l->n_lost; i++)
		r.p[r.n++] = (struct range) {l->lost[i]->first, l->lost[i]->last,
					     open_exit(l->lost[i]->exit)};
	qsort(r.p, r.n, sizeof(*r.p), ascending);
	return r;
}

/* Numbers are asked for in ascending order. */
static bool named_lost(struct ranges *r, uint64_t n)
{
	while (r->at < r->n && r->p[r->at].last < n)
		r->at++;
	return r->at < r->n && r->p[r->at].first <= n;
}

static bool is_there(const struct audit_instance *i, uint64_t n)
{
	uint64_t page = n / AUDIT_PAGE_NUMBERS;
	if (page >= i->n_pages || !i->page[page])
		return false;
	return i->page[page][n % AUDIT_PAGE_NUMBERS / 8] & 1u << n % 8;
}

static void add_hole(struct audit_instance *i, uint64_t first, uint64_t last)
{
	i->missing += last - first + 1;
	if (i->n_holes && i->hole[i->n_holes - 1].last + 1 == first)
		i->hole[i->n_holes - 1].last = last;
	else if (i->n_holes < AUDIT_HOLES_SHOWN)
		i->hole[i->n_holes++] = (struct audit_hole) {first, last};
}

/* None of from..to is there: each is named as lost, or missing. In whole ranges: there may be
 * 2^63. */
static void absent(struct audit_instance *i, struct ranges *r, uint64_t from, uint64_t to)
{
	while (from <= to) {
		uint64_t end = to;
		if (named_lost(r, from)) {
			if (r->p[r->at].last < end)
				end = r->p[r->at].last;
			i->records_lost += end - from + 1;
			if (r->p[r->at].open >= 0)
				i->absent[r->p[r->at].open] += end - from + 1;
		} else {
			if (r->at < r->n && r->p[r->at].first - 1 < end)
				end = r->p[r->at].first - 1;
			add_hole(i, from, end);
		}
		if (end == UINT64_MAX)
			return;
		from = end + 1;
	}
}

static void find_holes(struct audit_instance *i, struct ranges *r, uint64_t last)
{
	uint64_t n = 1;
	for (size_t p = 0; p < i->n_pages && n <= last; p++) {
		uint64_t end = (uint64_t)(p + 1) * AUDIT_PAGE_NUMBERS - 1;
		if (end > last)
			end = last;
		for (; i->page[p] && n <= end; n++)
			if (!is_there(i, n))
				absent(i, r, n, n);
		if (!i->page[p])
			absent(i, r, n, end);
		n = end + 1;
	}
	if (n <= last)
		absent(i, r, n, last);
}

static uint64_t count_to(const struct audit_instance *i, uint64_t last)
{
	uint64_t n = 0;
	for (size_t p = 0; p < i->n_pages && (uint64_t)p * AUDIT_PAGE_NUMBERS <= last; p++)
		for (uint64_t k = 0; i->page[p] && k < AUDIT_PAGE_NUMBERS; k++) {
			uint64_t number = (uint64_t)p * AUDIT_PAGE_NUMBERS + k;
			n += number > 0 && number <= last && is_there(i, number);
		}
	return n;
}

int64_t audit_residue(const Sidetap__V1__Ledger__Stage *s)
{
	uint64_t out = s->held;
	for (size_t i = 0; i < s->n_exits; i++)
		out += s->exits[i]->count;
	return (int64_t)(s->in - out);
}

void audit_judge(struct audit *a, struct audit_instance *i)
{
	const Sidetap__V1__Ledger *l = i->ledger;
	i->missing = i->beyond = i->records_lost = 0;
	memset(i->absent, 0, sizeof(i->absent));
	i->n_holes = 0;
	i->faults = a->overflowed ? AUDIT_UNPROVABLE : 0;
	if (!l) {
		i->faults |= AUDIT_NO_LEDGER;
		return;
	}
	struct ranges r = lost_ranges(l);
	if (!r.p)
		i->faults |= AUDIT_UNPROVABLE;
	find_holes(i, &r, l->last_record_number);
	free(r.p);
	i->beyond = i->records - count_to(i, l->last_record_number);
	for (size_t k = 0; k < l->n_stages; k++)
		if (audit_residue(l->stages[k]) != 0 || (l->final && l->stages[k]->held))
			i->faults |= AUDIT_RESIDUE;
	i->faults |= (i->missing ? AUDIT_MISSING : 0) | (l->final ? 0 : AUDIT_NOT_FINAL) |
		     (l->unprovable ? AUDIT_UNPROVABLE : 0) |
		     (l->final && i->beyond ? AUDIT_BEYOND : 0);
}

static void *grown(void *p, size_t n, size_t one, bool *failed)
{
	void *q = n % 16 == 0 ? realloc(p, (n + 16) * one) : p;
	*failed = *failed || !q;
	return q;
}

static void count(struct audit_counts *c, const char *name, uint64_t n, bool lost, bool *failed)
{
	size_t i = 0;
	while (i < c->n && strcmp(c->p[i].name, name) != 0)
		i++;
	if (i == c->n) {
		struct audit_count *p = grown(c->p, c->n, sizeof(*p), failed);
		char *copy = p ? strdup(name) : NULL;
		if (p)
			c->p = p;
		if (!copy) {
			*failed = true;
			return;
		}
		c->p[c->n++] = (struct audit_count) {copy, 0, false};
	}
	c->p[i].n += n;
	c->p[i].lost = c->p[i].lost || lost;
}

static struct audit_stage *stage_of(struct audit_sum *s, const Sidetap__V1__Ledger__Stage *l)
{
	for (size_t i = 0; i < s->n_stages; i++)
		if (strcmp(s->stage[i].name, l->name) == 0 &&
		    strcmp(s->stage[i].unit, l->unit) == 0)
			return &s->stage[i];
	void *p = grown(s->stage, s->n_stages, sizeof(*s->stage), &s->failed);
	if (!p)
		return NULL;
	s->stage = p;
	s->stage[s->n_stages] = (struct audit_stage) {.name = l->name, .unit = l->unit};
	return &s->stage[s->n_stages++];
}

/* Packets and bytes of one exit must not be added up: the first unit a name comes with keeps it. */
static void count_lost(struct audit_sum *s, const struct audit_stage *stage, const char *name,
		       uint64_t n)
{
	char other[160];
	for (size_t i = 0; i < s->n_stages; i++) {
		const struct audit_stage *first = &s->stage[i];
		size_t k = 0;
		while (k < first->exits.n &&
		       !(first->exits.p[k].lost && strcmp(first->exits.p[k].name, name) == 0))
			k++;
		if (k == first->exits.n)
			continue;
		if (strcmp(first->unit, stage->unit) != 0) {
			snprintf(other, sizeof(other), "%.100s_%.40s", name, stage->unit);
			name = other;
		}
		break;
	}
	count(&s->lost, name, n, true, &s->failed);
}

static void sum_stage(struct audit_sum *s, const Sidetap__V1__Ledger__Stage *l)
{
	struct audit_stage *t = stage_of(s, l);
	if (!t)
		return;
	t->in += l->in;
	t->held += l->held;
	t->made += l->made;
	t->residue += audit_residue(l);
	t->approximate = t->approximate || l->approximate;
	for (size_t i = 0; i < l->n_exits; i++) {
		const Sidetap__V1__Ledger__Exit *e = l->exits[i];
		count(&t->exits, e->name, e->count, e->lost, &s->failed);
		bool decided = strcmp(l->name, "records") != 0 || open_exit(e->name) < 0;
		if (e->lost && e->count && decided)
			count_lost(s, t, e->name, e->count);
	}
}

/* Of what was under way when the ledger was written: what is not there. */
static void sum_absent(struct audit_sum *s, const struct audit_instance *i)
{
	struct audit_stage *t = NULL;
	for (size_t k = 0; k < s->n_stages && !t; k++)
		t = strcmp(s->stage[k].name, "records") == 0 ? &s->stage[k] : NULL;
	for (int k = 0; t && k < AUDIT_OPEN_EXITS; k++)
		if (i->absent[k])
			count_lost(s, t, audit_open_exits[k], i->absent[k]);
}

static void sum_rule(struct audit_sum *s, const Sidetap__V1__Ledger__Rule *l)
{
	size_t i = 0;
	while (i < s->n_rules && strcmp(s->rule[i].name, l->name) != 0)
		i++;
	if (i == s->n_rules) {
		void *p = grown(s->rule, s->n_rules, sizeof(*s->rule), &s->failed);
		if (!p)
			return;
		s->rule = p;
		s->rule[s->n_rules++] = (struct audit_rule) {.name = l->name};
	}
	s->rule[i].seen += l->seen;
	s->rule[i].kept += l->kept;
	s->rule[i].weight_sum += l->weight_sum;
}

void audit_sum_make(const struct audit *a, struct audit_sum *s)
{
	*s = (struct audit_sum) {.final = a->n > 0, .exact = a->n > 0};
	for (size_t i = 0; i < a->n; i++) {
		const Sidetap__V1__Ledger *l = a->instance[i]->ledger;
		s->calls += a->instance[i]->calls;
		s->duplicates += a->instance[i]->duplicates;
		s->final = s->final && l && l->final;
		s->exact = s->exact && (!l || l->exact);
		if (!l)
			continue;
		for (size_t k = 0; k < l->n_stages; k++)
			sum_stage(s, l->stages[k]);
		sum_absent(s, a->instance[i]);
		for (size_t k = 0; k < l->n_rules; k++)
			sum_rule(s, l->rules[k]);
		s->gap_connections += l->n_gap_connections + l->more_gap_connections;
	}
}

static void counts_fini(struct audit_counts *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->p[i].name);
	free(c->p);
}

void audit_sum_fini(struct audit_sum *s)
{
	for (size_t i = 0; i < s->n_stages; i++)
		counts_fini(&s->stage[i].exits);
	counts_fini(&s->lost);
	free(s->stage);
	free(s->rule);
}

bool audit_killed(const struct audit *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->instance[i]->ledger && a->instance[i]->ledger->killed)
			return true;
	return false;
}

uint64_t audit_lost(const struct audit *a)
{
	struct audit_sum s;
	uint64_t n = 0;
	audit_faults(a); /* finds what is absent */
	audit_sum_make(a, &s);
	for (size_t i = 0; i < s.lost.n; i++)
		n += s.lost.p[i].n;
	audit_sum_fini(&s);
	return n;
}
