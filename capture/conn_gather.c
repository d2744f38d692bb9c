/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "capture/conn_state.h"

enum { ATTRIBUTES_MAX = 16 };

/* The first n are done. */
void conn_gather_used(struct conns *cs, struct conn_dir *d, size_t n)
{
	if (!n)
		return;
	cs->gathered -= n;
	buf_drop(&d->gather, n);
	d->hints = 0;
	if (d->gather.n == 0)
		buf_reset(&d->gather, 0);
}

void conn_gather_drop(struct conns *cs, struct conn_dir *d, size_t n, enum conn_exit exit)
{
	cs->exits[exit] += n;
	conn_gather_used(cs, d, n);
}

void conn_framer_drop(struct conn *c)
{
	if (c->ops && c->ops->fini)
		c->ops->fini(c->state);
	free(c->state);
	c->state = NULL;
	c->ops = NULL;
}

/* No memory to follow it with: its calls leave, its bytes are counted. */
void conn_die(struct conns *cs, struct conn *c)
{
	call_close(cs->cfg.calls, &c->queue, END_EVICTED);
	conn_framer_drop(c);
	for (int i = 0; i < 2; i++)
		conn_gather_drop(cs, &c->d[i], c->d[i].gather.n, CONN_EXIT_NO_MEMORY);
	c->dead = true;
}

void conn_input_used(struct conn_input *in, size_t n)
{
	in->data = bytes_from(in->data, n);
	if (n)
		in->hints = 0;
}

/* Moves n bytes of the input behind the gathered ones. False: no memory, the connection is dead. */
bool conn_gather_take(struct conns *cs, struct conn *c, enum dir dir, struct conn_input *in,
		      size_t n)
{
	struct conn_dir *d = &c->d[dir];
	if (buf_append(&d->gather, bytes_head(in->data, n)) < 0) {
		conn_die(cs, c);
		cs->exits[CONN_EXIT_NO_MEMORY] += in->data.n;
		conn_input_used(in, in->data.n);
		return false;
	}
	if (d->gather.n == n) {
		d->gather_ns = in->ts_ns;
		d->gather_ack = in->ack_off;
		d->hints = in->hints;
	}
	d->gather_last_ns = in->ts_ns;
	cs->gathered += n;
	conn_input_used(in, n);
	return true;
}

static const struct attribute *attribute_find(const struct attribute *a, size_t n, const char *name)
{
	for (; n; n--, a++)
		if (strcmp(a->name, name) == 0)
			return a;
	return NULL;
}

/* What a SWITCH says stays with the connection, and replaces what an earlier one said by the same name. */
void conn_attributes_keep(struct conn *c, const struct head *h)
{
	struct attribute all[ATTRIBUTES_MAX];
	size_t n = 0, text = 0;
	if (!h->n_attributes)
		return;
	for (size_t i = 0; i < c->n_attributes; i++)
		if (!attribute_find(h->attributes, h->n_attributes, c->attributes[i].name))
			all[n++] = c->attributes[i];
	for (size_t i = 0; i < h->n_attributes && n < ATTRIBUTES_MAX; i++)
		all[n++] = h->attributes[i];
	for (size_t i = 0; i < n; i++)
		text += all[i].value.n;
	struct attribute *block = malloc(n * sizeof(*block) + text);
	if (!block)
		return;
	uint8_t *to = (uint8_t *)(block + n);
	for (size_t i = 0; i < n; to += all[i].value.n, i++) {
		if (all[i].value.n)
			memcpy(to, all[i].value.p, all[i].value.n);
		block[i] = (struct attribute) {all[i].name, bytes_of(to, all[i].value.n)};
	}
	free(c->attributes);
	c->attributes = block;
	c->n_attributes = n;
}

void conns_cap_count(struct conns *cs, const char *name)
{
	int i = 0;
	while (i < CAPS_MAX - 1 && cs->caps[i].name && strcmp(cs->caps[i].name, name) != 0)
		i++;
	if (!cs->caps[i].name)
		cs->caps[i].name = name;
	cs->caps[i].n++;
}

/* What is opaque stays so; every other protocol may hand over to another. */
void conns_wanted(struct conns *cs, struct conn *c)
{
	bool last = c->ops->pairing == PAIRING_TUNNEL;
	if (cs->cfg.never && cs->flows && cs->cfg.never(cs->cfg.ctx, c, last ? c->ops->name : ""))
		flow_mute(cs->flows, c->flow);
}
