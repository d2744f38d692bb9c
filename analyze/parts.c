/* SPDX-License-Identifier: Apache-2.0 */
#include "analyze/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "analyze/parts_join.h"
#include "base/mem.h"
#include "record.pb-c.h"

enum { BUCKETS = 1 << 14 };

/* A call of which parts are missing; its parts in order. */
struct open_call {
	struct open_call *next; /* of the bucket */
	struct open_call *newer, *older;
	uint64_t hash;
	Sidetap__V1__Call **part;
	size_t n, bytes;
};

/* Hashes of ids and parts that were seen, in two generations: the full one replaces the older. */
struct seen {
	uint64_t *slot[2]; /* open addressing, 0: free */
	size_t size, n; /* slots, a power of two; used in slot[0] */
};

struct parts {
	struct parts_cfg cfg;
	struct seen seen;
	struct open_call *bucket[BUCKETS];
	struct open_call *newest, *oldest;
	size_t n_open, bytes;
	uint64_t duplicates;
};

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93;
	return h ^ h >> 32;
}

static uint64_t hash_text(const char *s)
{
	uint64_t h = 0x9e3779b97f4a7c15;
	for (; *s; s++)
		h = mix(h + (uint8_t)*s);
	return h;
}

static bool slot_has(const uint64_t *slot, size_t size, uint64_t h, size_t *at)
{
	for (*at = h & (size - 1); slot[*at]; *at = (*at + 1) & (size - 1))
		if (slot[*at] == h)
			return true;
	return false;
}

/* True: it was there already. */
static bool seen_before(struct seen *s, uint64_t h)
{
	size_t at;
	h += h == 0;
	if (slot_has(s->slot[1], s->size, h, &at) || slot_has(s->slot[0], s->size, h, &at))
		return true;
	if (s->n == s->size / 2) {
		uint64_t *old = s->slot[1];
		s->slot[1] = s->slot[0];
		s->slot[0] = old;
		memset(old, 0, s->size * sizeof(*old));
		s->n = 0;
		slot_has(s->slot[0], s->size, h, &at);
	}
	s->slot[0][at] = h;
	s->n++;
	return false;
}

struct parts *parts_new(const struct parts_cfg *cfg)
{
	struct parts *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->cfg = *cfg;
	for (p->seen.size = 16; p->seen.size / 2 < cfg->remembered;)
		p->seen.size *= 2;
	p->seen.slot[0] = calloc(p->seen.size, sizeof(uint64_t));
	p->seen.slot[1] = calloc(p->seen.size, sizeof(uint64_t));
	if (!p->seen.slot[0] || !p->seen.slot[1]) {
		parts_free(p);
		return NULL;
	}
	return p;
}

static size_t weigh(const Sidetap__V1__Call *c)
{
	size_t n = sizeof(*c) + protobuf_c_message_get_packed_size(&c->base) * 2;
	return n + (c->n_stream + c->n_attributes) * 64;
}

static struct open_call *find_open(struct parts *p, uint64_t hash, const char *id)
{
	struct open_call *o = p->bucket[hash % BUCKETS];
	while (o && (o->hash != hash || strcmp(o->part[0]->id, id) != 0))
		o = o->next;
	return o;
}

static void unlink_open(struct parts *p, struct open_call *o)
{
	struct open_call **at = &p->bucket[o->hash % BUCKETS];
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	*(o->newer ? &o->newer->older : &p->newest) = o->older;
	*(o->older ? &o->older->newer : &p->oldest) = o->newer;
	p->n_open--;
	p->bytes -= o->bytes;
}

static void free_open(struct open_call *o)
{
	for (size_t i = 0; i < o->n; i++)
		sidetap__v1__call__free_unpacked(o->part[i], NULL);
	free(o->part);
	free(o);
}

/* The parts are distinct and in order: the last one's number tells. */
static bool is_whole(const struct open_call *o)
{
	return o->part[o->n - 1]->last_part && o->part[o->n - 1]->part == o->n - 1;
}

/* Joins what there is, hands it out, frees it. */
static void leave(struct parts *p, struct open_call *o)
{
	bool whole = is_whole(o);
	unlink_open(p, o);
	Sidetap__V1__Call *c = o->part[0];
	for (size_t i = 1; i < o->n; i++)
		whole = parts_join(c, o->part[i]) == 0 && whole;
	if (!whole)
		parts_flag(c, "part_missing");
	c->part = 0;
	p->cfg.emit(p->cfg.ctx, c);
	free_open(o);
}

static struct open_call *new_open(struct parts *p, uint64_t hash)
{
	struct open_call *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->hash = hash;
	o->next = p->bucket[hash % BUCKETS];
	p->bucket[hash % BUCKETS] = o;
	o->older = p->newest;
	*(p->newest ? &p->newest->newer : &p->oldest) = o;
	p->newest = o;
	p->n_open++;
	return o;
}

/* Keeps the parts sorted and distinct; they nearly always come in order. */
static int add_part(struct parts *p, struct open_call *o, Sidetap__V1__Call **call)
{
	size_t at = o->n, bytes = weigh(*call);
	while (at > 0 && o->part[at - 1]->part > (*call)->part)
		at--;
	if (at > 0 && o->part[at - 1]->part == (*call)->part) {
		p->duplicates++;
		sidetap__v1__call__free_unpacked(take_ptr(*call), NULL);
		return 0;
	}
	Sidetap__V1__Call **list = realloc(o->part, (o->n + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	o->part = list;
	memmove(list + at + 1, list + at, (o->n++ - at) * sizeof(*list));
	list[at] = take_ptr(*call);
	o->bytes += bytes;
	p->bytes += bytes;
	return 0;
}

static int push_part(struct parts *p, Sidetap__V1__Call **call, uint64_t hash)
{
	struct open_call *o = find_open(p, hash, (*call)->id);
	if (!o && !(o = new_open(p, hash)))
		return -ENOMEM;
	int e = add_part(p, o, call);
	if (e && !o->n) {
		unlink_open(p, o);
		free_open(o);
	}
	if (e)
		return e;
	if (is_whole(o))
		leave(p, o);
	while (p->oldest && (p->bytes > p->cfg.max_bytes || p->n_open > p->cfg.max_open))
		leave(p, p->oldest);
	return 0;
}

int parts_push(struct parts *p, Sidetap__V1__Call **call)
{
	Sidetap__V1__Call *c = *call;
	uint64_t hash = hash_text(c->id);
	if (seen_before(&p->seen, mix(hash + c->part))) {
		p->duplicates++;
		sidetap__v1__call__free_unpacked(take_ptr(*call), NULL);
		return 0;
	}
	if (c->part != 0 || !c->last_part)
		return push_part(p, call, hash);
	p->cfg.emit(p->cfg.ctx, c);
	sidetap__v1__call__free_unpacked(take_ptr(*call), NULL);
	return 0;
}

void parts_flush(struct parts *p)
{
	while (p->oldest)
		leave(p, p->oldest);
}

uint64_t parts_duplicates(const struct parts *p)
{
	return p->duplicates;
}

void parts_free(struct parts *p)
{
	if (!p)
		return;
	while (p->oldest) {
		struct open_call *o = p->oldest;
		unlink_open(p, o);
		free_open(o);
	}
	free(p->seen.slot[0]);
	free(p->seen.slot[1]);
	free(p);
}
