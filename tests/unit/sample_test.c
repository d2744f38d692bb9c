/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sampling, proven by statistics: over a million synthetic calls for each action, the weighted estimates of count,
 * errors and bytes lie within 4 standard deviations of the truth (the deviation as the weights themselves tell it).
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/sample.h"

enum { CALLS = 1000000 };
#define SECOND 1000000000ull

static uint64_t seed = 88172645463325252ull;

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

struct truth {
	double n, errors, bytes; /* of all */
	double est[3], var[3]; /* of the kept, weighted */
	double kept;
	unsigned methods[512], methods_kept[512];
};

static struct sampler *one_rule(struct sample_rule r)
{
	struct sample_rule *list = malloc(sizeof(*list)), none;
	sample_rule_init(&none);
	none.drop = true;
	*list = r;
	snprintf(list->name, sizeof(list->name), "rule");
	struct sampler *s = sampler_new(list, 1, &none, 42);
	assert_non_null(s);
	return s;
}

/* A busy service whose load changes tenfold, errors that are slower, a long tail of rare methods. */
static struct truth run(struct sampler *s, double per_second)
{
	struct truth t = {0};
	double now = 1;
	for (uint64_t i = 0; i < CALLS; i++) {
		double load = (i / 100000) % 2 ? 10 : 1;
		now += -log(1 - uniform()) / (per_second * load);
		unsigned m = (unsigned)fmin(511, -log(1 - uniform()) * 40);
		char method[16];
		int n = snprintf(method, sizeof(method), "m%u", m);
		bool error = uniform() < 0.01;
		uint64_t latency = (uint64_t)(-log(1 - uniform()) * 5e6 * (error ? 10 : 1));
		uint64_t bytes = (uint64_t)(-log(1 - uniform()) * 2000) + 100;
		struct sample_call c = {.protocol = BYTES("http1"),
					.service = BYTES("shop"),
					.method = bytes_of(method, (size_t)n),
					.connection = i % 100,
					.seen_index = i / 100};
		struct sample_state st = sampler_head(s, &c, (uint64_t)(now * 1e9));
		double x[3] = {1, error, (double)bytes}, w;
		t.n++;
		t.errors += error;
		t.bytes += (double)bytes;
		t.methods[m]++;
		if (!sampler_tail(s, &st, error ? OUTCOME_SERVER_ERROR : OUTCOME_OK,
				  error ? 500 : 200, latency, bytes, &w))
			continue;
		t.kept++;
		t.methods_kept[m]++;
		for (int k = 0; k < 3; k++) {
			t.est[k] += w * x[k];
			t.var[k] += w * (w - 1) * x[k] * x[k];
		}
	}
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

static void probability_is_unbiased(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		struct sample_rule r = rule();
		r.probability = i == 0 ? 0.5 : i == 1 ? 0.01 : 1;
		struct sampler *s = one_rule(r);
		struct truth t = run(s, 1000);
		assert_true(fabs(t.kept - r.probability * CALLS) <
			    5 * sqrt(CALLS * r.probability + 1));
		unbiased("probability", &t);
		struct sample_count c;
		assert_true(sampler_count(s, 0, &c));
		assert_int_equal(c.seen, CALLS);
		assert_int_equal(c.kept, (uint64_t)t.kept);
		assert_true(fabs(c.weight_sum - t.est[0]) < 1);
		assert_string_equal(c.rule, "rule");
		sampler_free(s);
	}
}

static void rate_holds_and_is_unbiased(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.rate = 50;
	struct sampler *s = one_rule(r);
	struct truth t = run(s, 1000);
	struct sample_count c;
	sampler_count(s, 0, &c);
	/* about 550 s at 1,000 and 10,000 a second */
	double seconds = CALLS / 2 / 1000.0 + CALLS / 2 / 10000.0;
	printf("# rate 50/s: kept %.1f/s, capped %llu\n", t.kept / seconds,
	       (unsigned long long)c.capped);
	assert_true(t.kept / seconds <= 51);
	assert_true(t.kept / seconds > 35);
	assert_true((double)c.capped < 0.01 * t.kept);
	unbiased("rate", &t);
	sampler_free(s);
}

static void a_burst_meets_the_hard_end(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.rate = 10;
	struct sampler *s = one_rule(r);
	unsigned kept = 0;
	double w;
	for (uint64_t i = 0; i < 100000; i++) {
		struct sample_call c = {.connection = 1, .seen_index = i};
		struct sample_state st = sampler_head(s, &c, SECOND + i);
		kept += sampler_tail(s, &st, OUTCOME_OK, 0, 0, 1, &w);
	}
	assert_in_range(kept, 5, 10);
	sampler_free(s);
}

static void bytes_per_second_hold(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.bytes_per_second = 100000;
	struct sampler *s = one_rule(r);
	struct truth t = run(s, 1000);
	double seconds = CALLS / 2 / 1000.0 + CALLS / 2 / 10000.0;
	double kept_bytes = t.kept * t.bytes / t.n;
	printf("# 100,000 B/s: kept %.0f B/s\n", kept_bytes / seconds);
	assert_true(kept_bytes / seconds < 105000);
	assert_true(kept_bytes / seconds > 60000);
	unbiased("bytes_per_second", &t);
	sampler_free(s);
}

static void rare_methods_are_never_missing(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.01;
	r.first_per_method = 2;
	struct sampler *s = one_rule(r);
	struct truth t = run(s, 1000);
	for (int m = 0; m < 512; m++)
		if (t.methods[m])
			assert_true(t.methods_kept[m] >= (t.methods[m] < 2 ? t.methods[m] : 2));
	unbiased("first_per_method", &t);
	sampler_free(s);
}

static void tail_conditions_keep_what_matters(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.02;
	r.keep_errors = true;
	r.keep_slower_ns = 40000000;
	struct sampler *s = one_rule(r);
	struct truth t = run(s, 1000);
	unbiased("keep_if", &t);
	assert_true(fabs(t.est[1] - t.errors) < 1e-6); /* every error is there, with weight 1 */
	assert_true(t.var[1] == 0);
	sampler_free(s);
}

static void traces_are_whole_across_captures(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.25;
	struct sampler *a = one_rule(r);
	struct sample_rule *list = malloc(sizeof(*list)), none = rule();
	*list = r;
	list->probability = 0.75;
	struct sampler *b = sampler_new(list, 1, &none, 777); /* another capture, another seed */
	unsigned kept = 0;
	for (uint64_t i = 0; i < 20000; i++) {
		char trace[33];
		snprintf(trace, sizeof(trace), "%016llx%016llx", (unsigned long long)rnd(),
			 (unsigned long long)rnd());
		struct sample_call c = {
			.trace_id = bytes_of(trace, 32), .connection = i, .seen_index = 1};
		struct sample_call d = {
			.trace_id = bytes_of(trace, 32), .connection = 7, .seen_index = i};
		bool in_a = sampler_head(a, &c, SECOND).keep;
		assert_int_equal(in_a, sampler_head(a, &d, SECOND).keep);
		if (in_a) /* the more generous capture has all of the other's traces */
			assert_true(sampler_head(b, &d, SECOND).keep);
		kept += in_a;
	}
	assert_in_range(kept, 4700, 5300);
	/* the threshold itself, from OTEP 235: R >= (1 - p) * 2^56 */
	struct sample_call at = {.trace_id = BYTES("000000000000000000c0000000000000")};
	assert_true(sampler_head(a, &at, SECOND).keep);
	at.trace_id = BYTES("000000000000000000bfffffffffffff");
	assert_false(sampler_head(a, &at, SECOND).keep);
	sampler_free(a);
	sampler_free(b);
}

/* C3 */
static void c3_all_and_nothing(void **state)
{
	(void)state;
	for (int all = 0; all < 2; all++) {
		struct sample_rule r = rule();
		r.probability = all;
		struct sampler *s = one_rule(r);
		double w = 0;
		for (uint64_t i = 0; i < 10000; i++) {
			struct sample_call c = {.connection = rnd(), .seen_index = rnd()};
			struct sample_state st = sampler_head(s, &c, SECOND);
			assert_int_equal(sampler_tail(s, &st, OUTCOME_OK, 0, 0, 1, &w), all);
			if (all)
				assert_true(w == 1);
		}
		sampler_free(s);
	}
}

static void patterns(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} t[] = {{"GET", "GET", true},
		 {"GET", "GETS", false},
		 {"GET", "GE", false},
		 {"/a/*", "/a/", true},
		 {"/a/*", "/a/b/c", true},
		 {"/a/*", "/a", false},
		 {"*", "", true},
		 {"*", "x", true},
		 {"*.js", "/x.js", true},
		 {"*.js", "/x.jsx", false},
		 {"/v?/*/x", "/v1/a/b/x", true},
		 {"/v?/*/x", "/v/a/x", false},
		 {"a*b*c", "a1b2b3c", true},
		 {"a*b*c", "a1b2b3", false},
		 {"", "", true},
		 {"", "a", false},
		 {"?", "", false}};
	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct sample_pattern p = {0};
		assert_int_equal(sample_pattern_set(&p, t[i].pattern), 0);
		if (sample_pattern_match(&p, bytes_str(t[i].text)) != t[i].want)
			fail_msg("%s on %s", t[i].pattern, t[i].text);
		free(p.text);
	}
	/* no pattern takes long: 64 stars over 64 KiB */
	char stars[130], *text = malloc(65536);
	memset(text, 'a', 65536);
	for (int i = 0; i < 64; i++)
		memcpy(stars + 2 * i, "*a", 2);
	strcpy(stars + 128, "b");
	struct sample_pattern p = {0};
	sample_pattern_set(&p, stars);
	assert_false(sample_pattern_match(&p, bytes_of(text, 65536)));
	free(p.text);
	free(text);
}

static void the_first_that_matches(void **state)
{
	(void)state;
	struct sample_rule *list = calloc(3, sizeof(*list)), rest = rule();
	for (int i = 0; i < 3; i++)
		sample_rule_init(&list[i]);
	sample_pattern_set(&list[0].path, "/health*");
	list[0].drop = true;
	sample_pattern_set(&list[1].service, "shop");
	list[1].header[0].name = strdup("X-Debug");
	sample_pattern_set(&list[1].header[0].value, "1");
	list[1].n_headers = 1;
	list[1].body = SAMPLE_BODY_NONE;
	sample_pattern_set(&list[2].server, "127.0.0.1:*");
	list[2].probability = 0;
	struct sampler *s = sampler_new(list, 3, &rest, 1);
	struct header h = {BYTES("x-debug"), BYTES("1"), 0};
	struct sample_call c = {.service = BYTES("shop"),
				.path = BYTES("/health/x"),
				.headers = &h,
				.n_headers = 1};
	assert_false(sampler_head(s, &c, SECOND).keep);
	c.path = BYTES("/buy");
	struct sample_state st = sampler_head(s, &c, SECOND);
	assert_true(st.keep);
	assert_int_equal(st.rule, 1);
	assert_int_equal(st.body, SAMPLE_BODY_NONE);
	h.value = BYTES("0");
	assert_int_equal(sampler_head(s, &c, SECOND).rule, 3);
	c.server = BYTES("127.0.0.1:80");
	st = sampler_head(s, &c, SECOND);
	assert_int_equal(st.rule, 2);
	assert_false(st.keep);
	sampler_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probability_is_unbiased),
		cmocka_unit_test(rate_holds_and_is_unbiased),
		cmocka_unit_test(a_burst_meets_the_hard_end),
		cmocka_unit_test(bytes_per_second_hold),
		cmocka_unit_test(rare_methods_are_never_missing),
		cmocka_unit_test(tail_conditions_keep_what_matters),
		cmocka_unit_test(traces_are_whole_across_captures),
		cmocka_unit_test(c3_all_and_nothing),
		cmocka_unit_test(patterns),
		cmocka_unit_test(the_first_that_matches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
