/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/records.h"

static struct records out;
static struct recorder *recorder;
static struct call_sink sink;
static struct flow flow;
static struct conn conn;

static void open_recorder(struct recorder_cfg cfg)
{
	out = (struct records) {0};
	conn = (struct conn) {.flow = &flow, .number = 7};
	cfg.capture.instance = "0123456789abcdef";
	cfg.ops = &records_ops;
	cfg.sink = (struct sink *)&out;
	recorder = recorder_new(&cfg);
	assert_non_null(recorder);
	out.recorder = recorder;
	sink = recorder_calls(recorder);
}

static void close_recorder(void)
{
	struct ledger_stage stages[2];
	stages_check(recorder_ledger(recorder, stages, 2), stages);
	recorder_free(recorder);
	records_fini(&out);
	free(conn.names);
	conn.names = NULL;
}

static struct recorder_cfg all(void)
{
	return (struct recorder_cfg) {.sample = 1, .seed = 3};
}

static struct call make(uint64_t seen)
{
	struct call c = {
		.conn = &conn, .seen_index = seen, .protocol = "http1", .outcome = OUTCOME_OK};
	c.msg[0].started = c.msg[0].done = true;
	c.msg[0].start_ns = 1000;
	c.msg[0].end_ns = 2000;
	struct piece head = {.what = PIECE_HEAD};
	sink.sample(sink.ctx, &c, &head, c.msg[0].start_ns);
	return c;
}

/* A whole call; true: a record was made. */
static bool record(uint64_t seen)
{
	struct call c = make(seen);
	return sink.part(sink.ctx, &c, true);
}

static uint64_t exit_of(int stage, const char *name)
{
	struct ledger_stage stages[2];
	recorder_ledger(recorder, stages, 2);
	for (unsigned i = 0; i < stages[stage].n_exits; i++)
		if (strcmp(stages[stage].exits[i].name, name) == 0)
			return stages[stage].exits[i].n;
	return 0;
}

/* ---- sampling ---- */

enum { MANY = 20000 };

static void sample_kept(double share, uint64_t seed, bool kept[MANY])
{
	open_recorder((struct recorder_cfg) {.sample = share, .seed = seed});
	out.count_only = true;
	for (uint64_t i = 0; i < MANY; i++) {
		conn.number = 1 + i / 100;
		kept[i] = record(1 + i % 100);
	}
	struct recorder_totals t = recorder_totals(recorder);
	assert_int_equal(t.n_rules, 1);
	assert_int_equal(t.rules[0].seen, MANY);
	assert_int_equal(t.rules[0].kept, t.calls);
	assert_int_equal(exit_of(0, "sampled_out"), MANY - t.calls);
	if (share > 0)
		assert_true(t.rules[0].weight_sum > 0.93 * MANY &&
			    t.rules[0].weight_sum < 1.07 * MANY);
	close_recorder();
}

static void sample_share(void **state)
{
	(void)state;
	static bool kept[MANY], again[MANY], other[MANY];
	static const double shares[] = {0.5, 0.1};
	for (int s = 0; s < 2; s++) {
		size_t n = 0, differ = 0;
		sample_kept(shares[s], 1, kept);
		sample_kept(shares[s], 1, again);
		sample_kept(shares[s], 2, other);
		for (size_t i = 0; i < MANY; i++) {
			n += kept[i];
			differ += kept[i] != other[i];
		}
		assert_memory_equal(kept, again, sizeof(kept));
		assert_true(differ > MANY / 10);
		assert_true(n > 0.93 * shares[s] * MANY && n < 1.07 * shares[s] * MANY);
	}
	sample_kept(1, 1, kept);
	for (size_t i = 0; i < MANY; i++)
		assert_true(kept[i]);
	sample_kept(0, 1, kept);
	for (size_t i = 0; i < MANY; i++)
		assert_false(kept[i]);
}

static void sample_weight(void **state)
{
	(void)state;
	/* 0.1 is none of float's numbers: a tenth weighs 10 all the same */
	open_recorder((struct recorder_cfg) {.sample = 0.1, .seed = 1});
	for (uint64_t i = 1; !out.n; i++)
		record(i);
	assert_true(out.list[0]->weight == 10);
	assert_string_equal(out.list[0]->rule, "sample");
	assert_int_equal(out.list[0]->sequence, 1); /* after sampling */
	close_recorder();
}

/* ---- numbers, losses ---- */

static void ranges_are(size_t n, const struct record_range *want)
{
	struct recorder_totals t = recorder_totals(recorder);
	assert_int_equal(t.n_lost, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(t.lost[i].first, want[i].first);
		assert_int_equal(t.lost[i].last, want[i].last);
		assert_string_equal(t.lost[i].exit, want[i].exit);
	}
}

static unsigned turns;

static bool no_turn(void *ctx, unsigned attempt)
{
	(void)ctx;
	turns++;
	return attempt < 2;
}

static void refused(void **state)
{
	(void)state;
	struct recorder_cfg cfg = all();
	cfg.full = no_turn;
	open_recorder(cfg);
	turns = 0;
	out.refuse_first = 3;
	out.refuse_last = 5;
	for (uint64_t i = 1; i <= 5; i++)
		record(i);
	assert_int_equal(turns, 3 * 3);
	out.refuse_first = out.refuse_last = 6;
	out.refuse_exit = "too_large";
	for (uint64_t i = 6; i <= 8; i++)
		record(i);
	const struct record_range want[] = {{3, 5, "queue_full"}, {6, 6, "too_large"}};
	ranges_are(2, want);
	assert_int_equal(exit_of(1, "queue_full"), 3);
	assert_int_equal(exit_of(1, "too_large"), 1);
	assert_int_equal(exit_of(1, "delivered"), 4);
	assert_int_equal(recorder_totals(recorder).records, 8);
	assert_int_equal(out.list[out.n - 1]->record_number, 8);
	close_recorder();
}

/* Reports come in any order. */
static void reported(void **state)
{
	(void)state;
	open_recorder(all());
	out.late_reports = true;
	for (uint64_t i = 1; i <= 9; i++)
		record(i);
	static const size_t order[] = {8, 2, 0, 4, 3, 7, 1};
	for (size_t i = 0; i < 7; i++)
		records_report(&out, order[i], "spool_lost");
	records_report(&out, 5, "expired");
	const struct record_range want[] = {
		{1, 5, "spool_lost"}, {6, 6, "expired"}, {8, 9, "spool_lost"}};
	ranges_are(3, want);
	struct ledger_stage stages[2];
	recorder_ledger(recorder, stages, 2);
	assert_int_equal(stages[1].held, 1);
	records_report(&out, 6, NULL);
	assert_int_equal(recorder_totals(recorder).delivered, 1);
	close_recorder();
}

/* More ranges than are kept: each lost number is still inside one, ranges rise, and none is forgotten. */
static void many_ranges(void **state)
{
	(void)state;
	open_recorder(all());
	out.late_reports = true;
	out.count_only = true;
	enum { N = 30000 };
	for (uint64_t i = 1; i <= N; i++)
		record(i);
	for (size_t i = 0; i < N; i++)
		records_report(&out, i, i % 3 == 0 ? "a" : i % 7 == 0 ? "b" : NULL);
	struct recorder_totals t = recorder_totals(recorder);
	assert_true(t.n_lost <= 4096);
	size_t k = 0;
	for (size_t i = 0; i < N; i++) {
		if (i % 3 && i % 7)
			continue;
		while (k < t.n_lost && t.lost[k].last < i + 1)
			k++;
		assert_true(k < t.n_lost && t.lost[k].first <= i + 1);
	}
	for (size_t i = 1; i < t.n_lost; i++)
		assert_true(t.lost[i].first > t.lost[i - 1].last);
	close_recorder();
}

/* A record that cannot be made uses no number up. */
static void encode_failed(void **state)
{
	(void)state;
	open_recorder(all());
	record(1);
	struct call c = make(2);
	uint8_t *big = malloc(RECORD_MAX_BYTES + 1);
	memset(big, 'x', RECORD_MAX_BYTES + 1);
	c.msg[0].body = (struct buf) {big, RECORD_MAX_BYTES + 1, RECORD_MAX_BYTES + 1};
	assert_false(sink.part(sink.ctx, &c, true));
	free(big);
	record(3);
	assert_int_equal(exit_of(0, "encode_failed"), 1);
	assert_int_equal(out.n, 2);
	records_check(&out);
	close_recorder();
}

/* ---- limits ---- */

static void limit_calls(void **state)
{
	(void)state;
	struct recorder_cfg cfg = all();
	cfg.limit_calls = 3;
	open_recorder(cfg);
	struct call open = make(1);
	assert_true(sink.part(sink.ctx, &open, false)); /* begun, not done: counts already */
	for (uint64_t i = 2; i <= 10; i++)
		record(i);
	assert_int_equal(recorder_totals(recorder).calls, 2);
	assert_false(recorder_totals(recorder).limit_reached);
	struct call over = make(11);
	assert_false(sink.part(sink.ctx, &over, false));
	assert_false(sink.part(sink.ctx, &over, true));
	assert_true(sink.part(sink.ctx, &open, true));
	assert_true(recorder_totals(recorder).limit_reached);
	assert_int_equal(recorder_totals(recorder).calls, 3);
	assert_int_equal(exit_of(0, "over_limit"), 8);
	assert_int_equal(exit_of(0, "sampled_out"), 0);
	assert_int_equal(out.n, 4);
	close_recorder();
}

static void limit_bytes(void **state)
{
	(void)state;
	struct recorder_cfg cfg = all();
	cfg.limit_bytes = 1000;
	open_recorder(cfg);
	for (uint64_t i = 1; i <= 100; i++)
		record(i);
	struct recorder_totals t = recorder_totals(recorder);
	assert_true(t.limit_reached);
	assert_true(t.bytes >= 1000 && t.bytes - out.largest < 1000);
	assert_int_equal(exit_of(0, "over_limit"), 100 - t.calls);
	close_recorder();
}

/* ---- clock, names ---- */

static void clock_offset(void **state)
{
	(void)state;
	struct recorder_cfg cfg = all();
	cfg.clock_offset_ns = 5000;
	open_recorder(cfg);
	record(1);
	recorder_set_clock(recorder, -500);
	record(2);
	assert_int_equal(out.list[0]->request->start_unix_ns, 6000);
	assert_int_equal(out.list[0]->request->end_unix_ns, 7000);
	assert_int_equal(out.list[1]->request->start_unix_ns, 500);
	close_recorder();
}

static void mapped(uint8_t addr[16], uint32_t v4)
{
	memset(addr, 0, 10);
	addr[10] = addr[11] = 0xff;
	for (int i = 0; i < 4; i++)
		addr[12 + i] = (uint8_t)(v4 >> (24 - 8 * i));
}

static void names(void **state)
{
	(void)state;
	open_recorder(all());
	flow = (struct flow) {.client_port = 40000, .server_port = 80};
	mapped(flow.client_addr, 0x7f000001);
	mapped(flow.server_addr, 0x0a000203);
	record(1);
	assert_string_equal(out.list[0]->connection_id, "0123456789abcdef-7");
	assert_string_equal(out.list[0]->id, "0123456789abcdef-7:1");
	assert_string_equal(out.list[0]->client, "127.0.0.1:40000");
	assert_string_equal(out.list[0]->server, "10.0.2.3:80");
	assert_string_equal(out.list[0]->original_destination, "");
	free(conn.names);
	conn.names = NULL;
	conn.processes = (char[]) {"wrk(12)\0nginx(34)"};
	memset(flow.client_addr, 0, 16);
	flow.client_addr[15] = 1;
	memset(flow.server_addr, 0xfd, 16);
	mapped(flow.orig_addr, 0xffffffff);
	flow.orig_port = 65535;
	record(2);
	assert_string_equal(out.list[1]->client, "[::1]:40000");
	assert_string_equal(out.list[1]->server, "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:80");
	assert_string_equal(out.list[1]->original_destination, "255.255.255.255:65535");
	assert_string_equal(out.list[1]->client_process, "wrk(12)");
	assert_string_equal(out.list[1]->server_process, "nginx(34)");
	close_recorder();
}

static void protocols(void **state)
{
	(void)state;
	open_recorder(all());
	for (uint64_t i = 0; i < 5; i++) {
		struct call c = make(i);
		c.protocol = i < 2 ? "opaque" : "http1";
		sink.part(sink.ctx, &c, true);
	}
	const char *name;
	uint64_t n;
	assert_true(recorder_protocol(recorder, 0, &name, &n));
	assert_string_equal(name, "opaque");
	assert_int_equal(n, 2);
	assert_true(recorder_protocol(recorder, 1, &name, &n));
	assert_int_equal(n, 3);
	assert_false(recorder_protocol(recorder, 2, &name, &n));
	close_recorder();
}

/* A part after the first carries no more than it must; what came to be known since is in the last. */
static void later_parts(void **state)
{
	(void)state;
	open_recorder(all());
	struct attribute attributes[] = {{"a", BYTES("1")}, {"b", BYTES("2")}};
	struct call c = make(1);
	c.path = BYTES("/p");
	c.attributes = attributes;
	c.n_attributes = 1;
	assert_true(sink.part(sink.ctx, &c, false));
	c.msg[0].head_sent = true;
	assert_true(sink.part(sink.ctx, &c, false));
	c.n_attributes = 2;
	strcpy(c.interim, "103");
	c.status_text = BYTES("fine");
	assert_true(sink.part(sink.ctx, &c, true));
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(out.list[i]->part, i);
		assert_int_equal(out.list[i]->last_part, i == 2);
		assert_string_equal(out.list[i]->id, "0123456789abcdef-7:1");
		assert_string_equal(out.list[i]->path, i ? "" : "/p");
		assert_int_equal(out.list[i]->capture != NULL, i == 0);
		assert_int_equal(out.list[i]->request != NULL, i != 1);
	}
	assert_string_equal(records_attribute(out.list[0], "seen_index"), "1");
	assert_string_equal(records_attribute(out.list[0], "a"), "1");
	assert_int_equal(out.list[1]->n_attributes, 0);
	assert_int_equal(out.list[2]->n_attributes, 2);
	assert_string_equal(records_attribute(out.list[2], "b"), "2");
	assert_string_equal(records_attribute(out.list[2], "interim"), "103");
	assert_string_equal(out.list[2]->status_text, "fine");
	assert_int_equal(out.list[0]->outcome, OUTCOME_UNKNOWN);
	assert_int_equal(out.list[2]->outcome, OUTCOME_OK);
	assert_int_equal(out.list[2]->request->end_unix_ns, 2000);
	close_recorder();
}

/* A call tells the configuration that it opened under, whatever came into force meanwhile. */
static void config_of_the_opening(void **state)
{
	(void)state;
	struct recorder_cfg cfg = all();
	cfg.capture.config_hash = "first";
	cfg.capture.config_unix_ns = 11;
	open_recorder(cfg);
	struct call old = make(1), oldest = make(2);
	recorder_set_live(recorder, &(struct recorder_live) {.config_version = 2,
							     .config_unix_ns = 22,
							     .config_hash = "second"});
	struct call new = make(3);
	assert_true(sink.part(sink.ctx, &new, true));
	assert_true(sink.part(sink.ctx, &old, true));
	for (uint64_t v = 3; v < 100; v++)
		recorder_set_live(recorder, &(struct recorder_live) {.config_version = v,
								     .config_hash = "later"});
	assert_true(sink.part(sink.ctx, &oldest, true));
	assert_int_equal(out.list[0]->capture->config_version, 2);
	assert_int_equal(out.list[0]->capture->config_unix_ns, 22);
	assert_string_equal(out.list[0]->capture->config_hash, "second");
	assert_int_equal(out.list[1]->capture->config_version, 1);
	assert_int_equal(out.list[1]->capture->config_unix_ns, 11);
	assert_string_equal(out.list[1]->capture->config_hash, "first");
	assert_int_equal(out.list[2]->capture->config_version, 1); /* its hash is forgotten */
	assert_string_equal(out.list[2]->capture->config_hash, "");
	close_recorder();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sample_share),
		cmocka_unit_test(sample_weight),
		cmocka_unit_test(refused),
		cmocka_unit_test(reported),
		cmocka_unit_test(many_ranges),
		cmocka_unit_test(encode_failed),
		cmocka_unit_test(limit_calls),
		cmocka_unit_test(limit_bytes),
		cmocka_unit_test(clock_offset),
		cmocka_unit_test(names),
		cmocka_unit_test(protocols),
		cmocka_unit_test(later_parts),
		cmocka_unit_test(config_of_the_opening),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
