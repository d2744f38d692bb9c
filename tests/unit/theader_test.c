/* SPDX-License-Identifier: Apache-2.0 */
/* THeader by fault, group R. Good exchanges with their text: tests/corpus/theader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "rpc/theader_head.h"
#include "tests/unit/first_piece.h"
#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"
#include "tests/unit/encode.h"
#include "tests/unit/lossy.h"

enum { CALL = 1, RESULT = 2, EXCEPTION = 3, ONEWAY = 4 };
enum { BINARY = 0, COMPACT = 2 };

/* header: what stands behind the 14 fixed bytes, padded here */
static void put_frame(struct buf *b, uint32_t seq, struct bytes header, struct bytes payload)
{
	size_t padded = header.n ? (header.n + 3) & ~(size_t)3 : 4;

	put_be(b, 10 + padded + payload.n, 4);
	put_be(b, 0x0fff0000, 4);
	put_be(b, seq, 4);
	put_be(b, padded / 4, 2);
	put(b, header);
	put_fill(b, 0, padded - header.n);
	put(b, payload);
}

static void put_message(struct buf *b, unsigned type, const char *name, uint32_t seq,
			struct bytes body)
{
	put_be(b, 0x80010000 | type, 4);
	put_be(b, strlen(name), 4);
	put_text(b, name);
	put_be(b, seq, 4);
	put(b, body);
}

static struct bytes zlib_of(struct bytes in, uint8_t *out, size_t max)
{
	uLongf n = max;

	assert_int_equal(compress(out, &n, in.p, in.n), Z_OK);
	return bytes_of(out, n);
}

static void send_frame(enum dir dir, uint32_t seq, struct bytes header, unsigned type,
		       const char *name, struct bytes body)
{
	struct buf m = {0}, b = {0};

	put_message(&m, type, name, seq, body);
	put_frame(&b, seq, header, buf_bytes(&m));
	wire_send_raw(dir, buf_bytes(&b));
	buf_fini(&m);
	buf_fini(&b);
}

#define PLAIN BYTES("\0\0")
#define STOP  BYTES("\0")

/* ---- records, to the letter ---- */

static void one_call(void **state)
{
	(void)state;
	wire_open(true);
	send_frame(DIR_REQUEST, 9, BYTES("\0\0\1\1\3key\5value"), CALL, "Shop:find", STOP);
	send_frame(DIR_RESPONSE, 9, BYTES("\0\0\2\1\1k\1v"), RESULT, "find", STOP);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "theader");
	assert_string_equal(c->transport, "binary");
	assert_string_equal(c->service, "Shop");
	assert_string_equal(c->method, "find");
	assert_string_equal(c->call_type, "unary");
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_int_equal(c->status_code, 0);
	assert_int_equal(c->n_flags, 0);
	assert_int_equal(c->request->n_headers, 1);
	assert_memory_equal(c->request->headers[0]->name, "key", 3);
	assert_memory_equal(c->request->headers[0]->value.data, "value", 5);
	assert_int_equal(c->response->n_headers, 1);
	assert_int_equal(c->request->body.len, 12 + 9 + 1);
	assert_int_equal(c->request->body.data[0], 0x80);
	assert_int_equal(c->request->wire_bytes, 14 + 16 + 22);
	wire_close(FLOW_FIN);
}

static void results(void **state)
{
	(void)state;
	wire_open(true);
	send_frame(DIR_REQUEST, 1, PLAIN, CALL, "find", STOP);
	send_frame(DIR_RESPONSE, 1, PLAIN, EXCEPTION, "find",
		   BYTES("\x08\0\2\0\0\0\6\x0b\0\1\0\0\0\4oops\0"));
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_SERVER_ERROR);
	assert_int_equal(c->status_code, 6);
	assert_string_equal(c->status_text, "oops");
	send_frame(DIR_REQUEST, 2, PLAIN, CALL, "find", STOP);
	send_frame(DIR_RESPONSE, 2, PLAIN, RESULT, "find", BYTES("\x0c\0\1\0\0"));
	c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_DECLARED_EXCEPTION);
	assert_int_equal(c->status_code, 0);
	send_frame(DIR_REQUEST, 3, PLAIN, ONEWAY, "note", STOP);
	c = wire_next();
	assert_string_equal(c->call_type, "oneway");
	assert_int_equal(c->outcome, OUTCOME_OK);
	send_frame(DIR_REQUEST, 4, PLAIN, CALL, "find", STOP);
	wire_close(FLOW_RST);
	c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_NO_RESPONSE);
}

/* r6: out of order by the frame's id; one id for all: in order */
static void r6_ids(void **state)
{
	(void)state;
	wire_open(true);
	send_frame(DIR_REQUEST, 1, PLAIN, CALL, "a", STOP);
	send_frame(DIR_REQUEST, 2, PLAIN, CALL, "b", STOP);
	send_frame(DIR_RESPONSE, 2, PLAIN, RESULT, "b", STOP);
	assert_string_equal(wire_next()->method, "b");
	send_frame(DIR_RESPONSE, 9, PLAIN, RESULT, "a", STOP); /* one waits: its reply */
	assert_string_equal(wire_next()->method, "a");
	for (unsigned i = 0; i < 2; i++)
		send_frame(DIR_REQUEST, 0, PLAIN, CALL, i ? "d" : "c", STOP);
	for (unsigned i = 0; i < 2; i++) {
		send_frame(DIR_RESPONSE, 0, PLAIN, RESULT, i ? "d" : "c", STOP);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, i ? "d" : "c");
		assert_int_equal(c->n_flags, 0);
	}
	wire_close(FLOW_FIN);
	wire_expect_none();
}

static void by_order_is_doubted_after_a_late_join(void **state)
{
	static const uint32_t ids[][2] = {{0, 0}, {5, 5}, {6, 7}};
	static const bool doubted[][2] = {{true, true}, {true, true}, {true, false}};

	(void)state;
	for (size_t i = 0; i < N(ids); i++) {
		wire_open(false);
		send_frame(DIR_RESPONSE, 1, PLAIN, RESULT, "z", STOP);
		for (int k = 0; k < 2; k++) {
			send_frame(DIR_REQUEST, ids[i][k], PLAIN, CALL, "a", STOP);
			send_frame(DIR_RESPONSE, ids[i][k], PLAIN, RESULT, "a", STOP);
			const Sidetap__V1__Call *c = wire_next();
			if (k == 0) { /* believed once another followed */
				assert_string_equal(c->method, "z");
				assert_true(records_flag(c, "orphan_response"));
				c = wire_next();
			}
			assert_string_equal(c->method, "a");
			assert_int_equal(records_flag(c, "late_join"), doubted[i][k]);
		}
		wire_close(FLOW_FIN);
	}
}

/* One id for all calls: the reply of the second is not the first one's, which was lost. */
static void r6_lost_reply(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 2; id++) {
		wire_open(true);
		send_frame(DIR_REQUEST, 7, PLAIN, CALL, "other", STOP);
		send_frame(DIR_RESPONSE, 7, PLAIN, RESULT, "other", STOP);
		assert_string_equal(wire_next()->method, "other");
		send_frame(DIR_REQUEST, id, PLAIN, CALL, "first", STOP);
		wire_lose(DIR_RESPONSE, 34);
		send_frame(DIR_REQUEST, id, PLAIN, CALL, "second", STOP);
		send_frame(DIR_RESPONSE, id, PLAIN, RESULT, "second", STOP);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->method, "first");
		assert_null(c->response);
		assert_true(records_flag(c, "gap"));
		c = wire_next();
		assert_string_equal(c->method, "second");
		assert_non_null(c->response);
		wire_close(FLOW_FIN);
	}
}

static void transformed(enum dir dir, uint32_t seq, struct bytes header, struct bytes payload)
{
	struct buf b = {0};

	put_frame(&b, seq, header, payload);
	wire_send_raw(dir, buf_bytes(&b));
	buf_fini(&b);
}

static void zlib(void **state)
{
	struct buf m = {0};
	uint8_t out[1024];

	(void)state;
	wire_open(true);
	put_message(&m, CALL, "find", 3, STOP);
	struct bytes z = zlib_of(buf_bytes(&m), out, sizeof(out));
	size_t n = z.n;
	transformed(DIR_REQUEST, 3, BYTES("\0\1\1"), z);
	m.n = 0;
	put_message(&m, EXCEPTION, "find", 3, BYTES("\x0b\0\1\0\0\0\4oops\x08\0\2\0\0\0\6\0"));
	transformed(DIR_RESPONSE, 3, BYTES("\0\1\1"), zlib_of(buf_bytes(&m), out, sizeof(out)));
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "find");
	assert_string_equal(c->transport, "binary");
	assert_int_equal(c->status_code, 6);
	assert_string_equal(c->status_text, "oops");
	assert_string_equal(records_flags(c), "compressed");
	assert_int_equal(c->request->body.len, n);
	assert_int_equal(c->request->body.data[0], 0x78);
	/* what is not read is named, not guessed */
	transformed(DIR_REQUEST, 4, BYTES("\2\1\3"), BYTES("snappy"));
	transformed(DIR_RESPONSE, 4, BYTES("\2\1\3"), BYTES("snappy"));
	c = wire_next();
	assert_string_equal(c->method, "");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	assert_string_equal(records_attribute(c, "unknown"), "service,method,status_code,outcome");
	assert_string_equal(records_flags(c), "compressed");
	wire_close(FLOW_FIN);
	buf_fini(&m);
}

/* ---- the head ---- */

static bool head_of(struct bytes in, struct theader_head *h)
{
	struct theader_frame f;

	return theader_frame_parse(in, &f) == 1 &&
	       theader_head_parse(in, &f, THEADER_LOOK, THEADER_HEADERS_MAX, h);
}

/* A bomb gives what was asked for and no more; a broken or cut one what it is good for. */
static void zlib_is_bounded(void **state)
{
	struct buf m = {0}, b = {0};
	struct theader_head h;
	static uint8_t out[1 << 16];

	(void)state;
	put_message(&m, CALL, "find", 3, BYTES(""));
	put_fill(&m, 0, 32 << 20);
	struct bytes z = zlib_of(buf_bytes(&m), out, sizeof(out));
	for (int i = 0; i < 3; i++) { /* its state is used again */
		b.n = 0;
		put_frame(&b, 3, BYTES("\0\1\1"), z);
		assert_true(head_of(buf_bytes(&b), &h));
		assert_true(h.readable && bytes_eq(h.message.name, BYTES("find")));
	}
	for (size_t cut = 0; cut < 40; cut++) {
		b.n = 0;
		put_frame(&b, 3, BYTES("\0\1\1"), bytes_head(z, cut));
		assert_true(head_of(buf_bytes(&b), &h));
		if (h.readable)
			assert_true(bytes_eq(h.message.name, BYTES("find")));
	}
	b.n = 0;
	put_frame(&b, 3, BYTES("\0\1\1"), BYTES("no zlib"));
	assert_true(head_of(buf_bytes(&b), &h));
	assert_false(h.readable);
	b.n = 0; /* only one transform, and only this one, is undone */
	put_frame(&b, 3, BYTES("\0\2\1\1"), z);
	assert_true(head_of(buf_bytes(&b), &h));
	assert_false(h.readable);
	buf_fini(&m);
	buf_fini(&b);
}

/* r9: counts and lengths that lie, unknown blocks, padding only */
static void r9_info(void **state)
{
	static const struct {
		struct bytes header;
		bool good;
		size_t n_headers;
	} cases[] = {
		{BYTES("\0\0"), true, 0},
		{BYTES("\0\0\1\1\1k\1v"), true, 1},
		{BYTES("\0\0\1\1\1k\1v\2\1\1p\1w"), true, 2},
		{BYTES("\0\0\1\0"), true, 0},
		{BYTES("\0\0\1\1\1k\0"), true, 1},
		{BYTES("\0\0\7\1\1k\1v"), true, 0}, /* an unknown block */
		{BYTES("\0\0\1\2\1k\1v\0\0\0\0\0"), true, 1}, /* an empty name is none */
		{BYTES("\0\0\1\x09\1k\1v"), false, 0},
		{BYTES("\0\0\1\1\xff\xff\xff\xff\x0fk"), false, 0},
		{BYTES("\0\0\1\1\1k\x40v"), false, 0},
		{BYTES("\0\x09\1\1\1\1\1\1\1\1\1"), false, 0}, /* too many transforms */
		{BYTES("\0\xff\xff\xff\xff\xff\xff\xff"), false, 0},
		{BYTES("\0\0\1\1\3k v\1v"), true, 0}, /* no name */
	};
	struct buf b = {0}, m = {0};

	(void)state;
	put_message(&m, CALL, "find", 1, STOP);
	for (size_t i = 0; i < N(cases); i++) {
		struct theader_head h;
		b.n = 0;
		put_frame(&b, 1, cases[i].header, buf_bytes(&m));
		bool good = head_of(buf_bytes(&b), &h);
		if (good != cases[i].good)
			fail_msg("case %zu", i);
		if (good && h.n_headers != cases[i].n_headers)
			fail_msg("case %zu: %zu headers", i, h.n_headers);
	}
	buf_fini(&b);
	buf_fini(&m);
}

/* ---- the framer ---- */

/* r1, r8: lengths that lie cost the connection, no memory */
static void r1_r8_lengths(void **state)
{
	static const uint32_t lengths[] = {0xffffffff, 0x40000000, 0x3fffffff, (64 << 20) + 1,
					   0,          9,          13};
	struct buf b = {0}, m = {0};

	(void)state;
	put_message(&m, CALL, "find", 1, STOP);
	put_frame(&b, 1, PLAIN, buf_bytes(&m));
	assert_int_equal(first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b)).r, b.n);
	for (size_t i = 0; i < N(lengths); i++) {
		put_at(&b, 0, lengths[i], 4);
		struct first_piece s = first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b));
		if (s.r >= 0)
			fail_msg("length %x", lengths[i]);
		assert_int_equal(s.p.flags, FLAG_PROTOCOL_ERROR);
	}
	assert_string_equal((put_at(&b, 0, 64 << 20 | 1, 4),
			     first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b)))
				    .p.cap,
			    "theader_frame");
	put_at(&b, 0, 64 << 20, 4);
	assert_int_equal(first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b)).need, 18 + 4096);
	put_at(&b, 12, 0, 2); /* no header at all */
	assert_true(first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b)).r < 0);
	put_at(&b, 12, 0xffff, 2);
	struct first_piece s = first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b));
	assert_true(s.r < 0);
	assert_string_equal(s.p.cap, "theader_header");
	buf_fini(&b);
	buf_fini(&m);
}

static void header_count(void **state)
{
	struct buf b = {0}, m = {0};

	(void)state;
	put_message(&m, CALL, "find", 1, STOP);
	put_frame(&b, 1, BYTES("\0\0\1\3\1a\1v\1b\1v\1c\1v"), buf_bytes(&m));
	struct first_piece s =
		first_piece_limited(&framer_theader, DIR_REQUEST, buf_bytes(&b),
				    (struct framer_limits) {65536, 2, 1024, 64 << 20});
	assert_int_equal(s.p.head.n_headers, 2);
	assert_string_equal(s.p.cap, "theader_headers");
	buf_fini(&b);
	buf_fini(&m);
}

/* A reply from the client's side is no THeader conversation. */
static void direction(void **state)
{
	struct buf b = {0}, m = {0};

	(void)state;
	put_message(&m, RESULT, "find", 1, STOP);
	put_frame(&b, 1, PLAIN, buf_bytes(&m));
	assert_true(first_piece(&framer_theader, DIR_REQUEST, buf_bytes(&b)).r < 0);
	assert_int_equal(first_piece(&framer_theader, DIR_RESPONSE, buf_bytes(&b)).r, b.n);
	buf_fini(&b);
	buf_fini(&m);
}

static void probes(void **state)
{
	struct buf q = {0}, r = {0}, m = {0}, w = {0};
	struct bytes none = {0};

	(void)state;
	put_message(&m, CALL, "find", 1, STOP);
	put_frame(&q, 1, PLAIN, buf_bytes(&m));
	m.n = 0;
	put_message(&m, RESULT, "find", 1, STOP);
	put_frame(&r, 1, PLAIN, buf_bytes(&m));
	struct bytes request = buf_bytes(&q), reply = buf_bytes(&r);
	for (size_t n = 0; n <= q.n; n++)
		assert_int_equal(framer_theader.probe(bytes_head(request, n), none),
				 n < q.n ? PROBE_MORE : PROBE_YES);
	assert_int_equal(framer_theader.probe(reply, none), PROBE_MORE);
	assert_int_equal(framer_theader.probe(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_theader.probe(reply, reply), PROBE_NO);
	assert_int_equal(framer_theader.probe(BYTES("POST"), none), PROBE_NO);
	/* TTHeader, framed Thrift */
	assert_int_equal(framer_theader.probe(BYTES("\0\0\0\x28\x10\0\0\0\0\0"), none), PROBE_NO);
	assert_int_equal(framer_theader.probe(BYTES("\0\0\0\x28\x80\1\0\1\0\0"), none), PROBE_NO);
	put(&w, request);
	w.p[18] = 0x7f; /* the payload begins as nothing known */
	assert_int_equal(framer_theader.probe(buf_bytes(&w), none), PROBE_NO);
	assert_int_equal(framer_theader.probe_late(request, none), PROBE_YES);
	assert_int_equal(framer_theader.probe_late(none, reply), PROBE_YES);
	assert_int_equal(framer_theader.probe_late(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_theader.probe_late(bytes_from(request, 4), none), PROBE_NO);
	assert_ptr_equal(prober_ask(request, none, false, false).ops, &framer_theader);
	buf_fini(&q);
	buf_fini(&r);
	buf_fini(&m);
	buf_fini(&w);
}

/* Any change of any byte: the driver holds the framer to its contract, sanitizers to its bytes. */
static void mutated(void **state)
{
	uint64_t seed = 0x0fff;
	uint8_t out[256];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct drive_script s;
		struct buf b[2] = {{0}, {0}}, m = {0};
		drive_script_init(&s);
		s.first = &framer_theader;
		s.late = i % 3 == 0;
		for (uint32_t id = 1; id < 4; id++)
			for (int d = 0; d < 2; d++) {
				m.n = 0;
				put_message(&m, d ? id == 3 ? EXCEPTION : RESULT : CALL, "find", id,
					    BYTES("\x0b\0\1\0\0\0\4oops\0"));
				struct bytes z = zlib_of(buf_bytes(&m), out, sizeof(out));
				put_frame(&b[d], id, id == 2 ? BYTES("\0\1\1\1\1\1k\1v") : PLAIN,
					  id == 2 ? z : buf_bytes(&m));
			}
		for (unsigned k = 0; k < 1 + drive_random(&seed) % 6; k++) {
			struct buf *to = &b[drive_random(&seed) % 2];
			to->p[drive_random(&seed) % to->n] = (uint8_t)drive_random(&seed);
		}
		drive_add(&s, DIR_REQUEST, buf_bytes(&b[0]));
		drive_add(&s, DIR_RESPONSE, buf_bytes(&b[1]));
		drive_add_end(&s, DIR_REQUEST, END_FIN);
		drive_add_end(&s, DIR_RESPONSE, END_FIN);
		struct drive_result r = drive_run_bytes(&s);
		drive_result_fini(&r);
		drive_script_fini(&s);
		buf_fini(&m);
		buf_fini(&b[0]);
		buf_fini(&b[1]);
	}
}

/* ---- losses ---- */

static void make_with(unsigned i, uint32_t seq, size_t size, struct lossy_call *c)
{
	struct buf m = {0}, text = {0};
	unsigned kind = i % 6;
	char name[64];

	c->service = i % 3 ? "Shop" : "";
	snprintf(c->method, sizeof(c->method), "method%u", i % 7);
	snprintf(name, sizeof(name), "%s%s%s", c->service, i % 3 ? ":" : "", c->method);
	c->status = kind == 5 ? 6 : 0;
	c->outcome = kind == 5   ? OUTCOME_SERVER_ERROR
		     : kind == 4 ? OUTCOME_DECLARED_EXCEPTION
				 : OUTCOME_OK;
	for (int d = 0; d < 2; d++) {
		text.n = m.n = 0;
		if (d &&
		    kind == 5) /* its type first: a long text may end behind what is looked at */
			put(&text, BYTES("\x08\0\2\0\0\0\6"));
		put_be(&text, 0x0b, 1);
		put_be(&text, d && kind < 4 ? 0 : 1, 2);
		put_be(&text, 8 + size, 4);
		put_text(&text, lossy_token(i));
		put_fill(&text, 't', size);
		put_be(&text, 0, 1);
		put_message(&m, d ? kind == 5 ? EXCEPTION : RESULT : CALL, d ? c->method : name,
			    seq, buf_bytes(&text));
		put_frame(&c->wire[d], seq, BYTES("\0\0\1\1\1k\1v"), buf_bytes(&m));
		c->body_off[d] = 14 + 8;
	}
	buf_fini(&m);
	buf_fini(&text);
}

static void make(unsigned i, size_t size, struct lossy_call *c)
{
	make_with(i, i + 1, size, c);
}

static void make_without_ids(unsigned i, size_t size, struct lossy_call *c)
{
	make_with(i, 0, size, c);
}

static const struct lossy_protocol lossy = {.name = "theader", .make = make, .in_flight = 4};
static const struct lossy_protocol serial = {.name = "theader", .make = make, .in_flight = 1};
static const struct lossy_protocol zeroes = {
	.name = "theader", .make = make_without_ids, .in_flight = 1, .order_only = true};

static void late_at_every_offset(void **state)
{
	(void)state;
	lossy_hold_late(&lossy, &serial);
	lossy_print("late join, ids 0", &zeroes, lossy_late(&zeroes, 10, 3), 90);
}

static void random_drops(void **state)
{
	(void)state;
	lossy_hold_drops(&lossy);
	lossy_print("1 % lost, ids 0", &zeroes, lossy_drops(&zeroes, 200, 20, 10000), 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call),
		cmocka_unit_test(results),
		cmocka_unit_test(r6_ids),
		cmocka_unit_test(r6_lost_reply),
		cmocka_unit_test(by_order_is_doubted_after_a_late_join),
		cmocka_unit_test(zlib),
		cmocka_unit_test(zlib_is_bounded),
		cmocka_unit_test(r9_info),
		cmocka_unit_test(r1_r8_lengths),
		cmocka_unit_test(header_count),
		cmocka_unit_test(direction),
		cmocka_unit_test(probes),
		cmocka_unit_test(mutated),
		cmocka_unit_test(late_at_every_offset),
		cmocka_unit_test(random_drops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
