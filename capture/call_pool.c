/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of all calls: those that are open, and those that wait for the next one. */
#include <stdlib.h>
#include <string.h>

#include "capture/call_state.h"

/* Calls and body memory kept for the next call */
enum { POOL_MAX = 128, POOL_BODY = 32768 };
enum { OPEN_HEADS_DEFAULT = 32 << 20, PART_MESSAGES_DEFAULT = 1000 };
#define PART_NS_DEFAULT 10000000000ull

struct calls *calls_new(const struct call_limits *limits, const struct call_sink *sink)
{
	struct calls *cs = calloc(1, sizeof(*cs));
	if (!cs)
		return NULL;
	cs->limits = *limits;
	cs->body_max = UINT64_MAX;
	if (!cs->limits.open_heads)
		cs->limits.open_heads = OPEN_HEADS_DEFAULT;
	if (!cs->limits.part_messages)
		cs->limits.part_messages = PART_MESSAGES_DEFAULT;
	if (!cs->limits.part_ns)
		cs->limits.part_ns = PART_NS_DEFAULT;
	cs->sink = *sink;
	cs->key = hash_key_of(limits->seed);
	list_init(&cs->open);
	list_init(&cs->tunnels);
	list_init(&cs->wait);
	list_init(&cs->parts);
	list_init(&cs->pool);
	char err[REDACT_ERROR_MAX];
	if (limits->redact && !(cs->redactor = redactor_new(NULL, NULL, err, sizeof(err)))) {
		free(cs);
		return NULL;
	}
	return cs;
}

static void call_free(struct call *c)
{
	redactor_unref(c->redactor);
	buf_fini(&c->msg[0].body);
	buf_fini(&c->msg[1].body);
	arena_fini(&c->arena);
	free(c->stream);
	free(c);
}

static void calls_free_list(struct list *l)
{
	list_for_each_safe (it, next, l)
		call_free(list_entry(it, struct call, in_open));
}

void calls_free(struct calls *cs)
{
	if (!cs)
		return;
	calls_free_list(&cs->pool);
	calls_free_list(&cs->open);
	calls_free_list(&cs->tunnels);
	redactor_unref(cs->redactor);
	buf_fini(&cs->redact_out[0]);
	buf_fini(&cs->redact_out[1]);
	free(cs);
}

size_t calls_open(const struct calls *cs)
{
	return cs->n_open;
}

uint64_t calls_bodies_cut(const struct calls *cs)
{
	return cs->bodies_cut;
}

struct call *call_pool_take(struct calls *cs)
{
	if (list_empty(&cs->pool))
		return calloc(1, sizeof(struct call));
	struct call *c = list_entry(cs->pool.prev, struct call, in_open);
	list_del(&c->in_open);
	cs->n_pool--;
	struct arena arena = c->arena;
	struct buf req = c->msg[0].body, resp = c->msg[1].body;
	memset(c, 0, sizeof(*c));
	c->arena = arena;
	c->msg[0].body = req;
	c->msg[1].body = resp;
	return c;
}

void call_pool_give(struct calls *cs, struct call *c)
{
	free(c->stream);
	c->stream = NULL;
	redactor_unref(c->redactor);
	c->redactor = NULL;
	if (cs->n_pool >= POOL_MAX) {
		call_free(c);
		return;
	}
	arena_reset(&c->arena);
	buf_reset(&c->msg[0].body, POOL_BODY);
	buf_reset(&c->msg[1].body, POOL_BODY);
	list_add_tail(&cs->pool,
		      &c->in_open); /* taken from the tail too: the next call finds it warm */
	cs->n_pool++;
}
