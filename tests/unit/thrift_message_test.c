/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope of a Thrift message and what a reply says: R2, R3, R7. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

static const enum thrift_form forms[] = {THRIFT_BINARY, THRIFT_OLD_BINARY, THRIFT_COMPACT};

/* The answer for the whole, held against the answer for each prefix (in a block of its own). */
static int parse(struct bytes in, bool old, struct thrift_message *m)
{
	size_t need, n;
	int r = thrift_message_parse(in, old, m, &need);

	assert_true(r != 0 || need > in.n);
	for (size_t k = 0; k < in.n; k++) {
		struct thrift_message cut;
		uint8_t *block = malloc(k ? k : 1);
		assert_non_null(block);
		memcpy(block, in.p, k);
		int c = thrift_message_parse(bytes_of(block, k), old, &cut, &n);
		assert_true(c == 0 || c == r);
		if (c == 0 && r == 1)
			assert_true(n > k && n <= m->struct_off);
		if (c == 1)
			assert_true(cut.struct_off == m->struct_off && cut.struct_off <= k);
		free(block);
	}
	return r;
}

static void envelopes(void **state)
{
	static const int32_t seqids[] = {0, 1, 127, 128, 70000, INT32_MAX, -1, INT32_MIN};

	(void)state;
	for (size_t i = 0; i < 3 * 8 * 4; i++) {
		enum thrift_form form = forms[i % 3];
		int32_t seqid = seqids[i / 3 % 8];
		unsigned type = 1 + (unsigned)(i / 24);
		struct thrift_message m;
		struct buf b = {0};
		tw_message(&b, form, type, "demo.Audit:inspect", seqid);
		size_t n = b.n;
		tw_struct(&b, form, 1, BYTES("x"));
		assert_int_equal(parse(buf_bytes(&b), true, &m), 1);
		assert_int_equal(m.form, form);
		assert_int_equal(m.type, type);
		assert_int_equal(m.seqid, seqid);
		assert_int_equal(m.struct_off, n);
		assert_true(bytes_eq(m.name, BYTES("demo.Audit:inspect")));
		buf_fini(&b);
	}
}

static int parse_text(const char *p, size_t n, bool old)
{
	struct thrift_message m;

	return parse(bytes_of(p, n), old, &m);
}

#define PARSE(lit, old) parse_text(lit, sizeof(lit) - 1, old)

static void r2_old_only_when_allowed(void **state)
{
	(void)state;
	assert_int_equal(PARSE("\0\0\0\1a\1\0\0\0\0\0", true), 1);
	assert_int_equal(PARSE("\0\0\0\1a\1\0\0\0\0\0", false), -EPROTO);
	assert_int_equal(PARSE("\0\0\0\1a\0\0\0\0\0\0", true), -EPROTO);
	assert_int_equal(PARSE("\0\0\0\1a\5\0\0\0\0\0", true), -EPROTO);
	assert_int_equal(PARSE("\0\0\0\0\1\0\0\0\0\0", true), -EPROTO);
	assert_int_equal(PARSE("\0\1\0\0", true), -EPROTO);
}

static void foreign_bytes(void **state)
{
	static const char *const others[] = {"GET / HTTP/1.1\r\n",
					     "PRI * HTTP/2.0\r\n\r\n",
					     "PRPC",
					     "\xda\xbb\xc2",
					     "*1\r\n$4\r\nPING\r\n",
					     "\x16\x03\x01\x02",
					     "\x80\x02",
					     "\x90\x01",
					     "\x82\x22",
					     "\x82\xa1",
					     "\x82\x01"};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(parse_text(others[i], strlen(others[i]), true), -EPROTO);
	assert_int_equal(PARSE("\x80\1\0\0", true), -EPROTO);
}

static void r7_names(void **state)
{
	(void)state;
	assert_int_equal(PARSE("\x80\1\0\1\x40\0\0\0", true), -E2BIG);
	assert_int_equal(PARSE("\x80\1\0\1\0\0\1\1", true), -E2BIG);
	assert_int_equal(PARSE("\x80\1\0\1\x80\0\0\1", true), -EPROTO);
	assert_int_equal(PARSE("\x80\1\0\1\0\0\0\0", true), -EPROTO);
	assert_int_equal(PARSE("\0\0\1\1", true), -EPROTO);
	assert_int_equal(PARSE("\x82\x21\0\x81\2", true), -E2BIG);
	assert_int_equal(PARSE("\x82\x21\0\0", true), -EPROTO);
	assert_int_equal(PARSE("\x82\x21\xff\xff\xff\xff\x1f\1a", true), -EPROTO);
	assert_int_equal(PARSE("\x80\1\0\1\0\0\0\3a\nb", true), -EPROTO);
	assert_int_equal(PARSE("\x80\1\0\1\0\0\0\3a b", true), -EPROTO);
	assert_int_equal(PARSE("\x80\1\0\1\0\0\0\3a\xc3\xa9", true), -EPROTO);
	assert_int_equal(PARSE("\x82\x21\0\3a\x7f"
			       "b",
			       true),
			 -EPROTO);
	for (size_t i = 0; i < 3; i++) {
		char name[THRIFT_NAME_MAX + 1];
		struct thrift_message m;
		struct buf b = {0};
		memset(name, 'n', THRIFT_NAME_MAX);
		name[THRIFT_NAME_MAX] = 0;
		tw_message(&b, forms[i], 1, name, 9);
		assert_int_equal(parse(buf_bytes(&b), true, &m), 1);
		assert_int_equal(m.name.n, THRIFT_NAME_MAX);
		buf_fini(&b);
	}
}

static void names_split(void **state)
{
	struct bytes s, m;

	(void)state;
	thrift_name_split(BYTES("demo.Audit:inspect"), &s, &m);
	assert_true(bytes_eq(s, BYTES("demo.Audit")) && bytes_eq(m, BYTES("inspect")));
	thrift_name_split(BYTES("a:b:c"), &s, &m);
	assert_true(bytes_eq(s, BYTES("a:b")) && bytes_eq(m, BYTES("c")));
	thrift_name_split(BYTES("inspect"), &s, &m);
	assert_true(s.n == 0 && bytes_eq(m, BYTES("inspect")));
}

/* Read at each prefix: known once it can be, never another answer, text a prefix of the text. */
static struct thrift_result result(enum thrift_form form, unsigned type, struct bytes in)
{
	struct thrift_result whole = thrift_result_read(form, (uint8_t)type, in);

	for (size_t k = 0; k < in.n; k++) {
		uint8_t *block = malloc(k ? k : 1);
		assert_non_null(block);
		memcpy(block, in.p, k);
		struct thrift_result r =
			thrift_result_read(form, (uint8_t)type, bytes_of(block, k));
		if (r.known) {
			assert_int_equal(r.outcome, whole.outcome);
			assert_int_equal(r.code, whole.code);
			assert_true(bytes_eq(r.text, whole.text));
		}
		assert_true(bytes_starts(whole.text, r.text));
		assert_true(!r.broken || whole.broken);
		free(block);
	}
	return whole;
}

static void replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct buf b = {0};
		tw_struct(&b, forms[i], 0, BYTES("yes"));
		struct thrift_result r = result(forms[i], THRIFT_REPLY, buf_bytes(&b));
		assert_true(r.known && !r.is_void && r.outcome == OUTCOME_OK);
		b.n = 0;
		tw_struct(&b, forms[i], 1, BYTES("declared"));
		r = result(forms[i], THRIFT_REPLY, buf_bytes(&b));
		assert_true(r.known && r.outcome == OUTCOME_DECLARED_EXCEPTION && r.code == 0);
		b.n = 0;
		tw_struct(&b, forms[i], -1, BYTES("declared without an id"));
		r = result(forms[i], THRIFT_REPLY, buf_bytes(&b));
		assert_true(r.known && r.outcome == OUTCOME_DECLARED_EXCEPTION);
		r = result(forms[i], THRIFT_REPLY, BYTES("\0"));
		assert_true(r.known && r.is_void && r.outcome == OUTCOME_OK);
		r = result(forms[i], THRIFT_REPLY, BYTES(""));
		assert_true(!r.known && !r.broken);
		r = result(forms[i], THRIFT_REPLY, BYTES("\x1e\x0f\0"));
		assert_true(!r.known && r.broken);
		buf_fini(&b);
	}
}

static void exceptions(void **state)
{
	(void)state;
	for (size_t i = 0; i < 6; i++) {
		enum thrift_form form = forms[i / 2];
		struct buf b = {0};
		tw_exception(&b, form, BYTES("unknown method"), -20, i & 1);
		struct thrift_result r = result(form, THRIFT_EXCEPTION, buf_bytes(&b));
		assert_true(r.known && r.has_code && r.outcome == OUTCOME_SERVER_ERROR);
		assert_int_equal(r.code, -20);
		assert_true(bytes_eq(r.text, BYTES("unknown method")));
		/* fields that nobody knows, of every type, around the two */
		b.n = 0;
		int last = 0;
		uint64_t seed = 99 + i;
		tw_field(&b, form, 12, 7, &last);
		tw_random(&b, form, 4, &seed);
		tw_field(&b, form, 8, 2, &last);
		tw_i32(&b, form, 6);
		tw_field(&b, form, 2, 9, &last);
		if (form != THRIFT_COMPACT)
			tw_u8(&b, 1);
		tw_field(&b, form, 11, 1, &last);
		tw_string(&b, form, BYTES("late"));
		tw_stop(&b);
		r = result(form, THRIFT_EXCEPTION, buf_bytes(&b));
		assert_true(r.known && r.code == 6 && bytes_eq(r.text, BYTES("late")));
		r = result(form, THRIFT_EXCEPTION, BYTES("\0"));
		assert_true(r.known && !r.has_code && r.outcome == OUTCOME_SERVER_ERROR);
		buf_fini(&b);
	}
}

static void r3_exceptions_that_lie(void **state)
{
	(void)state;
	struct thrift_result r = result(THRIFT_BINARY, THRIFT_EXCEPTION,
					BYTES("\x0b\0\1\x7f\xff\xff\xff"
					      "abc"));
	assert_true(!r.known && !r.broken && r.text.n == 0);
	/* cut behind what a record keeps of a text */
	uint8_t cut[7 + 1024] = "\x0b\0\1\x7f\xff\xff\xff";
	memset(cut + 7, 'x', 1024);
	r = result(THRIFT_BINARY, THRIFT_EXCEPTION, bytes_of(cut, sizeof(cut)));
	assert_true(!r.known && r.text.n == 1024);
	r = result(THRIFT_BINARY, THRIFT_EXCEPTION, bytes_of(cut, sizeof(cut) - 1));
	assert_true(!r.known && r.text.n == 0);
	assert_true(result(THRIFT_BINARY, THRIFT_EXCEPTION,
			   BYTES("\x0b\0\1\xff\xff\xff\xff"
				 "abc"))
			    .broken);
	assert_true(result(THRIFT_COMPACT, THRIFT_EXCEPTION,
			   BYTES("\x18\xff\xff\xff\xff\x0f"
				 "abc"))
			    .broken);
	/* the type is no i32, the text no string: both are passed over */
	r = result(THRIFT_BINARY, THRIFT_EXCEPTION, BYTES("\x06\0\2\0\5\x08\0\1\0\0\0\1\0"));
	assert_true(r.known && !r.has_code && r.text.n == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(envelopes),     cmocka_unit_test(r2_old_only_when_allowed),
		cmocka_unit_test(foreign_bytes), cmocka_unit_test(r7_names),
		cmocka_unit_test(names_split),   cmocka_unit_test(replies),
		cmocka_unit_test(exceptions),    cmocka_unit_test(r3_exceptions_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
