/* SPDX-License-Identifier: Apache-2.0 */
/* Forms, patterns, and which bodies go whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/encode.h"
#include "tests/unit/redact_rig.h"

#define SECRET "S3cr3tCanary"
#define R      "[redacted]"
#define URLENC "application/x-www-form-urlencoded"
#define MULTI  "multipart/form-data; boundary=AaB03x"

static void forms(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  form: [pin, 'card*', {name: gone, action: drop}]");
	static const char *const rows[][2] = {
		{"", ""},
		{"a=1&b=2", "a=1&b=2"},
		{"pin=1", "pin=" R},
		{"a=1&PIN=1234&b=2", "a=1&PIN=" R "&b=2"},
		{"p%69n=1&pin=&pin", "p%69n=" R "&pin=&pin"},
		{"card_no=4111;x=2&z=1", "card_no=" R "&z=1"},
		{"gone=1&a=2", "a=2"},
		{"a=2&gone=1", "a=2"},
		{"a=2&gone=1&b=3", "a=2&b=3"},
		{"gone=1&gone=2&b=3", "b=3"},
		{"gone=1", ""},
		{"pin=a=b&c=d", "pin=" R "&c=d"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		rig_is(by, URLENC, rows[i][0], rows[i][1], REDACT_INVALID);
	struct header type;
	struct redact_body b = rig_http(&type, URLENC);
	rig_no_prefix_leaks(by, &b, BYTES("a=1&pin=" SECRET "&b=" R "&card=" SECRET), SECRET);
	redactor_unref(by);
}

#define PART(head, content) "--AaB03x\r\n" head "\r\n\r\n" content "\r\n"
#define PIN                 "Content-Disposition: form-data; name=\"pin\""

static void multiparts(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  form: [pin, {name: gone, action: drop}]");
	static const char *const rows[][2] = {
		{PART(PIN, SECRET) "--AaB03x--\r\n", PART(PIN, R) "--AaB03x--\r\n"},
		{PART("Content-Disposition: form-data; name=a", "x") PART(PIN, SECRET) "--AaB03x--",
		 PART("Content-Disposition: form-data; name=a", "x") PART(PIN, R) "--AaB03x--"},
		{PART("content-disposition: form-data; filename=\"name=a\"; name=pin",
		      SECRET) "--AaB03x--",
		 PART("content-disposition: form-data; filename=\"name=a\"; name=pin",
		      R) "--AaB03x--"},
		{PART("Content-Type: text/plain\r\nContent-Disposition: form-data;\r\n name=\"p\\in\"",
		      "a\r\n--AaB03xyz\r\nb") "--AaB03x--",
		 PART("Content-Type: text/plain\r\nContent-Disposition: form-data;\r\n name=\"p\\in\"",
		      R) "--AaB03x--"},
		{PART("Content-Disposition: form-data; name=gone", SECRET) "--AaB03x--",
		 PART("Content-Disposition: form-data; name=gone", "") "--AaB03x--"},
		{"preamble\r\n" PART(PIN, "") "--AaB03x--\r\nepilogue",
		 "preamble\r\n" PART(PIN, "") "--AaB03x--\r\nepilogue"},
		{PART("Content-Disposition: form-data; name*=utf-8''pin", SECRET), NULL},
		{"--AaB03x\n" PIN "\n\n" SECRET "\n--AaB03x--\n",
		 NULL}, /* who knows where it ends */
		{PART(PIN, SECRET "\n--AaB03x\r\nmore") "--AaB03x--", NULL},
		{PART(PIN, SECRET "\r\n--AaB03x\nmore") "--AaB03x--", NULL},
		{"no boundary at all", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		rig_is(by, MULTI, rows[i][0], rows[i][1], REDACT_INVALID);
	rig_is(by, "multipart/form-data", "--x\r\n", NULL, REDACT_INVALID);
	rig_is(by, "multipart/form-data; boundary=\"AaB03x\"; charset=x",
	       PART(PIN, SECRET) "--AaB03x--", PART(PIN, R) "--AaB03x--", REDACT_INVALID);
	struct header type;
	struct redact_body b = rig_http(&type, MULTI);
	rig_no_prefix_leaks(by, &b, BYTES(PART(PIN, SECRET) PART(PIN, SECRET) "--AaB03x--"),
			    SECRET);
	redactor_unref(by);
}

static void patterns(void **state)
{
	(void)state;
	struct redactor *by =
		rig_redactor("  regex: ['AKIA[0-9A-Z]{4}', {pattern: '(?i)pin=\\d+', on: body}, "
			     "{pattern: 'EMPTY', action: drop}]");
	static const char *const rows[][2] = {
		{"no", "no"},
		{"xAKIA12ABx", "x" R "x"},
		{"AKIA12ABAKIA12AB", R R},
		{"Pin=12345 PIN=9", R " " R},
		{"{\"a\":\"AKIA0000\"}", "{\"a\":\"" R "\"}"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		rig_is(by, "text/plain", rows[i][0], rows[i][1], REDACT_CUT);
	rig_is(by, "text/plain", "this is EMPTY", NULL, REDACT_DROPPED);
	/* a body that says how long its parts are keeps their length */
	rig_is(by, "application/octet-stream", "xAKIA12ABx", "x********x", REDACT_CUT);
	rig_is(by, "application/octet-stream", "xpin=1234567890x", "x" R "****x", REDACT_CUT);
	redactor_unref(by);
}

/* A match may go on behind the cut: under a pattern nothing of such a body leaves. */
static void s2_patterns_at_a_cut(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  regex: ['S3cr.*nary']");
	struct header type;
	struct redact_body b = rig_http(&type, "text/plain");
	uint64_t before = rig_counts.dropped[REDACT_CUT];
	size_t n;
	bool changed;
	b.cut = true;
	assert_null(rig_body(by, &b, BYTES("some text before S3cr3tCan"), &n, &changed));
	assert_int_equal(rig_counts.dropped[REDACT_CUT], before + 1);
	rig_is(by, "text/plain", "before " SECRET " after", "before " R " after", REDACT_CUT);
	redactor_unref(by);
}

/* The first group alone is the secret, where there is one. */
static void groups(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  regex: ['pin=(\\d+)', '<(a)?b>']");
	rig_is(by, "text/plain", "a pin=123 pin=4 pin=", "a pin=" R " pin=" R " pin=", REDACT_CUT);
	rig_is(by, "text/plain", "<ab> <b>", "<" R "b> " R, REDACT_CUT);
	redactor_unref(by);
}

/* Patterns that meet hide what any of them covers. */
static void overlaps(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor(
		"  regex: ['abc', {pattern: 'cde', action: hash}, 'x.z', {pattern: xyz, action: hash}]");
	rig_is(by, "text/plain", "-abcde-xyz-", "-" R "-" R "-", REDACT_CUT);
	redactor_unref(by);
}

static void two_engines(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  json: ['$.k']\n  regex: ['AKIA[0-9]{4}']");
	rig_is(by, "application/json", "{\"k\":\"AKIA1234\",\"a\":\"AKIA1234\"}",
	       "{\"k\":\"" R "\",\"a\":\"" R "\"}", REDACT_CUT);
	rig_is(by, "application/json", "{\"k\":1}", "{\"k\":\"" R "\"}", REDACT_CUT);
	rig_is(by, "application/json", "{\"a\":\"AKIA1234\"}", "{\"a\":\"" R "\"}", REDACT_CUT);
	redactor_unref(by);
}

static void body_is_dropped(struct redactor *by, const struct redact_body *b, bool want,
			    enum redact_why why)
{
	uint64_t before = rig_counts.dropped[why];
	size_t n;
	bool changed;
	char *got = rig_body(by, b, BYTES("\x1f\x8b some coding"), &n, &changed);
	assert_int_equal(got == NULL, want);
	assert_int_equal(rig_counts.dropped[why], before + want);
	free(got);
}

static void s2_encodings(void **state)
{
	(void)state;
	static const struct {
		const char *name, *value, *type;
		bool dropped;
	} rows[] = {
		{"Content-Encoding", "gzip", "application/json", true},
		{"content-encoding", "br", "text/html", true},
		{"content-encoding", "x-own", "", true},
		{"content-encoding", "identity, gzip", "", true},
		{"content-encoding", "", "text/plain", false},
		{"content-encoding", "Identity", "text/plain", false},
		{"content-encoding", "gzip", "image/png", false},
		{"transfer-encoding", "gzip, chunked", "text/plain", true},
		{"transfer-encoding", "chunked", "text/plain", false},
		{"", "", "text/plain", true}, /* a name that a late join does not know */
	};
	struct redactor *by = rig_redactor("  json: ['$.k']");
	struct redactor *pattern = rig_redactor("  regex: [abc]");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct header h[2] = {
			{BYTES("content-type"), bytes_str(rows[i].type), PROVENANCE_LITERAL},
			{bytes_str(rows[i].name), bytes_str(rows[i].value),
			 rows[i].name[0] ? PROVENANCE_LITERAL : PROVENANCE_UNKNOWN}};
		struct redact_body b = {.protocol = "http2", .headers = h, .n_headers = 2};
		body_is_dropped(by, &b, rows[i].dropped, REDACT_ENCODING);
		body_is_dropped(pattern, &b,
				rows[i].dropped || strcmp(rows[i].type, "image/png") == 0,
				REDACT_ENCODING);
	}
	struct redact_body blind = {.protocol = "http1", .blind = true};
	body_is_dropped(by, &blind, true, REDACT_ENCODING);
	struct redact_body later = {.protocol = "http1", .later = true};
	body_is_dropped(by, &later, true, REDACT_LATER_PART);
	redactor_unref(by);
	redactor_unref(pattern);
}

/* Envelopes of gRPC-Web and Connect streams are not read: under a rule they go. */
static void s2_enveloped(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  protobuf: ['1']\n  json: ['$.k']");
	static const char *const types[] = {"application/grpc-web+proto",
					    "application/grpc-web-text", "application/connect+json",
					    "application/connect+proto"};
	for (size_t i = 0; i < 4; i++)
		rig_is(by, types[i], "\1\2\3", NULL, REDACT_ENCODING);
	redactor_unref(by);
}

static void growth_is_bounded(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  json: ['$[*]']");
	struct header type;
	struct redact_body b = rig_http(&type, "application/json");
	struct buf in = {0};
	size_t n;
	bool changed;
	put_text(&in, "[");
	for (int i = 0; i < 200000; i++)
		put_text(&in, "1,");
	uint64_t before = rig_counts.dropped[REDACT_GROWN];
	assert_null(rig_body(by, &b, buf_bytes(&in), &n, &changed));
	assert_int_equal(rig_counts.dropped[REDACT_GROWN], before + 1);
	buf_fini(&in);
	redactor_unref(by);
}

/* Work in proportion to length: counted in CPU time, quadratic would be thousands of times. */
static double seconds_of(struct redactor *by, const char *type_name, const char *fill, size_t n)
{
	struct header type;
	struct redact_body b = rig_http(&type, type_name);
	struct buf in = {0}, out = {0};
	struct redaction r = {by, &rig_counts, NULL};
	struct timespec t0, t1;
	while (in.n < n)
		put_text(&in, fill);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
	for (int i = 0; i < 4; i++) {
		out.n = 0;
		redact_body(&r, &b, buf_bytes(&in), 64 << 20, &out);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
	buf_fini(&in);
	buf_fini(&out);
	return (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
}

static void c4_linear(void **state)
{
	(void)state;
	static const struct {
		const char *rule, *fill;
	} rows[] = {
		/* patterns on which backtracking engines take for ever */
		{"(a+)+$", "a"},
		{"(a|aa)+$", "a"},
		{"([a-zA-Z]+)*x", "a"},
		{"(.*a){12}b", "a"},
		{"(x+x+)+y", "x"},
		{"^(([a-z])+.)+[A-Z]([a-z])+$", "a"},
		{"(?:a|a.*b)c", "a"},
		{"a.*b|a", "a"},
		{"[a-z0-9._]+@[a-z0-9.]+\\.[a-z]+", "a.a@"},
		{"\\s+$", " "},
		{"(\\w+\\s?)+!", "ab "},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char rule[200];
		snprintf(rule, sizeof(rule), "  regex: ['%s']", rows[i].rule);
		struct redactor *by = rig_redactor(rule);
		double small = seconds_of(by, "text/plain", rows[i].fill, 1 << 13);
		double large = seconds_of(by, "text/plain", rows[i].fill, 1 << 19);
		if (large >= 64 * 16 * (small + 1e-4))
			fail_msg("%s: %g s of 8 KiB, %g s of 512 KiB", rows[i].rule, small, large);
		redactor_unref(by);
	}
}

static void c4_engines_linear(void **state)
{
	(void)state;
	static const struct {
		const char *type, *fill;
	} rows[] = {{"application/json", "[\"\\\\\","},
		    {"application/json", "\"\\\""},
		    {"application/json", "{\"k\":1}"},
		    {URLENC, "k&"},
		    {URLENC, "="},
		    {URLENC, "k=%"},
		    {MULTI, "\r\n--AaB03x"},
		    {MULTI, "--AaB03x\r\n"},
		    {MULTI, "--AaB03x\r\na: b;c=\""},
		    {"text/event-stream", "data: {\"k\":1}\n"}};
	struct redactor *by = rig_redactor("  json: ['$..k']\n  form: ['*k*']");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		double small = seconds_of(by, rows[i].type, rows[i].fill, 1 << 13);
		double large = seconds_of(by, rows[i].type, rows[i].fill, 1 << 19);
		if (large >= 64 * 16 * (small + 1e-4))
			fail_msg("%s of %s: %g s, %g s", rows[i].type, rows[i].fill, small, large);
	}
	redactor_unref(by);
}

static void ledger_balances(void **state)
{
	(void)state;
	struct ledger_stage st[REDACT_STAGES];
	redact_ledger(&rig_counts, st);
	for (int k = 0; k < REDACT_STAGES; k++) {
		assert_true(st[k].in > 0);
		assert_int_equal(ledger_residue(&st[k]), 0);
	}
	for (unsigned i = 0; i < st[0].n_exits; i++)
		if (strcmp(st[0].exits[i].name, "no_memory") != 0)
			assert_true(st[0].exits[i].n > 0); /* each was seen by a test above */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),           cmocka_unit_test(multiparts),
		cmocka_unit_test(patterns),        cmocka_unit_test(s2_patterns_at_a_cut),
		cmocka_unit_test(groups),          cmocka_unit_test(overlaps),
		cmocka_unit_test(two_engines),     cmocka_unit_test(s2_encodings),
		cmocka_unit_test(s2_enveloped),    cmocka_unit_test(growth_is_bounded),
		cmocka_unit_test(c4_linear),       cmocka_unit_test(c4_engines_linear),
		cmocka_unit_test(ledger_balances),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
