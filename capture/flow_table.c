/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/flow_table.h"

#include <stdlib.h>

_Static_assert(sizeof(struct flow_node) <= 512, "65,536 flows must stay within 32 MiB");

struct flow_node **flow_table_bucket(const struct flow_table *t, uint64_t scope,
				     const uint8_t addr[16], uint16_t port)
{
	uint8_t key[26];
	memcpy(key, &scope, 8);
	memcpy(key + 8, addr, 16);
	memcpy(key + 24, &port, 2);
	return &t->buckets[hash_bytes(t->key, bytes_of(key, sizeof(key))) & t->mask];
}

static struct flow_node **bucket_of(const struct flow_table *t, const struct flow_node *n)
{
	return flow_table_bucket(t, n->f.scope, n->f.client_addr, n->f.client_port);
}

static void chain_remove(struct flow_table *t, struct flow_node *n)
{
	struct flow_node **at = bucket_of(t, n);
	while (*at != n)
		at = &(*at)->chain;
	*at = n->chain;
}

static void chain_add(struct flow_table *t, struct flow_node *n)
{
	struct flow_node **at = bucket_of(t, n);
	n->chain = *at;
	*at = n;
}

struct flow_node *flow_table_add(struct flow_table *t, uint64_t scope, const uint8_t addr[16],
				 uint16_t port)
{
	struct flow_node *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->f.scope = scope;
	memcpy(n->f.client_addr, addr, 16);
	n->f.client_port = port;
	n->f.id = ++t->next_id;
	n->last_side = 2;
	list_init(&n->lru);
	list_init(&n->wait);
	chain_add(t, n);
	list_add_tail(&t->open, &n->lru);
	t->n_open++;
	t->totals.opened++;
	return n;
}

void flow_table_rekey(struct flow_table *t, struct flow_node *n, const uint8_t addr[16],
		      uint16_t port)
{
	chain_remove(t, n);
	memcpy(n->f.client_addr, addr, 16);
	n->f.client_port = port;
	chain_add(t, n);
}

static void lru_leave(struct flow_table *t, struct flow_node *n)
{
	if (t->sweep_at == &n->lru)
		t->sweep_at = n->lru.next;
	list_del(&n->lru);
}

void flow_table_touch(struct flow_table *t, struct flow_node *n)
{
	if (n->closed || n->lru.next == &t->open)
		return;
	lru_leave(t, n);
	list_add_tail(&t->open, &n->lru);
}

void flow_table_remove(struct flow_table *t, struct flow_node *n)
{
	lru_leave(t, n);
	list_del(&n->wait);
	chain_remove(t, n);
	*(n->closed ? &t->n_closed : &t->n_open) -= 1;
	free(n);
}

void flow_table_close(struct flow_table *t, struct flow_node *n)
{
	lru_leave(t, n);
	list_del(&n->wait);
	n->closed = true;
	t->n_open--;
	t->n_closed++;
	list_add_tail(&t->closed, &n->lru);
	if (t->n_closed > t->max_closed)
		flow_table_remove(t, list_entry(t->closed.next, struct flow_node, lru));
}
