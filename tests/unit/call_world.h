/* SPDX-License-Identifier: Apache-2.0 */
/* Two connections, their calls and a recorder, driven by synthetic pieces; what calls become is read from the
 * records. For the tests of capture/call.c. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/conn.h"
#include "tests/unit/records.h"

/* Each test takes what it needs of these. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define REQ    DIR_REQUEST
#define RESP   DIR_RESPONSE
#define SECOND 1000000000ull

struct world {
	struct records out;
	struct recorder *recorder;
	struct calls *calls;
	struct flow flow[2];
	struct conn conn[2];
	uint64_t now, ack;
	size_t seen; /* last parts that were looked at */
};

static struct world w;

static void world_open(struct call_limits limits, enum framer_pairing pairing, bool late)
{
	w = (struct world) {.now = 100 * SECOND};
	struct recorder_cfg cfg = {.sample = 1,
				   .seed = 1,
				   .capture = {.instance = "i"},
				   .ops = &records_ops,
				   .sink = (struct sink *)&w.out};
	w.recorder = recorder_new(&cfg);
	w.out.recorder = w.recorder;
	struct call_sink sink = recorder_calls(w.recorder);
	w.calls = calls_new(&limits, &sink);
	for (int i = 0; i < 2; i++) {
		w.conn[i] = (struct conn) {.flow = &w.flow[i], .number = (uint64_t)i + 1};
		call_queue_init(&w.conn[i].queue, late);
		w.conn[i].queue.pairing = pairing;
		w.conn[i].queue.protocol = "http1";
	}
}

static struct call_limits default_limits(void)
{
	return (struct call_limits) {.body = 1 << 20,
				     .open_bodies = 16 << 20,
				     .pending = 65536,
				     .timeout_ns = 60 * SECOND,
				     .redact = true};
}

static void world_fifo(void)
{
	world_open(default_limits(), PAIRING_FIFO, false);
}

static void world_id(void)
{
	world_open(default_limits(), PAIRING_ID, false);
}

static void close_conn(enum end_how how)
{
	call_close(w.calls, &w.conn[0].queue, how);
}

/* Ends all, and holds what every test must leave behind. */
static void world_close(void)
{
	struct ledger_stage stages[4];
	stages_check(calls_ledger(w.calls, stages, 4), stages);
	for (int i = 0; i < 2; i++) {
		call_close(w.calls, &w.conn[i].queue, END_STOP);
		free(w.conn[i].names);
	}
	assert_int_equal(calls_open(w.calls), 0);
	size_t n = calls_ledger(w.calls, stages, 4);
	n += recorder_ledger(w.recorder, stages + n, 4 - n);
	assert_int_equal(n, 4);
	stages_check(n, stages);
	assert_int_equal(stages[0].held + stages[1].held + stages[3].held, 0);
	assert_int_equal(stages[1].in, stages[2].in + stages[1].exits[CALL_NO_MEMORY].n);
	records_check(&w.out);
	/* every call that left is seen by the test, or left by its end */
	records_fini(&w.out);
	calls_free(w.calls);
	recorder_free(w.recorder);
}

static uint64_t exit_of(enum call_exit e)
{
	struct ledger_stage stages[2];
	calls_ledger(w.calls, stages, 2);
	return stages[1].exits[e].n;
}

static void piece(int conn, struct piece p)
{
	struct call_wire at = {p.body.n + 10, w.now, w.now, w.ack};
	call_queue_seen(&w.conn[conn].queue, w.now);
	call_piece(w.calls, &w.conn[conn], &w.conn[conn].queue, &p, &at);
	w.now += 1000;
}

static struct head head_request(const char *path)
{
	return (struct head) {.method = BYTES("GET"), .path = bytes_str(path)};
}

static struct head head_response(int status)
{
	return (struct head) {.status = status,
			      .has_status = true,
			      .outcome = status < 400 ? OUTCOME_OK : OUTCOME_SERVER_ERROR};
}

static void request(uint64_t corr, const char *path, unsigned what)
{
	piece(0, (struct piece) {.what = PIECE_HEAD | what,
				 .dir = REQ,
				 .corr = corr,
				 .head = head_request(path)});
}

static void response(uint64_t corr, int status, const char *body, unsigned what)
{
	piece(0, (struct piece) {.what = PIECE_HEAD | (body ? PIECE_BODY : 0) | what,
				 .dir = RESP,
				 .corr = corr,
				 .head = head_response(status),
				 .body = bytes_str(body)});
}

static void body(enum dir dir, uint64_t corr, struct bytes b, unsigned what)
{
	piece(0, (struct piece) {.what = PIECE_BODY | what, .dir = dir, .corr = corr, .body = b});
}

static const Sidetap__V1__Call *next_call(void)
{
	const Sidetap__V1__Call *c = records_last(&w.out, w.seen++);
	assert_non_null(c);
	return c;
}

/* The next call that left: its path ("" of an orphan), outcome, flags joined by commas. */
static const Sidetap__V1__Call *expect(const char *path, enum outcome outcome, const char *flags)
{
	const Sidetap__V1__Call *c = next_call();
	assert_string_equal(c->path, path);
	assert_string_equal(record_outcome_name((enum outcome)c->outcome),
			    record_outcome_name(outcome));
	assert_string_equal(records_flags(c), flags);
	return c;
}

static void expect_none(void)
{
	assert_null(records_last(&w.out, w.seen));
}

static void body_is(const Sidetap__V1__Message *m, const char *text)
{
	assert_non_null(m);
	assert_int_equal(m->body.len, strlen(text));
	assert_memory_equal(m->body.data, text, m->body.len);
}

static uint8_t *filled(size_t n)
{
	uint8_t *p = malloc(n);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 >> 3);
	return p;
}
