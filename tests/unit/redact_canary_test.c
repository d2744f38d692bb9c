/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S1: whole connections with canaries at every place where a secret may stand, cut at every byte, through to encoded records and
 * printed lines: none of them is found, not even half of one. Without redaction all of them are.
 * 1,000 canaries; with SIDETAP_LONG set 100,000.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sink/print_line.h"
#include "tests/unit/canary_talk.h"
#include "tests/unit/conn_wire.h"
#include "tests/unit/redact_rig.h"

enum { QUICK = 1000, LONG = 100000, WHOLE = 0, EACH_BYTE = -1 };

static struct redactor *by;
static struct talk talk;
static const struct talk_kind *kind;
static bool found[CANARIES_MAX], half[CANARIES_MAX];
static struct buf leaving; /* all that left a connection */
static size_t planted;

static void look(struct bytes b)
{
	for (size_t i = 0; i < talk.n_canaries; i++) {
		const char *text = talk.canary[i].text;
		found[i] |= memmem(b.p, b.n, text, CANARY) != NULL;
		half[i] |= memmem(b.p, b.n, text, CANARY / 2) != NULL ||
			   memmem(b.p, b.n, text + CANARY / 2, CANARY / 2) != NULL;
	}
}

static int canary_submit(struct sink *sink, struct record **r, const char **exit)
{
	struct record *rec = *r;
	struct text line = {0};
	const struct print_style style = {.headers = true, .bodies = true};
	(void)sink, (void)exit;
	Sidetap__V1__Call *c = record_decode(bytes_of(rec->data, rec->n));
	assert_non_null(c);
	print_line(&line, c, c, &style);
	assert_int_equal(buf_append(&leaving, bytes_of(rec->data, rec->n)), 0);
	assert_int_equal(buf_append(&leaving, bytes_of(line.p, line.n)), 0);
	text_fini(&line);
	sidetap__v1__call__free_unpacked(c, NULL);
	recorder_report(wire.recorder, RECORD_CALL, rec->number, rec->last_part, NULL);
	record_free(rec);
	*r = NULL;
	return 0;
}

static const struct sink_ops canary_ops = {.scheme = "canary", .submit = canary_submit};

static void send(enum dir dir, struct bytes b, int cut)
{
	if (cut == EACH_BYTE) {
		for (size_t i = 0; i < b.n; i++)
			wire_run(dir, bytes_of(b.p + i, 1), i > 0);
		return;
	}
	size_t first = cut == WHOLE ? b.n : (size_t)cut;
	wire_run(dir, bytes_head(b, first), false);
	wire_run(dir, bytes_from(b, first), true);
}

/* One connection; every segment is cut at the same place. */
static void connection(uint64_t seed, int cut, bool redact)
{
	talk_make(kind, &talk, seed);
	memset(found, 0, sizeof(found));
	memset(half, 0, sizeof(half));
	leaving.n = 0;
	wire_open(!kind->late);
	recorder_set_sink(wire.recorder, &canary_ops, NULL);
	calls_set_redactor(wire.calls, redact ? by : NULL);
	for (size_t i = talk.skip; i < talk.n_segments; i++)
		send(talk.segment[i].dir, buf_bytes(&talk.segment[i].b), cut);
	wire_close(FLOW_FIN);
	look(buf_bytes(&leaving));
	planted += redact ? talk.n_canaries : 0;
}

static void hidden(uint64_t seed, int cut)
{
	connection(seed, cut, true);
	for (size_t i = 0; i < talk.n_canaries; i++)
		if (found[i] || half[i])
			fail_msg("%s cut at %d: canary %zu of %zu (%s) left", kind->name, cut, i,
				 talk.n_canaries, talk.canary[i].text);
	assert_non_null(memmem(leaving.p, leaving.n, "[redacted]", 10));
	talk_fini(&talk);
}

/* The guard against a test that sees nothing */
static void all_shown(uint64_t seed, int cut)
{
	connection(seed, cut, false);
	for (size_t i = 0; i < talk.n_canaries && !kind->late; i++)
		if (found[i] != talk.canary[i].shown)
			fail_msg("%s cut at %d, nothing redacted: canary %zu of %zu was %s",
				 kind->name, cut, i, talk.n_canaries,
				 found[i] ? "told" : "not told");
	talk_fini(&talk);
}

static void every_kind(uint64_t seed, size_t each)
{
	for (kind = talk_kinds; kind->name; kind++) {
		all_shown(seed, WHOLE);
		all_shown(seed, EACH_BYTE);
		hidden(seed, WHOLE);
		hidden(seed, EACH_BYTE);
		size_t longest = talk.longest, step = each && longest > each ? longest / each : 1;
		for (size_t cut = 1 + seed % step; cut < longest; cut += step)
			hidden(seed + cut, (int)cut);
	}
}

static void s1_no_canary_leaves(void **state)
{
	(void)state;
	bool all = getenv("SIDETAP_LONG") != NULL;
	by = rig_redactor(talk_rules);
	for (uint64_t seed = 1; planted < (all ? LONG : QUICK) || seed == 1; seed++)
		every_kind(seed, all ? 0 : 8);
	print_message("%zu canaries, none left\n", planted);
	redactor_unref(by);
	buf_fini(&leaving);
}

/* The built-in lists alone: what they name goes, the rest stays. */
static void s1_without_rules(void **state)
{
	(void)state;
	char err[REDACT_ERROR_MAX];
	by = redactor_new(NULL, NULL, err, sizeof(err));
	for (kind = talk_kinds; kind->name; kind++) {
		connection(3, WHOLE, true);
		size_t n = 0;
		for (size_t i = 0; i < talk.n_canaries; i++)
			n += found[i];
		/* Thrift alone has nothing with a name */
		assert_true((n == talk.n_canaries) ==
			    bytes_starts(bytes_str(kind->name), BYTES("thrift")));
		for (size_t i = 0; i < talk.n_canaries; i++)
			assert_true(found[i] == half[i]);
		talk_fini(&talk);
	}
	redactor_unref(by);
	buf_fini(&leaving);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(s1_no_canary_leaves),
		cmocka_unit_test(s1_without_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
