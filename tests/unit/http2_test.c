/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 by fault, group B, piece by piece. Exchanges with their text: tests/corpus/http2. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "rpc/http2_frame.h"
#include "rpc/http2_state.h"
#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"

#define REQ     DIR_REQUEST
#define RESP    DIR_RESPONSE
#define GET     BYTES("\x82\x86\x84") /* GET http / */
#define POST    BYTES("\x83\x86\x84")
#define OK      BYTES("\x88")
#define NOTHING ((struct bytes) {NULL, 0})

enum { END = 1, WHOLE = 4, PAD = 8 };

struct tally {
	unsigned heads, ends, aborts, controls, evicted, unhandled;
	uint64_t body;
	const char *cap; /* the last */
	unsigned caps;
	int64_t error; /* of the last call */
	unsigned flags; /* of the error */
};

struct rig {
	struct http2 *c;
	struct buf in[2];
	struct tally t;
};

static void rig_open(struct rig *r, uint32_t streams, bool late)
{
	const struct framer_limits limits = {64 * 1024, 256, streams, 64 << 20};

	*r = (struct rig) {.c = calloc(1, framer_http2.state_size)};
	assert_non_null(r->c);
	assert_int_equal(framer_http2.init(r->c, &limits, late), 0);
}

static void rig_close(struct rig *r)
{
	framer_http2.fini(r->c);
	free(r->c);
	buf_fini(&r->in[0]);
	buf_fini(&r->in[1]);
}

static void put(struct rig *r, enum dir dir, struct bytes b)
{
	assert_int_equal(buf_append(&r->in[dir], b), 0);
}

static void frame(struct rig *r, enum dir dir, uint8_t type, uint8_t flags, uint32_t id,
		  struct bytes b)
{
	const uint8_t head[] = {
		(uint8_t)(b.n >> 16), (uint8_t)(b.n >> 8), (uint8_t)b.n,       type,       flags,
		(uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

	put(r, dir, bytes_of(head, sizeof(head)));
	put(r, dir, b);
}

static void count(struct tally *t, const struct piece *p)
{
	t->heads += (p->what & PIECE_HEAD) != 0;
	t->ends += (p->what & PIECE_END) != 0;
	t->aborts += (p->what & PIECE_ABORT) != 0;
	t->controls += (p->what & PIECE_CONTROL) != 0;
	t->evicted += (p->flags & FLAG_EVICTED) != 0;
	t->unhandled += p->head.outcome == OUTCOME_NO_RESPONSE;
	t->body += p->body.n;
	if (p->cap) {
		t->cap = p->cap;
		t->caps++;
	}
}

/* Reads what is there; keeps the rest. */
static void run(struct rig *r, enum dir dir)
{
	struct bytes in = buf_bytes(&r->in[dir]);
	size_t done = 0, need;
	struct piece p;
	int64_t n;

	do {
		n = framer_http2.next(r->c, dir, bytes_from(in, done), &p, &need);
		if (n < 0) {
			r->t.error = n;
			r->t.flags = p.flags;
		}
		if (n < 0 && p.cap)
			r->t.cap = p.cap;
		if (n > 0 || p.what)
			count(&r->t, &p);
		done += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n == 0 && p.what));
	buf_drop(&r->in[dir], done);
}

/* Both prefaces */
static void begin(struct rig *r, uint32_t streams)
{
	rig_open(r, streams, false);
	put(r, REQ, http2_preface);
	frame(r, REQ, HTTP2_SETTINGS, 0, 0, NOTHING);
	frame(r, RESP, HTTP2_SETTINGS, 0, 0, NOTHING);
	run(r, REQ);
	run(r, RESP);
	r->t = (struct tally) {0};
}

static void expect_error(struct rig *r, enum dir dir, unsigned flags, const char *cap)
{
	run(r, dir);
	assert_int_equal(r->t.error, -EPROTO);
	assert_int_equal(r->t.flags, flags);
	if (cap)
		assert_string_equal(r->t.cap, cap);
	r->t.error = 0; /* and it stays so */
	run(r, dir);
	assert_int_equal(r->t.error, -EPROTO);
	assert_int_equal(r->t.flags, flags);
}

/* ---- B1 ---- */

static void b1_continuation_flood(void **state)
{
	struct rig r;
	static uint8_t big[16000];

	(void)state;
	begin(&r, 0);
	frame(&r, REQ, HTTP2_HEADERS, END, 1, GET);
	for (unsigned i = 0; i < HTTP2_CONTINUATIONS_MAX; i++)
		frame(&r, REQ, HTTP2_CONTINUATION, 0, 1, NOTHING);
	run(&r, REQ);
	assert_int_equal(r.t.error, 0);
	frame(&r, REQ, HTTP2_CONTINUATION, WHOLE, 1, NOTHING);
	expect_error(&r, REQ, FLAG_PROTOCOL_ERROR, "continuation_frames");
	rig_close(&r);

	begin(&r, 0);
	frame(&r, REQ, HTTP2_HEADERS, END, 1, bytes_of(big, sizeof(big)));
	for (unsigned i = 0; i < 5; i++)
		frame(&r, REQ, HTTP2_CONTINUATION, 0, 1, bytes_of(big, sizeof(big)));
	expect_error(&r, REQ, FLAG_PROTOCOL_ERROR, "header_bytes");
	rig_close(&r);
}

/* Eight are read. */
static void b1_continuation_allowed(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 0);
	frame(&r, REQ, HTTP2_HEADERS, END, 1, GET);
	for (unsigned i = 0; i < HTTP2_CONTINUATIONS_MAX; i++)
		frame(&r, REQ, HTTP2_CONTINUATION, i == HTTP2_CONTINUATIONS_MAX - 1 ? WHOLE : 0, 1,
		      BYTES("\x84"));
	run(&r, REQ);
	assert_int_equal(r.t.error, 0);
	assert_int_equal(r.t.ends, 1);
	rig_close(&r);
}

/* ---- B2, B14, B15: memory ---- */

static void b2_rapid_reset(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 0);
	for (uint32_t i = 0; i < 1000000; i++) {
		frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 2 * i + 1, GET);
		frame(&r, REQ, HTTP2_RST_STREAM, 0, 2 * i + 1, BYTES("\0\0\0\x08"));
		if (i % 1000 == 999)
			run(&r, REQ);
	}
	assert_int_equal(r.t.heads, 1000000);
	assert_int_equal(r.t.aborts, 1000000);
	assert_int_equal(r.c->streams.n, 0);
	assert_true(r.c->streams.n_buckets <= 8);
	rig_close(&r);
}

static void b14_floods(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t id;
		struct bytes b;
	} floods[] = {
		{HTTP2_SETTINGS, 0, 0, BYTES("\0\x01\0\0\x10\0\0\x05\0\0\x40\0")},
		{HTTP2_SETTINGS, 1, 0, {NULL, 0}},
		{HTTP2_PING, 0, 0, BYTES("12345678")},
		{HTTP2_PRIORITY, 0, 99, BYTES("\0\0\0\0\x01")},
		{HTTP2_WINDOW_UPDATE, 0, 99, BYTES("\0\0\0\0")},
		{HTTP2_GOAWAY, 0, 0, BYTES("\x7f\xff\xff\xff\0\0\0\0")},
		{HTTP2_RST_STREAM, 0, 99, BYTES("\0\0\0\0")},
		{0x77, 0xff, 99, BYTES("?")},
		{HTTP2_DATA, 0, 99, {NULL, 0}},
	};
	struct rig r;

	(void)state;
	begin(&r, 0);
	for (size_t k = 0; k < sizeof(floods) / sizeof(floods[0]); k++) {
		for (uint32_t i = 0; i < 1000000; i++) {
			frame(&r, RESP, floods[k].type, floods[k].flags, floods[k].id, floods[k].b);
			if (i % 1000 == 999)
				run(&r, RESP);
		}
		assert_int_equal(r.t.error, 0);
		assert_int_equal(r.t.controls, 1000000 * (k + 1));
		assert_int_equal(r.c->streams.n + r.c->streams.n_buckets, 0);
		assert_null(r.c->side[RESP].hpack.inflater);
	}
	assert_int_equal(r.t.heads, 0);
	rig_close(&r);
}

static void b15_streams(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 1024);
	for (uint32_t i = 0; i < 100000; i++) {
		frame(&r, REQ, HTTP2_HEADERS, WHOLE, 2 * i + 1, POST);
		frame(&r, REQ, HTTP2_DATA, 0, 1, BYTES("x")); /* the first stays in use */
		run(&r, REQ);
	}
	assert_int_equal(r.t.heads, 100000);
	assert_int_equal(r.t.evicted, 100000 - 1024);
	assert_int_equal(r.t.aborts, 100000 - 1024);
	assert_string_equal(r.t.cap, "streams");
	assert_int_equal(r.t.caps, 100000 - 1024);
	assert_int_equal(r.t.body, 100000); /* so nothing of it was ignored */
	assert_int_equal(r.c->streams.n, 1024);
	rig_close(&r);
}

/* ---- B11, B12 ---- */

static void ignored(enum dir dir, uint8_t type, uint32_t id, struct bytes b)
{
	struct rig r;

	begin(&r, 0);
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 3, GET);
	frame(&r, RESP, HTTP2_HEADERS, END | WHOLE, 3, OK);
	run(&r, REQ);
	run(&r, RESP);
	assert_int_equal(r.t.ends, 2);
	frame(&r, dir, type, END | WHOLE, id, b);
	run(&r, dir);
	assert_int_equal(r.t.error, 0);
	assert_int_equal(r.t.heads, 2);
	assert_int_equal(r.t.ends, 2);
	assert_int_equal(r.t.caps, 1);
	assert_string_equal(r.t.cap, "http2_ignored");
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 5, GET);
	run(&r, REQ);
	assert_int_equal(r.t.heads, 3);
	rig_close(&r);
}

static void b11_misuse(void **state)
{
	(void)state;
	ignored(REQ, HTTP2_DATA, 0, BYTES("x"));
	ignored(RESP, HTTP2_DATA, 0, BYTES("x"));
	ignored(REQ, HTTP2_DATA, 9, BYTES("x")); /* idle */
	ignored(RESP, HTTP2_DATA, 3, BYTES("x")); /* closed */
	ignored(REQ, HTTP2_HEADERS, 0, GET);
	ignored(REQ, HTTP2_HEADERS, 4, GET); /* not the client's to open */
	ignored(REQ, HTTP2_HEADERS, 3, GET); /* used */
	ignored(REQ, HTTP2_HEADERS, 1, GET); /* below the last */
	ignored(RESP, HTTP2_HEADERS, 7, OK); /* idle */
	ignored(RESP, HTTP2_HEADERS, 2, OK); /* not promised */
	ignored(RESP, HTTP2_PUSH_PROMISE, 3, BYTES("\0\0\0\x05\x82\x86\x84")); /* odd */
	ignored(REQ, HTTP2_RST_STREAM, 0, BYTES("\0\0\0\0"));
}

static void wrong(enum dir dir, uint8_t type, uint8_t flags, uint32_t id, struct bytes b)
{
	struct rig r;

	begin(&r, 0);
	frame(&r, REQ, HTTP2_HEADERS, WHOLE, 1, POST);
	run(&r, REQ);
	frame(&r, dir, type, flags, id, b);
	expect_error(&r, dir, FLAG_PROTOCOL_ERROR, NULL);
	rig_close(&r);
}

static void b12_lengths(void **state)
{
	static uint8_t big[HTTP2_FRAME_DEFAULT + 1];

	(void)state;
	wrong(REQ, HTTP2_DATA, 0, 1, bytes_of(big, sizeof(big)));
	wrong(RESP, 0x55, 0, 1, bytes_of(big, sizeof(big)));
	wrong(REQ, HTTP2_DATA, PAD, 1, NOTHING);
	wrong(REQ, HTTP2_DATA, PAD, 1,
	      BYTES("\x04"
		    "abc"));
	wrong(REQ, HTTP2_HEADERS, PAD | WHOLE, 3, BYTES("\x04\x82\x86\x84"));
	wrong(REQ, HTTP2_HEADERS, 0x20 | WHOLE, 3, BYTES("\0\0\0\0"));
	wrong(RESP, HTTP2_PUSH_PROMISE, WHOLE, 1, BYTES("\0\0\0"));
	wrong(REQ, HTTP2_PUSH_PROMISE, WHOLE, 1, BYTES("\0\0\0\x02\x82\x86\x84"));
	wrong(REQ, HTTP2_RST_STREAM, 0, 1, BYTES("\0\0\0"));
	wrong(REQ, HTTP2_PING, 0, 0, BYTES("1234567"));
	wrong(REQ, HTTP2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\0\x01"));
	wrong(REQ, HTTP2_SETTINGS, 0, 0, BYTES("\0\x01\0\0\0"));
	wrong(REQ, HTTP2_SETTINGS, 1, 0, BYTES("\0\x01\0\0\0\0"));
	wrong(REQ, HTTP2_SETTINGS, 0, 1, NOTHING);
	wrong(REQ, HTTP2_SETTINGS, 0, 0, BYTES("\0\x05\0\0\0\1")); /* MAX_FRAME_SIZE below 16384 */
	wrong(RESP, HTTP2_GOAWAY, 0, 0, BYTES("\0\0\0\0"));
	wrong(REQ, HTTP2_CONTINUATION, WHOLE, 1, NOTHING);
	wrong(REQ, HTTP2_HEADERS, WHOLE, 3, BYTES("\xff\xff\xff\xff\xff\x7f"));
	wrong(REQ, HTTP2_HEADERS, WHOLE, 3, BYTES("\x82\xbe"));
}

/* Late, the same is out of step, and found again. */
static void b12_late_is_out_of_step(void **state)
{
	struct rig r;
	size_t skip;

	(void)state;
	rig_open(&r, 0, true);
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 5, GET);
	frame(&r, REQ, HTTP2_PING, 0, 0, BYTES("12345678"));
	assert_int_equal(framer_http2.resync(r.c, REQ, buf_bytes(&r.in[REQ]), 0, &skip), 1);
	assert_int_equal(skip, 0);
	frame(&r, REQ, HTTP2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\0\0"));
	expect_error(&r, REQ, 0, NULL);
	assert_int_equal(r.t.heads, 1);
	r.in[REQ].n = 0;
	frame(&r, REQ, HTTP2_WINDOW_UPDATE, 0, 0, BYTES("\0\0\0\0\0"));
	size_t wrong_bytes = r.in[REQ].n;
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 7, GET);
	frame(&r, REQ, HTTP2_PING, 0, 0, BYTES("12345678"));
	assert_int_equal(framer_http2.resync(r.c, REQ, buf_bytes(&r.in[REQ]), 0, &skip), 1);
	assert_int_equal(skip, wrong_bytes);
	rig_close(&r);
}

/* Looks like a frame and is none: the place is not taken twice, and the next one is found. */
static void late_no_place_twice(void **state)
{
	struct rig r;
	size_t skip, wrong_bytes;
	uint8_t block[4997] = {0x82, 0x86, 0x84, 0, 1, 'x', 0x7f, 0xfd, 0x25};

	(void)state;
	memset(block + 9, 'v', sizeof(block) - 9);
	rig_open(&r, 0, true);
	r.c->limits.header_bytes = 4096;
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 5, bytes_of(block, sizeof(block)));
	wrong_bytes = r.in[REQ].n;
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 7, GET);
	frame(&r, REQ, HTTP2_PING, 0, 0, BYTES("12345678"));
	assert_int_equal(framer_http2.resync(r.c, REQ, buf_bytes(&r.in[REQ]), 0, &skip), 1);
	assert_int_equal(skip, 0);
	expect_error(&r, REQ, 0, "header_bytes");
	assert_int_equal(framer_http2.resync(r.c, REQ, buf_bytes(&r.in[REQ]), 0, &skip), 1);
	assert_int_equal(skip, wrong_bytes);
	buf_drop(&r.in[REQ], skip);
	run(&r, REQ);
	assert_int_equal(r.t.heads, 1);
	rig_close(&r);
}

/* ---- SETTINGS: a limit that is lowered holds once it is acknowledged ---- */

static void settings_table_size(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, 0);
	frame(&r, RESP, HTTP2_SETTINGS, 0, 0, BYTES("\0\x01\0\0\x20\0")); /* 8192 */
	run(&r, RESP);
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 1, BYTES("\x3f\xe1\x3f\x82\x86\x84"));
	frame(&r, RESP, HTTP2_SETTINGS, 0, 0, BYTES("\0\x01\0\0\x00\0")); /* 0 */
	run(&r, RESP);
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 3, BYTES("\x3f\xe1\x3f\x82\x86\x84"));
	frame(&r, REQ, HTTP2_SETTINGS, 1, 0, NOTHING); /* of the first */
	frame(&r, REQ, HTTP2_SETTINGS, 1, 0, NOTHING);
	frame(&r, REQ, HTTP2_SETTINGS, 1, 0, NOTHING);
	run(&r, REQ);
	assert_int_equal(r.t.error, 0);
	assert_int_equal(r.t.heads, 2);
	frame(&r, REQ, HTTP2_HEADERS, END | WHOLE, 5, BYTES("\x3f\xe1\x3f\x82\x86\x84"));
	expect_error(&r, REQ, FLAG_PROTOCOL_ERROR, NULL);
	rig_close(&r);
}

/* ---- B18 ---- */

/* Random bytes, and frames of other protocols, are no HTTP/2, joined late or not. */
static void b18_random(void **state)
{
	uint64_t seed = 18;
	uint8_t b[64];

	(void)state;
	for (unsigned i = 0; i < 1000000; i++) {
		for (size_t k = 0; k < sizeof(b); k += 4) {
			uint32_t v = drive_random(&seed);
			memcpy(b + k, &v, 4);
		}
		if (i % 2)
			memset(b, 0, 1 + drive_random(&seed) % 8); /* lengths begin with zeros */
		struct bytes in = bytes_of(b, sizeof(b));
		assert_int_equal(framer_http2.probe(in, NOTHING), PROBE_NO);
		enum probe_answer a = framer_http2.probe_late(in, NOTHING);
		assert_true(a == PROBE_NO || a == PROBE_MORE);
	}
}

static void b18_other_protocols(void **state)
{
	static const struct bytes others[] = {
		BYTES("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
		BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
		BYTES("HTTP/1.1 200 OK\r\n\r\n"),
		BYTES("\0\0\0\x4c\x80\x01\0\x01\0\0\0\x04"
		      "ping\0\0\0\0\0"),
		BYTES("\0\0\0\x28\x10\0\0\0\0\0\0\0\0\x03\0\0\x10\0"),
		BYTES("\xda\xbb\xc2\0\0\0\0\0\0\0\0\x01\0\0\0\x01N"),
		BYTES("PRPC\0\0\0\x32\0\0\0\x20"),
		BYTES("\x4a\0\0\0\x0a"
		      "8.0.36\0\x08\0\0\0"),
		BYTES("*1\r\n$4\r\nPING\r\n"),
		BYTES("\0\0\0\x2a\0\x03\0\x0c\0\0\0\x01\0\x07"
		      "console"),
		BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(framer_http2.probe(others[i], NOTHING), PROBE_NO);
		assert_int_equal(framer_http2.probe_late(others[i], NOTHING), PROBE_NO);
		assert_int_equal(framer_http2.probe_late(NOTHING, others[i]), PROBE_NO);
	}
}

static void b18_late(void **state)
{
	const struct bytes get = BYTES("\0\0\x03\x01\x05\0\0\0\x09\x82\x86\x84");
	const struct bytes ok = BYTES("\0\0\x01\x01\x05\0\0\0\x09\x88");
	const struct bytes ping = BYTES("\0\0\x08\x06\0\0\0\0\0"
					"12345678");
	const struct bytes pings = BYTES("\0\0\x08\x06\0\0\0\0\0"
					 "12345678"
					 "\0\0\x04\x08\0\0\0\0\0\0\0\x10\0");

	(void)state;
	for (size_t n = 0; n < get.n; n++)
		assert_int_equal(framer_http2.probe_late(bytes_head(get, n), NOTHING), PROBE_MORE);
	assert_int_equal(framer_http2.probe_late(get, NOTHING), PROBE_SURE);
	assert_int_equal(framer_http2.probe_late(NOTHING, ok), PROBE_SURE);
	assert_int_equal(framer_http2.probe_late(ok, NOTHING), PROBE_REVERSED);
	assert_int_equal(framer_http2.probe_late(NOTHING, get), PROBE_REVERSED);
	assert_int_equal(framer_http2.probe_late(get, get), PROBE_NO);
	assert_int_equal(framer_http2.probe_late(ping, NOTHING), PROBE_MORE);
	assert_int_equal(framer_http2.probe_late(pings, NOTHING), PROBE_YES);
	assert_int_equal(framer_http2.probe_late(http2_preface, NOTHING), PROBE_YES);
	/* a block goes on with CONTINUATION, and nothing else does */
	assert_int_equal(framer_http2.probe_late(BYTES("\0\0\1\x09\4\0\0\0\1\x84"), NOTHING),
			 PROBE_NO);
	assert_int_equal(framer_http2.probe_late(BYTES("\0\0\3\1\1\0\0\0\1\x82\x86\x84"
						       "\0\0\x08\6\0\0\0\0\0"),
						 NOTHING),
			 PROBE_NO);
}

/* The framer's state, for 65,536 connections */
static void state_is_small(void **state)
{
	(void)state;
	print_message("state %zu bytes, a stream %zu\n", framer_http2.state_size,
		      sizeof(struct http2_stream));
	assert_true(framer_http2.state_size <= 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(b1_continuation_flood), cmocka_unit_test(b1_continuation_allowed),
		cmocka_unit_test(b2_rapid_reset),        cmocka_unit_test(b11_misuse),
		cmocka_unit_test(b12_lengths),           cmocka_unit_test(b12_late_is_out_of_step),
		cmocka_unit_test(late_no_place_twice),   cmocka_unit_test(b14_floods),
		cmocka_unit_test(b15_streams),           cmocka_unit_test(b18_random),
		cmocka_unit_test(b18_other_protocols),   cmocka_unit_test(b18_late),
		cmocka_unit_test(settings_table_size),   cmocka_unit_test(state_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
