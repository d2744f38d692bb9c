/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "capture/metrics.h"

struct page {
	struct text *out;
	bool openmetrics;
	bool counter; /* the present family */
	const char *family;
};

static void family(struct page *g, const char *name, const char *type, const char *help)
{
	g->family = name;
	g->counter = strcmp(type, "counter") == 0;
	/* OpenMetrics names the family, the older format the sample */
	const char *suffix = g->counter && !g->openmetrics ? "_total" : "";
	text_printf(g->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
		    type);
}

static void label(struct page *g, const char *name, const char *value)
{
	char safe[300];
	log_escape(safe, sizeof(safe), bytes_str(value));
	text_printf(g->out, "%s=\"", name);
	for (const char *p = safe; *p; p++) {
		if (*p == '"' || *p == '\\')
			text_put_str(g->out, "\\");
		text_put(g->out, p, 1);
	}
	text_put_str(g->out, "\"");
}

/* Pairs of names and values, ended by NULL; the sample's value is put by the caller. */
static void labels(struct page *g, const char *const *pairs)
{
	text_printf(g->out, "%s%s", g->family, g->counter ? "_total" : "");
	for (size_t i = 0; pairs && pairs[i]; i += 2) {
		text_put_str(g->out, i ? "," : "{");
		label(g, pairs[i], pairs[i + 1]);
	}
	text_put_str(g->out, pairs && pairs[0] ? "} " : " ");
}

#define LABELS(...) ((const char *const[]) {__VA_ARGS__, NULL})

static void sample(struct page *g, const char *const *pairs, uint64_t v)
{
	labels(g, pairs);
	text_printf(g->out, "%" PRIu64 "\n", v);
}

static void sample_real(struct page *g, const char *const *pairs, double v)
{
	labels(g, pairs);
	text_printf(g->out, "%.17g\n", v);
}

static void one(struct page *g, const char *name, const char *type, const char *help, uint64_t v)
{
	family(g, name, type, help);
	sample(g, NULL, v);
}

static void seconds(struct page *g, const char *name, const char *help, uint64_t ns)
{
	family(g, name, "gauge", help);
	sample_real(g, NULL, (double)ns / 1e9);
}

static double time_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static uint64_t memory_bytes(void)
{
	unsigned long long all, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%llu %llu", &all, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Names of OpenTelemetry's semantic conventions for processes */
static void process(struct page *g, const struct pipeline_status *st)
{
	struct rusage u = {0};
	getrusage(RUSAGE_SELF, &u);
	family(g, "process_cpu_time_seconds", "counter", "CPU time used, all threads");
	sample_real(g, LABELS("cpu_mode", "user"), time_of(u.ru_utime));
	sample_real(g, LABELS("cpu_mode", "system"), time_of(u.ru_stime));
	one(g, "process_memory_usage_bytes", "gauge", "resident memory", memory_bytes());
	family(g, "process_uptime_seconds", "gauge", "since the capture began");
	sample_real(g, NULL, st->seconds);
}

static void traffic(struct page *g, const struct pipeline *p, const struct pipeline_status *st)
{
	const char *name;
	uint64_t calls;
	family(g, "sidetap_attached", "gauge", "1 while something is attached");
	sample(g, LABELS("how", st->attach), st->attach_ops != NULL);
	one(g, "sidetap_paused", "gauge", "1 while paused by sidetap ctl", st->paused);
	one(g, "sidetap_attachments", "counter", "times that something was attached",
	    st->attachments);
	one(g, "sidetap_connections", "gauge", "open connections", st->flows);
	one(g, "sidetap_open_calls", "gauge", "calls without their end", st->open_calls);
	family(g, "sidetap_calls", "counter", "calls recorded");
	for (size_t i = 0; pipeline_protocol(p, i, &name, &calls); i++)
		sample(g, LABELS("protocol", name), calls);
}

static void stages(struct page *g, const struct ledger_stage *st, size_t n)
{
	family(g, "sidetap_stage_in", "counter", "what entered a stage of the ledger");
	for (size_t i = 0; i < n; i++)
		sample(g, LABELS("stage", st[i].name, "unit", st[i].unit), st[i].in);
	family(g, "sidetap_stage_exit", "counter",
	       "what left a stage, by name; lost: a complete capture would have it");
	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < st[i].n_exits; k++)
			sample(g,
			       LABELS("stage", st[i].name, "unit", st[i].unit, "exit",
				      st[i].exits[k].name, "lost",
				      st[i].exits[k].lost ? "true" : "false"),
			       st[i].exits[k].n);
	family(g, "sidetap_stage_held", "gauge", "what is in a stage now");
	for (size_t i = 0; i < n; i++)
		sample(g, LABELS("stage", st[i].name, "unit", st[i].unit), st[i].held);
	family(g, "sidetap_stage_residue", "gauge", "in - exits - held: 0, or the ledger is wrong");
	for (size_t i = 0; i < n; i++) {
		labels(g, LABELS("stage", st[i].name));
		text_printf(g->out, "%" PRId64 "\n", ledger_residue(&st[i]));
	}
}

static void rules(struct page *g, const struct record_rule *r, size_t n)
{
	family(g, "sidetap_rule_seen", "counter", "calls that a sampling rule decided about");
	for (size_t i = 0; i < n; i++)
		sample(g, LABELS("rule", r[i].name), r[i].seen);
	family(g, "sidetap_rule_kept", "counter", "and kept");
	for (size_t i = 0; i < n; i++)
		sample(g, LABELS("rule", r[i].name), r[i].kept);
	family(g, "sidetap_rule_weight", "counter", "sum of the weights of those kept");
	for (size_t i = 0; i < n; i++)
		sample_real(g, LABELS("rule", r[i].name), r[i].weight_sum);
}

static void delivery(struct page *g, const struct pipeline_status *st)
{
	one(g, "sidetap_records", "counter", "records made", st->totals.records);
	one(g, "sidetap_records_delivered", "counter", "records that the sink confirmed",
	    st->totals.delivered);
	one(g, "sidetap_sink_queue_records", "gauge", "records taken by the sink, fate unknown",
	    st->sink_records);
	one(g, "sidetap_sink_queue_bytes", "gauge", "their bytes", st->sink_bytes);
	if (strncmp(st->settings->sink, "kafka:", 6) != 0)
		return;
	family(g, "messaging_client_sent_messages", "counter",
	       "messages that a broker acknowledged");
	sample(g, LABELS("messaging_system", "kafka"), st->totals.delivered);
}

/* How much of a budget is used, and what was given up for it */
static void budget(struct page *g, const struct pipeline_status *st)
{
	if (!st->governed)
		return;
	family(g, "sidetap_governor_step", "gauge", "1 at the step of the ladder that it is on");
	for (int i = 0; i < GOVERNOR_STEPS; i++)
		sample(g, LABELS("step", governor_step_name((enum governor_step)i)),
		       st->governor.step == (enum governor_step)i);
	family(g, "sidetap_governor_share", "gauge", "of the connections that is captured");
	sample_real(g, NULL, st->governor.share);
	family(g, "sidetap_governor_cpu_ratio", "gauge", "CPUs used over the last 10 s");
	sample_real(g, NULL, st->governor.cpu);
}

static void config(struct page *g, const struct pipeline_status *st)
{
	const struct pipeline_config *c = &st->config;
	family(g, "sidetap_config_info", "gauge", "the configuration in force");
	sample(g, LABELS("hash", st->settings->config_hash), 1);
	one(g, "sidetap_config_version", "gauge", "of this run, from 1", c->version);
	seconds(g, "sidetap_config_changed_timestamp_seconds", "when it came into force",
		c->changed_unix_ns);
	family(g, "sidetap_config_reloads", "counter", "times that a configuration was read again");
	sample(g, LABELS("result", "taken"), c->reloads);
	sample(g, LABELS("result", "refused"), c->refused);
	one(g, "sidetap_config_last_reload_successful", "gauge", "0: the last one was refused",
	    !c->last_refused);
	seconds(g, "sidetap_config_last_reload_success_timestamp_seconds",
		"of the last one that was taken (the start, when none was)",
		c->last_reload_unix_ns ? c->last_reload_unix_ns : st->start_unix_ns);
}

static void control(struct page *g, const struct control *ctl)
{
	struct control_counts c = control_counts(ctl);
	family(g, "sidetap_control_clients", "counter", "clients of the socket, by how it ended");
	sample(g, LABELS("result", "answered"), c.requests);
	sample(g, LABELS("result", "refused_uid"), c.refused_uid);
	sample(g, LABELS("result", "refused_busy"), c.refused_busy);
	sample(g, LABELS("result", "refused_request"), c.refused_request);
	sample(g, LABELS("result", "timed_out"), c.timed_out);
}

static void loop(struct page *g, const struct pipeline_status *st)
{
	seconds(g, "sidetap_loop_slowest_turn_seconds", "longest turn of the loop since the start",
		st->slowest.clock_ns);
	seconds(g, "sidetap_loop_slowest_turn_cpu_seconds", "most CPU time of a turn",
		st->slowest.cpu_ns);
	if (st->blocked_known)
		seconds(g, "sidetap_loop_slowest_turn_blocked_seconds",
			"longest that a turn neither ran nor waited for a processor",
			st->slowest.blocked_ns);
	seconds(g, "sidetap_loop_slowest_recent_turn_seconds", "in the last 10 to 20 s",
		st->slowest_recent_ns);
}

void metrics_write(const struct pipeline *p, const struct control *ctl, bool openmetrics,
		   struct text *out)
{
	struct page g = {.out = out, .openmetrics = openmetrics};
	struct pipeline_status st = pipeline_status(p);
	struct ledger_stage *st_stages = calloc(PIPELINE_LEDGER_MAX, sizeof(*st_stages));
	family(&g, "sidetap_build_info", "gauge", "the program");
	sample(&g, LABELS("version", SIDETAP_VERSION), 1);
	process(&g, &st);
	traffic(&g, p, &st);
	if (st_stages)
		stages(&g, st_stages, pipeline_ledger(p, st_stages, PIPELINE_LEDGER_MAX));
	rules(&g, st.totals.rules, st.totals.n_rules);
	delivery(&g, &st);
	budget(&g, &st);
	config(&g, &st);
	loop(&g, &st);
	if (ctl)
		control(&g, ctl);
	if (openmetrics)
		text_put_str(out, "# EOF\n");
	out->failed = out->failed || !st_stages;
	free(st_stages);
}
