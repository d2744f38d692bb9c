/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http2_stream.h"

#include <stdlib.h>

#include "base/hash.h"

enum { BUCKETS_FIRST = 4, SPARE_MAX = 8 };

/* The table's address is a salt that no peer knows; the order of streams is the list's, so it decides nothing. */
static struct http2_stream **bucket_of(const struct http2_streams *t, uint32_t id)
{
	return &t->buckets[hash_mix(id ^ (uintptr_t)t->buckets) & (t->n_buckets - 1)];
}

void http2_streams_init(struct http2_streams *t)
{
	*t = (struct http2_streams) {0};
	list_init(&t->lru);
}

struct http2_stream *http2_streams_find(const struct http2_streams *t, uint32_t id)
{
	struct http2_stream *s = t->n ? *bucket_of(t, id) : NULL;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static void bucket_put(struct http2_streams *t, struct http2_stream *s)
{
	struct http2_stream **b = bucket_of(t, s->id);

	s->next = *b;
	*b = s;
}

static bool grow(struct http2_streams *t)
{
	uint32_t n = t->n_buckets ? 2 * t->n_buckets : BUCKETS_FIRST;
	struct http2_stream **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return t->n_buckets > 0; /* only slower */
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
	list_for_each (it, &t->lru)
		bucket_put(t, list_entry(it, struct http2_stream, in_lru));
	return true;
}

static struct http2_stream *stream_take(struct http2_streams *t)
{
	struct http2_stream *s = t->spare;

	if (!s)
		return malloc(sizeof(*s));
	t->spare = s->next;
	t->n_spare--;
	return s;
}

struct http2_stream *http2_streams_add(struct http2_streams *t, uint32_t id)
{
	if (t->n >= t->n_buckets && !grow(t))
		return NULL;
	struct http2_stream *s = stream_take(t);
	if (!s)
		return NULL;
	*s = (struct http2_stream) {.id = id};
	list_add_tail(&t->lru, &s->in_lru);
	bucket_put(t, s);
	t->n++;
	return s;
}

void http2_streams_touch(struct http2_streams *t, struct http2_stream *s)
{
	if (t->lru.prev != &s->in_lru)
		list_move_tail(&t->lru, &s->in_lru);
}

void http2_streams_del(struct http2_streams *t, struct http2_stream *s)
{
	struct http2_stream **at = bucket_of(t, s->id);

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	list_del(&s->in_lru);
	t->n--;
	if (t->n_spare == SPARE_MAX) {
		free(s);
		return;
	}
	s->next = t->spare;
	t->spare = s;
	t->n_spare++;
}

void http2_streams_fini(struct http2_streams *t)
{
	list_for_each_safe (it, next, &t->lru)
		free(list_entry(it, struct http2_stream, in_lru));
	for (struct http2_stream *s = t->spare, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	free(t->buckets);
	*t = (struct http2_streams) {0};
}
