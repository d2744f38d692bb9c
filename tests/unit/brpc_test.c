/* SPDX-License-Identifier: Apache-2.0 */
/* bRPC baidu_std. Good exchanges with their text: tests/corpus/brpc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"
#include "tests/unit/encode.h"
#include "tests/unit/lossy.h"

static void put_field(struct buf *b, unsigned number, struct bytes v)
{
	put_varint(b, number << 3 | 2);
	put_varint(b, v.n);
	put(b, v);
}

static void put_number(struct buf *b, unsigned number, uint64_t v)
{
	put_varint(b, number << 3);
	put_varint(b, v);
}

static void put_frame(struct buf *b, struct buf *meta, struct bytes payload)
{
	put_text(b, "PRPC");
	put_be(b, meta->n + payload.n, 4);
	put_be(b, meta->n, 4);
	put(b, buf_bytes(meta));
	put(b, payload);
	buf_fini(meta);
}

static struct buf request_meta(const char *service, const char *method, uint64_t corr)
{
	struct buf meta = {0}, request = {0};

	put_field(&request, 1, bytes_str(service));
	put_field(&request, 2, bytes_str(method));
	put_field(&meta, 1, buf_bytes(&request));
	put_number(&meta, 4, corr);
	buf_fini(&request);
	return meta;
}

static struct buf reply_meta(int code, const char *text, uint64_t corr)
{
	struct buf meta = {0}, response = {0};

	put_number(&response, 1, (uint64_t)(int64_t)code);
	if (text)
		put_field(&response, 2, bytes_str(text));
	put_field(&meta, 2, buf_bytes(&response));
	put_number(&meta, 4, corr);
	buf_fini(&response);
	return meta;
}

static void send_request(const char *method, uint64_t corr)
{
	struct buf meta = request_meta("demo.Depot", method, corr), b = {0};

	put_frame(&b, &meta, BYTES("question"));
	wire_send_raw(DIR_REQUEST, buf_bytes(&b));
	buf_fini(&b);
}

static void send_reply(int code, const char *text, uint64_t corr, const char *data)
{
	struct buf meta = reply_meta(code, text, corr), b = {0};

	put_frame(&b, &meta, bytes_str(data));
	wire_send_raw(DIR_RESPONSE, buf_bytes(&b));
	buf_fini(&b);
}

/* ---- records, to the letter ---- */

static void one_call(void **state)
{
	struct buf meta = request_meta("demo.Depot", "Put", 0), b = {0};

	(void)state;
	put_number(&meta, 3, 2);
	put_number(&meta, 5, 4);
	put_field(&meta, 7, BYTES("password"));
	wire_open(true);
	size_t head = 12 + meta.n;
	put_frame(&b, &meta, BYTES("datatail"));
	wire_send_raw(DIR_REQUEST, buf_bytes(&b));
	send_reply(0, NULL, 0, "answer");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "brpc");
	assert_string_equal(c->transport, "");
	assert_string_equal(c->service, "demo.Depot");
	assert_string_equal(c->method, "Put");
	assert_string_equal(c->path, "");
	assert_string_equal(c->call_type, "unary");
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_int_equal(c->status_code, 0);
	assert_string_equal(records_flags(c), "compressed");
	assert_string_equal(records_attribute(c, "attachment_bytes"), "4");
	assert_string_equal(records_attribute(c, "compress_type"), "gzip");
	assert_string_equal(records_attribute(c, "auth"), "redacted");
	assert_int_equal(c->request->body.len, 8);
	assert_memory_equal(c->request->body.data, "datatail", 8);
	assert_int_equal(c->request->wire_bytes, head + 8);
	assert_memory_equal(c->response->body.data, "answer", 6);
	wire_close(FLOW_FIN);
	buf_fini(&b);
}

/* Attachments of both sides, of the reply's alone, of a reply whose request nobody saw */
static void attachments(void **state)
{
	static const struct {
		unsigned sizes[2];
		const char *want[2];
	} cases[] = {{{4, 0}, {"4", NULL}}, {{0, 3}, {"3", NULL}}, {{4, 3}, {"4", "3"}}};

	(void)state;
	wire_open(true);
	for (size_t i = 0; i < N(cases); i++) {
		for (int d = 0; d < 2; d++) {
			struct buf meta = d ? reply_meta(0, NULL, i) : request_meta("s", "m", i),
				   b = {0};
			if (cases[i].sizes[d])
				put_number(&meta, 5, cases[i].sizes[d]);
			put_frame(&b, &meta, BYTES("datatail"));
			wire_send_raw(d, buf_bytes(&b));
			buf_fini(&b);
		}
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(records_attribute(c, "attachment_bytes"), cases[i].want[0]);
		const char *reply = records_attribute(c, "response_attachment_bytes");
		assert_int_equal(reply != NULL, cases[i].want[1] != NULL);
		if (reply)
			assert_string_equal(reply, cases[i].want[1]);
	}
	wire_close(FLOW_FIN);
}

static void errors(void **state)
{
	(void)state;
	wire_open(true);
	send_request("Put", 7);
	send_reply(-5, "out of stock", 7, "");
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_SERVER_ERROR);
	assert_int_equal(c->status_code, -5);
	assert_string_equal(c->status_text, "out of stock");
	/* unknown service: the reply carries 0, and only one call waits */
	send_request("Nothing", 8);
	send_reply(2001, "no such service", 0, "");
	c = wire_next();
	assert_string_equal(c->method, "Nothing");
	assert_int_equal(c->status_code, 2001);
	assert_int_equal(c->n_flags, 0);
	send_request("Put", 9);
	wire_close(FLOW_FIN);
	assert_int_equal(wire_next()->outcome, OUTCOME_NO_RESPONSE);
}

/* r6: ids out of order, one id twice, a reply that nobody asked for */
static void r6_ids(void **state)
{
	(void)state;
	wire_open(true);
	send_request("A", 1);
	send_request("B", 2);
	send_request("C", 2);
	send_reply(0, NULL, 2, "b");
	assert_string_equal(wire_next()->method, "B");
	send_reply(0, NULL, 1, "a");
	assert_string_equal(wire_next()->method, "A");
	send_request("D", 3);
	send_reply(0, NULL, 77, "x"); /* two wait: nobody's */
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "orphan_response"));
	assert_string_equal(c->method, "");
	send_reply(0, NULL, 3, "d");
	assert_string_equal(wire_next()->method, "D");
	send_reply(0, NULL, 2, "c");
	assert_string_equal(wire_next()->method, "C");
	wire_close(FLOW_FIN);
	wire_expect_none();
}

/* An error with id 0 may be meant for any call while the call 0 waits among others. */
static void id_zero_is_doubted(void **state)
{
	(void)state;
	wire_open(true);
	send_request("Zero", 0);
	send_request("Other", 5);
	send_reply(2001, "no such service", 0, "");
	assert_true(records_flag(wire_next(), "orphan_response"));
	send_reply(0, NULL, 0, "zero");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "Zero");
	assert_int_equal(c->outcome, OUTCOME_OK);
	send_reply(2001, "no such service", 0, "");
	c = wire_next();
	assert_string_equal(c->method, "Other");
	assert_int_equal(c->status_code, 2001);
	wire_close(FLOW_FIN);
	wire_expect_none();
}

/* The first call of a quiet connection that was joined late: nothing came before it, its reply proves it. */
static void late_on_a_quiet_connection(void **state)
{
	(void)state;
	wire_open(false);
	send_request("First", 41);
	wire_expect_none();
	send_reply(0, NULL, 41, "one");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "First");
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_int_equal(c->n_flags, 0);
	assert_int_equal(wire_exit("skipped_attach"), 0);
	wire_close(FLOW_FIN);
	wire_expect_none();
	/* what is no bRPC is not looked at before a turn */
	wire_open(false);
	wire_send(DIR_REQUEST, "GET /in-a-body HTTP/1.1\r\nHost: h\r\n\r\n");
	wire_send(DIR_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	wire_expect_none();
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static void cut_by_reset(void **state)
{
	struct buf meta = request_meta("demo.Depot", "Put", 1), b = {0};

	(void)state;
	wire_open(true);
	put_frame(&b, &meta, BYTES("a body that never ends"));
	wire_send_raw(DIR_REQUEST, bytes_head(buf_bytes(&b), b.n - 5));
	wire_close(FLOW_RST);
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_ABORTED);
	assert_string_equal(c->method, "Put");
	buf_fini(&b);
}

static void framing_error(void **state)
{
	(void)state;
	wire_open(true);
	send_request("Put", 1);
	wire_send(DIR_REQUEST, "no frame at all");
	const Sidetap__V1__Call *c = wire_next();
	assert_true(records_flag(c, "protocol_error"));
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	wire_close(FLOW_FIN);
	assert_string_equal(wire_next()->protocol, "opaque");
}

/* ---- the framer ---- */

struct step {
	int64_t r;
	struct piece p;
	size_t need;
};

static struct step one(struct bytes in, size_t frame_bytes, size_t header_bytes)
{
	const struct framer_limits limits = {header_bytes, 256, 1024, frame_bytes};
	void *c = calloc(1, framer_brpc.state_size);
	struct step s;

	assert_int_equal(framer_brpc.init(c, &limits, false), 0);
	s.r = framer_brpc.next(c, DIR_REQUEST, in, &s.p, &s.need);
	framer_brpc.fini(c);
	free(c);
	return s;
}

static void caps_count(void **state)
{
	struct buf meta = request_meta("demo.Depot", "Put", 1), b = {0};

	(void)state;
	put_fill(&meta, 0, 0);
	put_frame(&b, &meta, BYTES("0123456789"));
	struct bytes in = buf_bytes(&b);
	assert_int_equal(one(in, b.n - 12, 1024).r, b.n);
	struct step s = one(in, b.n - 13, 1024);
	assert_true(s.r < 0);
	assert_string_equal(s.p.cap, "brpc_frame");
	s = one(in, 64 << 20, 16);
	assert_true(s.r < 0);
	assert_string_equal(s.p.cap, "brpc_meta");
	/* nothing is asked for by a length that lies */
	s = one(bytes_head(in, 11), 64 << 20, 1024);
	assert_int_equal(s.r, 0);
	assert_int_equal(s.need, 12);
	buf_fini(&b);
}

/* r7: what is no name is no field */
static void r7_names(void **state)
{
	static const char *const bad[] = {"a b", "a\x01", "caf\xc3\xa9", ""};

	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		struct buf meta = request_meta(bad[i], "Put", 1), b = {0};
		put_frame(&b, &meta, BYTES("x"));
		struct step s = one(buf_bytes(&b), 1 << 20, 1024);
		assert_int_equal(s.r, b.n);
		assert_int_equal(s.p.head.service.n, 0);
		assert_int_equal(s.p.head.n_attributes, 1);
		assert_string_equal(s.p.head.attributes[0].name, "unknown");
		assert_true(bytes_eq(s.p.head.attributes[0].value, BYTES("service")));
		buf_fini(&b);
	}
	char name[300] = {0};
	memset(name, 'n', 257);
	struct buf meta = request_meta("s", name, 1), b = {0};
	put_frame(&b, &meta, BYTES("x"));
	struct step s = one(buf_bytes(&b), 1 << 20, 1024);
	assert_int_equal(s.p.head.method.n, 0);
	assert_string_equal(s.p.cap, "brpc_name");
	buf_fini(&b);
}

static void attachment_that_lies(void **state)
{
	struct buf meta = request_meta("s", "m", 1), b = {0};

	(void)state;
	put_number(&meta, 5, 9);
	put_frame(&b, &meta, BYTES("8 bytes."));
	struct step s = one(buf_bytes(&b), 1 << 20, 1024);
	assert_int_equal(s.r, b.n);
	assert_int_equal(s.p.flags, FLAG_PROTOCOL_ERROR);
	assert_string_equal(s.p.cap, "brpc_attachment");
	buf_fini(&b);
}

static void probes(void **state)
{
	struct buf m = request_meta("s", "m", 1), q = {0}, r = {0};

	(void)state;
	put_frame(&q, &m, BYTES("data"));
	m = reply_meta(0, NULL, 1);
	put_frame(&r, &m, BYTES("data"));
	struct bytes none = {0}, request = buf_bytes(&q), reply = buf_bytes(&r);
	for (size_t n = 0; n <= q.n; n++)
		assert_int_equal(framer_brpc.probe(bytes_head(request, n), none),
				 n < q.n - 4 ? PROBE_MORE : PROBE_YES);
	assert_int_equal(framer_brpc.probe(reply, none), PROBE_MORE);
	assert_int_equal(framer_brpc.probe(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_brpc.probe(reply, reply), PROBE_NO);
	assert_int_equal(framer_brpc.probe(BYTES("PRPX"), none), PROBE_NO);
	assert_int_equal(framer_brpc.probe(BYTES("PRPC\0\0\0\1\0\0\0\2"), none), PROBE_NO);
	assert_int_equal(framer_brpc.probe(BYTES("STRM\0\0\0\2\0\0\0\1ab"), none), PROBE_NO);
	assert_int_equal(framer_brpc.probe(BYTES("HULU\0\0\0\2\0\0\0\1ab"), none), PROBE_NO);
	assert_int_equal(framer_brpc.probe_late(request, none), PROBE_YES);
	assert_int_equal(framer_brpc.probe_late(none, reply), PROBE_YES);
	assert_int_equal(framer_brpc.probe_late(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_brpc.probe_late(bytes_from(request, 1), none), PROBE_NO);
	assert_ptr_equal(prober_ask(request, none, false, false).ops, &framer_brpc);
	buf_fini(&q);
	buf_fini(&r);
}

/* ---- losses ---- */

static void make(unsigned i, size_t size, struct lossy_call *c)
{
	struct buf payload = {0};

	c->service = i % 3 ? "demo.Depot" : "demo.Ledger";
	snprintf(c->method, sizeof(c->method), "Method%u", i % 7);
	c->status = i % 5 == 0 ? 1000 + (int)i : 0;
	c->outcome = c->status ? OUTCOME_SERVER_ERROR : OUTCOME_OK;
	put_text(&payload, lossy_token(i));
	put_fill(&payload, 'P', size);
	struct buf meta = request_meta(c->service, c->method, i);
	c->body_off[0] = 12 + meta.n;
	put_frame(&c->wire[0], &meta, buf_bytes(&payload));
	meta = reply_meta(c->status, c->status ? "failed" : NULL, i);
	c->body_off[1] = 12 + meta.n;
	put_frame(&c->wire[1], &meta, buf_bytes(&payload));
	buf_fini(&payload);
}

static const struct lossy_protocol lossy = {.name = "brpc", .make = make, .in_flight = 4};
static const struct lossy_protocol serial = {.name = "brpc", .make = make, .in_flight = 1};

static void late_at_every_offset(void **state)
{
	(void)state;
	lossy_print("late join", &lossy, lossy_late(&lossy, 10, 1), 90);
	lossy_print("late join, one at a time", &serial, lossy_late(&serial, 10, 3), 90);
}

static void random_drops(void **state)
{
	(void)state;
	lossy_print("0 % lost", &lossy, lossy_drops(&lossy, 200, 2, 0), 100);
	lossy_print("0.1 % lost", &lossy, lossy_drops(&lossy, 200, 20, 1000), 98);
	lossy_print("1 % lost", &lossy, lossy_drops(&lossy, 200, 20, 10000), 85);
	lossy_print("5 % lost", &lossy, lossy_drops(&lossy, 200, 20, 50000), 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call),
		cmocka_unit_test(attachments),
		cmocka_unit_test(errors),
		cmocka_unit_test(r6_ids),
		cmocka_unit_test(id_zero_is_doubted),
		cmocka_unit_test(late_on_a_quiet_connection),
		cmocka_unit_test(cut_by_reset),
		cmocka_unit_test(framing_error),
		cmocka_unit_test(caps_count),
		cmocka_unit_test(r7_names),
		cmocka_unit_test(attachment_that_lies),
		cmocka_unit_test(probes),
		cmocka_unit_test(late_at_every_offset),
		cmocka_unit_test(random_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
