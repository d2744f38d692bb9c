/* SPDX-License-Identifier: Apache-2.0 */
/* `rules:` and `budget:` of the configuration file */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/sample.h"
#include "tests/unit/settings_text.h"

static const char whole[] = "sample: 5%\n"
			    "proxy-port: [15001, 15006]\n"
			    "budget: {cpu: 10%, memory: 96MiB}\n"
			    "rules:\n"
			    "  - name: health\n"
			    "    match: {path: '/health*', method: GET}\n"
			    "    drop: true\n"
			    "  - name: checkout\n"
			    "    match:\n"
			    "      protocol: http1\n"
			    "      service: 'shop.*'\n"
			    "      header: {X-Debug: '1', x-tenant: 'a?c'}\n"
			    "      client: '10.0.0.9:*'\n"
			    "      server: '127.0.0.1:80'\n"
			    "      side: outbound\n"
			    "    probability: 10%\n"
			    "    rate: 100/s\n"
			    "    bytes_per_second: 1MiB\n"
			    "    first_per_method: 3\n"
			    "    keep_if:\n"
			    "      status: [500-599, 429]\n"
			    "      outcome: [ABORTED, NO_RESPONSE]\n"
			    "      slower_than: 200ms\n"
			    "    body: head:4KiB\n"
			    "  - {name: failures, keep_if: {status: error}, body: none}\n"
			    "  - {name: few, first_per_method: 1}\n"
			    "  - {name: it's, rate: 5/s}\n";

static void a_rule_says_all_of_it(void **state)
{
	(void)state;
	struct settings s;
	char said[400] = "";
	settings_init(&s);
	assert_int_equal(s.n_rules, 0);
	if (settings_text_load(&s, whole, said, sizeof(said)) < 0)
		fail_msg("%s", said);
	assert_int_equal(s.n_rules, 5);
	assert_int_equal(s.n_proxy_ports, 2);
	assert_int_equal(s.proxy_ports[1], 15006);
	assert_true(s.budget_cpu == 0.1);
	assert_int_equal(s.budget_memory, 96 << 20);
	const struct sample_rule *r = &s.rules[0];
	assert_string_equal(r->name, "health");
	assert_true(r->drop);
	assert_true(sample_pattern_match(&r->path, BYTES("/healthz")));
	assert_false(sample_pattern_match(&r->method, BYTES("POST")));
	r = &s.rules[1];
	assert_true(sample_pattern_match(&r->protocol, BYTES("http1")));
	assert_true(sample_pattern_match(&r->service, BYTES("shop.x:80")));
	assert_int_equal(r->n_headers, 2);
	assert_string_equal(r->header[0].name, "X-Debug");
	assert_true(sample_pattern_match(&r->header[1].value, BYTES("abc")));
	assert_true(sample_pattern_match(&r->client, BYTES("10.0.0.9:1")));
	assert_true(sample_pattern_match(&r->server, BYTES("127.0.0.1:80")));
	assert_int_equal(r->side, SAMPLE_SIDE_OUTBOUND);
	assert_true(r->probability == 0.1 && r->rate == 100 && r->bytes_per_second == 1048576);
	assert_int_equal(r->first_per_method, 3);
	assert_int_equal(r->n_keep_status, 2);
	assert_int_equal(r->keep_status[0].min, 500);
	assert_int_equal(r->keep_status[1].max, 429);
	assert_int_equal(r->keep_outcomes, 1 << OUTCOME_ABORTED | 1 << OUTCOME_NO_RESPONSE);
	assert_int_equal(r->keep_slower_ns, 200000000);
	assert_int_equal(r->body, SAMPLE_BODY_HEAD);
	assert_int_equal(r->body_bytes, 4096);
	/* exceptions alone keep nothing else; a rate alone begins with all */
	assert_int_equal(s.rules[2].keep_outcomes, SAMPLE_ERRORS);
	assert_true(s.rules[2].probability == 0 && s.rules[3].probability == 0);
	assert_int_equal(s.rules[2].body, SAMPLE_BODY_NONE);
	assert_true(s.rules[4].probability == 1);
	settings_fini(&s);
}

/* What is shown can be loaded, and is the same then. */
static void shown_and_loaded(void **state)
{
	(void)state;
	struct settings s, again;
	char said[400] = "";
	settings_init(&s);
	settings_init(&again);
	assert_int_equal(settings_text_load(&s, whole, said, sizeof(said)), 0);
	char *text = settings_text_shown(&s);
	if (settings_text_load(&again, text, said, sizeof(said)) < 0)
		fail_msg("%s%s", said, text);
	char *twice = settings_text_shown(&again);
	assert_string_equal(text, twice);
	assert_string_equal(s.config_hash, again.config_hash);
	free(twice);
	/* the hash covers rules */
	assert_int_equal(
		settings_text_load(&again, "rules: [{name: a, drop: true}]\n", said, sizeof(said)),
		0);
	char one[17];
	memcpy(one, again.config_hash, sizeof(one));
	assert_int_equal(
		settings_text_load(&again, "rules: [{name: b, drop: true}]\n", said, sizeof(said)),
		0);
	assert_string_not_equal(one, again.config_hash);
	/* a file without rules has none */
	assert_int_equal(settings_text_load(&again, "port: 80\n", said, sizeof(said)), 0);
	assert_int_equal(again.n_rules, 0);
	free(text);
	settings_fini(&s);
	settings_fini(&again);
}

static void refused(const char *text, const char *want)
{
	struct settings s;
	char said[600] = "";
	settings_init(&s);
	assert_int_equal(
		settings_text_load(&s, "rules: [{name: old, drop: true}]\n", said, sizeof(said)),
		0);
	char *before = settings_text_shown(&s);
	assert_true(settings_text_load(&s, text, said, sizeof(said)) < 0);
	if (strncmp(said, want, strlen(want)) != 0)
		fail_msg("said %snot   %s", said, want);
	if (!strstr(said, "allowed") && !strstr(said, "not YAML") && !strstr(said, "more than"))
		fail_msg("does not say what is allowed: %s", said);
	char *after = settings_text_shown(&s);
	assert_string_equal(before, after);
	free(before);
	free(after);
	settings_fini(&s);
}

#define RULE(rest) "rules:\n  - {name: a, " rest "}\n"

/* C1, C3 */
static void places_of_errors(void **state)
{
	(void)state;
	refused("rules: 5\n", "f.yaml:1:8: rules: not a list");
	refused("rules: {a: 1}\n", "f.yaml:1:8: rules: not a list");
	refused("rules: [a]\n", "f.yaml:1:9: rules: not a mapping");
	refused("rules: [{drop: true}]\n", "f.yaml:1:9: rules: a rule without a name");
	refused("rules: [{name: ''}]\n", "f.yaml:1:16: name: '' is no such value");
	refused("rules: [{name: }]\n", "f.yaml:1:16: name: '' is no value");
	refused("rules: [{name: all}]\n", "f.yaml:1:9: rules: this name is taken");
	refused("rules: [{name: a}, {name: a}]\n", "f.yaml:1:20: rules: two rules of one name");
	refused("rules: []\nrules: []\n", "f.yaml:2:1: rules: given twice");
	refused(RULE("probabilty: 1"),
		"f.yaml:2:15: probabilty: no such key: did you mean probability?: allowed are name, match");
	refused(RULE("match: {pth: x}"), "f.yaml:2:23: pth: no such key: did you mean path?");
	refused(RULE("keep_if: {path: x}"), "f.yaml:2:25: path: no such key");
	refused(RULE("match: x"), "f.yaml:2:22: match: not a mapping");
	refused(RULE("match: [x]"), "f.yaml:2:22: match: not a mapping");
	refused(RULE("drop: 1"),
		"f.yaml:2:21: drop: '1' is no such value: allowed is true or false");
	refused(RULE("drop: true, drop: true"), "f.yaml:2:27: drop: given twice");
	refused(RULE("drop: true, rate: 1/s"), "f.yaml:2:5: rules: drop and what is kept");
	refused(RULE("probability: 2"), "f.yaml:2:28: probability: '2' is out of range");
	refused(RULE("probability: -1"), "f.yaml:2:28: probability: '-1' is no such value");
	refused(RULE("probability: .nan"), "f.yaml:2:28: probability: '.nan' is no such");
	refused(RULE("probability: [1]"), "f.yaml:2:28: probability: '[...]' is no single value");
	refused(RULE("rate: 100"), "f.yaml:2:21: rate: '100' is no such value: allowed is calls a");
	refused(RULE("rate: 0/s"), "f.yaml:2:21: rate: '0/s' is out of range");
	refused(RULE("bytes_per_second: none"), "f.yaml:2:33: bytes_per_second: 'none' is out of");
	refused(RULE("first_per_method: 0"), "f.yaml:2:33: first_per_method: '0' is out of range");
	refused(RULE("body: some"),
		"f.yaml:2:21: body: 'some' is no such value: allowed is full, none");
	refused(RULE("body: head:x"), "f.yaml:2:21: body: 'head:x' is no such value");
	refused(RULE("body: 'head:0'"), "f.yaml:2:21: body: 'head:0' is out of range");
	refused(RULE("match: {protocol: http}"),
		"f.yaml:2:33: protocol: 'http' is no such value: allowed is http1, http2");
	refused(RULE("match: {side: left}"), "f.yaml:2:29: side: 'left' is no such value");
	refused(RULE("match: {header: x}"), "f.yaml:2:31: header: '...' is no mapping");
	refused(RULE("match: {header: {a: [b]}}"), "f.yaml:2:35: header: '[...]' is no single");
	refused(RULE("match: {header: {a: 1, b: 1, c: 1, d: 1, e: 1}}"),
		"f.yaml:2:56: header: 'e' is one too many: allowed is");
	refused(RULE("keep_if: {status: 0}"), "f.yaml:2:33: status: '0' is out of range");
	refused(RULE("keep_if: {status: 599-500}"), "f.yaml:2:33: status: '599-500' is out of");
	refused(RULE("keep_if: {status: [1, 2, 3, 4, 5]}"),
		"f.yaml:2:46: status: '5' is one too many");
	refused(RULE("keep_if: {outcome: UNKNOWN}"), "f.yaml:2:34: outcome: 'UNKNOWN' is no such");
	refused(RULE("keep_if: {slower_than: 0}"), "f.yaml:2:38: slower_than: '0' is out of range");
	refused("budget: {cpu: 2}\n", "f.yaml:1:15: budget-cpu: '2' is more than all");
	refused("budget: {disk: 2}\n", "f.yaml:1:10: budget: 'disk' is no member: allowed is");
	refused("budget: 5\n",
		"f.yaml:1:9: budget: '5' is not for this option: allowed is a mapping");
	refused("budget-cpu: 1%\nbudget: {cpu: 2%}\n", "f.yaml:2:10: budget-cpu: given twice");
	refused("proxy-port: all\n", "f.yaml:1:13: proxy-port: 'all' is no port: allowed is ports");
}

static void no_more_than_fit(void **state)
{
	(void)state;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	fprintf(f, "rules:\n");
	for (int i = 0; i < SAMPLE_RULES_MAX; i++)
		fprintf(f, "  - {name: r%d}\n", i);
	fflush(f);
	struct settings s;
	char said[400] = "";
	settings_init(&s);
	assert_int_equal(settings_text_load(&s, text, said, sizeof(said)), 0);
	assert_int_equal(s.n_rules, SAMPLE_RULES_MAX);
	fprintf(f, "  - {name: last}\n");
	fclose(f);
	assert_true(settings_text_load(&s, text, said, sizeof(said)) < 0);
	assert_non_null(strstr(said, "f.yaml:258:5: rules: more than 256 rules"));
	struct sampler *sampler = settings_sampler(&s, 1);
	assert_int_equal(sampler_rules(sampler), SAMPLE_RULES_MAX);
	sampler_free(sampler);
	free(text);
	settings_fini(&s);
}

/* -s is the rule behind all rules. */
static void the_sampler_of_settings(void **state)
{
	(void)state;
	struct settings s;
	char said[400] = "";
	settings_init(&s);
	assert_int_equal(settings_text_load(&s,
					    "sample: 0\nrules: [{name: a, match: {path: /x}}]\n",
					    said, sizeof(said)),
			 0);
	struct sampler *sampler = settings_sampler(&s, 1);
	struct sample_call c = {.path = BYTES("/x")};
	assert_true(sampler_head(sampler, &c, 1).keep);
	c.path = BYTES("/y");
	struct sample_state st = sampler_head(sampler, &c, 1);
	assert_false(st.keep);
	assert_string_equal(sampler_rule(sampler, st.rule)->name, "sample");
	sampler_free(sampler);
	settings_fini(&s);
}

/* A flag wins over a member of the mapping, which is checked all the same. */
static void a_flag_wins(void **state)
{
	(void)state;
	struct settings s;
	char said[400] = "", *words[] = {"capture", "--budget-cpu", "20%", NULL};
	settings_init(&s);
	assert_int_equal(settings_parse(&s, 3, words), 0);
	assert_int_equal(
		settings_text_load(&s, "budget: {cpu: 5%, memory: 1GiB}\n", said, sizeof(said)), 0);
	assert_true(s.budget_cpu == 0.2);
	assert_int_equal(s.budget_memory, 1 << 30);
	assert_true(settings_text_load(&s, "budget: {cpu: x}\n", said, sizeof(said)) < 0);
	settings_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_says_all_of_it),   cmocka_unit_test(shown_and_loaded),
		cmocka_unit_test(places_of_errors),        cmocka_unit_test(no_more_than_fit),
		cmocka_unit_test(the_sampler_of_settings), cmocka_unit_test(a_flag_wins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
