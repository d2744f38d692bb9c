/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the requests without a final response yet mean for the body of their reply, oldest first: a
 * byte each, a few in place, then on the heap up to HTTP1_PENDING_MAX. Requests beyond (or without
 * memory) are only counted: their replies are of unknown kind. Order holds always.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { HTTP1_PENDING_FEW = 16, HTTP1_PENDING_MAX = 65536 };

enum http1_pending_kind {
	HTTP1_KIND_HEAD = 1,
	HTTP1_KIND_CONNECT = 2,
	HTTP1_KIND_UPGRADE = 4,
	HTTP1_KIND_UNKNOWN = 8,
};

struct http1_pending {
	uint32_t n, first, cap; /* cap: a power of two */
	uint32_t uncounted; /* pending behind the n */
	uint8_t *heap; /* owned; NULL while `few` is enough */
	uint8_t few[HTTP1_PENDING_FEW];
};

void http1_pending_init(struct http1_pending *q);

/* false: only counted */
bool http1_pending_push(struct http1_pending *q, uint8_t kind);

/* The kind of the oldest request; HTTP1_KIND_UNKNOWN when there is none or it was only counted. */
uint8_t http1_pending_pop(struct http1_pending *q);

/* Only the newest `keep` of those with a known kind stay. */
void http1_pending_forget(struct http1_pending *q, uint32_t keep);

void http1_pending_fini(struct http1_pending *q);
