/* SPDX-License-Identifier: Apache-2.0 */
/* The Thrift framer by hand: what claims too much (R1, R3 to R5, R7), and a hole up to the end of a frame. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/protocols.h"
#include "tests/unit/thrift_write.h"

enum { FRAME_MAX = 1 << 16 };

struct hand {
	void *state;
	struct piece out;
	size_t need;
};

static struct hand hand_open(bool late)
{
	const struct framer_limits limits = {.frame_bytes = FRAME_MAX};
	struct hand h = {.state = calloc(1, framer_thrift.state_size)};

	assert_non_null(h.state);
	assert_int_equal(framer_thrift.init(h.state, &limits, late), 0);
	return h;
}

static int64_t hand_next(struct hand *h, enum dir dir, struct bytes in)
{
	h->out = (struct piece) {.dir = dir};
	return framer_thrift.next(h->state, dir, in, &h->out, &h->need);
}

static void hand_close(struct hand *h)
{
	framer_thrift.fini(h->state);
	free(h->state);
}

/* All of `in`, piece by piece; the last piece stays in h->out. */
static int64_t hand_feed(struct hand *h, enum dir dir, struct bytes in)
{
	int64_t n = 0, used = 0;
	struct piece last = {0};

	while ((n = hand_next(h, dir, bytes_from(in, (size_t)used))) > 0 || h->out.what) {
		used += n;
		last = h->out;
	}
	if (n == 0)
		h->out = last;
	return n < 0 ? n : used;
}

static void r1_frame_lengths(void **state)
{
	static const uint32_t lengths[] = {0,          0x80000000,    0xffffffff,
					   0x7fffffff, FRAME_MAX + 1, 17};

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		struct hand h = hand_open(false);
		struct buf b = tw_text_message(THRIFT_BINARY, true, THRIFT_CALL, "count", 1, 4);
		assert_int_equal(hand_feed(&h, DIR_REQUEST, buf_bytes(&b)), b.n);
		for (int k = 0; k < 4; k++)
			b.p[k] = (uint8_t)(lengths[i] >> (24 - 8 * k));
		assert_int_equal(hand_next(&h, DIR_REQUEST, buf_bytes(&b)), -EPROTO);
		assert_int_equal(h.out.flags, FLAG_PROTOCOL_ERROR);
		/* for good, and for this direction only */
		assert_int_equal(hand_next(&h, DIR_REQUEST, bytes_of(NULL, 0)), -EPROTO);
		assert_int_equal(hand_next(&h, DIR_RESPONSE, bytes_of(NULL, 0)), 0);
		buf_fini(&b);
		hand_close(&h);
	}
	/* the longest that is allowed */
	struct hand h = hand_open(false);
	struct buf b =
		tw_text_message(THRIFT_BINARY, true, THRIFT_CALL, "count", 1, FRAME_MAX - 17 - 8);
	assert_int_equal(b.n, FRAME_MAX + 4);
	assert_int_equal(hand_feed(&h, DIR_REQUEST, buf_bytes(&b)), b.n);
	assert_true(h.out.what & PIECE_END);
	buf_fini(&b);
	hand_close(&h);
}

static int64_t unframed(struct hand *h, struct bytes body)
{
	struct buf b = {0};

	tw_message(&b, THRIFT_BINARY, THRIFT_CALL, "count", 1);
	tw_bytes(&b, body);
	int64_t n = hand_feed(h, DIR_REQUEST, buf_bytes(&b));
	buf_fini(&b);
	return n;
}

/* Nothing is believed: the body is what came, a longer string than a frame may be ends it. */
static void r3_lengths(void **state)
{
	(void)state;
	struct hand h = hand_open(false);
	assert_int_equal(unframed(&h, BYTES("\x0b\0\1\0\0\xff\xff"
					    "abc")),
			 17 + 10);
	hand_close(&h);
	h = hand_open(false);
	assert_int_equal(unframed(&h, BYTES("\x0b\0\1\0\1\0\1"
					    "abc")),
			 -EPROTO);
	assert_int_equal(h.out.flags, FLAG_PROTOCOL_ERROR);
	assert_string_equal(h.out.cap, "thrift_skip");
	hand_close(&h);
	h = hand_open(false);
	assert_int_equal(unframed(&h, BYTES("\x0b\0\1\xff\xff\xff\xff"
					    "abc")),
			 -EPROTO);
	assert_null(h.out.cap);
	hand_close(&h);
}

static struct buf deep(unsigned depth)
{
	struct buf b = {0};

	for (unsigned i = 0; i < depth; i++)
		tw_bytes(&b, BYTES("\x0c\0\1"));
	for (unsigned i = 0; i <= depth; i++)
		tw_stop(&b);
	return b;
}

static void r4_r5_budget(void **state)
{
	struct buf b = deep(THRIFT_DEPTH_MAX - 1), too_deep = deep(THRIFT_DEPTH_MAX);
	struct buf framed = {0};

	(void)state;
	struct hand h = hand_open(false);
	assert_int_equal(unframed(&h, buf_bytes(&b)), 17 + b.n);
	assert_true(h.out.what & PIECE_END);
	hand_close(&h);
	h = hand_open(false);
	assert_int_equal(unframed(&h, buf_bytes(&too_deep)), -EPROTO);
	assert_string_equal(h.out.cap, "thrift_skip");
	hand_close(&h);
	/* a frame leads on: no fault, only not checked */
	h = hand_open(false);
	tw_message(&framed, THRIFT_BINARY, THRIFT_CALL, "count", 1);
	tw_bytes(&framed, buf_bytes(&too_deep));
	tw_frame(&framed, 0);
	assert_int_equal(hand_feed(&h, DIR_REQUEST, buf_bytes(&framed)), framed.n);
	assert_true(h.out.what & PIECE_END);
	assert_int_equal(h.out.flags, 0);
	assert_string_equal(h.out.cap, "thrift_skip");
	hand_close(&h);
	buf_fini(&b);
	buf_fini(&too_deep);
	buf_fini(&framed);
}

static void r7_long_name(void **state)
{
	char name[THRIFT_NAME_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = 0;
	for (int framed = 0; framed < 2; framed++) {
		struct hand h = hand_open(false);
		struct buf b = tw_text_message(THRIFT_BINARY, framed, THRIFT_CALL, name, 1, 4);
		assert_int_equal(hand_feed(&h, DIR_REQUEST, buf_bytes(&b)), -EPROTO);
		assert_string_equal(h.out.cap, "thrift_name");
		buf_fini(&b);
		hand_close(&h);
	}
}

/* In step up to the frame's end; what lies beyond it no length tells. */
static void hole_up_to_the_end(void **state)
{
	struct buf b = tw_text_message(THRIFT_BINARY, true, THRIFT_CALL, "put", 9, 500);

	(void)state;
	for (uint64_t beyond = 0; beyond < 2; beyond++) {
		struct hand h = hand_open(false);
		assert_int_equal(hand_feed(&h, DIR_REQUEST, bytes_head(buf_bytes(&b), 100)), 100);
		assert_int_equal(framer_thrift.gap(h.state, DIR_REQUEST, b.n - 100 + beyond),
				 beyond ? -EPROTO : 0);
		int64_t n = hand_next(&h, DIR_REQUEST, bytes_of(NULL, 0));
		assert_int_equal(n, beyond ? -EPROTO : 0);
		assert_int_equal(h.out.flags, 0);
		if (!beyond) {
			assert_int_equal(h.out.what, PIECE_BODY | PIECE_END);
			assert_int_equal(h.out.missing, b.n - 100);
		}
		hand_close(&h);
	}
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(r1_frame_lengths),   cmocka_unit_test(r3_lengths),
		cmocka_unit_test(r4_r5_budget),       cmocka_unit_test(r7_long_name),
		cmocka_unit_test(hole_up_to_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
