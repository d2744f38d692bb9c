/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call_index.h"

#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_FIRST = 8 };

static struct call_slot *slot_of(struct list *it)
{
	return list_entry(it, struct call_slot, in_bucket);
}

static struct list *bucket_of(const struct call_index *x, uint64_t corr)
{
	struct list *b =
		&x->buckets[hash_bytes(x->key, bytes_of(&corr, sizeof(corr))) & (x->n_buckets - 1)];
	if (!b->prev) /* never used */
		list_init(b);
	return b;
}

struct list *call_index_bucket(const struct call_index *x, uint64_t corr)
{
	return x->n_buckets ? bucket_of(x, corr) : NULL;
}

/* Order within a bucket, and so among equal ids, stays. */
static int grow(struct call_index *x)
{
	uint32_t n_old = x->n_buckets;
	struct list *old = x->buckets;
	uint32_t n = n_old ? 2 * n_old : BUCKETS_FIRST;
	struct list *buckets = calloc(n, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	x->buckets = buckets;
	x->n_buckets = n;
	for (uint32_t i = 0; i < n_old; i++) {
		if (!old[i].prev)
			continue;
		list_for_each_safe (it, next, &old[i])
			list_move_tail(bucket_of(x, slot_of(it)->corr), it);
	}
	free(old);
	return 0;
}

int call_index_add(struct call_index *x, struct call_slot *s, uint64_t corr, struct hash_key key)
{
	if (!x->n_buckets)
		x->key = key;
	if (x->n + x->n_graves >= x->n_buckets && grow(x) < 0 && !x->n_buckets)
		return -ENOMEM;
	*s = (struct call_slot) {.corr = corr};
	list_add_tail(bucket_of(x, corr), &s->in_bucket);
	x->n++;
	return 0;
}

void call_index_del(struct call_index *x, struct call_slot *s)
{
	list_del(&s->in_bucket);
	x->n--;
}

int call_index_bury(struct call_index *x, struct call_slot *s)
{
	struct call_slot *grave = malloc(sizeof(*grave));
	if (grave) {
		*grave = (struct call_slot) {.corr = s->corr, .grave = true};
		list_add_tail(&s->in_bucket, &grave->in_bucket); /* before s */
		x->n_graves++;
	}
	call_index_del(x, s);
	return grave ? 0 : -ENOMEM;
}

void call_index_dig(struct call_index *x, struct call_slot *grave)
{
	list_del(&grave->in_bucket);
	x->n_graves--;
	free(grave);
}

void call_index_fini(struct call_index *x)
{
	for (uint32_t i = 0; i < x->n_buckets; i++) {
		if (!x->buckets[i].prev)
			continue;
		list_for_each_safe (it, next, &x->buckets[i]) {
			struct call_slot *s = slot_of(it);
			list_del(it);
			if (s->grave)
				free(s);
		}
	}
	free(x->buckets);
	*x = (struct call_index) {0};
}
