/* SPDX-License-Identifier: Apache-2.0 */
/* Flows that are not wanted: muted in the probe, or sampled out. */
#include <stdlib.h>

#include "bpf/event.h"
#include "capture/flow_table.h"

static struct flow_node *node_of(struct flow *f)
{
	return (struct flow_node *)f;
}

bool flow_mute(struct flow_table *t, struct flow *f)
{
	uint32_t word = f->tag << 4 | VERDICT_MUTE, slot = f->slot & (VERDICT_SLOTS - 1);
	if (node_of(f)->muted)
		return true;
	if (!t->muted)
		t->muted = calloc(VERDICT_SLOTS, sizeof(*t->muted));
	if (!t->muted || t->muted[slot] || !t->cfg.verdict ||
	    !t->cfg.verdict(t->cfg.verdict_ctx, slot, word))
		return false;
	t->muted[slot] = word;
	t->n_muted++;
	node_of(f)->muted = true;
	return true;
}

void flow_mute_drop(struct flow_table *t, struct flow_node *n)
{
	list_del(&n->wait);
	for (int side = 0; side < 2; side++)
		stream_drop(&n->stream[side], STREAM_MUTED, &t->bytes);
}

void flow_mute_end(struct flow_table *t, struct flow_node *n)
{
	uint32_t slot = n->f.slot & (VERDICT_SLOTS - 1);
	n->muted = false;
	t->muted[slot] = 0;
	t->n_muted--;
	t->cfg.verdict(t->cfg.verdict_ctx, slot, VERDICT_KEEP);
	flow_mute_drop(t, n);
}

void flow_mute_again(struct flow_table *t)
{
	for (uint32_t slot = 0; t->n_muted && slot < VERDICT_SLOTS; slot++)
		if (t->muted[slot])
			t->cfg.verdict(t->cfg.verdict_ctx, slot, t->muted[slot]);
}

size_t flow_muted(const struct flow_table *t)
{
	return t->n_muted;
}

void flow_unmute_all(struct flow_table *t)
{
	for (struct list *it = t->open.next, *next; t->n_muted && it != &t->open; it = next) {
		struct flow_node *n = list_entry(it, struct flow_node, lru);
		next = it->next;
		if (n->muted)
			flow_table_finish(t, n, FLOW_UNMUTED);
	}
}

size_t flow_sample_out(struct flow_table *t, bool (*out)(void *ctx, const struct flow *f),
		       void *ctx)
{
	size_t ended = 0;
	for (struct list *it = t->open.next, *next; it != &t->open; it = next) {
		struct flow_node *n = list_entry(it, struct flow_node, lru);
		next = it->next;
		if (!out(ctx, &n->f))
			continue;
		flow_table_finish(t, n, FLOW_SAMPLED_OUT);
		ended++;
	}
	return ended;
}

void flow_skip(struct flow_table *t, const struct packet *p)
{
	t->packets++;
	t->bytes.in += p->len;
	t->exits[FLOW_EXIT_SAMPLED_OUT]++;
	t->bytes.exits[STREAM_SAMPLED_OUT] += p->len;
}
