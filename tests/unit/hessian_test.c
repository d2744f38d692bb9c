/* SPDX-License-Identifier: Apache-2.0 */
/* Hessian 2.0: strings, numbers and the way past other values; JSONB likewise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/hessian.h"
#include "rpc/jsonb.h"
#include "tests/unit/drive.h"
#include "tests/unit/encode.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* In a block of its own, so that a sanitizer sees a read beyond it. */
static uint8_t *block_of(struct bytes b)
{
	uint8_t *p = malloc(b.n + 1);

	assert_non_null(p);
	if (b.n)
		memcpy(p + 1, b.p, b.n);
	return p;
}

static bool skips(struct bytes in, size_t *used)
{
	uint8_t *p = block_of(in);
	struct hessian h = hessian_of(bytes_of(p + 1, in.n));
	bool ok = hessian_skip(&h);

	*used = ok ? (size_t)(h.c.p - (p + 1)) : 0;
	free(p);
	return ok;
}

static const struct bytes values[] = {
	BYTES("N"),
	BYTES("T"),
	BYTES("F"),
	BYTES("\x80"),
	BYTES("\xc8\x00"),
	BYTES("\xd4\x00\x00"),
	BYTES("I\x00\x01\x02\x03"),
	BYTES("\xe0"),
	BYTES("\xf8\x00"),
	BYTES("\x3c\x00\x00"),
	BYTES("Y\x00\x00\x00\x00"),
	BYTES("L\x00\x00\x00\x00\x00\x00\x00\x00"),
	BYTES("\x5b"),
	BYTES("\x5c"),
	BYTES("\x5d\x01"),
	BYTES("\x5e\x01\x02"),
	BYTES("\x5f\x01\x02\x03\x04"),
	BYTES("D\x00\x00\x00\x00\x00\x00\x00\x00"),
	BYTES("J\x00\x00\x00\x00\x00\x00\x00\x00"),
	BYTES("K\x00\x00\x00\x00"),
	BYTES("\x00"),
	BYTES("\x03"
	      "abc"),
	BYTES("\x30\x03"
	      "abc"),
	BYTES("S\x00\x01"
	      "a"),
	BYTES("R\x00\x01"
	      "aR\x00\x01"
	      "b\x01"
	      "c"),
	BYTES("\x22xy"),
	BYTES("\x34\x02xy"),
	BYTES("B\x00\x02xy"),
	BYTES("A\x00\x02xyA\x00\x01z\x20"),
	BYTES("Q\x90"),
	BYTES("HZ"),
	BYTES("H\x01k\x01vZ"),
	BYTES("M\x01t\x01k\x01vZ"),
	BYTES("M\x90\x01k\x01vZ"),
	BYTES("U\x01t\x90\x91Z"),
	BYTES("V\x01t\x92\x90\x91"),
	BYTES("WZ"),
	BYTES("W\x90\x91Z"),
	BYTES("X\x92\x90\x91"),
	BYTES("X\x90"),
	BYTES("\x72\x01t\x90\x91"),
	BYTES("\x7a\x90\x91"),
	BYTES("C\x01t\x92\x01"
	      "a\x01"
	      "b\x60\x90\x91"),
	BYTES("C\x01t\x90\x60"),
	BYTES("C\x01t\x91\x01"
	      "aO\x90N"),
	/* an object whose field is an object of another class */
	BYTES("C\x01t\x91\x01"
	      "a\x60"
	      "C\x01u\x91\x01"
	      "b\x61\x60\x90"),
};

static void every_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(values); i++) {
		size_t used;
		if (!skips(values[i], &used) || used != values[i].n)
			fail_msg("value %zu: %zu of %zu bytes", i, used, values[i].n);
		struct buf more = {0};
		put(&more, values[i]);
		put_text(&more, "tail");
		assert_true(skips(buf_bytes(&more), &used));
		assert_int_equal(used, values[i].n);
		buf_fini(&more);
		for (size_t cut = 0; cut < values[i].n; cut++)
			assert_false(skips(bytes_head(values[i], cut), &used));
	}
}

static void no_values(void **state)
{
	static const struct bytes bad[] = {
		BYTES("Z"),
		BYTES("\x40"),
		BYTES("\x45"),
		BYTES("\x47"),
		BYTES("\x50"),
		BYTES("H\x01kZ"), /* a key without its value */
		BYTES("X\x92\x90Z"), /* an end where a value is due */
		BYTES("XI\xff\xff\xff\xff"), /* a negative count */
		BYTES("XI\x7f\xff\xff\xff\x90"), /* more than there are bytes (R3) */
		BYTES("\x60"), /* no such class */
		BYTES("O\x95N"),
		BYTES("C\x01tI\x7f\xff\xff\xff\x01"
		      "a"),
		BYTES("Q\x01x"),
		BYTES("A\x00\x01xN"), /* a chunk that is none */
		BYTES("R\x00\x01xN"),
		BYTES("\x01\xf0\x90\x80\x80"), /* two units where one is left */
	};

	(void)state;
	for (size_t i = 0; i < N(bad); i++) {
		size_t used;
		if (skips(bad[i], &used))
			fail_msg("value %zu was taken", i);
	}
}

/* r12: nothing is followed or made; depth, classes and steps end it */
static void r12_limits(void **state)
{
	struct buf b = {0};
	size_t used;

	(void)state;
	put_fill(&b, 'W', HESSIAN_DEPTH_MAX);
	put_fill(&b, 'Z', HESSIAN_DEPTH_MAX);
	assert_true(skips(buf_bytes(&b), &used));
	b.n = 0;
	put_fill(&b, 'W', 100000);
	put_fill(&b, 'Z', 100000);
	struct hessian h = hessian_of(buf_bytes(&b));
	assert_false(hessian_skip(&h));
	assert_true(h.over);
	b.n = 0;
	for (int i = 0; i <= HESSIAN_CLASSES_MAX; i++)
		put(&b, BYTES("C\x01t\x90"));
	put(&b, BYTES("\x60"));
	h = hessian_of(buf_bytes(&b));
	assert_false(hessian_skip(&h));
	assert_true(h.over);
	b.n = 0;
	put_text(&b, "W");
	put_fill(&b, 'N', HESSIAN_STEPS_MAX);
	put_text(&b, "Z");
	h = hessian_of(buf_bytes(&b));
	assert_false(hessian_skip(&h));
	assert_true(h.over);
	b.n = 0; /* a list that holds itself is a byte like others */
	put(&b, BYTES("\x79Q\x90"));
	assert_true(skips(buf_bytes(&b), &used));
	buf_fini(&b);
}

static void string_is(struct bytes in, const char *want)
{
	uint8_t *p = block_of(in);
	struct hessian h = hessian_of(bytes_of(p + 1, in.n));
	struct bytes s;

	bool ok = hessian_string(&h, &s);
	assert_int_equal(ok, want != NULL);
	if (want)
		assert_true(bytes_eq(s, bytes_str(want)));
	free(p);
}

static void strings(void **state)
{
	(void)state;
	string_is(BYTES("\x05hello"), "hello");
	string_is(BYTES("\x00"), "");
	string_is(BYTES("N"), "");
	string_is(BYTES("\x0d"
			"0123456789abc"),
		  "0123456789abc");
	string_is(BYTES("\x30\x05hello"), "hello");
	string_is(BYTES("S\x00\x05hello"), "hello");
	string_is(BYTES("\x02\xc3\xa9x"), "\xc3\xa9x");
	string_is(BYTES("\x01\xe4\xb8\xad"), "\xe4\xb8\xad");
	string_is(BYTES("\x02\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80"); /* two units */
	string_is(BYTES("\x02\xed\xa0\xbd\xed\xb8\x80"), "\xed\xa0\xbd\xed\xb8\x80"); /* Java's */
	string_is(BYTES("\x0a"
			"1234567\xc3\xa9"
			"9a"),
		  "1234567\xc3\xa9"
		  "9a");
	string_is(BYTES("R\x00\x01"
			"a\x01"
			"b"),
		  NULL);
	string_is(BYTES("\x06hello"), NULL);
	string_is(BYTES("\x90"), NULL);
	string_is(BYTES(""), NULL);
}

static void numbers(void **state)
{
	static const struct {
		struct bytes in;
		int64_t want;
	} cases[] = {
		{BYTES("\x80"), -16},
		{BYTES("\xbf"), 47},
		{BYTES("\xc0\x00"), -2048},
		{BYTES("\xcf\xff"), 2047},
		{BYTES("\xd0\x00\x00"), -262144},
		{BYTES("\xd7\xff\xff"), 262143},
		{BYTES("I\xff\xff\xff\xff"), -1},
		{BYTES("\xd8"), -8},
		{BYTES("\xef"), 15},
		{BYTES("\xf0\x00"), -2048},
		{BYTES("\xff\xff"), 2047},
		{BYTES("\x38\x00\x00"), -262144},
		{BYTES("\x3f\xff\xff"), 262143},
		{BYTES("Y\x80\x00\x00\x00"), INT32_MIN},
		{BYTES("L\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct hessian h = hessian_of(cases[i].in);
		int64_t v;
		assert_true(hessian_number(&h, &v));
		assert_true(v == cases[i].want);
		h = hessian_of(bytes_head(cases[i].in, cases[i].in.n - 1));
		assert_false(hessian_number(&h, &v));
	}
}

static void exception_text(void **state)
{
	struct bytes good = BYTES("C\x01t\x92\x04"
				  "code\x0d"
				  "detailMessage\x60\x7a\x90\x91\x04text"),
		     s;
	struct hessian h = hessian_of(good);

	(void)state;
	assert_true(hessian_exception_text(&h, &s));
	assert_true(bytes_eq(s, BYTES("text")));
	for (size_t cut = 0; cut < good.n; cut++) {
		uint8_t *p = block_of(bytes_head(good, cut));
		h = hessian_of(bytes_of(p + 1, cut));
		assert_false(hessian_exception_text(&h, &s));
		free(p);
	}
	h = hessian_of(BYTES("C\x01t\x91\x04"
			     "code\x60\x90"));
	assert_false(hessian_exception_text(&h, &s));
}

static void jsonb(void **state)
{
	static const struct {
		struct bytes in;
		const char *want;
	} text[] = {
		{BYTES("\x49"), ""},
		{BYTES("\x4c"
		       "abc"),
		 "abc"},
		{BYTES("\x79\x03"
		       "abc"),
		 "abc"},
		{BYTES("\x7a\x38\x02\xc3\xa9"), "\xc3\xa9"},
		{BYTES("\x7f\x4a"
		       "a\x00"),
		 "a"},
		{BYTES("\xaf"), ""},
		{BYTES("\x7f\xf1"), NULL}, /* an earlier symbol */
		{BYTES("\x7c\x02"
		       "a\x00"),
		 NULL}, /* UTF-16 */
		{BYTES("\x4d"
		       "abc"),
		 NULL},
		{BYTES("\x79\x48\xff\xff\xff\xff"), NULL},
		{BYTES("\x79\x48\x7f\xff\xff\xff"
		       "a"),
		 NULL},
		{BYTES(""), NULL},
	};
	static const struct {
		struct bytes in;
		int64_t want;
	} number[] = {
		{BYTES("\x00"), 0},
		{BYTES("\x2f"), 47},
		{BYTES("\xf0"), -16},
		{BYTES("\x30\x00"), -2048},
		{BYTES("\x3f\xff"), 2047},
		{BYTES("\x40\x00\x00"), -262144},
		{BYTES("\x48\xff\xff\xff\xfe"), -2},
		{BYTES("\xbd\x04"), 4},
		{BYTES("\xbc\xff\xff"), -1},
		{BYTES("\xd8"), -8},
		{BYTES("\xef"), 15},
		{BYTES("\xc8\x00"), -2048},
		{BYTES("\xc0\x00\x00"), -262144},
		{BYTES("\xbf\x80\x00\x00\x00"), INT32_MIN},
		{BYTES("\xbe\x00\x00\x00\x01\x00\x00\x00\x00"), 4294967296},
	};

	(void)state;
	for (size_t i = 0; i < N(text); i++) {
		struct cursor c = cursor_of(text[i].in);
		struct bytes s;
		if (jsonb_string(&c, &s) != (text[i].want != NULL))
			fail_msg("string %zu", i);
		if (text[i].want)
			assert_true(bytes_eq(s, bytes_str(text[i].want)) && !cursor_left(&c));
	}
	for (size_t i = 0; i < N(number); i++) {
		struct cursor c = cursor_of(number[i].in);
		int64_t v;
		if (!jsonb_int(&c, &v) || v != number[i].want || cursor_left(&c))
			fail_msg("number %zu", i);
		c = cursor_of(bytes_head(number[i].in, number[i].in.n - 1));
		assert_false(jsonb_int(&c, &v));
	}
}

/* Any bytes: it ends, within them. */
static void random_bytes(void **state)
{
	uint64_t seed = 0x4e55;

	(void)state;
	for (int run = 0; run < 20000; run++) {
		uint8_t noise[64];
		size_t used;
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = run & 1 ? (uint8_t)drive_random(&seed)
					   : values[drive_random(&seed) % N(values)].p[0];
		skips(bytes_of(noise, drive_random(&seed) % sizeof(noise)), &used);
		assert_true(used <= sizeof(noise));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value), cmocka_unit_test(no_values),
		cmocka_unit_test(r12_limits),  cmocka_unit_test(strings),
		cmocka_unit_test(numbers),     cmocka_unit_test(exception_text),
		cmocka_unit_test(jsonb),       cmocka_unit_test(random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
