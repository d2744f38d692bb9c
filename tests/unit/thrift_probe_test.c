/* SPDX-License-Identifier: Apache-2.0 */
/* Is it Thrift? R2: strong forms by one side, weak ones by both, nothing else at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

#define NONE ((struct bytes) {NULL, 0})
#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { RANDOM_INPUTS = 1000000 };

/* A message in a block that lives to the end of the test's process. */
static struct bytes message(enum thrift_form form, bool framed, unsigned type, const char *name,
			    int32_t seqid)
{
	static struct buf all[64];
	static size_t used;
	struct buf *b = &all[used++ % 64];

	b->n = 0;
	tw_message(b, form, type, name, seqid);
	if (type == THRIFT_EXCEPTION)
		tw_exception(b, form, BYTES("no"), 1, false);
	else
		tw_struct(b, form, type == THRIFT_REPLY ? 0 : 1, BYTES("some text"));
	if (framed)
		tw_frame(b, 0);
	return buf_bytes(b);
}

static struct bytes joined(struct bytes a, struct bytes b)
{
	static struct buf all[16];
	static size_t used;
	struct buf *j = &all[used++ % 16];

	j->n = 0;
	tw_bytes(j, a);
	tw_bytes(j, b);
	return buf_bytes(j);
}

static bool is_strong(enum thrift_form form, bool framed)
{
	return form == THRIFT_BINARY || (form == THRIFT_COMPACT && framed);
}

static enum probe_answer strong(struct bytes q, struct bytes r)
{
	return framer_thrift.probe(q, r);
}

static enum probe_answer weak(struct bytes q, struct bytes r)
{
	return framer_thrift_weak.probe(q, r);
}

/* At each prefix the answer is the last one or MORE. */
static void grows(enum probe_answer (*probe)(struct bytes, struct bytes), struct bytes q,
		  struct bytes r, enum probe_answer want)
{
	assert_int_equal(probe(q, r), want);
	for (size_t n = 0; n < q.n; n++) {
		enum probe_answer a = probe(bytes_head(q, n), r);
		assert_true(a == PROBE_MORE || a == want);
	}
	for (size_t n = 0; n < r.n; n++) {
		enum probe_answer a = probe(q, bytes_head(r, n));
		assert_true(a == PROBE_MORE || a == want);
	}
}

static void r2_forms(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		enum thrift_form form = (enum thrift_form)(i / 2);
		bool framed = i & 1;
		struct bytes call = message(form, framed, THRIFT_CALL, "Svc:count", 7);
		struct bytes reply = message(form, framed, THRIFT_REPLY, "count", 7);
		if (is_strong(form, framed)) {
			grows(strong, call, NONE, PROBE_YES);
			grows(strong, message(form, framed, THRIFT_ONEWAY, "note", 0), NONE,
			      PROBE_YES);
			grows(strong, reply, call, PROBE_REVERSED);
			assert_int_equal(strong(reply, NONE), PROBE_MORE);
			assert_int_equal(strong(reply, reply), PROBE_NO);
			assert_int_equal(weak(call, reply), PROBE_NO);
		} else {
			assert_int_equal(strong(call, reply), PROBE_NO);
			assert_int_equal(strong(reply, call), PROBE_NO);
			assert_int_equal(weak(call, NONE), PROBE_MORE);
			grows(weak, call, reply, PROBE_YES);
			grows(weak, call, message(form, framed, THRIFT_EXCEPTION, "count", 7),
			      PROBE_YES);
			grows(weak, reply, call, PROBE_REVERSED);
		}
		struct prober_verdict v = prober_ask(call, reply, false, false);
		assert_ptr_equal(v.ops,
				 is_strong(form, framed) ? &framer_thrift : &framer_thrift_weak);
		v = prober_ask(reply, call, false, false);
		assert_true(v.reversed && !strcmp(v.ops->name, "thrift"));
	}
}

/* Behind the envelope there is a struct. */
static void envelope_alone_is_not_enough(void **state)
{
	(void)state;
	for (int framed = 0; framed < 2; framed++) {
		struct buf b = {0};
		tw_message(&b, THRIFT_BINARY, THRIFT_CALL, "count", 7);
		tw_u8(&b, 'G');
		if (framed)
			tw_frame(&b, 0);
		assert_int_equal(strong(buf_bytes(&b), NONE), PROBE_NO);
		assert_int_equal(strong(bytes_head(buf_bytes(&b), b.n - 1), NONE), PROBE_MORE);
		b.p[b.n - 1] = 0;
		assert_int_equal(strong(buf_bytes(&b), NONE), PROBE_YES);
		buf_fini(&b);
	}
}

static void weak_must_agree(void **state)
{
	const enum thrift_form C = THRIFT_COMPACT, O = THRIFT_OLD_BINARY;

	(void)state;
	for (int i = 0; i < 3; i++) {
		enum thrift_form form = i ? O : C;
		bool framed = i == 2;
		struct bytes call = message(form, framed, THRIFT_CALL, "count", 7);
		assert_true(weak(call, message(form, framed, THRIFT_REPLY, "count", 8)) !=
			    PROBE_YES);
		assert_true(weak(call, message(form, framed, THRIFT_REPLY, "other", 7)) !=
			    PROBE_YES);
		assert_int_equal(weak(call, message(form, framed, THRIFT_CALL, "count", 7)),
				 PROBE_NO);
		assert_int_equal(weak(call, BYTES("HTTP/1.1 200 OK\r\n")), PROBE_NO);
		assert_true(weak(call, message(form, !framed, THRIFT_REPLY, "count", 7)) !=
			    PROBE_YES);
		/* what is answered may not be the first */
		struct bytes note = message(form, framed, THRIFT_ONEWAY, "note", 6);
		struct bytes reply = message(form, framed, THRIFT_REPLY, "count", 7);
		grows(weak, joined(note, call), reply, PROBE_YES);
		assert_int_equal(weak(note, reply), PROBE_MORE);
	}
	/* a server that writes strict where the client did not */
	grows(weak, message(O, true, THRIFT_CALL, "count", 0),
	      message(THRIFT_BINARY, true, THRIFT_REPLY, "count", 0), PROBE_YES);
}

/* First bytes of other protocols, as measured on real peers. */
static const struct {
	const char *what;
	struct bytes request, response;
} others[] = {
	{"tls", BYTES("\x16\x03\x01\x02\0\1\0\1\xfc\3\3"), BYTES("\x16\3\3\0\x7a\2\0\0\x76\3\3")},
	{"http1", BYTES("POST /a HTTP/1.1\r\nHost: h\r\n\r\n"), BYTES("HTTP/1.1 200 OK\r\n\r\n")},
	{"http2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
	 BYTES("\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0")},
	{"ttheader",
	 BYTES("\0\0\0\x30\x10\0\0\1\0\0\0\1\0\2\0\0\1\0\0\0\0\0\x80\1\0\1\0\0\0\5Touch\0\0\0\1\0"),
	 BYTES("\0\0\0\x28\x10\0\0\0\0\0\0\1\0\3\0\0\x10\0\1\0\x16\0\1"
	       "2\0\0\0\x80\1\0\2\0\0\0\5Touch\0\0\0\1\0")},
	{"theader", BYTES("\0\0\0\x36\x0f\xff\0\0\0\0\0\x09\0\1\0\0\0\0\x80\1\0\1\0\0\0\5touch"),
	 BYTES("\0\0\0\x3c\x0f\xff\0\0\0\0\0\x09\0\x08\0\0\1\1\x09served-by")},
	{"kitex_protobuf", BYTES("\0\0\0\x34\x90\1\0\1\0\0\0\4Echo\0\0\0\5\x0a\x0fR-"),
	 BYTES("\0\0\0\x34\x90\1\0\2\0\0\0\4Echo\0\0\0\5\x0a\x0fR-")},
	{"dubbo2", BYTES("\xda\xbb\xc2\0\x2f\6\7\x71\xe6\xdc\x36\x99\0\0\0\xd9\5"),
	 BYTES("\xda\xbb\2\x14\x2f\6\7\x71\xe6\xdc\x37\4\0\0\0\x0f\x95H")},
	{"brpc", BYTES("PRPC\0\0\0\x32\0\0\0\x20\x0a\x1a\x0a\x11"),
	 BYTES("PRPC\0\0\0\x1b\0\0\0\x08")},
	{"redis", BYTES("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), BYTES("$1\r\nb\r\n")},
	{"redis inline", BYTES("PING\r\n"), BYTES("+PONG\r\n")},
	{"mysql", BYTES("\x20\0\0\1\x8d\xa6\x3f\x20\0\0\0\1\x21"),
	 BYTES("\x4a\0\0\0\x0a"
	       "8.0.32\0\x0b\0\0\0")},
	{"kafka",
	 BYTES("\0\0\0\x1e\0\x12\0\3\0\0\0\1\0\x09"
	       "rdkafka-1\0"),
	 BYTES("\0\0\1\x0a\0\0\0\1\0\0")},
	{"kafka produce", BYTES("\0\0\0\x3e\0\0\0\x09\0\0\0\2\0\x07rdkafka\0\0\xff\xff"),
	 BYTES("\0\0\0\x36\0\0\0\2\0\0\0\1")},
	{"tars", BYTES("\0\0\0\x57\x10\1\x2c\x3c\x42\0\0\0\1\x56\4Demo"),
	 BYTES("\0\0\0\x20\x10\1\x2c\x32\0\0\0\1")},
	{"bolt", BYTES("\1\1\0\1\1\0\0\0\1\1\0\0\x0b\xb8\0\x2c\0\x10\0\0\0\x20"),
	 BYTES("\1\0\0\2\1\0\0\0\1\1\0\0\0\x2c\0\0\0\0\0\x10")},
	{"ssh", BYTES("SSH-2.0-OpenSSH_9.2\r\n"), BYTES("SSH-2.0-OpenSSH_9.2\r\n")},
	{"postgres", BYTES("\0\0\0\x26\0\3\0\0user\0app\0database\0app\0\0"),
	 BYTES("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")},
	{"zookeeper", BYTES("\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x27\x10"),
	 BYTES("\0\0\0\x25\0\0\0\0\0\0\x27\x10\1\0")},
	{"dns", BYTES("\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\3www"),
	 BYTES("\0\x2d\x12\x34\x81\x80\0\1\0\1")},
};

static void h11_other_protocols(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(others); i++)
		for (int way = 0; way < 2; way++) {
			struct bytes q = way ? others[i].response : others[i].request;
			struct bytes r = way ? others[i].request : others[i].response;
			if (strong(q, r) != PROBE_NO || weak(q, r) != PROBE_NO ||
			    framer_thrift.probe_late(q, r) != PROBE_NO)
				fail_msg("%s", others[i].what);
		}
}

static bool claimed(struct bytes q, struct bytes r)
{
	enum probe_answer a[] = {strong(q, r), weak(q, r), framer_thrift.probe_late(q, r)};

	for (size_t i = 0; i < N(a); i++)
		if (a[i] == PROBE_YES || a[i] == PROBE_REVERSED)
			return true;
	return false;
}

/* Also with the start of a frame in front, and with letters only, where old binary would be found. */
static void h11_random_binary(void **state)
{
	uint64_t seed = 0x4111;
	uint8_t q[64], r[64];
	unsigned claims = 0;

	(void)state;
	for (int i = 0; i < RANDOM_INPUTS; i++) {
		for (size_t k = 0; k < sizeof(q); k += 4) {
			uint32_t a = drive_random(&seed), b = drive_random(&seed);
			memcpy(q + k, &a, 4);
			memcpy(r + k, &b, 4);
		}
		if (i % 4 == 1)
			memset(q, 0, 3), memset(r, 0, 3);
		if (i % 4 == 2)
			memset(q, 0, 7), memset(r, 0, 7);
		if (i % 4 == 3)
			for (size_t k = 4; k < sizeof(q); k++) {
				q[k] = (uint8_t)('!' + q[k] % 94);
				r[k] = (uint8_t)('!' + r[k] % 94);
			}
		claims += claimed(bytes_of(q, sizeof(q)), bytes_of(r, sizeof(r)));
	}
	assert_int_equal(claims, 0);
}

static enum probe_answer late(struct bytes q, struct bytes r)
{
	return framer_thrift.probe_late(q, r);
}

static void late_joins(void **state)
{
	const enum thrift_form B = THRIFT_BINARY, C = THRIFT_COMPACT;
	struct bytes junk = BYTES("the middle of a body\0\0\0");

	(void)state;
	for (int framed = 0; framed < 2; framed++) {
		struct bytes call = message(B, framed, THRIFT_CALL, "count", 7);
		struct bytes reply = message(B, framed, THRIFT_REPLY, "count", 7);
		assert_int_equal(late(call, NONE), PROBE_YES);
		assert_int_equal(late(junk, reply), PROBE_YES);
		assert_int_equal(late(reply, NONE), PROBE_REVERSED);
		assert_int_equal(late(reply, junk), PROBE_REVERSED);
		assert_int_equal(late(call, reply), PROBE_YES);
		assert_int_equal(late(reply, call), PROBE_REVERSED);
		assert_true(late(call, call) != PROBE_YES && late(reply, reply) != PROBE_YES);
		assert_int_equal(late(junk, junk), PROBE_NO);
	}
	struct bytes call = message(C, true, THRIFT_CALL, "count", 7);
	struct bytes reply = message(C, true, THRIFT_REPLY, "count", 7);
	assert_int_equal(late(call, NONE), PROBE_YES);
	assert_int_equal(late(bytes_head(call, call.n - 1), NONE), PROBE_MORE);
	assert_int_equal(late(joined(call, BYTES("GET /")), NONE), PROBE_MORE);
	assert_int_equal(late(joined(call, call), NONE), PROBE_YES);
	assert_int_equal(late(bytes_head(call, call.n - 1), bytes_head(reply, reply.n - 1)),
			 PROBE_YES);
	assert_int_equal(late(bytes_head(call, call.n - 1),
			      bytes_head(message(C, true, THRIFT_REPLY, "count", 8), 15)),
			 PROBE_MORE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(r2_forms),          cmocka_unit_test(envelope_alone_is_not_enough),
		cmocka_unit_test(weak_must_agree),   cmocka_unit_test(h11_other_protocols),
		cmocka_unit_test(h11_random_binary), cmocka_unit_test(late_joins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
