/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule decides, what it decides; what becomes of it in the recorder: sample_stats_test.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/sample.h"

#define SECOND 1000000000ull

static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static const struct sample_end fine = {.outcome = OUTCOME_OK};

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

static struct sample_rule rule(void)
{
	struct sample_rule r;
	sample_rule_init(&r);
	return r;
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
		kept += sampler_tail(s, &st, &fine, &w);
	}
	assert_in_range(kept, 5, 10);
	sampler_free(s);
}

/* OTEP 235: R >= (1 - p) * 2^56, R the last 14 digits */
static void the_threshold_of_a_trace(void **state)
{
	static const struct {
		const char *trace;
		bool want;
	} t[] = {{"000000000000000000c0000000000000", true},
		 {"000000000000000000bfffffffffffff", false},
		 {"ffffffffffffffffffbfffffffffffff", false},
		 {"000000000000000000C0000000000000", true},
		 {"00c0000000000000", true},
		 {"ffbfffffffffffff", false}};
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.25;
	struct sampler *s = one_rule(r);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct sample_call c = {.trace_id = bytes_str(t[i].trace)};
		assert_int_equal(sampler_head(s, &c, SECOND).keep, t[i].want);
	}
	sampler_free(s);
}

/* Ids that are no 16 or 32 hex digits (bRPC's are decimal) still are chosen evenly, the same by every capture. */
static void other_trace_ids(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0.25;
	struct sampler *a = one_rule(r);
	struct sample_rule *list = malloc(sizeof(*list)), none = rule();
	*list = r;
	struct sampler *b = sampler_new(list, 1, &none, 777);
	unsigned kept = 0;
	for (int i = 0; i < 20000; i++) {
		char id[24];
		snprintf(id, sizeof(id), "%llu", (unsigned long long)rnd());
		struct sample_call c = {.trace_id = bytes_str(id), .connection = (uint64_t)i};
		struct sample_call d = {.trace_id = bytes_str(id), .connection = 7};
		bool in = sampler_head(a, &c, SECOND).keep;
		assert_int_equal(in, sampler_head(b, &d, SECOND).keep);
		kept += in;
	}
	assert_in_range(kept, 4700, 5300);
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
			assert_int_equal(sampler_tail(s, &st, &fine, &w), all);
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
	assert_int_equal(sampler_rule(s, st.rule)->body, SAMPLE_BODY_NONE);
	h.value = BYTES("0");
	assert_int_equal(sampler_head(s, &c, SECOND).rule, 3);
	c.server = BYTES("127.0.0.1:80");
	st = sampler_head(s, &c, SECOND);
	assert_int_equal(st.rule, 2);
	assert_false(st.keep);
	sampler_free(s);
}

static void the_tail(void **state)
{
	(void)state;
	struct sample_rule r = rule();
	r.probability = 0;
	r.keep_outcomes = 1 << OUTCOME_ABORTED;
	r.keep_slower_ns = 200;
	r.keep_status[0].min = 500;
	r.keep_status[0].max = 599;
	r.keep_status[1].min = r.keep_status[1].max = 7;
	r.n_keep_status = 2;
	static const struct {
		struct sample_end end;
		bool want;
	} t[] = {{{OUTCOME_OK, 200, 199}, false},
		 {{OUTCOME_OK, 200, 200}, true},
		 {{OUTCOME_UNKNOWN, 0, 0}, false},
		 {{OUTCOME_NO_RESPONSE, 0, 0}, false},
		 {{OUTCOME_NO_RESPONSE, 0, UINT64_MAX}, true},
		 {{OUTCOME_ABORTED, 0, 0}, true},
		 {{OUTCOME_SERVER_ERROR, 500, 0}, true},
		 {{OUTCOME_SERVER_ERROR, 600, 0}, false},
		 {{OUTCOME_CLIENT_ERROR, 7, 0}, true},
		 {{OUTCOME_CLIENT_ERROR, 8, 0}, false}};
	struct sampler *s = one_rule(r);
	struct sample_call c = {.seen_index = 1};
	struct sample_state st = sampler_head(s, &c, SECOND);
	assert_true(st.tail && !st.keep);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		double w = 0;
		assert_int_equal(sampler_tail(s, &st, &t[i].end, &w), t[i].want);
		assert_true(w == t[i].want);
	}
	sampler_free(s);
	/* what is not known yet is no error */
	assert_int_equal(SAMPLE_ERRORS & (1 << OUTCOME_UNKNOWN | 1 << OUTCOME_OK), 0);
}

static void a_copy_is_the_same(void **state)
{
	(void)state;
	struct sample_rule r = rule(), copy;
	sample_pattern_set(&r.service, "shop*");
	r.header[0].name = strdup("a");
	sample_pattern_set(&r.header[0].value, "b");
	r.n_headers = 1;
	assert_int_equal(sample_rule_copy(&copy, &r), 0);
	sample_rule_fini(&r);
	assert_true(sample_pattern_match(&copy.service, BYTES("shopping")));
	assert_string_equal(copy.header[0].name, "a");
	assert_true(sample_pattern_match(&copy.header[0].value, BYTES("b")));
	sample_rule_fini(&copy);
}

/* What may be muted: only what no rule can keep. */
static void never_of_a_connection(void **state)
{
	(void)state;
	enum { OPAQUE, HEALTH, CLIENT, OUT, SERVER, RULES };
	struct sample_rule *list = calloc(RULES, sizeof(*list)), rest = rule();
	for (int i = 0; i < RULES; i++) {
		sample_rule_init(&list[i]);
		list[i].drop = true;
	}
	sample_pattern_set(&list[OPAQUE].protocol, "opaque");
	sample_pattern_set(&list[HEALTH].path, "/health");
	sample_pattern_set(&list[CLIENT].client, "10.0.0.9:*");
	list[OUT].side = SAMPLE_SIDE_OUTBOUND;
	list[OUT].drop = false;
	list[OUT].probability = 0;
	sample_pattern_set(&list[SERVER].server, "*:81");
	struct sampler *s = sampler_new(list, RULES, &rest, 1);
	static const struct {
		const char *protocol, *client, *server;
		enum sample_side side;
		bool want;
	} t[] = {
		{"", "10.0.0.1:5", "10.0.0.2:80", SAMPLE_SIDE_INBOUND, false},
		{"opaque", "10.0.0.1:5", "10.0.0.2:80", SAMPLE_SIDE_INBOUND, true},
		{"http1", "10.0.0.1:5", "10.0.0.2:80", SAMPLE_SIDE_INBOUND, false},
		{"", "10.0.0.9:1", "10.0.0.2:80", SAMPLE_SIDE_INBOUND, true},
		{"", "10.0.0.1:5", "10.0.0.2:81", SAMPLE_SIDE_INBOUND, true},
		/* a rule before it may decide otherwise; chance alone mutes nothing */
		{"", "10.0.0.1:5", "10.0.0.2:81", SAMPLE_SIDE_OUTBOUND, false},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct sample_call c = {.protocol = bytes_str(t[i].protocol),
					.client = bytes_str(t[i].client),
					.server = bytes_str(t[i].server),
					.side = t[i].side};
		if (sampler_never(s, &c) != t[i].want)
			fail_msg("case %zu", i);
	}
	sampler_free(s);
	struct sample_rule none = rule();
	none.drop = true; /* what --sample says is no reason */
	s = sampler_new(NULL, 0, &none, 1);
	assert_false(sampler_never(s, &(struct sample_call) {.side = SAMPLE_SIDE_INBOUND}));
	sampler_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_meets_the_hard_end),
		cmocka_unit_test(the_threshold_of_a_trace),
		cmocka_unit_test(other_trace_ids),
		cmocka_unit_test(the_tail),
		cmocka_unit_test(a_copy_is_the_same),
		cmocka_unit_test(never_of_a_connection),
		cmocka_unit_test(c3_all_and_nothing),
		cmocka_unit_test(patterns),
		cmocka_unit_test(the_first_that_matches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
