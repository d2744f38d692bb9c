/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading side of a BPF ring buffer (kernel/bpf/ringbuf.c): bounded, one record at a time, and
 * it tells "empty" from "a record is being written", which libbpf's consumer does not.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct ring {
	unsigned long *consumer; /* written by us, read by the kernel */
	const unsigned long *producer; /* written by the kernel */
	const uint8_t *data; /* mapped twice in a row: a record never wraps */
	size_t mask;
	unsigned long at, next; /* our position; where the record handed out ends */
	void *map[2];
	size_t map_bytes[2];
};

/* Maps the ring of map `fd`, whose max_entries is `bytes` (a power of two of whole pages). 0,
 * -errno. */
int ring_open(struct ring *r, int fd, size_t bytes);
void ring_close(struct ring *r); /* zeroed or closed: nothing */

/* 1: *rec is the next record, valid until ring_release(); 0: truly empty; -EAGAIN: the next one is
 * not yet committed. Discarded records are skipped. */
int ring_next(struct ring *r, struct bytes *rec);
void ring_release(struct ring *r);

/* Nothing reserved, nothing committed */
bool ring_empty(const struct ring *r);
