/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of flows: a table whose callbacks check their contract and note what they were told. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "capture/flow.h"
#include "tests/unit/gen.h"

#define MS 1000000ull
enum { FLOWS_MAX = 2048, GAPS_MAX = 64, ORDER_MAX = 256 };

/* What the callbacks of one flow told */
struct told {
	struct flow flow; /* as of the last callback */
	bool open, half[2], closed;
	enum flow_end how;
	struct buf got[2]; /* without the gaps */
	uint64_t next[2];
	struct {
		enum dir dir;
		uint64_t off, n;
	} gaps[GAPS_MAX];
	size_t n_gaps;
	uint64_t gap_bytes[2];
	char order[ORDER_MAX]; /* a letter a run: Q request, A response; q, a: gap in it */
	unsigned flags;
};

struct world {
	struct flow_table *t;
	struct told told[FLOWS_MAX];
	size_t n;
	bool reverse; /* at the first data */
	bool keep; /* store the bytes */
};

static inline void on_open(void *ctx, struct flow *f)
{
	struct world *w = ctx;
	if (w->n == FLOWS_MAX)
		w->n = 0;
	struct told *told = &w->told[w->n++];
	for (int d = 0; d < 2; d++)
		buf_fini(&told->got[d]);
	*told = (struct told) {.open = true};
	assert_null(f->user);
	f->user = told;
}

static inline void on_data(void *ctx, struct flow *f, enum dir dir, const struct stream_run *run)
{
	struct world *w = ctx;
	struct told *told = f->user;
	assert_non_null(told);
	assert_false(told->closed);
	assert_false(told->half[dir]);
	assert_true(run->missing == 0 || run->data.n == 0);
	assert_true(run->missing + run->data.n > 0);
	if (run->flags & STREAM_URGENT && run->off == told->next[dir] + 1)
		told->next[dir]++;
	assert_int_equal(run->off, told->next[dir]);
	told->next[dir] += run->missing + run->data.n;
	told->flags |= run->flags;
	size_t n = strlen(told->order);
	if (n + 1 < ORDER_MAX)
		told->order[n] = run->missing ? "qa"[dir] : "QA"[dir];
	if (run->missing) {
		if (told->n_gaps < GAPS_MAX) {
			told->gaps[told->n_gaps].dir = dir;
			told->gaps[told->n_gaps].off = run->off;
			told->gaps[told->n_gaps++].n = run->missing;
		}
		told->gap_bytes[dir] += run->missing;
	} else if (w->keep) {
		assert_int_equal(buf_append(&told->got[dir], run->data), 0);
	}
	told->flow = *f;
	if (w->reverse) {
		w->reverse = false;
		flow_reverse(w->t, f);
	}
}

static inline void on_half_close(void *ctx, struct flow *f, enum dir dir)
{
	(void)ctx;
	struct told *told = f->user;
	assert_false(told->half[dir]);
	told->half[dir] = true;
}

static inline void on_close(void *ctx, struct flow *f, enum flow_end how)
{
	(void)ctx;
	struct told *told = f->user;
	assert_false(told->closed);
	told->closed = true;
	told->how = how;
	told->flow = *f;
	f->user = NULL;
}

static inline struct flow_cfg config(struct world *w, bool from_file)
{
	return (struct flow_cfg) {.max_flows = 65536,
				  .max_pending_flow = 1 << 20,
				  .max_pending_all = 16 << 20,
				  .hole_ns = 50 * MS,
				  .hole_max_ns = 1000 * MS,
				  .seed = 42,
				  .from_file = from_file,
				  .on = {on_open, on_data, on_half_close, on_close},
				  .ctx = w};
}

static inline struct world *world_of(const struct flow_cfg *cfg, struct world *w)
{
	w->keep = true;
	w->t = flow_table_new(cfg);
	assert_non_null(w->t);
	return w;
}

static inline struct world *world_new(bool from_file)
{
	struct world *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	struct flow_cfg cfg = config(w, from_file);
	return world_of(&cfg, w);
}

static inline struct ledger_stage stage(struct world *w, size_t i)
{
	struct ledger_stage s[3];
	assert_int_equal(flow_ledger(w->t, s, 3), 3);
	return s[i];
}

static inline uint64_t exit_of(struct world *w, size_t i, const char *name)
{
	struct ledger_stage s = stage(w, i);
	for (unsigned k = 0; k < s.n_exits; k++)
		if (strcmp(s.exits[k].name, name) == 0)
			return s.exits[k].n;
	fail_msg("no exit %s", name);
	return 0;
}
#define packets(w, name)      exit_of(w, 0, name)
#define stream_bytes(w, name) exit_of(w, 1, name)
#define gap_bytes(w, name)    exit_of(w, 2, name)

static inline void balanced(struct world *w)
{
	for (size_t i = 0; i < 3; i++) {
		struct ledger_stage s = stage(w, i);
		assert_int_equal(ledger_residue(&s), 0);
	}
}

/* The ledger must balance, nothing is held at the end, no flow stays open. */
static inline void world_end(struct world *w)
{
	balanced(w);
	flow_end_all(w->t, FLOW_STOP);
	balanced(w);
	assert_int_equal(stage(w, 1).held, 0);
	assert_int_equal(flow_count(w->t), 0);
	for (size_t i = 0; i < w->n; i++)
		assert_true(w->told[i].closed);
	flow_table_free(w->t);
	for (size_t i = 0; i < FLOWS_MAX; i++)
		for (int d = 0; d < 2; d++)
			buf_fini(&w->told[i].got[d]);
	free(w);
}

static inline void expect(const struct told *told, enum dir dir, const char *text)
{
	assert_int_equal(told->got[dir].n, strlen(text));
	if (*text)
		assert_memory_equal(told->got[dir].p, text, strlen(text));
}

static inline struct gen_conn web(void)
{
	return gen_conn("10.0.0.1", 40000, "10.0.0.2", 80, 1000);
}

/* Both rings empty, several times, so much later than the last packet */
static inline void settle(struct world *w, uint64_t now_ns)
{
	flow_settle(w->t, now_ns);
	flow_settle(w->t, now_ns);
}

#define SEND(g, c, dir, text) gen_send(g, c, dir, BYTES(text), 1 << 20)
