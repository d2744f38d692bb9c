/* SPDX-License-Identifier: Apache-2.0 */
/* Records that were taken and wait to be reported, in order; for one thread. */
#pragma once
#include "sink/sink.h"

struct taken {
	struct record *first, **tail;
	uint64_t records, bytes;
};

static inline void taken_init(struct taken *t)
{
	*t = (struct taken) {.tail = &t->first};
}

static inline void taken_push(struct taken *t, struct record *r)
{
	r->next = NULL;
	*t->tail = r;
	t->tail = &r->next;
	t->records++;
	t->bytes += r->n;
}

/* Before all others: the next that taken_pop() gives. */
static inline void taken_unshift(struct taken *t, struct record *r)
{
	r->next = t->first;
	if (!t->first)
		t->tail = &r->next;
	t->first = r;
	t->records++;
	t->bytes += r->n;
}

/* The oldest, out of the list; NULL: empty. */
static inline struct record *taken_pop(struct taken *t)
{
	struct record *r = t->first;
	if (!r)
		return NULL;
	t->first = r->next;
	t->records--;
	t->bytes -= r->n;
	if (!t->first)
		t->tail = &t->first;
	return r;
}

/* All of `from` goes to the end of t. */
static inline void taken_move(struct taken *t, struct taken *from)
{
	if (!from->first)
		return;
	*t->tail = from->first;
	t->tail = from->tail;
	t->records += from->records;
	t->bytes += from->bytes;
	taken_init(from);
}

/* Reports and frees every record; exit NULL: delivered. */
static inline void taken_report(struct taken *t, const struct sink_cfg *cfg, const char *exit)
{
	struct record *r = t->first, *next;
	taken_init(t);
	for (; r; r = next) {
		next = r->next;
		if (cfg->report)
			cfg->report(cfg->report_ctx, r->kind, r->number, r->last_part, exit);
		record_free(r);
	}
}

static inline void taken_fini(struct taken *t)
{
	struct record *r = t->first, *next;
	for (; r; r = next) {
		next = r->next;
		record_free(r);
	}
	taken_init(t);
}
