/* SPDX-License-Identifier: Apache-2.0 */
/* `redact:` of the configuration file */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/redact.h"
#include "tests/unit/settings_text.h"

static const char whole[] =
	"redact:\n"
	"  key: env:REDACT_TEST_KEY\n"
	"  headers: [x-one, {name: 'x-*', action: drop}]\n"
	"  query: [code, \"\\u00e9\\x9b\\u2028\\n\\U0001f600\"]\n"
	"  cookies: [sid]\n"
	"  json: ['$.a', {path: \"$['b \\\\ \\\" c']\", action: hash, on: response}]\n"
	"  form: [{name: pin, on: request}]\n"
	"  thrift: ['1.2', 'Get:*.3']\n"
	"  protobuf: [/pkg.Svc/Get:1]\n"
	"  regex: ['a+', {pattern: 'b\\d', on: [body, path], action: mask}]\n"
	"  allow: [x-api-key]\n";

/* What is shown reads back to the same, also through another set of values; the hash follows the rules. */
static void what_is_shown_reads_back(void **state)
{
	(void)state;
	struct settings s, again, copy;
	char said[1024] = "";
	settings_init(&s);
	settings_init(&again);
	if (settings_text_load(&s, whole, said, sizeof(said)) < 0)
		fail_msg("%s", said);
	assert_int_equal(s.redact_rules.n, 13);
	char *text = settings_text_shown(&s);
	if (settings_text_load(&again, text, said, sizeof(said)) < 0)
		fail_msg("%s: %s", text, said);
	assert_int_equal(settings_copy(&copy, &again), 0);
	char *third = settings_text_shown(&copy);
	assert_string_equal(text, third);
	assert_string_equal(s.config_hash, again.config_hash);
	const struct redact_rule *json = &copy.redact_rules.list[6];
	assert_string_equal(json->what, "$['b \\ \" c']");
	assert_int_equal(json->action, REDACT_HASH);
	assert_int_equal(json->on & (REDACT_ON_REQUEST | REDACT_ON_RESPONSE), REDACT_ON_RESPONSE);
	assert_int_equal(settings_text_load(&s, "redact: true\n", said, sizeof(said)), 0);
	assert_int_equal(s.redact_rules.n, 0); /* a reload takes back what the file does not say */
	assert_string_not_equal(s.config_hash, again.config_hash);
	free(text);
	free(third);
	settings_fini(&s);
	settings_fini(&again);
	settings_fini(&copy);
}

/* A flag wins: the file's rules are checked and not taken. */
static void no_redact_wins(void **state)
{
	(void)state;
	struct settings s;
	char *argv[] = {"capture", "--no-redact", NULL}, said[1024] = "";
	settings_init(&s);
	assert_int_equal(settings_parse(&s, 2, argv), 0);
	assert_int_equal(settings_text_load(&s, whole, said, sizeof(said)), 0);
	assert_false(s.redact);
	assert_int_equal(s.redact_rules.n, 0);
	assert_int_equal(settings_text_load(&s, "redact: {json: [a]}\n", said, sizeof(said)),
			 -EINVAL);
	settings_fini(&s);
}

static void refused(const char *text, const char *says)
{
	struct settings s;
	char said[1024] = "";
	settings_init(&s);
	assert_int_equal(settings_text_load(&s, whole, said, sizeof(said)), 0);
	char *before = settings_text_shown(&s);
	int rc = settings_text_load(&s, text, said, sizeof(said));
	char *after = settings_text_shown(&s);
	assert_string_equal(before, after);
	if (rc != -EINVAL || strncmp(said, says, strlen(says)) != 0 ||
	    strchr(said, '\n') != said + strlen(said) - 1)
		fail_msg("%s: rc %d, said: %s (want: %s)", text, rc, said, says);
	free(before);
	free(after);
	settings_fini(&s);
}

static void c1_table_of_bad_rules(void **state)
{
	(void)state;
	refused("redact: {}\n", "f.yaml:1:9: redact: nothing in it: allowed are true, false or");
	refused("redact: {jason: []}\n",
		"f.yaml:1:10: redact: 'jason' is no part of it: did you mean json?");
	refused("redact: {json: [], json: []}\n", "f.yaml:1:20: redact: 'json' given twice");
	refused("redact: {json: $.a}\n", "f.yaml:1:16: redact.json: not a list: allowed is [...]");
	refused("redact: {json: [[]]}\n", "f.yaml:1:17: redact.json: neither a list");
	refused("redact: {json: [~]}\n", "f.yaml:1:17: redact.json: no value");
	refused("redact: {json: [a]}\n",
		"f.yaml:1:17: redact.json: 'a' does not begin with $: allowed are");
	refused("redact: {json: [$]}\n", "f.yaml:1:17: redact.json: '$' names the whole body");
	refused("redact: {json: ['$.a[']}\n", "f.yaml:1:17: redact.json: '$.a[' has no number, *");
	refused("redact: {json: ['$.a[0']}\n",
		"f.yaml:1:17: redact.json: '$.a[0' has a bracket that");
	refused("redact: {json: [\"$['a\"]}\n",
		"f.yaml:1:17: redact.json: '$['a' has a name without");
	refused("redact: {json: ['$..']}\n", "f.yaml:1:17: redact.json: '$..' has a dot without");
	refused("redact: {json: ['$.a*']}\n", "f.yaml:1:17: redact.json: '$.a*' has a * within");
	refused("redact: {json: ['$.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q']}\n",
		"f.yaml:1:17: redact.json: '$.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q' has more than 16");
	refused("redact: {thrift: ['a']}\n", "f.yaml:1:19: redact.thrift: 'a' has no field number");
	refused("redact: {thrift: ['1.']}\n",
		"f.yaml:1:19: redact.thrift: '1.' has no field number");
	refused("redact: {thrift: [':1']}\n", "f.yaml:1:19: redact.thrift: ':1' has a colon");
	refused("redact: {protobuf: ['1x']}\n",
		"f.yaml:1:21: redact.protobuf: '1x' has text behind");
	refused("redact: {protobuf: ['99999999999']}\n",
		"f.yaml:1:21: redact.protobuf: '99999999999' has no");
	refused("redact: {regex: ['(a']}\n",
		"f.yaml:1:18: redact.regex: '(a' is no pattern (missing )");
	refused("redact: {regex: ['a*']}\n",
		"f.yaml:1:18: redact.regex: 'a*' is no pattern (it matches empty");
	refused("redact: {regex: ['(a)\\1']}\n", "f.yaml:1:18: redact.regex: '(a)\\");
	refused("redact: {regex: [{pattern: a, on: request}]}\n",
		"f.yaml:1:35: redact.regex: 'request' is no place: allowed are header, path, body, all");
	refused("redact: {json: [{path: $.a, on: [body]}]}\n",
		"f.yaml:1:34: redact.json: 'body' is no place: allowed are request, response, all");
	refused("redact: {headers: [{name: a, on: request}]}\n",
		"f.yaml:1:34: redact.headers: on: is not for names");
	refused("redact: {headers: [{name: a, action: hide}]}\n",
		"f.yaml:1:38: redact.headers: 'hide' is no action: allowed are mask, hash and drop");
	refused("redact: {headers: [{path: a}]}\n",
		"f.yaml:1:21: redact.headers: 'path' is no member of a rule: allowed are name, action");
	refused("redact: {headers: [{action: mask}]}\n",
		"f.yaml:1:20: redact.headers: a rule without its name");
	refused("redact: {headers: [{name: a, name: b}]}\n",
		"f.yaml:1:30: redact.headers: 'name' given twice");
	refused("redact: {headers: ['']}\n", "f.yaml:1:20: redact.headers: '' is empty");
	refused("redact: {allow: x}\n", "f.yaml:1:17: redact.allow: not a list");
	refused("redact: {? [a] : b}\n", "f.yaml:1:12: redact: a part of it is named by a word");
	refused("no-redact: {json: ['$.a']}\n", "f.yaml:1:12: no-redact: '{...}' is a mapping");
	/* C7: who wrote the key itself into the file does not find it in a log */
	refused("redact: {key: hunter2hunter2hunter2}\n",
		"f.yaml:1:15: redact.key: neither file:PATH nor env:NAME");
	refused("redact: {key: 'file:'}\n", "f.yaml:1:15: redact.key: neither");
}

static void c1_too_many_rules(void **state)
{
	(void)state;
	char text[4096] = "redact:\n  headers: [", said[1024];
	struct settings s;
	for (int i = 0; i < REDACT_RULES_MAX + 1; i++)
		strcat(text, "abc,");
	strcat(text, "]\n");
	refused(text, "f.yaml:2:1037: redact.headers: too many rules: allowed are 256");
	settings_init(&s);
	snprintf(text, sizeof(text), "redact: {json: [");
	for (int i = 0; i < 65; i++)
		strcat(text, "$.a,");
	strcat(text, "]}\n");
	assert_int_equal(settings_text_load(&s, text, said, sizeof(said)), 0);
	assert_null(redactor_new(&s.redact_rules, NULL, said, sizeof(said)));
	assert_non_null(strstr(said, "one path too many"));
	settings_fini(&s);
}

static void key_is(const char *rules, const char *says)
{
	struct settings s;
	char said[1024] = "";
	settings_init(&s);
	assert_int_equal(settings_text_load(&s, rules, said, sizeof(said)), 0);
	struct redactor *r = redactor_new(&s.redact_rules, NULL, said, sizeof(said));
	if (says ? r != NULL || strncmp(said, says, strlen(says)) != 0 : r == NULL)
		fail_msg("%s: %s", rules, said);
	assert_null(strstr(said, "short"));
	redactor_unref(r);
	settings_fini(&s);
}

/* C7: the key is shown nowhere; it is taken over when it cannot be read any more. */
static void c7_keys(void **state)
{
	(void)state;
	char path[] = "/tmp/redact-key-XXXXXX", rules[200], said[1024];
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0123456789abcdef\n", 17), 17);
	close(fd);
	snprintf(rules, sizeof(rules),
		 "redact: {key: 'file:%s', headers: [{name: a, action: hash}]}\n", path);
	key_is(rules, NULL);
	struct settings s;
	settings_init(&s);
	assert_int_equal(settings_text_load(&s, rules, said, sizeof(said)), 0);
	struct redactor *before = redactor_new(&s.redact_rules, NULL, said, sizeof(said));
	assert_non_null(before);
	char *text = settings_text_shown(&s);
	assert_null(strstr(text, "0123456789abcdef"));
	free(text);
	unlink(path);
	assert_null(redactor_new(&s.redact_rules, NULL, said, sizeof(said)));
	struct redactor *after = redactor_new(&s.redact_rules, before, said, sizeof(said));
	assert_non_null(after);
	redactor_unref(before);
	redactor_unref(after);
	settings_fini(&s);
	key_is("redact: {key: 'file:/nowhere/key'}\n",
	       "redact: key: file:/nowhere/key: No such file");
	key_is("redact: {key: 'file:/tmp'}\n", "redact: key: file:/tmp: Invalid argument");
	key_is("redact: {key: env:REDACT_TEST_NONE}\n",
	       "redact: key: env:REDACT_TEST_NONE holds 0 bytes: allowed");
	setenv("REDACT_TEST_SHORT", "short", 1);
	key_is("redact: {key: env:REDACT_TEST_SHORT}\n",
	       "redact: key: env:REDACT_TEST_SHORT holds 5 bytes");
	key_is("redact: {headers: [{name: a, action: hash}]}\n", NULL); /* of the process */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shown_reads_back),
		cmocka_unit_test(no_redact_wins),
		cmocka_unit_test(c1_table_of_bad_rules),
		cmocka_unit_test(c1_too_many_rules),
		cmocka_unit_test(c7_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
