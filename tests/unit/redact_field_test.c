/* SPDX-License-Identifier: Apache-2.0 */
/* Thrift and protobuf by field numbers: what comes out is still a message, and the rest of it is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/pbwire.h"
#include "tests/unit/encode.h"
#include "tests/unit/redact_rig.h"
#include "tests/unit/thrift_write.h"

#define SECRET "S3cr3tCanary"
#define R      "[redacted]"

static const enum thrift_form forms[] = {THRIFT_BINARY, THRIFT_OLD_BINARY, THRIFT_COMPACT};

static struct redact_body thrift_body(enum thrift_form form)
{
	static const char *const transports[] = {"framed+binary", "framed+old_binary",
						 "framed+compact"};
	return (struct redact_body) {.protocol = "thrift",
				     .transport = transports[form],
				     .service = BYTES("Svc"),
				     .method = BYTES("Get")};
}

/* {1: string, 2: {3: string, 4: i32 7, 200: string}, 5: list<{1: string}>, 6: string} */
static void sample(struct buf *b, enum thrift_form form, const char *one, const char *deep,
		   const char *element, bool with_deep)
{
	int last = 0, inner = 0, item;
	tw_message(b, form, 1, "Get", 9);
	tw_field(b, form, 11, 1, &last);
	tw_string(b, form, bytes_str(one));
	tw_field(b, form, 12, 2, &last);
	if (with_deep) {
		tw_field(b, form, 11, 3, &inner);
		tw_string(b, form, bytes_str(deep));
	}
	tw_field(b, form, 8, 4, &inner);
	tw_i32(b, form, 7);
	tw_field(b, form, 11, 200, &inner);
	tw_string(b, form, BYTES("far"));
	tw_stop(b);
	tw_field(b, form, 15, 5, &last);
	if (form == THRIFT_COMPACT)
		put_be(b, 2 << 4 | 12, 1);
	else
		put_be(b, (uint64_t)12 << 32 | 2, 5);
	for (int i = 0; i < 2; i++) {
		item = 0;
		tw_field(b, form, 11, 1, &item);
		tw_string(b, form, bytes_str(element));
		tw_stop(b);
	}
	tw_field(b, form, 11, 6, &last);
	tw_string(b, form, BYTES("end"));
	tw_stop(b);
}

static void out_is(struct redactor *by, const struct redact_body *b, const struct buf *in,
		   const struct buf *want)
{
	size_t n;
	bool changed;
	char *got = rig_body(by, b, buf_bytes(in), &n, &changed);
	assert_non_null(got);
	assert_int_equal(n, want->n);
	assert_memory_equal(got, want->p, n);
	free(got);
}

static void thrift_is(const char *rules, const char *one, const char *deep, const char *element,
		      bool with_deep)
{
	struct redactor *by = rig_redactor(rules);
	for (size_t i = 0; i < 3; i++) {
		struct buf in = {0}, want = {0};
		struct redact_body b = thrift_body(forms[i]);
		sample(&in, forms[i], SECRET, SECRET, SECRET, true);
		sample(&want, forms[i], one, deep, element, with_deep);
		out_is(by, &b, &in, &want);
		buf_fini(&in);
		buf_fini(&want);
	}
	redactor_unref(by);
}

static void thrift_strings(void **state)
{
	(void)state;
	thrift_is("  thrift: ['1']", R, SECRET, SECRET, true);
	thrift_is("  thrift: ['2.3']", SECRET, R, SECRET, true);
	thrift_is("  thrift: ['5.1']", SECRET, SECRET, R, true);
	thrift_is("  thrift: ['*.3', '5.*', '1']", R, R, R, true);
	thrift_is("  thrift: ['Get:1', 'Put:2.3', '/Svc/Get:5.1', '/Other/Get:2.3']", R, SECRET, R,
		  true);
	thrift_is("  thrift: [{path: '2.3', action: drop}]", SECRET, SECRET, SECRET, false);
	thrift_is("  thrift: ['3', '9.1', '1.1', '7.*']", SECRET, SECRET, SECRET, true);
}

/* Each type gets its zero; a container or struct is empty. */
static void thrift_types(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct redactor *by = rig_redactor(
			"  thrift: ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10']");
		struct redact_body b = thrift_body(forms[i]);
		uint64_t seed = 5;
		for (int round = 0; round < 200; round++) {
			struct buf in = {0};
			size_t n;
			bool changed, done = false;
			tw_message(&in, forms[i], 1, "Get", 9);
			tw_random(&in, forms[i], 3, &seed);
			char *got = rig_body(by, &b, buf_bytes(&in), &n, &changed);
			assert_non_null(got);
			struct thrift_message m;
			size_t need;
			assert_int_equal(thrift_message_parse(bytes_of(got, n), true, &m, &need),
					 1);
			struct thrift_skip skip;
			thrift_skip_start(&skip, forms[i]);
			int64_t used = thrift_skip_next(
				&skip, bytes_from(bytes_of(got, n), m.struct_off), &done);
			assert_true(done);
			assert_int_equal((size_t)used + m.struct_off, n);
			free(got);
			buf_fini(&in);
		}
		redactor_unref(by);
	}
}

static void thrift_hash_of_numbers_joins(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  thrift: [{path: '4', action: hash}]");
	for (size_t i = 0; i < 3; i++) {
		char *got[3];
		size_t n[3];
		bool changed;
		for (int k = 0; k < 3; k++) {
			struct buf in = {0};
			int last = 0;
			struct redact_body b = thrift_body(forms[i]);
			tw_message(&in, forms[i], 1, "Get", 9);
			tw_field(&in, forms[i], 8, 4, &last);
			tw_i32(&in, forms[i], k == 1 ? 1234567 : 7654321);
			tw_stop(&in);
			got[k] = rig_body(by, &b, buf_bytes(&in), &n[k], &changed);
			assert_non_null(got[k]);
			assert_null(memmem(got[k], n[k], "\x00\x74\xcb\xb1", 4));
			buf_fini(&in);
		}
		assert_int_equal(n[0], n[2]);
		assert_memory_equal(got[0], got[2], n[0]);
		assert_true(n[0] != n[1] || memcmp(got[0], got[1], n[0]) != 0);
		for (int k = 0; k < 3; k++)
			free(got[k]);
	}
	redactor_unref(by);
}

static void thrift_no_prefix_leaks(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  thrift: ['1', '2.3', '5.1']");
	for (size_t i = 0; i < 3; i++) {
		struct buf in = {0};
		struct redact_body b = thrift_body(forms[i]);
		sample(&in, forms[i], SECRET, SECRET, SECRET, true);
		rig_no_prefix_leaks(by, &b, buf_bytes(&in), SECRET);
		buf_fini(&in);
	}
	redactor_unref(by);
}

/* A frame of a ttstream has no envelope. */
static void thrift_bare_struct(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  thrift: ['1']");
	struct redact_body b = {.protocol = "ttheader", .transport = "unframed+streaming+binary"};
	struct buf in = {0}, want = {0};
	tw_struct(&in, THRIFT_BINARY, 1, BYTES(SECRET));
	tw_struct(&want, THRIFT_BINARY, 1, BYTES(R));
	out_is(by, &b, &in, &want);
	buf_fini(&in);
	buf_fini(&want);
	redactor_unref(by);
}

static void dropped(struct redactor *by, const struct redact_body *b, struct bytes in,
		    enum redact_why why)
{
	uint64_t before = rig_counts.dropped[why];
	size_t n;
	bool changed;
	assert_null(rig_body(by, b, in, &n, &changed));
	assert_int_equal(rig_counts.dropped[why], before + 1);
}

static void s2_what_is_no_thrift_is_dropped(void **state)
{
	(void)state;
	static const struct bytes bad[] = {
		BYTES("GET / HTTP/1.1"),
		BYTES("\x80\x01\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x01\x63\x00\x01"), /* type 99 */
		BYTES("\x80\x01\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x01\x00more"),
		BYTES("\x80\x01\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x01\x0f\x00\x02\x0c\xff\xff\xff\xff"),
		BYTES("\x82\x21\x01\x01x\x0f"),
	};
	struct redactor *by = rig_redactor("  thrift: ['2.1']");
	struct redact_body b = thrift_body(THRIFT_BINARY);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		dropped(by, &b, bad[i], REDACT_INVALID);
	b.compressed = true;
	dropped(by, &b, BYTES("zlib"), REDACT_ENCODING);
	redactor_unref(by);
}

/* R4, R5: lists in lists, and many elements, on the way to a rule */
static void thrift_bounds(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  thrift: ['2.1']");
	struct redact_body b = thrift_body(THRIFT_BINARY);
	struct buf in = {0};
	int last = 0;
	tw_message(&in, THRIFT_BINARY, 1, "Get", 1);
	tw_field(&in, THRIFT_BINARY, 15, 2, &last);
	for (int i = 0; i < 100000; i++)
		put_be(&in, (uint64_t)15 << 32 | 1, 5);
	dropped(by, &b, buf_bytes(&in), REDACT_INVALID);
	buf_fini(&in);
	last = 0;
	tw_message(&in, THRIFT_BINARY, 1, "Get", 1);
	tw_field(&in, THRIFT_BINARY, 15, 2, &last);
	put_be(&in, (uint64_t)12 << 32 | 5000000, 5);
	put_fill(&in, 0, 5000000);
	dropped(by, &b, buf_bytes(&in), REDACT_INVALID);
	buf_fini(&in);
	redactor_unref(by);
}

/* ---- protobuf ---- */

static void pb_text(struct buf *b, unsigned field, const char *s)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, strlen(s));
	put_text(b, s);
}

static void pb_part(struct buf *b, unsigned field, struct buf *part)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, part->n);
	put(b, buf_bytes(part));
	buf_fini(part);
}

/* {1: text, 2: {3: {4: text, 5: "x" x filler}}, group 6 {7: text}, 8: varint, 9: fixed64, 10: fixed32, 2: {3: {}}} */
static void pb_sample(struct buf *b, const char *one, const char *deep, const char *grouped,
		      uint64_t number, size_t filler)
{
	struct buf in3 = {0}, in2 = {0}, empty = {0}, again = {0};
	if (one)
		pb_text(b, 1, one);
	if (deep)
		pb_text(&in3, 4, deep);
	put_varint(&in3, 5 << 3 | 2);
	put_varint(&in3, filler);
	put_fill(&in3, 'x', filler);
	pb_part(&in2, 3, &in3);
	pb_part(b, 2, &in2);
	put_varint(b, 6 << 3 | 3);
	pb_text(b, 7, grouped);
	put_varint(b, 6 << 3 | 4);
	put_varint(b, 8 << 3);
	put_varint(b, number);
	put_varint(b, 9 << 3 | 1);
	put_be(b, number, 8);
	put_varint(b, 10 << 3 | 5);
	put_be(b, number, 4);
	pb_part(&again, 3, &empty);
	pb_part(b, 2, &again);
}

static struct redact_body grpc_body(void)
{
	return (struct redact_body) {
		.protocol = "grpc", .service = BYTES("pkg.Svc"), .method = BYTES("Get")};
}

static void pb_is(const char *rules, const char *one, const char *deep, const char *grouped,
		  uint64_t number)
{
	static const size_t fillers[] = {0,   90,  100, 101, 102, 103,   104,  105,
					 110, 113, 114, 115, 130, 16384, 20000};
	struct redactor *by = rig_redactor(rules);
	struct redact_body b = grpc_body();
	for (size_t i = 0; i < sizeof(fillers) / sizeof(*fillers); i++) {
		struct buf in = {0}, want = {0};
		pb_sample(&in, SECRET, SECRET, SECRET, 77, fillers[i]);
		pb_sample(&want, one, deep, grouped, number, fillers[i]);
		out_is(by, &b, &in, &want);
		buf_fini(&in);
		buf_fini(&want);
	}
	redactor_unref(by);
}

static void protobuf_fields(void **state)
{
	(void)state;
	pb_is("  protobuf: ['1']", R, SECRET, SECRET, 77);
	pb_is("  protobuf: ['2.3.4']", SECRET, R, SECRET, 77);
	pb_is("  protobuf: ['6.7']", SECRET, SECRET, R, 77);
	pb_is("  protobuf: ['8', '9', '10']", SECRET, SECRET, SECRET, 0);
	pb_is("  protobuf: ['/pkg.Svc/Get:1', '/pkg.Svc/Put:2.3.4', 'Get:6.7']", R, SECRET, R, 77);
	pb_is("  protobuf: [{path: '1', action: drop}]", NULL, SECRET, SECRET, 77);
	pb_is("  protobuf: [{path: '2.3.4', action: drop}]", SECRET, NULL, SECRET, 77);
	pb_is("  protobuf: ['3', '2.3.9.1', '7']", SECRET, SECRET, SECRET, 77);
}

static void protobuf_no_prefix_leaks(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  protobuf: ['2.3.4', '6.7', '11.1']");
	struct redact_body b = grpc_body();
	struct buf in = {0}, inner = {0};
	pb_sample(&in, "visible", SECRET, SECRET, 77, 5);
	pb_text(&inner, 1, SECRET);
	pb_part(&in, 11, &inner);
	rig_no_prefix_leaks(by, &b, buf_bytes(&in), SECRET);
	buf_fini(&in);
	redactor_unref(by);
}

static void s2_what_is_no_protobuf_is_dropped(void **state)
{
	(void)state;
	static const struct bytes bad[] = {
		BYTES("\x12\x05hello"), /* 2 is no message */
		BYTES("\x07"), /* wire type 7 */
		BYTES("\x00\x01"), /* field 0 */
		BYTES("\x12\x64\x0a"), /* ends within */
		BYTES("\x33\x3c"), /* a group closed by another */
		BYTES("\x34"), /* a group's end alone */
		BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
	};
	struct redactor *by = rig_redactor("  protobuf: ['2.1', '6.1']");
	struct redact_body b = grpc_body();
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		dropped(by, &b, bad[i], REDACT_INVALID);
	/* the same where it was cut: what follows a broken part does not leave as the rest of it */
	b.cut = true;
	dropped(by, &b, BYTES("\x12\x02\x0a\x7f\x12\x0e\x0a\x0c" SECRET), REDACT_INVALID);
	b.compressed = true;
	dropped(by, &b, BYTES("gzip"), REDACT_ENCODING);
	redactor_unref(by);
}

/* bRPC: the attachment is not protobuf, and stays. */
static void attachments(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  protobuf: ['1']");
	struct redact_body b = {.protocol = "brpc", .attachment = 3};
	struct buf in = {0}, want = {0};
	pb_text(&in, 1, SECRET);
	pb_text(&want, 1, R);
	put_text(&in, "\xff\xff\xff");
	put_text(&want, "\xff\xff\xff");
	out_is(by, &b, &in, &want);
	b.cut = true;
	dropped(by, &b, buf_bytes(&in), REDACT_CUT);
	buf_fini(&in);
	buf_fini(&want);
	redactor_unref(by);
}

static void kitex_envelope(void **state)
{
	(void)state;
	struct redactor *by = rig_redactor("  protobuf: ['1']");
	struct redact_body b = {.protocol = "kitex_protobuf"};
	struct buf in = {0}, want = {0};
	for (int i = 0; i < 2; i++) {
		struct buf *to = i ? &want : &in;
		put_be(to, 0x90010001, 4);
		put_be(to, 3, 4);
		put_text(to, "Get");
		put_be(to, 1, 4);
		pb_text(to, 1, i ? R : SECRET);
	}
	out_is(by, &b, &in, &want);
	buf_fini(&in);
	buf_fini(&want);
	redactor_unref(by);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thrift_strings),
		cmocka_unit_test(thrift_types),
		cmocka_unit_test(thrift_hash_of_numbers_joins),
		cmocka_unit_test(thrift_no_prefix_leaks),
		cmocka_unit_test(thrift_bare_struct),
		cmocka_unit_test(s2_what_is_no_thrift_is_dropped),
		cmocka_unit_test(thrift_bounds),
		cmocka_unit_test(protobuf_fields),
		cmocka_unit_test(protobuf_no_prefix_leaks),
		cmocka_unit_test(s2_what_is_no_protobuf_is_dropped),
		cmocka_unit_test(attachments),
		cmocka_unit_test(kitex_envelope),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
