/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's reader on rings written here, in memory mapped as the kernel maps it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/bpf.h>

#include "capture/ring_pair.h"

enum { SIZE = 4096 };

struct fake {
	int fd;
	uint8_t *data; /* writable, mapped twice in a row */
	unsigned long consumer, producer;
	struct ring r;
};

static void fake_open(struct fake *f)
{
	*f = (struct fake) {.fd = memfd_create("ring", 0)};
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, SIZE), 0);
	f->data = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2; i++)
		assert_ptr_not_equal(mmap(f->data + (size_t)i * SIZE, SIZE, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_FIXED, f->fd, 0),
				     MAP_FAILED);
	f->r = (struct ring) {.consumer = &f->consumer,
			      .producer = &f->producer,
			      .data = f->data,
			      .mask = SIZE - 1};
}

static void fake_close(struct fake *f)
{
	munmap(f->data, 2 * SIZE);
	close(f->fd);
}

/* What bpf_ringbuf_reserve() does; the record's header */
static uint32_t *reserve(struct fake *f, uint32_t n)
{
	uint32_t room = (n + BPF_RINGBUF_HDR_SZ + 7) & ~7u;

	if (f->producer + room - f->consumer > SIZE)
		return NULL;
	uint32_t *head = (void *)(f->data + (f->producer & (SIZE - 1)));
	*head = n | BPF_RINGBUF_BUSY_BIT;
	f->producer += room;
	return head;
}

static void fill(uint32_t *head, uint8_t with)
{
	memset(head + 2, with, *head & ~BPF_RINGBUF_BUSY_BIT);
}

static void empty_is_not_busy(void **state)
{
	struct fake f;
	struct bytes rec;

	(void)state;
	fake_open(&f);
	assert_int_equal(ring_next(&f.r, &rec), 0);
	assert_true(ring_empty(&f.r));
	uint32_t *head = reserve(&f, 24);
	assert_int_equal(ring_next(&f.r, &rec), -EAGAIN);
	assert_false(ring_empty(&f.r));
	*head &= ~BPF_RINGBUF_BUSY_BIT;
	assert_int_equal(ring_next(&f.r, &rec), 1);
	assert_int_equal(rec.n, 24);
	assert_int_equal(f.consumer, 0);
	ring_release(&f.r);
	assert_int_equal(f.consumer, 32);
	assert_int_equal(ring_next(&f.r, &rec), 0);
	fake_close(&f);
}

/* Order is that of reservation: a later one that is ready waits for an earlier one that is not. */
static void busy_holds_what_follows(void **state)
{
	struct fake f;
	struct bytes rec;

	(void)state;
	fake_open(&f);
	uint32_t *a = reserve(&f, 10), *b = reserve(&f, 20);
	*b &= ~BPF_RINGBUF_BUSY_BIT;
	assert_int_equal(ring_next(&f.r, &rec), -EAGAIN);
	*a &= ~BPF_RINGBUF_BUSY_BIT;
	assert_int_equal(ring_next(&f.r, &rec), 1);
	assert_int_equal(rec.n, 10);
	ring_release(&f.r);
	assert_int_equal(ring_next(&f.r, &rec), 1);
	assert_int_equal(rec.n, 20);
	fake_close(&f);
}

static void discarded_are_skipped(void **state)
{
	struct fake f;
	struct bytes rec;

	(void)state;
	fake_open(&f);
	for (int i = 0; i < 3; i++) {
		uint32_t *head = reserve(&f, 8);
		*head = 8 | (i == 1 ? 0 : BPF_RINGBUF_DISCARD_BIT);
	}
	assert_int_equal(ring_next(&f.r, &rec), 1);
	assert_int_equal(f.consumer, 16);
	ring_release(&f.r);
	assert_int_equal(ring_next(&f.r, &rec), 0);
	assert_int_equal(
		f.consumer,
		48); /* the room of the last is given back, though nothing was handed out */
	assert_true(ring_empty(&f.r));
	fake_close(&f);
}

static void records_wrap(void **state)
{
	struct fake f;
	struct bytes rec;
	uint8_t in = 0, out = 0;

	(void)state;
	fake_open(&f);
	for (unsigned round = 0; round < 2000; round++) {
		uint32_t n = 1 + round * 37 % 1500, *head;
		while ((head = reserve(&f, n))) {
			fill(head, in++);
			*head &= ~BPF_RINGBUF_BUSY_BIT;
		}
		while (ring_next(&f.r, &rec) > 0) {
			for (size_t i = 0; i < rec.n; i++)
				assert_int_equal(rec.p[i], out);
			out++;
			ring_release(&f.r);
		}
		assert_int_equal(in, out);
		assert_int_equal(f.consumer, f.producer);
	}
	assert_true(f.producer > 100 * SIZE);
	fake_close(&f);
}

static void open_tells_errors(void **state)
{
	struct ring r;

	(void)state;
	assert_int_equal(ring_open(&r, -1, SIZE), -EBADF);
	ring_close(&r);
}

/* ---- two rings as one ---- */

struct pair_rig {
	struct fake hot, overflow;
	uint32_t spill;
	struct ring_pair p;
	uint8_t got[512];
	size_t n;
	/* the probe writes a straggler and so many records into hot while this many were read; 0: never */
	size_t more_at, more;
};

static void commit(struct fake *f, uint8_t what)
{
	uint32_t *head = reserve(f, 8);
	assert_non_null(head);
	fill(head, what);
	*head &= ~BPF_RINGBUF_BUSY_BIT;
}

static void note(void *ctx, struct bytes rec)
{
	struct pair_rig *g = ctx;
	assert_true(g->n < sizeof(g->got));
	g->got[g->n++] = rec.p[0];
	if (g->n == g->more_at)
		commit(&g->overflow, 's');
	for (; g->n == g->more_at && g->more; g->more--)
		commit(&g->hot, 'h');
}

static void pair_open(struct pair_rig *g)
{
	*g = (struct pair_rig) {0};
	fake_open(&g->hot);
	fake_open(&g->overflow);
	g->p = (struct ring_pair) {g->hot.r, g->overflow.r, &g->spill};
	g->p.hot.consumer = &g->hot.consumer;
}

static void pair_close(struct pair_rig *g)
{
	fake_close(&g->hot);
	fake_close(&g->overflow);
}

/* What did not fit into hot comes after all of it; then the flag is cleared. */
static void spilled_comes_after_hot(void **state)
{
	struct pair_rig g;

	(void)state;
	pair_open(&g);
	commit(&g.hot, 'a');
	commit(&g.hot, 'b');
	g.spill = 1;
	commit(&g.overflow, 'c');
	commit(&g.overflow, 'd');
	assert_true(ring_pair_drain(&g.p, 3, note, &g));
	assert_int_equal(g.spill, 1);
	assert_false(ring_pair_drain(&g.p, 9, note, &g));
	assert_memory_equal(g.got, "abcd", 4);
	assert_int_equal(g.spill, 0);
	assert_true(ring_pair_empty(&g.p));
	pair_close(&g);
}

/* T15. A straggler went to overflow when the flag had just been cleared: it does not wait until hot, which is being
 * filled, is empty. */
static void t15_a_straggler_does_not_wait_for_hot(void **state)
{
	struct pair_rig g;

	(void)state;
	pair_open(&g);
	commit(&g.overflow, 's');
	for (int i = 0; i < 100; i++)
		commit(&g.hot, 'h');
	assert_true(ring_pair_drain(&g.p, 2, note, &g));
	assert_memory_equal(g.got, "sh", 2);
	pair_close(&g);
	/* and one that comes while hot is read, and goes on being filled */
	pair_open(&g);
	for (int i = 0; i < 100; i++)
		commit(&g.hot, 'h');
	g.more_at = 10;
	g.more = 100;
	assert_true(ring_pair_drain(&g.p, 150, note, &g));
	uint8_t *at = memchr(g.got, 's', g.n);
	assert_non_null(at);
	assert_true(at - g.got < 70);
	pair_close(&g);
}

static void pair_waits_for_what_is_being_written(void **state)
{
	struct pair_rig g;

	(void)state;
	pair_open(&g);
	uint32_t *head = reserve(&g.hot, 8);
	g.spill = 1;
	commit(&g.overflow, 'b');
	assert_true(ring_pair_drain(&g.p, 9, note, &g));
	assert_int_equal(g.n, 0);
	fill(head, 'a');
	*head &= ~BPF_RINGBUF_BUSY_BIT;
	assert_false(ring_pair_drain(&g.p, 9, note, &g));
	assert_memory_equal(g.got, "ab", 2);
	pair_close(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spilled_comes_after_hot),
		cmocka_unit_test(t15_a_straggler_does_not_wait_for_hot),
		cmocka_unit_test(pair_waits_for_what_is_being_written),
		cmocka_unit_test(empty_is_not_busy),
		cmocka_unit_test(busy_holds_what_follows),
		cmocka_unit_test(discarded_are_skipped),
		cmocka_unit_test(records_wrap),
		cmocka_unit_test(open_tells_errors),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
