/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of sidetap.v1.Ledger. It runs once in seconds: sizes of nested messages are taken
 * anew. */
#include <errno.h>

#include "sink/record.h"
#include "sink/record_block.h"
#include "sink/record_wire.h"

typedef void emit_fn(struct wire *w, const void *item);

static void nested(struct wire *w, unsigned field, emit_fn *emit, const void *item)
{
	struct wire sub = {.sizing = true, .careful = w->careful};
	emit(&sub, item);
	w->suspicion |= sub.suspicion;
	wire_head(w, field, sub.n);
	if (w->sizing)
		w->n += sub.n;
	else
		emit(w, item);
}

static void exit_emit(struct wire *w, const void *item)
{
	const struct ledger_exit *e = item;
	wire_string(w, 1, bytes_str(e->name));
	wire_uint(w, 2, e->n);
	wire_uint(w, 3, e->lost);
}

static void stage_emit(struct wire *w, const void *item)
{
	const struct ledger_stage *s = item;
	wire_string(w, 1, bytes_str(s->name));
	wire_string(w, 2, bytes_str(s->unit));
	wire_uint(w, 3, s->in);
	for (unsigned i = 0; i < s->n_exits; i++)
		nested(w, 4, exit_emit, &s->exits[i]);
	wire_uint(w, 5, s->held);
	wire_uint(w, 6, s->made);
	wire_uint(w, 7, s->approximate);
}

static void range_emit(struct wire *w, const void *item)
{
	const struct record_range *r = item;
	wire_uint(w, 1, r->first);
	wire_uint(w, 2, r->last);
	wire_string(w, 3, bytes_str(r->exit));
}

static void rule_emit(struct wire *w, const void *item)
{
	const struct record_rule *r = item;
	wire_string(w, 1, bytes_str(r->name));
	wire_uint(w, 2, r->seen);
	wire_uint(w, 3, r->kept);
	wire_double(w, 4, r->weight_sum);
}

/* Where the instance, the key, stands: the first field */
static struct record_span ledger_emit(struct wire *w, const struct record_ledger *l)
{
	size_t key = wire_string(w, 1, bytes_str(l->instance));
	uint32_t key_off = key ? 1 + (uint32_t)wire_varint_size(key) : 0;

	wire_string(w, 2, bytes_str(l->version));
	wire_string(w, 3, bytes_str(l->attach));
	wire_fixed64(w, 4, l->start_unix_ns);
	wire_fixed64(w, 5, l->end_unix_ns);
	wire_uint(w, 6, l->final);
	wire_uint(w, 7, l->exact);
	for (size_t i = 0; i < l->n_stages; i++)
		nested(w, 8, stage_emit, &l->stages[i]);
	wire_uint(w, 9, l->last_record_number);
	for (size_t i = 0; i < l->n_lost; i++)
		nested(w, 10, range_emit, &l->lost[i]);
	for (size_t i = 0; i < l->n_rules; i++)
		nested(w, 11, rule_emit, &l->rules[i]);
	for (size_t i = 0; i < l->n_gap_connections; i++)
		wire_text(w, 12, l->gap_connections[i]);
	wire_uint(w, 13, l->more_gap_connections);
	wire_uint(w, 14, l->unprovable);
	wire_uint(w, 15, l->killed);
	wire_uint(w, 20, l->config_version);
	wire_fixed64(w, 21, l->config_unix_ns);
	wire_string(w, 22, bytes_str(l->config_hash));
	wire_uint(w, 23, l->reloads);
	wire_uint(w, 24, l->reloads_refused);
	return (struct record_span) {key_off, (uint32_t)key};
}

int record_encode_ledger(const struct record_ledger *ledger, struct record **out)
{
	struct wire w = {.sizing = true};

	ledger_emit(&w, ledger);
	if (w.suspicion) {
		w = (struct wire) {.sizing = true, .careful = true};
		ledger_emit(&w, ledger);
	}
	if (w.n > RECORD_MAX_BYTES)
		return -E2BIG;
	struct record *r = record_block_new(RECORD_LEDGER, w.n);
	if (!r)
		return -ENOMEM;
	w = (struct wire) {.p = r->data, .careful = w.careful};
	r->key = ledger_emit(&w, ledger);
	r->last_part = true;
	r->unix_ns = ledger->end_unix_ns;
	*out = r;
	return 0;
}
