/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/conn_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct wire wire;

static void forget(void)
{
	records_fini(&wire.out);
	wire.seen = 0;
}

void wire_open(bool syn)
{
	static bool once;
	uint64_t max = wire.gather_max, all = wire.gather_all;
	forget();
	wire = (struct wire) {.now = 1000000000,
			      .last = -1,
			      .gather_max = max,
			      .gather_all = all,
			      .opaque_head = wire.opaque_head};
	struct recorder_cfg cfg = {.sample = 1,
				   .seed = 1,
				   .capture = {.instance = "i"},
				   .ops = &records_ops,
				   .sink = (struct sink *)&wire.out};
	struct call_limits limits = {.body = 1 << 20,
				     .opaque_head = wire.opaque_head,
				     .open_bodies = 16 << 20,
				     .pending = 65536,
				     .timeout_ns = 60000000000,
				     .redact = true};
	wire.recorder = recorder_new(&cfg);
	wire.out.recorder = wire.recorder;
	struct call_sink sink = recorder_calls(wire.recorder);
	wire.calls = calls_new(&limits, &sink);
	struct conns_cfg cc = {.calls = wire.calls,
			       .framer = {64 << 10, 256, 1024, 64 << 20},
			       .gather_max = max ? max : 1 << 20,
			       .gather_all = all};
	wire.conns = conns_new(&cc);
	wire.cb = conns_callbacks();
	wire.flow = (struct flow) {.id = 1,
				   .syn_seen = syn,
				   .first_ns = wire.now,
				   .last_ns = wire.now,
				   .client_port = 1000,
				   .server_port = 80};
	wire.cb.open(wire.conns, &wire.flow);
	if (!once)
		atexit(forget);
	once = true;
}

static void run(enum dir dir, struct stream_run *r)
{
	r->off = wire.off[dir];
	r->ack_off = wire.own_ack ? wire.ack : wire.off[!dir];
	r->ts_ns = wire.flow.last_ns = wire.now;
	wire.off[dir] += r->missing + r->data.n;
	wire.now += WIRE_STEP_NS;
	/* the callbacks may only read what it points to until they return */
	uint8_t *copy = malloc(r->data.n + 1);
	if (r->data.n)
		memcpy(copy, r->data.p, r->data.n);
	r->data.p = copy;
	wire.cb.data(wire.conns, &wire.flow, dir, r);
	free(copy);
	const struct conn *c = wire.flow.user;
	if (c->reversed &&
	    !wire.reversed) { /* the flow names directions the right way round from here on */
		uint64_t off = wire.off[0];
		wire.off[0] = wire.off[1];
		wire.off[1] = off;
		wire.last = !wire.last;
		wire.reversed = true;
	}
}

void wire_run(enum dir dir, struct bytes b, bool continues)
{
	if (!b.n)
		return;
	struct stream_run r = {.data = b, .flags = continues ? 0 : STREAM_SEGMENT_START};
	if (wire.last >= 0 && wire.last != (int)dir && !wire.holed[dir])
		r.flags |= STREAM_TURN;
	wire.holed[0] = wire.holed[1] = false;
	wire.last = (int)dir;
	run(dir, &r);
}

void wire_send_raw(enum dir dir, struct bytes b)
{
	wire_run(dir, b, false);
}

void wire_send(enum dir dir, const char *text)
{
	wire_send_raw(dir, bytes_str(text));
}

void wire_send_cut(enum dir dir, const char *text, size_t cut)
{
	wire_send_raw(dir, bytes_head(bytes_str(text), cut));
	wire_send_raw(dir, bytes_from(bytes_str(text), cut));
}

void wire_send_bytes(enum dir dir, const char *text)
{
	for (; *text; text++)
		wire_send_raw(dir, bytes_of(text, 1));
}

void wire_lose(enum dir dir, uint64_t n)
{
	struct stream_run r = {.missing = n};
	wire.holed[dir] = true;
	if (n)
		run(dir, &r);
}

void wire_half_close(enum dir dir)
{
	wire.cb.half_close(wire.conns, &wire.flow, dir);
}

void wire_close(enum flow_end how)
{
	struct ledger_stage stages[6];
	wire.cb.close(wire.conns, &wire.flow, how);
	assert_null(wire.flow.user);
	assert_int_equal(calls_open(wire.calls), 0);
	size_t n = conns_ledger(wire.conns, stages, 6);
	n += calls_ledger(wire.calls, stages + n, 6 - n);
	n += recorder_ledger(wire.recorder, stages + n, 6 - n);
	assert_int_equal(n, 6);
	stages_check(n, stages);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(stages[i].held, 0);
	records_check(&wire.out);
	conns_free(wire.conns);
	calls_free(wire.calls);
	recorder_free(wire.recorder);
}

const Sidetap__V1__Call *wire_next(void)
{
	const Sidetap__V1__Call *c = records_last(&wire.out, wire.seen++);
	assert_non_null(c);
	return c;
}

void wire_expect_none(void)
{
	assert_null(records_last(&wire.out, wire.seen));
}

static bool exit_find(const struct ledger_stage *stages, size_t n, const char *name,
		      uint64_t *count)
{
	for (size_t s = 0; s < n; s++)
		for (unsigned i = 0; i < stages[s].n_exits; i++)
			if (strcmp(stages[s].exits[i].name, name) == 0) {
				*count = stages[s].exits[i].n;
				return true;
			}
	return false;
}

uint64_t wire_exit(const char *name)
{
	struct ledger_stage stage;
	uint64_t count = 0;
	assert_int_equal(conns_ledger(wire.conns, &stage, 1), 1);
	if (!exit_find(&stage, 1, name, &count))
		fail_msg("no exit %s", name);
	return count;
}

uint64_t wire_counted(const char *name)
{
	struct ledger_stage stages[8];
	size_t n = conns_ledger(wire.conns, stages, 4);
	uint64_t count = 0;
	n += calls_ledger(wire.calls, stages + n, 4);
	exit_find(stages, n, name, &count);
	return count;
}
