/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a running capture, for people. Texts are escaped: a socket that --socket names may be anybody's. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/ctl.h"

static const json_t *at(const json_t *o, const char *name)
{
	return json_object_get(o, name);
}

static uint64_t num(const json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(at(o, name));
}

static void put_text(FILE *out, const char *text)
{
	char safe[1024];
	log_escape(safe, sizeof(safe), bytes_str(text ? text : ""));
	fputs(safe, out);
}

static void put(FILE *out, const json_t *o, const char *name)
{
	put_text(out, json_string_value(at(o, name)));
}

static bool is_empty(const json_t *o, const char *name)
{
	const char *s = json_string_value(at(o, name));
	return !s || !*s;
}

/* "12:00:00 (3 min ago)" */
static void put_since(FILE *out, uint64_t unix_ns)
{
	char text[32];
	time_t t = (time_t)(unix_ns / 1000000000);
	struct tm tm;
	uint64_t now = clock_ns(CLOCK_REALTIME);
	localtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	uint64_t seconds = now > unix_ns ? (now - unix_ns) / 1000000000 : 0;
	if (seconds)
		fprintf(out, "%s (%s ago)", text, units_duration(seconds * 1000000000).s);
	else
		fprintf(out, "%s (now)", text);
}

static void head(FILE *out, const char *name)
{
	fprintf(out, "%-11s", name);
}

static void print_attach(const json_t *a, FILE *out)
{
	const json_t *t = at(a, "attach");
	head(out, "attached");
	if (num(t, "since_unix_ns")) {
		put(out, t, "describe");
		fputs(", since ", out);
		put_since(out, num(t, "since_unix_ns"));
	} else {
		put(out, t, "state");
	}
	if (num(t, "count") > 1)
		fprintf(out, ", %" PRIu64 " times in all", num(t, "count"));
	fputc('\n', out);
}

static void print_traffic(const json_t *a, FILE *out)
{
	const json_t *t = at(a, "traffic"), *v;
	const char *name, *comma = " (";
	head(out, "traffic");
	fprintf(out, "%s packets, %s in order, %s connections open\n",
		units_count(num(t, "packets")).s, units_bytes(num(t, "bytes")).s,
		units_count(num(t, "connections")).s);
	head(out, "calls");
	fprintf(out, "%s seen, %s recorded", units_count(num(t, "calls_seen")).s,
		units_count(num(t, "calls_recorded")).s);
	json_object_foreach((json_t *)at(t, "protocols"), name, v)
	{
		fputs(comma, out);
		put_text(out, name);
		fprintf(out, " %s", units_count((uint64_t)json_integer_value(v)).s);
		comma = ", ";
	}
	fprintf(out, "%s, %s open\n", *comma == ',' ? ")" : "",
		units_count(num(t, "open_calls")).s);
}

static void print_rules(const json_t *s, FILE *out)
{
	size_t i;
	const json_t *r;
	json_array_foreach(at(s, "rules"), i, r)
	{
		head(out, "");
		fputs("rule ", out);
		put(out, r, "name");
		fprintf(out, ": seen %s, kept %s, sum of weights %.1f\n",
			units_count(num(r, "seen")).s, units_count(num(r, "kept")).s,
			json_number_value(at(r, "weight_sum")));
	}
}

void ctl_print_sampling(const json_t *answer, FILE *out)
{
	const json_t *s = at(answer, "sampling");
	head(out, "sampling");
	fprintf(out, "%.6g %% of the calls, %.6g %% of the connections\n",
		100 * json_number_value(at(s, "sample")),
		100 * json_number_value(at(s, "connections")));
	print_rules(s, out);
}

static void print_counts(const json_t *counts, FILE *out)
{
	const char *name, *comma = "";
	const json_t *v;
	json_object_foreach((json_t *)counts, name, v)
	{
		fputs(comma, out);
		put_text(out, name);
		fprintf(out, " %s", units_count((uint64_t)json_integer_value(v)).s);
		comma = ", ";
	}
	fputs(*comma ? "\n" : "nothing\n", out);
}

static void print_sink(const json_t *a, FILE *out)
{
	const json_t *s = at(a, "sink");
	head(out, "sink");
	put(out, s, "uri");
	fprintf(out, "  %s of %s records delivered, queue %s in %s records\n",
		units_count(num(s, "delivered")).s, units_count(num(s, "records")).s,
		units_bytes(num(s, "queue_bytes")).s, units_count(num(s, "queue_records")).s);
	if (!is_empty(s, "status")) {
		head(out, "");
		put(out, s, "status");
		fputc('\n', out);
	}
	if (!is_empty(s, "spool")) {
		head(out, "spool");
		put(out, s, "spool");
		fputc('\n', out);
	}
}

static void print_limits(const json_t *a, FILE *out)
{
	const json_t *l = at(a, "limits");
	uint64_t calls = num(l, "calls"), bytes = num(l, "bytes"), ns = num(l, "time_ns");
	head(out, "limits");
	if (calls)
		fprintf(out, "%s calls ", units_count(calls).s);
	if (bytes)
		fprintf(out, "%s ", units_bytes(bytes).s);
	if (ns)
		fputs(units_duration(ns).s, out);
	fputs(calls || bytes || ns ? "\n" : "none\n", out);
}

static void print_budget(const json_t *a, FILE *out)
{
	const json_t *b = at(a, "budget");
	head(out, "budget");
	if (!json_is_true(at(b, "set"))) {
		fputs("none\n", out);
		return;
	}
	if (json_number_value(at(b, "cpu")) > 0)
		fprintf(out, "%.3g %% of %.3g %% of a CPU, ",
			100 * json_number_value(at(b, "cpu_used")),
			100 * json_number_value(at(b, "cpu")));
	if (num(b, "memory_bytes"))
		fprintf(out, "%s of %s, ", units_bytes(num(b, "memory_used_bytes")).s,
			units_bytes(num(b, "memory_bytes")).s);
	fputs("step ", out);
	put(out, b, "step");
	fprintf(out, ", %.3g %% of the connections\n", 100 * json_number_value(at(b, "share")));
}

static void print_config(const json_t *a, FILE *out)
{
	const json_t *c = at(a, "config");
	head(out, "config");
	fprintf(out, "version %" PRIu64 " (", num(c, "version"));
	put(out, c, "hash");
	fputs("), in force since ", out);
	put_since(out, num(c, "changed_unix_ns"));
	fputs("; ", out);
	if (is_empty(c, "file"))
		fputs("no file", out);
	else
		put(out, c, "file");
	fprintf(out, ": %" PRIu64 " reloads, %" PRIu64 " refused\n", num(c, "reloads"),
		num(c, "refused"));
	if (is_empty(c, "error"))
		return;
	head(out, "");
	fputs("the last one was refused: ", out);
	put(out, c, "error");
	fputc('\n', out);
}

static void print_loop(const json_t *l, FILE *out)
{
	head(out, "loop");
	fprintf(out, "slowest turn %s", units_duration(num(l, "slowest_turn_ns")).s);
	fprintf(out, ", %s of CPU", units_duration(num(l, "slowest_cpu_ns")).s);
	if (at(l, "slowest_blocked_ns"))
		fprintf(out, ", %s blocked", units_duration(num(l, "slowest_blocked_ns")).s);
	fprintf(out, "; of the last 10 s %s\n", units_duration(num(l, "slowest_recent_ns")).s);
}

void ctl_print_status(const json_t *a, FILE *out)
{
	fprintf(out, "sidetap ");
	put(out, a, "version");
	fprintf(out, ", pid %" PRIu64 ", instance ", num(a, "pid"));
	put(out, a, "instance");
	fputs(", running since ", out);
	put_since(out, num(a, "start_unix_ns"));
	fputc('\n', out);
	print_attach(a, out);
	print_traffic(a, out);
	ctl_print_sampling(a, out);
	head(out, "lost");
	print_counts(at(a, "lost"), out);
	print_sink(a, out);
	print_limits(a, out);
	print_budget(a, out);
	print_config(a, out);
	print_loop(at(a, "loop"), out);
}

static void print_stage(const json_t *s, FILE *out)
{
	const char *name;
	const json_t *v;
	char safe[80];
	log_escape(safe, sizeof(safe), bytes_str(json_string_value(at(s, "name"))));
	fprintf(out, "%-14s", safe);
	log_escape(safe, sizeof(safe), bytes_str(json_string_value(at(s, "unit"))));
	fprintf(out, "%-10s%12" PRIu64 "  held %" PRIu64, safe, num(s, "in"), num(s, "held"));
	json_object_foreach((json_t *)at(s, "exits"), name, v)
	{
		if (!json_integer_value(v))
			continue;
		fputs(", ", out);
		put_text(out, name);
		fprintf(out, " %" JSON_INTEGER_FORMAT, json_integer_value(v));
	}
	if (num(s, "made"))
		fprintf(out, "; made %" PRIu64, num(s, "made"));
	fputs(json_is_true(at(s, "approximate")) ? " (approximate)\n" : "\n", out);
}

void ctl_print_ledger(const json_t *a, FILE *out)
{
	size_t i;
	const json_t *s;
	fputs("stage         unit                in  exits\n", out);
	json_array_foreach(at(a, "stages"), i, s) print_stage(s, out);
	print_rules(a, out);
	head(out, "lost");
	print_counts(at(a, "lost"), out);
}

const char *ctl_residue(const json_t *answer)
{
	size_t i;
	const json_t *s, *v;
	const char *name;
	json_array_foreach(at(answer, "stages"), i, s)
	{
		json_int_t out = json_integer_value(at(s, "held"));
		json_object_foreach((json_t *)at(s, "exits"), name, v) out += json_integer_value(v);
		if (out != json_integer_value(at(s, "in")))
			return json_string_value(at(s, "name"));
	}
	return NULL;
}
