/* SPDX-License-Identifier: Apache-2.0 */
/* The auditor: holes, residues, missing and final ledgers, several instances, what it prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "analyze/audit.h"
#include "record.pb-c.h"
#include "sink/record.h"

static void see(struct audit *a, const char *instance, uint64_t number, bool with_capture)
{
	char id[64];
	snprintf(id, sizeof(id), "%s-4", instance);
	struct record_capture capture = {.instance = instance};
	struct record_call in = {.connection_id = bytes_str(id),
				 .record_number = number,
				 .last_part = true,
				 .capture = with_capture ? &capture : NULL};
	struct record *r = NULL;
	assert_int_equal(record_encode(&in, &r), 0);
	Sidetap__V1__Call *c = record_decode(bytes_of(r->data, r->n));
	audit_call(a, c);
	sidetap__v1__call__free_unpacked(c, NULL);
	record_free(r);
}

static void tell(struct audit *a, const struct record_ledger *in)
{
	struct record *r = NULL;
	assert_int_equal(record_encode_ledger(in, &r), 0);
	Sidetap__V1__Ledger *l = record_decode_ledger(bytes_of(r->data, r->n));
	assert_int_equal(audit_ledger(a, &l), 0);
	record_free(r);
}

static struct record_ledger ledger_of(const char *instance, uint64_t last)
{
	return (struct record_ledger) {.instance = instance,
				       .end_unix_ns = 10,
				       .final = true,
				       .exact = true,
				       .last_record_number = last};
}

static struct audit *with_records(const char *instance, uint64_t first, uint64_t last)
{
	struct audit *a = audit_new();
	assert_non_null(a);
	for (uint64_t i = first; i <= last; i++)
		see(a, instance, i, i == first);
	return a;
}

static void judge(struct audit *a, unsigned want)
{
	assert_int_equal(audit_faults(a), want);
	audit_free(a);
}

static void complete(void **state)
{
	(void)state;
	struct audit *a = with_records("0011223344556677", 1, 100000);
	struct record_ledger l = ledger_of("0011223344556677", 100000);
	for (int i = 1; i <= 5; i++)
		see(a, "0011223344556677", (uint64_t)i, true); /* retries change nothing */
	tell(a, &l);
	judge(a, 0);
}

static void empty_is_not_provable(void **state)
{
	(void)state;
	judge(audit_new(), AUDIT_NO_LEDGER);
	struct audit *a = audit_new();
	struct record_ledger l = ledger_of("i", 0); /* a run that saw nothing is */
	tell(a, &l);
	judge(a, 0);
}

static void every_hole_is_found(void **state)
{
	(void)state;
	static const uint64_t gone[] = {1, 2, 500, 32767, 32768, 32769, 40000};
	for (size_t k = 0; k < sizeof(gone) / sizeof(*gone); k++) {
		struct audit *a = audit_new();
		struct record_ledger l = ledger_of("i", 40000);
		for (uint64_t i = 1; i <= 40000; i += 1 + (i + 1 == gone[k]))
			if (i != gone[k])
				see(a, "i", i, true);
		tell(a, &l);
		judge(a, AUDIT_MISSING);
	}
}

static void named_losses_are_no_holes(void **state)
{
	(void)state;
	struct record_range lost[] = {
		{7, 9, "queue_full"}, {3, 3, "too_large"}, {11, 12, "purged"}};
	struct record_ledger l = ledger_of("i", 12);
	l.lost = lost;
	l.n_lost = 3;
	static const uint64_t there[] = {1, 2, 4, 5, 6, 8, 10};
	struct audit *a = audit_new();
	for (size_t i = 0; i < 7; i++)
		see(a, "i", there[i],
		    true); /* 8 was named as lost and is there: possibly persisted */
	tell(a, &l);
	judge(a, 0);
	a = audit_new();
	for (size_t i = 0; i < 6; i++)
		see(a, "i", there[i], true);
	tell(a, &l);
	judge(a, AUDIT_MISSING);
}

static void residue_is_found(void **state)
{
	(void)state;
	for (int off = -1; off <= 1; off++) {
		struct ledger_stage stage = {
			.name = "pair", .unit = "calls", .in = (uint64_t)(4 + off)};
		ledger_exit_add(&stage, "paired", 4, false);
		struct record_ledger l = ledger_of("i", 0);
		l.stages = &stage;
		l.n_stages = 1;
		struct audit *a = audit_new();
		tell(a, &l);
		judge(a, off ? AUDIT_RESIDUE : 0);
	}
}

/* On the way something may be held; at the end everything must have left. */
static void held_only_before_the_end(void **state)
{
	(void)state;
	for (int final = 0; final < 2; final++) {
		struct ledger_stage stage = {.name = "pair", .unit = "calls", .in = 5, .held = 1};
		ledger_exit_add(&stage, "paired", 4, false);
		struct record_ledger l = ledger_of("i", 0);
		l.stages = &stage;
		l.n_stages = 1;
		l.final = final;
		struct audit *a = audit_new();
		tell(a, &l);
		judge(a, final ? AUDIT_RESIDUE : AUDIT_NOT_FINAL);
	}
}

static void no_final_ledger(void **state)
{
	(void)state;
	struct audit *a = with_records("i", 1, 20);
	struct record_ledger l = ledger_of("i", 10);
	l.final = false;
	tell(a, &l);
	judge(a, AUDIT_NOT_FINAL);
	a = with_records("i", 1, 20);
	l.final = true;
	tell(a, &l);
	judge(a, AUDIT_BEYOND);
	judge(with_records("i", 1, 2), AUDIT_NO_LEDGER);
}

/* Ledgers come in any order; the final one counts, else the latest. */
static void the_last_ledger_counts(void **state)
{
	(void)state;
	struct record_ledger early = ledger_of("i", 2), late = ledger_of("i", 5);
	early.final = false;
	early.end_unix_ns = 5;
	for (int order = 0; order < 2; order++) {
		struct audit *a = with_records("i", 1, 5);
		tell(a, order ? &early : &late);
		tell(a, order ? &late : &early);
		judge(a, 0);
	}
}

static void instances_are_judged_alone(void **state)
{
	(void)state;
	struct audit *a = with_records("aaaaaaaaaaaaaaaa", 1, 5);
	struct record_ledger l = ledger_of("aaaaaaaaaaaaaaaa", 5);
	for (uint64_t i = 1; i <= 3; i++)
		see(a, "bbbbbbbbbbbbbbbb", i, false); /* known by the connection's id only */
	tell(a, &l);
	assert_int_equal(audit_faults(a), AUDIT_NO_LEDGER);
	l = ledger_of("bbbbbbbbbbbbbbbb", 3);
	tell(a, &l);
	judge(a, 0);
}

static void the_sink_may_say_unprovable(void **state)
{
	(void)state;
	struct audit *a = with_records("i", 1, 5);
	struct record_ledger l = ledger_of("i", 5);
	l.unprovable = true;
	tell(a, &l);
	judge(a, AUDIT_UNPROVABLE);
	a = with_records("i", 1, 5);
	l.unprovable = false;
	tell(a, &l);
	audit_broken(a);
	judge(a, AUDIT_BROKEN);
}

/* Numbers that nobody can hold, and ledgers that claim them, cost neither memory nor time. */
static void hostile_numbers(void **state)
{
	(void)state;
	struct record_range lost[] = {{10, UINT64_MAX, "x"}};
	struct audit *a = with_records("i", 1, 9);
	struct record_ledger l = ledger_of("i", UINT64_MAX);
	l.lost = lost;
	l.n_lost = 1;
	tell(a, &l);
	assert_int_equal(audit_faults(a), 0);
	see(a, "i", UINT64_C(1) << 34, true);
	assert_int_equal(audit_faults(a), 0);
	see(a, "i", UINT64_MAX, true);
	judge(a, AUDIT_UNPROVABLE);
	a = with_records("i", 1, 9);
	l.n_lost = 0;
	tell(a, &l);
	judge(a, AUDIT_MISSING);
}

static void two_stages(struct ledger_stage stage[2])
{
	stage[0] = (struct ledger_stage) {.name = "probe", .unit = "packets", .in = 10};
	ledger_exit_add(&stage[0], "ring_full", 2, true);
	ledger_exit_add(&stage[0], "submitted", 8, false);
	stage[1] = (struct ledger_stage) {.name = "probe", .unit = "bytes", .in = 1000, .made = 4};
	ledger_exit_add(&stage[1], "ring_full", 300, true);
	ledger_exit_add(&stage[1], "submitted", 700, false);
}

/* What was under way when the ledger was written is lost when it is not there, and only then. */
static void open_exits_are_judged_by_what_is_there(void **state)
{
	(void)state;
	struct record_range lost[] = {{3, 4, "spooled"}, {5, 6, "killed"}, {7, 7, "queue_full"}};
	struct ledger_stage stage = {.name = "records", .unit = "records", .in = 7};
	ledger_exit_add(&stage, "delivered", 2, false);
	ledger_exit_add(&stage, "spooled", 2, false);
	ledger_exit_add(&stage, "killed", 2, true);
	ledger_exit_add(&stage, "queue_full", 1, true);
	for (uint64_t there = 2; there <= 6; there++) {
		struct record_ledger l = ledger_of("i", 7);
		struct text out = {0};
		l.stages = &stage;
		l.n_stages = 1;
		l.lost = lost;
		l.n_lost = 3;
		l.killed = there == 6;
		struct audit *a = with_records("i", 1, there);
		see(a, "i", 1, true);
		tell(a, &l);
		assert_int_equal(audit_lost(a), 7 - there);
		assert_int_equal(audit_killed(a), there == 6);
		assert_int_equal(audit_faults(a), 0);
		audit_json(a, &out);
		text_put(&out, "", 1);
		assert_non_null(strstr(out.p, "\"duplicates\":1"));
		assert_non_null(strstr(out.p, there == 6 ? "\"killed\":true" : "\"killed\":false"));
		if (there == 3)
			assert_non_null(strstr(
				out.p, "\"lost\":{\"queue_full\":1,\"spooled\":1,\"killed\":2}"));
		text_fini(&out);
		audit_free(a);
	}
}

static void json_sums_by_name(void **state)
{
	(void)state;
	struct ledger_stage stage[2];
	struct record_rule rule = {"all", 5, 4, 5.5};
	struct text out = {0};
	struct audit *a = with_records("aaaaaaaaaaaaaaaa", 1, 4);
	two_stages(stage);
	for (int i = 0; i < 2; i++) {
		struct record_ledger l =
			ledger_of(i ? "bbbbbbbbbbbbbbbb" : "aaaaaaaaaaaaaaaa", i ? 0 : 4);
		l.stages = stage;
		l.n_stages = 2;
		l.rules = &rule;
		l.n_rules = 1;
		tell(a, &l);
	}
	audit_json(a, &out);
	json_t *j = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_int_equal(json_array_size(json_object_get(j, "instances")), 2);
	json_t *probe = json_array_get(json_object_get(j, "stages"), 0);
	assert_int_equal(json_array_size(json_object_get(j, "stages")), 2);
	assert_int_equal(json_integer_value(json_object_get(probe, "in")), 20);
	assert_int_equal(json_integer_value(json_object_get(probe, "residue")), 0);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(probe, "exits"), "ring_full")),
		4);
	json_t *lost = json_object_get(j, "lost");
	assert_int_equal(json_object_size(lost), 2);
	assert_int_equal(json_integer_value(json_object_get(lost, "ring_full")), 4);
	assert_int_equal(json_integer_value(json_object_get(lost, "ring_full_bytes")), 600);
	assert_int_equal(audit_lost(a), 604);
	json_t *r = json_array_get(json_object_get(j, "rules"), 0);
	assert_int_equal(json_integer_value(json_object_get(r, "kept")), 8);
	assert_true(json_number_value(json_object_get(r, "weight_sum")) == 11);
	assert_int_equal(json_integer_value(json_object_get(j, "calls_delivered")), 4);
	assert_true(json_is_true(json_object_get(j, "final")));
	json_decref(j);
	text_fini(&out);
	audit_free(a);
}

static void table_is_for_people(void **state)
{
	(void)state;
	struct ledger_stage stage[2];
	struct text out = {0};
	struct audit *a = with_records("i", 2, 4);
	struct record_ledger l = ledger_of("i", 4);
	two_stages(stage);
	stage[0].name = "pro\x1b[31mbe";
	l.stages = stage;
	l.n_stages = 2;
	tell(a, &l);
	audit_table(a, &out);
	text_put(&out, "", 1);
	assert_non_null(strstr(out.p, "missing: 1 - 1"));
	assert_non_null(strstr(out.p, "!ring_full 2"));
	assert_non_null(strstr(out.p, "lost: ring_full 2, ring_full_bytes 300\n"));
	assert_non_null(strstr(out.p, "verdict: not proved complete"));
	assert_null(strchr(out.p, '\x1b'));
	text_fini(&out);
	audit_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complete),
		cmocka_unit_test(empty_is_not_provable),
		cmocka_unit_test(every_hole_is_found),
		cmocka_unit_test(named_losses_are_no_holes),
		cmocka_unit_test(residue_is_found),
		cmocka_unit_test(held_only_before_the_end),
		cmocka_unit_test(no_final_ledger),
		cmocka_unit_test(the_last_ledger_counts),
		cmocka_unit_test(instances_are_judged_alone),
		cmocka_unit_test(the_sink_may_say_unprovable),
		cmocka_unit_test(hostile_numbers),
		cmocka_unit_test(open_exits_are_judged_by_what_is_there),
		cmocka_unit_test(json_sums_by_name),
		cmocka_unit_test(table_is_for_people),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
