/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "capture/pipeline_state.h"

/* Adds a stage to those of the same name in a list of at most max. */
static void stages_add(struct ledger_stage *list, size_t *n, size_t max,
		       const struct ledger_stage *s)
{
	struct ledger_stage *to = NULL;
	for (size_t i = 0; i < *n && !to; i++)
		if (strcmp(list[i].name, s->name) == 0)
			to = &list[i];
	if (!to) {
		if (*n < max)
			list[(*n)++] = *s;
		return;
	}
	to->in += s->in;
	to->held += s->held;
	to->made += s->made;
	for (unsigned i = 0; i < s->n_exits; i++)
		for (unsigned j = 0; j < to->n_exits; j++)
			if (strcmp(to->exits[j].name, s->exits[i].name) == 0)
				to->exits[j].n += s->exits[i].n;
}

void pipeline_keep_stage(struct pipeline *p, const struct ledger_stage *s)
{
	stages_add(p->past, &p->n_past, PIPELINE_STAGES_MAX, s);
}

size_t pipeline_ledger(const struct pipeline *p, struct ledger_stage *out, size_t max)
{
	struct ledger_stage now[PIPELINE_STAGES_MAX];
	size_t n_now = p->attach ? p->ops->ledger(p->attach, now, PIPELINE_STAGES_MAX) : 0;
	size_t n = p->n_past < max ? p->n_past : max;
	memcpy(out, p->past, n * sizeof(*out));
	for (size_t i = 0; i < n_now; i++)
		stages_add(out, &n, max, &now[i]);
	n += flow_ledger(p->flows, out + n, max - n);
	n += conns_ledger(p->conns, out + n, max - n);
	n += calls_ledger(p->calls, out + n, max - n);
	n += calls_redact_ledger(p->calls, out + n, max - n);
	n += recorder_ledger(p->recorder, out + n, max - n);
	if (p->governor)
		n += governor_ledger(p->governor, out + n, max - n);
	return n;
}

static void gap_names(const struct pipeline *p, struct record_ledger *l, struct bytes *names,
		      char *text, size_t each)
{
	const uint64_t *numbers;
	size_t n;
	uint64_t all = conns_gaps(p->conns, &numbers, &n);
	for (size_t i = 0; i < n; i++) {
		int len = snprintf(text + i * each, each, "%s-%llu", p->instance,
				   (unsigned long long)numbers[i]);
		names[i] = bytes_of(text + i * each, (size_t)len);
	}
	l->gap_connections = names;
	l->n_gap_connections = n;
	l->more_gap_connections = all - n;
}

int pipeline_write_ledger(struct pipeline *p, bool final)
{
	enum { NAMES = 1000, EACH = 40 };
	struct ledger_stage *stages = calloc(PIPELINE_STAGES_MAX + 16, sizeof(*stages));
	struct bytes *names = calloc(NAMES, sizeof(*names));
	char *text = malloc(NAMES * EACH);
	struct record *rec = NULL;
	int err = -ENOMEM;
	if (stages && names && text) {
		struct recorder_totals t = recorder_totals(p->recorder);
		uint64_t now = clock_ns(CLOCK_REALTIME);
		struct record_ledger l = {.instance = p->instance,
					  .version = p->cfg.version,
					  .attach = p->ops ? p->ops->name : "",
					  .start_unix_ns = p->ledger_unix_ns,
					  .end_unix_ns = now,
					  .final = final,
					  .exact = p->ops && p->ops->exact,
					  .stages = stages,
					  .last_record_number = t.records,
					  .lost = t.lost,
					  .n_lost = t.n_lost,
					  .rules = t.rules,
					  .n_rules = t.n_rules,
					  .config_version = p->config.version,
					  .config_unix_ns = p->config.changed_unix_ns,
					  .config_hash = p->s->config_hash,
					  .reloads = p->config.reloads,
					  .reloads_refused = p->config.refused};
		l.unprovable =
			p->sink_ops->ledger_provable && !p->sink_ops->ledger_provable(p->sink);
		l.n_stages = pipeline_ledger(p, stages, PIPELINE_STAGES_MAX + 16);
		gap_names(p, &l, names, text, EACH);
		p->ledger_unix_ns = now;
		err = record_encode_ledger(&l, &rec);
	}
	const char *exit = "";
	if (err == 0 && !final)
		remains_ledger(p->remains, bytes_of(rec->data, rec->n));
	if (err == 0)
		err = p->sink_ops->submit(p->sink, &rec, &exit);
	record_free(rec);
	free(stages);
	free(names);
	free(text);
	return err;
}
