/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping what a message said: heads and trailers into the call's arena, body runs into its buffer. */
#pragma once
#include "capture/call.h"

struct redact_counts;

/* Copies what a HEAD says (headers, routing fields, attributes) into the call; redacts. Of a call that is not
 * sampled only its type. What the request said is not changed by its reply. */
void call_message_head(struct call *c, enum dir dir, const struct piece *p,
		       struct redact_counts *counts);

/* Copies what an END says: trailers, a status that only the end tells. */
void call_message_end(struct call *c, enum dir dir, const struct piece *p,
		      struct redact_counts *counts);

/* How many of n body bytes may still be kept by the limit of a message; raises `truncated`. A stream's limit is
 * that of each of its messages. */
size_t call_message_room(struct call *c, enum dir dir, size_t n, uint64_t limit);

/* A stream message ended here. -ENOMEM: its boundary is lost, its bytes stay. */
int call_message_boundary(struct call *c, enum dir dir, uint64_t ts_ns, bool compressed);
