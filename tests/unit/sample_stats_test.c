/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sampling through the recorder, proven by statistics: over a million synthetic calls for each action, the weighted
 * estimates of count, errors and bytes lie within 4 standard deviations of the truth (the deviation as the weights
 * themselves tell it).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/records.h"

#ifdef __SANITIZE_ADDRESS__
enum { CALLS = 100000 };
#else
enum { CALLS = 1000000 };
#endif
enum { METHODS = 512, CONNECTIONS = 100, BODY_MAX = 65536, PHASE = CALLS / 10 };

static uint64_t seed;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static double uniform(void)
{
	return (double)(rnd() >> 11) / 9007199254740992.0;
}

static double exponential(double mean)
{
	return -log(1 - uniform()) * mean;
}

struct truth {
	double n, errors, bytes, seconds; /* of all */
	double est[3], var[3]; /* of the kept, weighted */
	double kept, kept_bytes;
	unsigned methods[METHODS], methods_kept[METHODS];
};

static struct records out;
static struct recorder *recorder;
static struct call_sink sink;
static struct flow flow;
static struct conn conn;
static uint8_t body[BODY_MAX];
static double mean_body = 500;

static struct sampler *sampler_of(struct sample_rule r, uint64_t key)
{
	struct sample_rule *list = malloc(sizeof(*list)), none;
	sample_rule_init(&none);
	none.drop = true;
	*list = r;
	snprintf(list->name, sizeof(list->name), "rule");
	return sampler_new(list, 1, &none, key);
}

static struct recorder *recorder_of(struct sample_rule r, uint64_t key)
{
	struct recorder_cfg cfg = {.sample = 1,
				   .capture = {.instance = "0123456789abcdef"},
				   .ops = &records_ops,
				   .sink = (struct sink *)&out};
	struct recorder *rec = recorder_new(&cfg);
	struct sampler *s = sampler_of(r, key);
	assert_non_null(rec);
	assert_non_null(s);
	assert_int_equal(recorder_set_rules(rec, &s), 0);
	assert_null(s);
	return rec;
}

static void open_recorder(struct sample_rule r)
{
	seed = 88172645463325252ull;
	out = (struct records) {.count_only = true};
	conn = (struct conn) {.flow = &flow};
	recorder = recorder_of(r, 42);
	out.recorder = recorder;
	sink = recorder_calls(recorder);
}

/* The identities, and that the rule tells what the records told */
static void close_recorder(const struct truth *t)
{
	struct ledger_stage stages[2];
	struct recorder_totals totals = recorder_totals(recorder);
	stages_check(recorder_ledger(recorder, stages, 2), stages);
	uint64_t seen = 0, kept = 0;
	for (size_t i = 0; i < totals.n_rules; i++) {
		seen += totals.rules[i].seen;
		kept += totals.rules[i].kept;
		if (strcmp(totals.rules[i].name, "rule") == 0)
			assert_true(fabs(totals.rules[i].weight_sum - t->est[0]) < 1e-6 * t->n);
	}
	assert_int_equal(seen, stages[0].in);
	assert_int_equal(kept, totals.calls);
	assert_int_equal(kept, (uint64_t)t->kept);
	recorder_free(recorder);
	records_fini(&out);
	free(conn.names);
	conn.names = NULL;
}

struct synthetic {
	unsigned method;
	bool error;
	uint64_t start_ns, latency_ns;
	size_t bytes;
};

/* One whole call through the recorder: its weight; 0: no record. */
static double record(const struct synthetic *x, uint64_t i)
{
	char method[16];
	int n = snprintf(method, sizeof(method), "m%u", x->method);
	struct piece head = {
		.what = PIECE_HEAD,
		.head = {.service = BYTES("shop"), .method = bytes_of(method, (size_t)n)}};
	struct call c = {.conn = &conn,
			 .seen_index = i / CONNECTIONS + 1,
			 .protocol = "thrift",
			 .outcome = x->error ? OUTCOME_SERVER_ERROR : OUTCOME_OK,
			 .status = x->error ? 500 : 200};
	conn.number = i % CONNECTIONS + 1;
	for (int d = 0; d < 2; d++)
		c.msg[d] = (struct call_message) {
			.started = true, .done = true, .start_ns = x->start_ns};
	c.msg[1].end_ns = x->start_ns + x->latency_ns;
	c.msg[1].body = (struct buf) {body, x->bytes, x->bytes};
	c.msg[1].body_bytes = x->bytes;
	sink.sample(sink.ctx, &c, &head, x->start_ns);
	return sink.part(sink.ctx, &c, true) ? c.weight : 0;
}

static void add(struct truth *t, const struct synthetic *x, double w)
{
	const double value[3] = {1, x->error, (double)x->bytes};
	t->n++;
	t->errors += x->error;
	t->bytes += (double)x->bytes;
	t->methods[x->method]++;
	if (w <= 0)
		return;
	t->kept++;
	t->kept_bytes += (double)x->bytes;
	t->methods_kept[x->method]++;
	for (int k = 0; k < 3; k++) {
		t->est[k] += w * value[k];
		t->var[k] += w * (w - 1) * value[k] * value[k];
	}
}

/* A busy service whose load changes tenfold, errors that are slower, a long tail of rare methods. */
static struct truth run(double per_second)
{
	struct truth t = {0};
	double now = 1;
	for (uint64_t i = 0; i < CALLS; i++) {
		struct synthetic x = {.error = uniform() < 0.01};
		now += exponential(1 / (per_second * ((i / PHASE) % 2 ? 10 : 1)));
		x.method = (unsigned)fmin(METHODS - 1, exponential(40));
		x.latency_ns = (uint64_t)exponential(x.error ? 5e7 : 5e6);
		x.bytes = (size_t)fmin(BODY_MAX - 100, exponential(mean_body)) + 100;
		x.start_ns = (uint64_t)(now * 1e9);
		add(&t, &x, record(&x, i));
	}
	t.seconds = now - 1;
	return t;
}

static void unbiased(const char *name, const struct truth *t)
{
	const double want[3] = {t->n, t->errors, t->bytes};
	static const char *const what[3] = {"count", "errors", "bytes"};
	printf("# sampling by %s: kept %.0f of %.0f", name, t->kept, t->n);
	for (int k = 0; k < 3; k++)
		printf(", %s off by %.2f sigma", what[k],
		       t->var[k] > 0 ? (t->est[k] - want[k]) / sqrt(t->var[k]) : 0);
	printf("\n");
	for (int k = 0; k < 3; k++)
		if (fabs(t->est[k] - want[k]) > 4 * sqrt(t->var[k]) + 1e-6 * want[k])
			fail_msg("%s by %s: %.1f for %.1f, sigma %.1f", what[k], name, t->est[k],
				 want[k], sqrt(t->var[k]));
}

static struct sample_rule rule(void)
{
	struct sample_rule r;
	sample_rule_init(&r);
	return r;
}

static uint64_t exit_of(const char *name)
{
	struct ledger_stage stages[2];
	recorder_ledger(recorder, stages, 2);
	for (unsigned i = 0; i < stages[0].n_exits; i++)
		if (strcmp(stages[0].exits[i].name, name) == 0)
			return stages[0].exits[i].n;
	fail_msg("no exit %s", name);
	return 0;
}

static void probability_is_unbiased(void **state)
{
	static const double shares[] = {0.5, 0.01, 1};
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct sample_rule r = rule();
		r.probability = shares[i];
		open_recorder(r);
		struct truth t = run(1000);
		assert_true(fabs(t.kept - shares[i] * CALLS) < 5 * sqrt(CALLS * shares[i] + 1));
		assert_int_equal(exit_of("sampled_out"), CALLS - (uint64_t)t.kept);
		unbiased("probability", &t);
		close_recorder(&t);
	}
}

/* Connections that the kernel samples weigh too. */
static void connections_are_in_the_weight(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	struct truth t = {0};
	r.probability = 0.5;
	open_recorder(r);
	for (uint64_t i = 0; i < CALLS; i++) {
		struct synthetic x = {.start_ns = 1 + i, .bytes = 10};
		recorder_set_connections(recorder, i < CALLS / 2 ? 0.25 : 1);
		bool captured = i >= CALLS / 2 || uniform() < 0.25;
		add(&t, &x, captured ? record(&x, i) : 0);
	}
	unbiased("connections", &t);
	close_recorder(&t);
}

static void rate_holds_and_is_unbiased(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.rate = 50;
	open_recorder(r);
	struct truth t = run(1000);
	double capped = (double)exit_of("rate_limited");
	printf("# rate 50/s: kept %.1f/s, capped %.0f\n", t.kept / t.seconds, capped);
	assert_true(t.kept / t.seconds <= 51);
	assert_true(t.kept / t.seconds > 35);
	assert_true(capped < 0.01 * t.kept);
	unbiased("rate", &t);
	close_recorder(&t);
}

/* The records' own bytes: what was made says so, not the bodies. */
static void bytes_per_second_hold(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.bytes_per_second = 400000;
	mean_body = 8000; /* no guess of a record's size will do */
	open_recorder(r);
	struct truth t = run(1000);
	mean_body = 500;
	double made = (double)recorder_totals(recorder).bytes / t.seconds;
	printf("# 400,000 B/s: made %.0f B/s\n", made);
	assert_true(made < 420000);
	assert_true(made > 240000);
	unbiased("bytes_per_second", &t);
	close_recorder(&t);
}

static void rare_methods_are_never_missing(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.01;
	r.first_per_method = 2;
	r.rate = 20; /* not even by the hard end of a rate */
	open_recorder(r);
	struct truth t = run(1000);
	for (int m = 0; m < METHODS; m++)
		if (t.methods[m])
			assert_true(t.methods_kept[m] >= (t.methods[m] < 2 ? t.methods[m] : 2));
	unbiased("first_per_method", &t);
	close_recorder(&t);
}

static void tail_conditions_keep_what_matters(void **state)
{
	(void)state;
	for (int by = 0; by < 2; by++) {
		struct sample_rule r = rule();
		r.probability = 0.02;
		r.keep_slower_ns = 40000000;
		if (by == 0) {
			r.keep_outcomes = SAMPLE_ERRORS;
		} else {
			r.keep_status[0].min = 500;
			r.keep_status[0].max = 599;
			r.n_keep_status = 1;
		}
		open_recorder(r);
		struct truth t = run(1000);
		unbiased("keep_if", &t);
		assert_true(fabs(t.est[1] - t.errors) < 1e-6); /* each is there, with weight 1 */
		assert_true(t.var[1] == 0);
		close_recorder(&t);
	}
}

static void drop_keeps_none(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.drop = true;
	open_recorder(r);
	struct truth t = run(1000);
	assert_true(t.kept == 0);
	assert_int_equal(exit_of("rule_dropped"), CALLS);
	close_recorder(&t);
}

/* The trace ids that a recorder keeps of these calls */
static bool kept_trace(struct recorder *rec, const char *trace, uint64_t connection, uint64_t i)
{
	char value[64];
	int n = snprintf(value, sizeof(value), "00-%s-00f067aa0ba902b7-01", trace);
	struct header h = {BYTES("traceparent"), bytes_of(value, (size_t)n), 0};
	struct piece head = {.what = PIECE_HEAD, .head = {.headers = &h, .n_headers = 1}};
	struct call c = {.conn = &conn, .seen_index = i, .protocol = "http1"};
	struct call_sink to = recorder_calls(rec);
	conn.number = connection;
	c.msg[0].started = true;
	c.msg[0].start_ns = c.msg[0].end_ns = i;
	to.sample(to.ctx, &c, &head, i);
	return to.part(to.ctx, &c, true);
}

static void traces_are_whole_across_captures(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.25;
	open_recorder(r);
	struct recorder *other = recorder_of(r, 777); /* another capture, another seed */
	struct recorder *generous;
	unsigned kept = 0;
	r.probability = 0.75;
	generous = recorder_of(r, 4711);
	for (uint64_t i = 1; i <= 20000; i++) {
		char trace[33];
		snprintf(trace, sizeof(trace), "%016llx%016llx", (unsigned long long)rnd(),
			 (unsigned long long)rnd());
		bool in = kept_trace(recorder, trace, i, 1);
		assert_int_equal(in, kept_trace(other, trace, 7, i));
		if (in)
			assert_true(kept_trace(generous, trace, i, 3));
		kept += in;
	}
	assert_in_range(kept, 4700, 5300);
	recorder_free(other);
	recorder_free(generous);
	recorder_free(recorder);
	records_fini(&out);
	free(conn.names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probability_is_unbiased),
		cmocka_unit_test(connections_are_in_the_weight),
		cmocka_unit_test(rate_holds_and_is_unbiased),
		cmocka_unit_test(bytes_per_second_hold),
		cmocka_unit_test(rare_methods_are_never_missing),
		cmocka_unit_test(tail_conditions_keep_what_matters),
		cmocka_unit_test(drop_keeps_none),
		cmocka_unit_test(traces_are_whole_across_captures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
