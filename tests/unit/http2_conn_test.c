/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 on whole connections: bytes by hand in, records out. gRPC: grpc_conn_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

#define REQ     DIR_REQUEST
#define RESP    DIR_RESPONSE
#define GET     BYTES("\x82\x86\x84\x01\x01h") /* GET http / h */
#define POST    BYTES("\x83\x86\x84\x01\x01h")
#define OK      BYTES("\x88")
#define NOTHING ((struct bytes) {NULL, 0})

enum { DATA, HEADERS, RST = 3, SETTINGS, PUSH, GOAWAY = 7 };
enum { END = 1, WHOLE = 4, PAD = 8 };

static struct buf out; /* of the next segment */

static void put(struct bytes b)
{
	assert_int_equal(buf_append(&out, b), 0);
}

static void frame(uint8_t type, uint8_t flags, uint32_t id, struct bytes b)
{
	const uint8_t head[] = {
		(uint8_t)(b.n >> 16), (uint8_t)(b.n >> 8), (uint8_t)b.n, type, flags, 0, 0,
		(uint8_t)(id >> 8),   (uint8_t)id};

	put(bytes_of(head, sizeof(head)));
	put(b);
}

static void flush(enum dir dir)
{
	wire_send_raw(dir, buf_bytes(&out));
	buf_fini(&out);
}

static void begin(void)
{
	wire_open(true);
	put(BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	frame(SETTINGS, 0, 0, NOTHING);
	flush(REQ);
	frame(SETTINGS, 0, 0, NOTHING);
	flush(RESP);
}

static void get(uint32_t id)
{
	frame(HEADERS, END | WHOLE, id, GET);
	flush(REQ);
}

static const Sidetap__V1__Call *next(const char *path, int outcome, int status)
{
	const Sidetap__V1__Call *c = wire_next();

	assert_string_equal(c->protocol, "http2");
	assert_string_equal(c->path, path);
	assert_int_equal(c->outcome, outcome);
	assert_int_equal(c->status_code, status);
	return c;
}

static void attribute(const Sidetap__V1__Call *c, const char *name, const char *value)
{
	const char *v = records_attribute(c, name);

	assert_non_null(v);
	assert_string_equal(v, value);
}

/* Answers out of order; what each message took on the wire. */
static void interleaved(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(HEADERS, WHOLE, 3, POST);
	frame(DATA, PAD | END, 3,
	      BYTES("\x02"
		    "body\0\0"));
	flush(REQ);
	frame(HEADERS, WHOLE, 3, BYTES("\x8d")); /* 404 */
	frame(HEADERS, END | WHOLE, 1, OK);
	flush(RESP);
	const Sidetap__V1__Call *c = next("/", OUTCOME_OK, 200);
	assert_string_equal(c->method, "GET");
	assert_string_equal(c->service, "h");
	assert_int_equal(c->request->wire_bytes, 9 + 6);
	assert_int_equal(c->response->wire_bytes, 9 + 1);
	frame(DATA, END, 3, BYTES("none"));
	flush(RESP);
	c = next("/", OUTCOME_CLIENT_ERROR, 404);
	assert_string_equal(c->method, "POST");
	assert_int_equal(c->request->body_bytes, 4);
	assert_int_equal(c->request->wire_bytes, 9 + 6 + 9 + 7);
	assert_int_equal(c->response->wire_bytes, 9 + 1 + 9 + 4);
	assert_memory_equal(c->response->body.data, "none", 4);
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* One call: asked in HTTP/1, answered as stream 1 */
static void h2c_upgrade(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(REQ, "GET /up HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		       "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n");
	wire_send(RESP, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
			"Upgrade: h2c\r\n\r\n");
	wire_expect_none();
	put(BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	frame(SETTINGS, 0, 0, NOTHING);
	flush(REQ);
	frame(SETTINGS, 0, 0, NOTHING);
	/* a table of 8192, which HTTP2-Settings allowed */
	frame(HEADERS, WHOLE, 1, BYTES("\x3f\xe1\x3f\x88"));
	frame(DATA, END, 1, BYTES("over"));
	flush(RESP);
	const Sidetap__V1__Call *c = next("/up", OUTCOME_OK, 200);
	assert_string_equal(c->method, "GET");
	assert_string_equal(c->service, "h");
	assert_string_equal(records_flags(c), "");
	assert_int_equal(c->request->n_headers, 4);
	assert_string_equal(c->request->headers[1]->name, "Connection");
	assert_int_equal(c->response->body_bytes, 4);
	get(3);
	frame(HEADERS, END | WHOLE, 3, OK);
	flush(RESP);
	next("/", OUTCOME_OK, 200);
	wire_expect_none();
	wire_close(FLOW_FIN);
}

static void resets(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(RST, 0, 1, BYTES("\0\0\0\x08"));
	flush(REQ);
	const Sidetap__V1__Call *c = next("/", OUTCOME_ABORTED, 0);
	attribute(c, "rst_code", "8");
	attribute(c, "rst_by", "client");
	assert_true(records_flag(c, "no_response"));

	get(3);
	frame(HEADERS, WHOLE, 3, OK);
	frame(DATA, 0, 3, BYTES("half"));
	frame(RST, 0, 3, BYTES("\0\0\0\x02"));
	flush(RESP);
	c = next("/", OUTCOME_ABORTED, 200);
	attribute(c, "rst_by", "server");

	frame(HEADERS, WHOLE, 5, POST); /* answered before it was all sent */
	flush(REQ);
	frame(HEADERS, END | WHOLE, 5, BYTES("\x8d"));
	frame(RST, 0, 5, BYTES("\0\0\0\0"));
	flush(RESP);
	c = next("/", OUTCOME_CLIENT_ERROR, 404);
	attribute(c, "rst_code", "0");
	wire_close(FLOW_FIN);
}

static void goaway(void **state)
{
	(void)state;
	begin();
	get(1);
	get(3);
	frame(GOAWAY, 0, 0, BYTES("\0\0\0\x01\0\0\0\0"));
	flush(RESP);
	const Sidetap__V1__Call *c = next("/", OUTCOME_NO_RESPONSE, 0);
	assert_true(records_flag(c, "no_response"));
	get(5);
	next("/", OUTCOME_NO_RESPONSE, 0);
	frame(HEADERS, END | WHOLE, 1, OK);
	flush(RESP);
	next("/", OUTCOME_OK, 200);
	wire_expect_none();
	wire_close(FLOW_FIN);
}

static void push(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(PUSH, WHOLE, 1, BYTES("\0\0\0\x02\x82\x86\x85\x01\x01h")); /* /index.html */
	frame(HEADERS, END | WHOLE, 1, OK);
	frame(HEADERS, END | WHOLE, 2, OK);
	flush(RESP);
	next("/", OUTCOME_OK, 200);
	next("/index.html", OUTCOME_OK, 200);
	wire_expect_none();
	wire_close(FLOW_FIN);
}

static void interim(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(HEADERS, WHOLE, 1,
	      BYTES("\x48\x03"
		    "103"));
	frame(HEADERS, END | WHOLE, 1, OK);
	flush(RESP);
	attribute(next("/", OUTCOME_OK, 200), "interim", "103");
	wire_close(FLOW_FIN);
}

/* A framing error: the open calls leave flagged, the rest is opaque. */
static void protocol_error(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(6, 0, 0, BYTES("1234567"));
	flush(REQ);
	assert_true(records_flag(next("/", OUTCOME_UNKNOWN, 0), "protocol_error"));
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->protocol, "opaque");
}

/* B9: a block is lost. What the loss may have hit says so; what comes then is right. */
static void b9_gap(void **state)
{
	(void)state;
	begin();
	get(1);
	get(3);
	frame(HEADERS, WHOLE, 1, OK);
	flush(RESP);
	wire_lose(RESP, 10);
	frame(DATA, 0, 3, BYTES("rest"));
	frame(DATA, END, 3, NOTHING);
	flush(RESP);
	const Sidetap__V1__Call *c = next("/", OUTCOME_UNKNOWN, 200);
	assert_true(records_flag(c, "gap"));
	c = next("/", OUTCOME_UNKNOWN, 0);
	assert_true(records_flag(c, "gap"));
	attribute(c, "unknown", "status_code");
	get(5);
	frame(HEADERS, END | WHOLE, 5, OK);
	flush(RESP);
	assert_string_equal(records_flags(next("/", OUTCOME_OK, 200)), "");
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* A hole inside DATA keeps the connection in step. */
static void gap_in_data(void **state)
{
	(void)state;
	begin();
	get(1);
	frame(HEADERS, WHOLE, 1, OK);
	put(BYTES("\0\0\x08\0\1\0\0\0\1"
		  "ab"));
	flush(RESP);
	wire_lose(RESP, 4);
	wire_run(RESP, BYTES("gh"), true);
	const Sidetap__V1__Call *c = next("/", OUTCOME_OK, 200);
	assert_int_equal(c->response->body_bytes, 8);
	assert_int_equal(c->response->body.len, 2);
	assert_true(records_flag(c, "gap") && records_flag(c, "truncated"));
	wire_close(FLOW_FIN);
}

/* Joined late: the prober finds frames; what the table hides is named. */
static void late(void **state)
{
	(void)state;
	wire_open(false);
	wire_send_raw(RESP, BYTES("the rest of something"));
	frame(HEADERS, END | WHOLE, 101, BYTES("\x82\x86\xc0\xbf"));
	flush(REQ);
	frame(HEADERS, END | WHOLE, 99, OK); /* nobody saw its request */
	frame(HEADERS, END | WHOLE, 101, OK);
	flush(RESP);
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "orphan_response"));
	assert_null(c->request);
	assert_int_equal(c->status_code, 200);
	c = next("", OUTCOME_OK, 200);
	assert_string_equal(c->method, "GET");
	attribute(c, "unknown", "service,path");
	assert_string_equal(records_flags(c), "redacted");
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* The first segment that is seen after a quiet time: several requests at once, proved by themselves. */
static void late_first_batch(void **state)
{
	(void)state;
	wire_open(false);
	for (uint32_t id = 101; id <= 105; id += 2)
		frame(HEADERS, END | WHOLE, id, GET);
	flush(REQ);
	for (uint32_t id = 101; id <= 105; id += 2)
		frame(HEADERS, END | WHOLE, id, OK);
	flush(RESP);
	wire_close(FLOW_FIN);
	for (int i = 0; i < 3; i++) {
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->path, "/");
		assert_int_equal(c->status_code, 200);
		assert_string_equal(records_flags(c), "");
	}
	wire_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interleaved),
		cmocka_unit_test(h2c_upgrade),
		cmocka_unit_test(resets),
		cmocka_unit_test(goaway),
		cmocka_unit_test(push),
		cmocka_unit_test(interim),
		cmocka_unit_test(protocol_error),
		cmocka_unit_test(b9_gap),
		cmocka_unit_test(gap_in_data),
		cmocka_unit_test(late),
		cmocka_unit_test(late_first_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
