/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/redact_rig.h"

#define JSON "application/json; charset=utf-8"
#define R    "[redacted]"

struct row {
	const char *in, *want; /* want NULL: dropped as invalid */
};

static void rows_are(const char *rules, const char *type, const struct row *rows, size_t n)
{
	struct redactor *by = rig_redactor(rules);
	for (size_t i = 0; i < n; i++)
		rig_is(by, type, rows[i].in, rows[i].want, REDACT_INVALID);
	redactor_unref(by);
}

#define ROWS(rules, type, rows) rows_are(rules, type, rows, sizeof(rows) / sizeof((rows)[0]))

static void paths_name_values(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"", ""},
		{" \n", " \n"},
		{"{}", "{}"},
		{"[]", "[]"},
		{"null", "null"},
		{"{\"user\":{\"password\":\"x\",\"name\":\"n\"}}",
		 "{\"user\":{\"password\":\"" R "\",\"name\":\"n\"}}"},
		{"{ \"user\" : { \"name\":\"n\" ,\n \"password\" : 17 } , \"z\": [ ] }",
		 "{ \"user\" : { \"name\":\"n\" ,\n \"password\" : \"" R "\" } , \"z\": [ ] }"},
		{"{\"user\":{\"password\":{\"a\":[1,{\"b\":2}]}}}",
		 "{\"user\":{\"password\":\"" R "\"}}"},
		{"{\"password\":\"x\"}", "{\"password\":\"x\"}"}, /* not below user */
		{"{\"user\":[{\"password\":\"x\"},{\"password\":\"y\"}]}", /* an array on the way */
		 "{\"user\":[{\"password\":\"" R "\"},{\"password\":\"" R "\"}]}"},
		{"{\"USER\":{\"PassWord\":\"x\"}}", "{\"USER\":{\"PassWord\":\"" R "\"}}"},
		{"{\"user\":{\"password\":\"a\\\"b\",\"q\":\"\\\\\"}}",
		 "{\"user\":{\"password\":\"" R "\",\"q\":\"\\\\\"}}"},
		{"{\"user\":{\"password\":\"a\",\"password\":\"b\"}}",
		 "{\"user\":{\"password\":\"" R "\",\"password\":\"" R "\"}}"},
		{"{\"user\":{\"\\u0070assword\":\"x\"}}",
		 "{\"user\":{\"\\u0070assword\":\"" R "\"}}"},
		{"{\"\\u0075s\\u0065r\":{\"pass\\u0077ord\":true}}",
		 "{\"\\u0075s\\u0065r\":{\"pass\\u0077ord\":\"" R "\"}}"},
	};
	ROWS("  json: ['$.user.password']", JSON, rows);
}

static void wildcards_and_depth(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"{\"token\":1,\"a\":{\"b\":[{\"token\":2}]}}",
		 "{\"token\":\"" R "\",\"a\":{\"b\":[{\"token\":\"" R "\"}]}}"},
		{"{\"items\":[{\"card\":1,\"n\":2},{\"card\":3}],\"card\":4}",
		 "{\"items\":[{\"card\":\"" R "\",\"n\":2},{\"card\":\"" R "\"}],\"card\":4}"},
		{"{\"list\":[0,1,2]}", "{\"list\":[0,\"" R "\",2]}"},
		{"{\"any\":{\"x\":{\"k\":1},\"y\":{\"k\":2,\"l\":3}}}",
		 "{\"any\":{\"x\":{\"k\":\"" R "\"},\"y\":{\"k\":\"" R "\",\"l\":3}}}"},
		{"{\"a b\":1,\"a.b\":2}", "{\"a b\":\"" R "\",\"a.b\":\"" R "\"}"},
		{"{\"\\u00e9\":1,\"\xc3\xa9\":2}",
		 "{\"\\u00e9\":\"" R "\",\"\xc3\xa9\":\"" R "\"}"},
		{"{\"\\ud83d\\ude00\":1}", "{\"\\ud83d\\ude00\":\"" R "\"}"},
		/* rows of documents */
		{"{\"token\":1}\n{\"token\":2}\n",
		 "{\"token\":\"" R "\"}\n{\"token\":\"" R "\"}\n"},
		{"\xef\xbb\xbf{\"token\":1}", "\xef\xbb\xbf{\"token\":\"" R "\"}"},
	};
	ROWS("  json: ['$..token', '$.items[*].card', '$.list[1]', '$.any.*.k', \"$['a b']\", \"$['a.b']\", "
	     "'$.\xc3\xa9', '$.\xf0\x9f\x98\x80']",
	     JSON, rows);
}

static void dropping_keeps_json(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"{\"k\":1}", "{}"},
		{"{\"k\":1,\"a\":2}", "{\"a\":2}"},
		{"{\"a\":2,\"k\":1}", "{\"a\":2}"},
		{"{\"a\":2,\"k\":1,\"b\":3}", "{\"a\":2,\"b\":3}"},
		{"{\"k\":1,\"k\":2,\"a\":3,\"k\":[4]}", "{\"a\":3}"},
		{"{\"k\":1,\"k\":2}", "{}"},
		{"{ \"k\" : 1 , \"a\" : 2 }", "{  \"a\" : 2 }"},
		{"[{\"k\":1},{\"k\":2,\"b\":1}]", "[{},{\"b\":1}]"},
		{"{\"e\":[5,6]}", "{\"e\":[]}"},
	};
	struct row few[8];
	memcpy(few, rows, sizeof(few)); /* the last has its own rule */
	ROWS("  json: [{path: '$..k', action: drop}]", JSON, few);
	rows_are("  json: [{path: '$.e[*]', action: drop}]", JSON, &rows[8], 1);
}

static void hashes_join(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  key: env:REDACT_TEST_KEY\n"
					   "  json: [{path: $..k, action: hash}]");
	struct header type;
	struct redact_body b = rig_http(&type, JSON);
	size_t n;
	bool changed;
	/* printf secret | openssl dgst -sha256 -hmac 0123456789abcdef, its first half */
	char *one = rig_body(by, &b, bytes_str("{\"k\":\"secret\"}"), &n, &changed);
	char *same = rig_body(by, &b, bytes_str("{\"k\":\"\\u0073ecret\"}"), &n, &changed);
	char *other = rig_body(by, &b, bytes_str("{\"k\":\"secret2\"}"), &n, &changed);
	char *cut = rig_body(by, &b, bytes_str("{\"k\":\"secr"), &n, &changed);
	assert_string_equal(one, "{\"k\":\"[h:59fa6a4dccc441a2ceb3d563296276a0]\"}");
	assert_string_equal(one, same);
	assert_string_not_equal(one, other);
	assert_string_equal(cut, "{\"k\":\"" R "\"");
	free(one);
	free(same);
	free(other);
	free(cut);
	redactor_unref(by);
}

static void s2_what_is_no_json_is_dropped(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"{\"k\":1", "{\"k\":\"" R "\""}, /* the beginning of some is */
		{"{'k':1}", NULL},
		{"{k:1}", NULL},
		{"{\"k\"=1}", NULL},
		{"{\"k\":1]", NULL},
		{"{\"k\":1,}", NULL},
		{"[1,]", NULL},
		{"[,1]", NULL},
		{"{\"a\":[}", NULL},
		{"{\"a\":{]}", NULL},
		{"{\"k\" \"v\"}", NULL},
		{"{\"a\":1 \"k\":2}", NULL},
		{"{\"\\x6b\":1}", NULL},
		{"{\"\\u00zz\":1}", NULL},
		{"/* c */{\"k\":1}", NULL},
		{")]}',\n{\"k\":1}", NULL},
		{"{\"k\":1}}", NULL},
		{"\xff\xfe{", NULL},
	};
	ROWS("  json: ['$.k']", JSON, rows);
}

static void deep_json_is_dropped(void **state)
{
	(void)state;
	enum { N = 100000 };
	char *deep = malloc(N + 1);
	struct redactor *by = rig_redactor("  json: ['$..k']");
	memset(deep, '[', N);
	deep[N] = '\0';
	rig_is(by, JSON, deep, NULL, REDACT_INVALID);
	deep[100] = '\0';
	rig_is(by, JSON, deep, deep, REDACT_INVALID);
	deep[100] = '[';
	deep[101] = '\0';
	rig_is(by, JSON, deep, NULL, REDACT_INVALID);
	free(deep);
	redactor_unref(by);
}

/* Said to be JSON, or beginning like it */
static void types(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  json: ['$.k']");
	static const char in[] = "{\"k\":1}", out[] = "{\"k\":\"" R "\"}";
	static const char *const json[] = {"application/json",
					   "APPLICATION/JSON",
					   "application/vnd.api+json",
					   "text/json",
					   "application/x-ndjson",
					   "text/plain",
					   "",
					   "image/png"};
	for (size_t i = 0; i < sizeof(json) / sizeof(*json); i++)
		rig_is(by, json[i], in, out, REDACT_INVALID);
	rig_is(by, "text/plain", "k=1", "k=1", REDACT_INVALID);
	rig_is(by, "application/json", "k=1", NULL, REDACT_INVALID);
	redactor_unref(by);
}

static void events(void **state)
{
	(void)state;
	static const struct row rows[] = {
		{"event: x\ndata: {\"k\":1}\n\ndata:{\"k\":2,\"a\":3}\r\n\r\ndata: [DONE]\n\n",
		 "event: x\ndata: {\"k\":\"" R "\"}\n\ndata:{\"k\":\"" R
		 "\",\"a\":3}\r\n\r\ndata: [DONE]\n\n"},
		{"data: {\ndata: \"k\":1}\n\n", NULL}, /* one document on two lines */
		{"data: hello\n\n", "data: hello\n\n"},
		{"data: {\"k\":\"se", "data: {\"k\":\"" R "\""},
	};
	ROWS("  json: ['$.k']", "text/event-stream", rows);
}

static void directions(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  json: [{path: $.k, on: response}]");
	struct header type;
	struct redact_body b = rig_http(&type, JSON);
	size_t n;
	bool changed;
	free(rig_body(by, &b, bytes_str("{\"k\":1}"), &n, &changed));
	assert_false(changed);
	b.dir = DIR_RESPONSE;
	free(rig_body(by, &b, bytes_str("{\"k\":1}"), &n, &changed));
	assert_true(changed);
	redactor_unref(by);
}

static void no_prefix_leaks(void **state)
{
	(void)state;
	static const char in[] =
		"{\"a\":[1,2,{\"b\":\"c\"}],\"user\":{\"x\":null,\"pass\\u0077ord\":\"S3cr3tCanary\","
		"\"deep\":[[{\"token\":\"S3cr3tCanary\"}]]},\"token\":{\"S3cr3tCanary\":\"S3cr3tCanary\"}}";
	struct redactor *by = rig_redactor("  json: ['$.user.password', '$..token']");
	struct header type;
	struct redact_body b = rig_http(&type, JSON);
	rig_no_prefix_leaks(by, &b, bytes_str(in), "S3cr3tCanary");
	redactor_unref(by);
}

/* The same bytes but for what is named: a thousand random documents, printed by hand, with and without the secret */
static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static void random_value(struct buf *in, struct buf *want, unsigned depth);

static void both(struct buf *in, struct buf *want, const char *text)
{
	assert_int_equal(buf_append(in, bytes_str(text)), 0);
	assert_int_equal(buf_append(want, bytes_str(text)), 0);
}

static void random_member(struct buf *in, struct buf *want, unsigned depth)
{
	static const char *const keys[] = {"\"a\"", "\"k\"", "\"\\u006b\"", "\"kk\"", "\"\\\"k\""};
	unsigned i = below(5);
	struct buf hidden = {0};
	both(in, want, keys[i]);
	both(in, want, below(2) ? ":" : " : ");
	if (i == 1 || i == 2) {
		random_value(in, &hidden, depth);
		assert_int_equal(buf_append(want, bytes_str("\"" R "\"")), 0);
	} else {
		random_value(in, want, depth);
	}
	buf_fini(&hidden);
}

static void random_value(struct buf *in, struct buf *want, unsigned depth)
{
	static const char *const plain[] = {"1",         "-2.5e10",        "true", "null", "\"\"",
					    "\"x\\\\\"", "\"\\\"k\\\":\"", "[]",   "{}"};
	unsigned kind = depth ? below(4) : 3, n = below(4);
	if (kind == 3) {
		both(in, want, plain[below(9)]);
		return;
	}
	both(in, want, kind ? "{" : "[");
	for (unsigned i = 0; i < n; i++) {
		both(in, want, i ? below(2) ? "," : " ,\n" : "");
		if (kind)
			random_member(in, want, depth - 1);
		else
			random_value(in, want, depth - 1);
	}
	both(in, want, kind ? "}" : "]");
}

static void random_documents(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  json: ['$..k']");
	for (seed = 1; seed < 2000;) {
		uint64_t this = seed;
		struct buf in = {0}, want = {0};
		random_value(&in, &want, 6);
		both(&in, &want, "");
		assert_int_equal(buf_append(&in, bytes_of("", 1)), 0);
		assert_int_equal(buf_append(&want, bytes_of("", 1)), 0);
		rig_is(by, JSON, (char *)in.p, (char *)want.p, REDACT_INVALID);
		buf_fini(&in);
		buf_fini(&want);
		seed = this + 1;
	}
	redactor_unref(by);
}

static int set_key(void **state)
{
	(void)state;
	return setenv("REDACT_TEST_KEY", "0123456789abcdef", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_name_values),
		cmocka_unit_test(wildcards_and_depth),
		cmocka_unit_test(dropping_keeps_json),
		cmocka_unit_test(hashes_join),
		cmocka_unit_test(s2_what_is_no_json_is_dropped),
		cmocka_unit_test(deep_json_is_dropped),
		cmocka_unit_test(types),
		cmocka_unit_test(events),
		cmocka_unit_test(directions),
		cmocka_unit_test(no_prefix_leaks),
		cmocka_unit_test(random_documents),
	};
	return cmocka_run_group_tests(tests, set_key, NULL);
}
