/* SPDX-License-Identifier: Apache-2.0 */
/* What `sidetap ctl` shows, as JSON. Names and values of the wire do not occur here; what the configuration says
 * does, with its secrets masked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "capture/admin_state.h"

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void put(json_t *to, const char *name, uint64_t n)
{
	json_object_set_new(to, name, number(n));
}

static void put_text(json_t *to, const char *name, const char *text)
{
	json_object_set_new(to, name, json_string(text ? text : ""));
}

static json_t *rule_json(const struct record_rule *r)
{
	return json_pack("{s:s, s:I, s:I, s:f}", "name", r->name, "seen", (json_int_t)r->seen,
			 "kept", (json_int_t)r->kept, "weight_sum", r->weight_sum);
}

static json_t *rules_json(const struct pipeline_status *st)
{
	json_t *out = json_array();
	for (size_t i = 0; i < st->totals.n_rules; i++)
		json_array_append_new(out, rule_json(&st->totals.rules[i]));
	return out;
}

json_t *admin_sampling(const struct admin *a)
{
	struct pipeline_status st = pipeline_status(a->cfg.p);
	return json_pack("{s:f, s:f, s:o}", "sample", st.settings->sample, "connections",
			 st.settings->connections, "rules", rules_json(&st));
}

static json_t *stage_json(const struct ledger_stage *s)
{
	json_t *exits = json_object();
	for (unsigned i = 0; i < s->n_exits; i++)
		put(exits, s->exits[i].name, s->exits[i].n);
	json_t *out = json_pack("{s:s, s:s, s:I, s:o, s:I, s:I}", "name", s->name, "unit", s->unit,
				"in", (json_int_t)s->in, "exits", exits, "held",
				(json_int_t)s->held, "residue", (json_int_t)ledger_residue(s));
	if (s->made)
		put(out, "made", s->made);
	if (s->approximate)
		json_object_set_new(out, "approximate", json_true());
	return out;
}

/* "stage.exit": count, of exits that are losses */
static void losses_add(json_t *losses, const struct ledger_stage *s)
{
	char name[100];
	for (unsigned i = 0; i < s->n_exits; i++) {
		if (!s->exits[i].lost || !s->exits[i].n)
			continue;
		snprintf(name, sizeof(name), "%s.%s", s->name, s->exits[i].name);
		put(losses, name, s->exits[i].n);
	}
}

/* Either may be NULL. */
static void ledger_fill(const struct admin *a, json_t *stages, json_t *losses)
{
	struct ledger_stage *st = calloc(PIPELINE_LEDGER_MAX, sizeof(*st));
	size_t n = st ? pipeline_ledger(a->cfg.p, st, PIPELINE_LEDGER_MAX) : 0;
	for (size_t i = 0; i < n; i++) {
		if (stages)
			json_array_append_new(stages, stage_json(&st[i]));
		if (losses)
			losses_add(losses, &st[i]);
	}
	free(st);
}

static json_t *config_json(const struct pipeline_status *st)
{
	const struct pipeline_config *c = &st->config;
	json_t *out = json_object();
	put_text(out, "file", st->settings->config_file);
	put(out, "version", c->version);
	put_text(out, "hash", st->settings->config_hash);
	put(out, "changed_unix_ns", c->changed_unix_ns);
	put(out, "reloads", c->reloads);
	put(out, "refused", c->refused);
	put(out, "last_reload_unix_ns", c->last_reload_unix_ns);
	if (c->last_refused)
		put_text(out, "error", c->why);
	return out;
}

json_t *admin_ledger(const struct admin *a)
{
	struct pipeline_status st = pipeline_status(a->cfg.p);
	json_t *stages = json_array(), *losses = json_object();
	ledger_fill(a, stages, losses);
	return json_pack("{s:s, s:o, s:o, s:o, s:I, s:b, s:b, s:o}", "instance", st.instance,
			 "stages", stages, "rules", rules_json(&st), "lost", losses,
			 "calls_delivered", (json_int_t)st.totals.calls_delivered, "final", 0,
			 "exact", st.attach_ops ? st.attach_ops->exact : 0, "config",
			 config_json(&st));
}

static json_t *attach_json(const struct pipeline_status *st)
{
	json_t *out = json_object();
	put_text(out, "state",
		 st->paused       ? "paused"
		 : st->attach_ops ? "attached"
				  : "not attached");
	put_text(out, "how", st->attach_ops ? st->attach : "");
	put_text(out, "describe", st->describe);
	put(out, "since_unix_ns", st->attached_unix_ns);
	put(out, "count", st->attachments);
	return out;
}

static json_t *traffic_json(const struct admin *a, const struct pipeline_status *st)
{
	json_t *out = json_object(), *protocols = json_object();
	const char *name;
	uint64_t calls;
	put(out, "packets", st->seen_packets);
	put(out, "bytes", st->bytes);
	put(out, "connections", st->flows);
	put(out, "open_calls", st->open_calls);
	put(out, "calls_seen", st->calls_seen);
	put(out, "calls_recorded", st->totals.calls);
	for (size_t i = 0; pipeline_protocol(a->cfg.p, i, &name, &calls); i++)
		put(protocols, name, calls);
	json_object_set_new(out, "protocols", protocols);
	return out;
}

/* The sink's address without its secrets */
static json_t *sink_json(const struct pipeline_status *st)
{
	json_t *out = json_object();
	const char *uri = st->settings->sink;
	char shown[300];
	snprintf(shown, sizeof(shown), "%.*s", (int)strcspn(uri, "?"), uri);
	put_text(out, "uri", shown);
	put_text(out, "status", st->sink_status);
	put(out, "records", st->totals.records);
	put(out, "delivered", st->totals.delivered);
	put(out, "queue_records", st->sink_records);
	put(out, "queue_bytes", st->sink_bytes);
	put_text(out, "spool", st->settings->spool);
	return out;
}

static json_t *limits_json(const struct pipeline_status *st)
{
	json_t *out = json_object();
	put(out, "calls", st->settings->limit_calls);
	put(out, "bytes", st->settings->limit_bytes);
	put(out, "time_ns", st->settings->limit_ns);
	return out;
}

static json_t *budget_json(const struct pipeline_status *st)
{
	const struct governor_state *g = &st->governor;
	json_t *out = json_object();
	json_object_set_new(out, "set", json_boolean(st->governed));
	if (!st->governed)
		return out;
	json_object_set_new(out, "cpu", json_real(st->settings->budget_cpu));
	put(out, "memory_bytes", st->settings->budget_memory);
	put_text(out, "step", governor_step_name(g->step));
	json_object_set_new(out, "share", json_real(g->share));
	json_object_set_new(out, "cpu_used", json_real(g->cpu));
	put(out, "memory_used_bytes", g->memory_bytes);
	return out;
}

/* blocked is left out where the kernel does not tell. */
static json_t *loop_json(const struct pipeline_status *st)
{
	json_t *out = json_object();
	put(out, "slowest_turn_ns", st->slowest.clock_ns);
	put(out, "slowest_cpu_ns", st->slowest.cpu_ns);
	if (st->blocked_known)
		put(out, "slowest_blocked_ns", st->slowest.blocked_ns);
	put(out, "slowest_recent_ns", st->slowest_recent_ns);
	return out;
}

json_t *admin_status(const struct admin *a)
{
	struct pipeline_status st = pipeline_status(a->cfg.p);
	json_t *out = json_object(), *losses = json_object();
	ledger_fill(a, NULL, losses);
	put(out, "pid", (uint64_t)getpid());
	put_text(out, "instance", st.instance);
	put_text(out, "version", SIDETAP_VERSION);
	put(out, "start_unix_ns", st.start_unix_ns);
	json_object_set_new(out, "seconds", json_real(st.seconds));
	json_object_set_new(out, "attach", attach_json(&st));
	json_object_set_new(out, "traffic", traffic_json(a, &st));
	json_object_set_new(out, "sampling", admin_sampling(a));
	json_object_set_new(out, "lost", losses);
	json_object_set_new(out, "sink", sink_json(&st));
	json_object_set_new(out, "limits", limits_json(&st));
	json_object_set_new(out, "budget", budget_json(&st));
	json_object_set_new(out, "config", config_json(&st));
	json_object_set_new(out, "loop", loop_json(&st));
	return out;
}
