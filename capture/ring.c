/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

enum { HEADER = BPF_RINGBUF_HDR_SZ };

int ring_open(struct ring *r, int fd, size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	*r = (struct ring) {.mask = bytes - 1, .map_bytes = {page, page + 2 * bytes}};
	void *c = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED)
		return -errno;
	r->map[0] = c;
	void *p = mmap(NULL, page + 2 * bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (p == MAP_FAILED) {
		int err = -errno;
		ring_close(r);
		return err;
	}
	r->map[1] = p;
	r->consumer = c;
	r->producer = p;
	r->data = (const uint8_t *)p + page;
	r->at = __atomic_load_n(r->consumer, __ATOMIC_RELAXED);
	return 0;
}

void ring_close(struct ring *r)
{
	for (int i = 0; i < 2; i++)
		if (r->map[i])
			munmap(r->map[i], r->map_bytes[i]);
	*r = (struct ring) {0};
}

static void ring_move(struct ring *r, unsigned long to)
{
	r->at = to;
	__atomic_store_n(r->consumer, to, __ATOMIC_RELEASE);
}

int ring_next(struct ring *r, struct bytes *rec)
{
	while (r->at < __atomic_load_n(r->producer, __ATOMIC_ACQUIRE)) {
		const uint8_t *head = r->data + (r->at & r->mask);
		uint32_t len = __atomic_load_n((const uint32_t *)head, __ATOMIC_ACQUIRE);
		if (len & BPF_RINGBUF_BUSY_BIT)
			return -EAGAIN;
		uint32_t n = len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		r->next = r->at + ((n + HEADER + 7UL) & ~7UL);
		if (!(len & BPF_RINGBUF_DISCARD_BIT)) {
			*rec = bytes_of(head + HEADER, n);
			return 1;
		}
		ring_move(r, r->next);
	}
	return 0;
}

void ring_release(struct ring *r)
{
	ring_move(r, r->next);
}

bool ring_empty(const struct ring *r)
{
	return r->at >= __atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
}
