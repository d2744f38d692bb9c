/* SPDX-License-Identifier: Apache-2.0 */
/* The skip of a struct: its end at every cut, faults R3, R4, R5. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

enum { STRUCTS = 3000, DEPTH = 5 };

static const enum thrift_form forms[] = {THRIFT_BINARY, THRIFT_OLD_BINARY, THRIFT_COMPACT};

struct end {
	int64_t used; /* in all */
	bool done;
	int error;
};

/* Parts of the sizes that `seed` draws; 0: all at once; 1: a byte each. Each part is a block of its own for the
 * sanitizer. */
static struct end skip_parts(enum thrift_form form, struct bytes in, uint64_t seed)
{
	struct thrift_skip s = {.form = form};
	struct end e = {0};

	while (!e.done) {
		struct bytes rest = bytes_from(in, (size_t)e.used);
		size_t n = seed < 2 ? (seed ? 1 : rest.n) : 1 + drive_random(&seed) % 9;
		rest = bytes_head(rest, n);
		uint8_t *block = malloc(rest.n ? rest.n : 1);
		assert_non_null(block);
		if (rest.n)
			memcpy(block, rest.p, rest.n);
		int64_t r = thrift_skip_next(&s, bytes_of(block, rest.n), &e.done);
		free(block);
		assert_true(r <= (int64_t)rest.n);
		if (r <= 0) {
			e.error = (int)r;
			break;
		}
		e.used += r;
	}
	return e;
}

static struct end skip_all_ways(enum thrift_form form, struct bytes in)
{
	struct end whole = skip_parts(form, in, 0);

	for (uint64_t seed = 1; seed < 5; seed++) {
		struct end cut = skip_parts(form, in, seed * 77 - 76);
		assert_int_equal(cut.used, whole.used);
		assert_int_equal(cut.done, whole.done);
		assert_int_equal(cut.error, whole.error);
	}
	return whole;
}

static struct end skip_text(enum thrift_form form, const char *bytes, size_t n)
{
	return skip_all_ways(form, bytes_of(bytes, n));
}

#define SKIP(form, lit) skip_text(form, lit, sizeof(lit) - 1)

static void ends_exactly(void **state)
{
	uint64_t seed = 0x7261;

	(void)state;
	for (int i = 0; i < STRUCTS; i++) {
		enum thrift_form form = forms[i % 3];
		struct buf b = {0};
		tw_random(&b, form, DEPTH, &seed);
		size_t n = b.n;
		tw_bytes(&b, BYTES("\x0b\x00\x01 behind"));
		struct end e = skip_all_ways(form, buf_bytes(&b));
		assert_true(e.done);
		assert_int_equal(e.used, n);
		for (size_t k = 0; k < n; k += 1 + n / 50) {
			e = skip_parts(form, bytes_head(buf_bytes(&b), k), 0);
			assert_false(e.done);
			assert_int_equal(e.used, k);
			assert_int_equal(e.error, 0);
		}
		buf_fini(&b);
	}
}

/* A flipped bit: any answer, the same at every cut, nothing read beyond. */
static void flipped_bits(void **state)
{
	uint64_t seed = 0xf11b;
	int errors = 0;

	(void)state;
	for (int i = 0; i < STRUCTS; i++) {
		struct buf b = {0};
		tw_random(&b, forms[i % 3], DEPTH, &seed);
		b.p[drive_random(&seed) % b.n] ^= (uint8_t)(1u << (drive_random(&seed) & 7));
		errors += skip_all_ways(forms[i % 3], buf_bytes(&b)).error == -EPROTO;
		buf_fini(&b);
	}
	assert_true(errors > STRUCTS / 50);
}

static void hand_made(void **state)
{
	const enum thrift_form B = THRIFT_BINARY, C = THRIFT_COMPACT;

	(void)state;
	assert_int_equal(SKIP(B, "\0x").used, 1);
	assert_int_equal(SKIP(C, "\0x").used, 1);
	/* FastCodec: a later id first */
	assert_true(SKIP(B, "\x08\0\5\1\2\3\4\x0b\0\1\0\0\0\2hi\0").done);
	/* uuid; map of size 0, with and without types that mean something; empty list without a type */
	assert_true(SKIP(B, "\x10\0\1"
			    "0123456789abcdef"
			    "\0")
			    .done);
	assert_true(SKIP(C, "\x1d"
			    "0123456789abcdef"
			    "\0")
			    .done);
	assert_true(SKIP(B, "\x0d\0\1\0\0\0\0\0\0\0").done);
	assert_true(SKIP(C, "\x1b\0\0").done);
	assert_true(SKIP(B, "\x0f\0\1\0\0\0\0\0\0").done);
	assert_true(SKIP(C, "\x19\0\0").done);
	/* compact: bools as fields and as elements, an id that is not the next, a long list */
	assert_true(SKIP(C, "\x11\x12\x01\xd0\x0f\0").done);
	assert_true(SKIP(C, "\x19\x31\1\2\1\0").done);
	assert_true(SKIP(C, "\x19\xf3\x10"
			    "0123456789abcdef"
			    "\0")
			    .done);
	assert_int_equal(SKIP(C, "\x19\xf3\x10"
				 "0123456789abcdef"
				 "\0")
				 .used,
			 20);
	/* a map of bools to structs; of strings to numbers */
	assert_true(SKIP(B, "\x0d\0\1\2\x0c\0\0\0\2\1\0\0\x02\0\1\1\0\0").done);
	assert_true(SKIP(C, "\x1b\2\x85\1a\2\1b\x80\1\0").done);
}

static void no_struct(void **state)
{
	(void)state;
	for (unsigned type = 1; type < 256; type++) {
		uint8_t field[] = {(uint8_t)type, 0, 1, 0, 0, 0, 0, 0, 0, 0};
		static const char good[] = {2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16};
		bool known = type <= 16 && memchr(good, (int)type, sizeof(good));
		struct end e = skip_all_ways(THRIFT_BINARY, bytes_of(field, sizeof(field)));
		assert_int_equal(e.error == -EPROTO, !known);
		if (!known)
			assert_int_equal(e.used, 1);
	}
	assert_int_equal(SKIP(THRIFT_COMPACT, "\x1e").error, -EPROTO);
	assert_int_equal(SKIP(THRIFT_COMPACT, "\x10").error, -EPROTO);
	/* a varint of 11 bytes, an id of 4 */
	assert_int_equal(
		SKIP(THRIFT_COMPACT, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0").error,
		-EPROTO);
	assert_int_equal(SKIP(THRIFT_COMPACT, "\x06\x80\x80\x80\1\0").error, -EPROTO);
}

/* Lengths are bound by the bytes that come, and a negative one is none. */
static void r3_lengths_that_lie(void **state)
{
	const enum thrift_form B = THRIFT_BINARY, C = THRIFT_COMPACT;

	(void)state;
	struct end e = SKIP(B, "\x0f\0\1\x08\x7f\xff\xff\xff"
			       "0123456789");
	assert_false(e.done);
	assert_int_equal(e.used, 18);
	assert_int_equal(e.error, 0);
	assert_false(SKIP(B, "\x0d\0\1\x0b\x0c\x7f\xff\xff\xff\0\0\0\0\0").done);
	assert_int_equal(SKIP(B, "\x0b\0\1\xff\xff\xff\xff"
				 "abc")
				 .error,
			 -EPROTO);
	assert_int_equal(SKIP(B, "\x0b\0\1\xff\xff\xff\xff"
				 "abc")
				 .used,
			 4);
	assert_int_equal(SKIP(B, "\x0f\0\1\x08\x80\0\0\0").error, -EPROTO);
	assert_int_equal(SKIP(B, "\x0d\0\1\x08\x08\xff\xff\xff\xfe").error, -EPROTO);
	assert_false(SKIP(C, "\x19\xf8\xff\xff\xff\xff\7\1a").done);
	assert_int_equal(SKIP(C, "\x19\xf8\xff\xff\xff\xff\7\1a").error, 0);
	assert_int_equal(SKIP(C, "\x18\xff\xff\xff\xff\x0f"
				 "abc")
				 .error,
			 -EPROTO);
	assert_int_equal(SKIP(C, "\x1b\xff\xff\xff\xff\x0f\x88").error, -EPROTO);
	assert_int_equal(SKIP(C, "\x18\x80\x80\x80\x80\x80\1").error, -EPROTO);
}

static void nest(struct buf *b, enum thrift_form form, unsigned depth, bool lists)
{
	for (unsigned i = 1; i < depth; i++) {
		int last = 0;
		if (i == 1 || !lists) {
			tw_field(b, form, lists ? 15 : 12, 1, &last);
		} else if (form == THRIFT_COMPACT) {
			tw_u8(b, 0x19);
		} else {
			tw_u8(b, 15);
			tw_be32(b, 1);
		}
	}
	if (lists && form == THRIFT_COMPACT)
		tw_u8(b, 0x18); /* innermost: one empty string */
	else if (lists)
		tw_bytes(b, BYTES("\x0b\0\0\0\1\0\0\0"));
	if (lists)
		tw_u8(b, 0);
	for (unsigned i = lists ? depth - 1 : 0; i < depth; i++)
		tw_stop(b);
}

static void r4_depth(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		struct buf b = {0};
		nest(&b, forms[i / 2], THRIFT_DEPTH_MAX, i & 1);
		struct end e = skip_all_ways(forms[i / 2], buf_bytes(&b));
		assert_true(e.done);
		assert_int_equal(e.used, b.n);
		b.n = 0;
		nest(&b, forms[i / 2], 100000, i & 1);
		e = skip_all_ways(forms[i / 2], buf_bytes(&b));
		assert_int_equal(e.error, -E2BIG);
		assert_true(e.used < 5 * (THRIFT_DEPTH_MAX + 2));
		buf_fini(&b);
	}
}

/* Elements of no size do not exist: void is no type, an empty struct is a byte. Those are counted. */
static void r5_elements_without_size(void **state)
{
	struct thrift_skip s = {.form = THRIFT_BINARY};
	static uint8_t zeroes[1 << 16];
	uint64_t used = 0;
	bool done = false;
	int64_t r;

	(void)state;
	assert_int_equal(SKIP(THRIFT_BINARY, "\x0f\0\1\1\x7f\xff\xff\xff").error, -EPROTO);
	assert_int_equal(SKIP(THRIFT_COMPACT, "\x19\xf0\xff\xff\xff\xff\7").error, -EPROTO);
	thrift_skip_next(&s, BYTES("\x0f\0\1\x0c\x7f\xff\xff\xff"), &done);
	while ((r = thrift_skip_next(&s, bytes_of(zeroes, sizeof(zeroes)), &done)) > 0 && !done)
		used += (uint64_t)r;
	assert_int_equal(r, -E2BIG);
	assert_true(used > THRIFT_STEPS_MAX / 8 && used < 2 * THRIFT_STEPS_MAX);
}

static void code_is_kept(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		struct thrift_skip s;
		struct buf b = {0};
		bool done;
		memset(&s, 0xee, sizeof(s));
		thrift_skip_start(&s, forms[i / 2]);
		tw_exception(&b, forms[i / 2], BYTES("no"), -7, i & 1);
		assert_int_equal(thrift_skip_next(&s, buf_bytes(&b), &done), b.n);
		assert_true(done && s.has_code);
		assert_int_equal(s.code, -7);
		/* not one of a struct inside */
		b.n = 0;
		int last = 0;
		tw_field(&b, forms[i / 2], 12, 1, &last);
		tw_exception(&b, forms[i / 2], BYTES("no"), 5, i & 1);
		tw_stop(&b);
		thrift_skip_start(&s, forms[i / 2]);
		assert_int_equal(thrift_skip_next(&s, buf_bytes(&b), &done), b.n);
		assert_true(done && !s.has_code);
		buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_exactly),
		cmocka_unit_test(flipped_bits),
		cmocka_unit_test(hand_made),
		cmocka_unit_test(no_struct),
		cmocka_unit_test(r3_lengths_that_lie),
		cmocka_unit_test(r4_depth),
		cmocka_unit_test(r5_elements_without_size),
		cmocka_unit_test(code_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
