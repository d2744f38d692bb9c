/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins the parts of calls. A call in one part passes through; the same id and part again (a retry)
 * is dropped. Memory is bounded: over it the call that waits longest leaves as it is, with
 * `part_missing`.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct Sidetap__V1__Call;

struct parts_cfg {
	size_t max_bytes; /* held in open calls: 64 MiB */
	size_t max_open; /* 65,536 */
	size_t remembered; /* ids and parts to know again, at least so many: 1 Mi */
	/* A whole call, part 0 and last_part true, or what there is of it with the flag;
	 * borrowed. */
	void (*emit)(void *ctx, const struct Sidetap__V1__Call *call);
	void *ctx;
};

struct parts;

struct parts *parts_new(const struct parts_cfg *cfg); /* NULL: no memory */

/* Takes the call: *call is NULL then. -ENOMEM: untouched. */
int parts_push(struct parts *p, struct Sidetap__V1__Call **call);
void parts_flush(struct parts *p); /* the end: emits what is still open */
uint64_t parts_duplicates(const struct parts *p);
void parts_free(struct parts *p);
