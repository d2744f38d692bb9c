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

#include "capture/ring.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_is_not_busy),     cmocka_unit_test(busy_holds_what_follows),
		cmocka_unit_test(discarded_are_skipped), cmocka_unit_test(records_wrap),
		cmocka_unit_test(open_tells_errors),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
