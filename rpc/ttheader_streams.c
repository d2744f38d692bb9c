/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/ttheader_streams.h"

#include <stdlib.h>

#include "base/hash.h"

enum { BUCKETS = 256 };

void ttheader_streams_init(struct ttheader_streams *t)
{
	*t = (struct ttheader_streams) {0};
	list_init(&t->live);
	list_init(&t->dead);
}

static void free_all(struct list *l)
{
	list_for_each_safe (it, next, l)
		free(list_entry(it, struct ttheader_stream, in_use));
	list_init(l);
}

void ttheader_streams_fini(struct ttheader_streams *t)
{
	free_all(&t->live);
	free_all(&t->dead);
	free(t->buckets);
	ttheader_streams_init(t);
}

/* Chains are bounded by the caps of streams; the address keeps peers from aiming at one. */
static struct ttheader_stream **bucket_of(const struct ttheader_streams *t, uint32_t id)
{
	return &t->buckets[hash_mix(id ^ (uint64_t)(uintptr_t)t->buckets) % BUCKETS];
}

struct ttheader_stream *ttheader_streams_find(struct ttheader_streams *t, uint32_t id)
{
	struct ttheader_stream *s = t->buckets ? *bucket_of(t, id) : NULL;

	while (s && s->id != id)
		s = s->next;
	if (s && !s->dead)
		list_move_tail(&t->live, &s->in_use);
	return s;
}

struct ttheader_stream *ttheader_streams_add(struct ttheader_streams *t, uint32_t id)
{
	if (!t->buckets)
		t->buckets = calloc(BUCKETS, sizeof(*t->buckets));
	struct ttheader_stream *s = t->buckets ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	struct ttheader_stream **b = bucket_of(t, id);
	s->id = id;
	s->next = *b;
	*b = s;
	list_add_tail(&t->live, &s->in_use);
	t->n_live++;
	return s;
}

void ttheader_streams_del(struct ttheader_streams *t, struct ttheader_stream *s)
{
	struct ttheader_stream **b = bucket_of(t, s->id);

	while (*b != s)
		b = &(*b)->next;
	*b = s->next;
	list_del(&s->in_use);
	--*(s->dead ? &t->n_dead : &t->n_live);
	free(s);
}

void ttheader_streams_reset(struct ttheader_streams *t, struct ttheader_stream *s)
{
	if (s->dead)
		return;
	if (s->state[DIR_RESPONSE] != TTHEADER_STREAM_IDLE) {
		ttheader_streams_del(t, s);
		return;
	}
	if (t->n_dead >= TTHEADER_STREAMS_DEAD_MAX)
		ttheader_streams_del(t, list_entry(t->dead.next, struct ttheader_stream, in_use));
	list_del(&s->in_use);
	list_add_tail(&t->dead, &s->in_use);
	s->dead = true;
	t->n_live--;
	t->n_dead++;
}

struct ttheader_stream *ttheader_streams_oldest(const struct ttheader_streams *t)
{
	return list_empty(&t->live) ? NULL
				    : list_entry(t->live.next, struct ttheader_stream, in_use);
}

static void lose_one(struct ttheader_streams *t, struct ttheader_stream *s, enum dir dir)
{
	s->lost[dir] = true;
	if (s->state[dir] != TTHEADER_STREAM_OPEN)
		return;
	s->state[dir] = TTHEADER_STREAM_LOST;
	if (s->state[!dir] >= TTHEADER_STREAM_DONE)
		ttheader_streams_del(t, s);
}

void ttheader_streams_lose(struct ttheader_streams *t, enum dir dir)
{
	list_for_each_safe (it, next, &t->live)
		lose_one(t, list_entry(it, struct ttheader_stream, in_use), dir);
}
