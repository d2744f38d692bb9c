/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of one connection by correlation id, in the order of requests among equal ids. A call that left before
 * its reply can leave a grave in its place, which the late reply finds.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"

struct call_slot {
	struct list in_bucket;
	uint64_t corr;
	bool grave; /* nobody's any more; owned by the index */
};

/* Zeroed is empty. */
struct call_index {
	struct list *buckets;
	uint32_t n_buckets; /* a power of two; 0: no memory taken yet */
	uint32_t n, n_graves;
	struct hash_key key;
};

/* -ENOMEM: it was not added. */
int call_index_add(struct call_index *x, struct call_slot *s, uint64_t corr, struct hash_key key);
void call_index_del(struct call_index *x, struct call_slot *s);

/* Takes it out and leaves a grave in its place. -ENOMEM: taken out, no grave. */
int call_index_bury(struct call_index *x, struct call_slot *s);
void call_index_dig(struct call_index *x, struct call_slot *grave); /* frees it */

/* The slots that may have this id: walk them by in_bucket and compare corr. NULL: none. */
struct list *call_index_bucket(const struct call_index *x, uint64_t corr);

void call_index_fini(struct call_index *x); /* graves are freed, slots are their owners' */
