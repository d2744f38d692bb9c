/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call_message.h"
#include "capture/call_state.h"

static void body_drop(struct calls *cs, struct call_message *m, size_t keep)
{
	m->body.n = 0;
	buf_reset(&m->body, keep);
	call_charge(&cs->bodies, &m->charged, m->body.cap);
}

/* What the next part would hold. */
size_t call_body_part_size(const struct call *c)
{
	return c->msg[0].body.n + c->msg[1].body.n + c->n_stream * CALL_STREAM_MESSAGE_COST;
}

void call_body_part_send(struct calls *cs, struct call *c, bool last)
{
	c->streamed |= c->n_messages[0] > 1 || c->n_messages[1] > 1;
	for (size_t i = 0; !c->streamed && i < c->n_stream; i++)
		if (c->stream[i].compressed)
			c->flags |= FLAG_COMPRESSED;
	bool sent = cs->sink.part(cs->sink.ctx, c, last);
	if (!sent && !last)
		c->flags |= FLAG_TRUNCATED;
	for (int d = 0; d < 2; d++) {
		c->msg[d].body.n = 0;
		c->message_off[d] = 0;
		c->msg[d].head_sent |= sent && c->msg[d].started;
	}
	c->n_stream = 0;
	list_del(&c->in_parts);
}

/* Takes what is kept of a body away. */
static void body_cut(struct calls *cs, struct call *c, enum dir dir)
{
	for (size_t i = 0; i < c->n_stream; i++)
		if (c->stream[i].dir == dir)
			c->stream[i].off = c->stream[i].n = 0;
	body_drop(cs, &c->msg[dir], 0);
	c->message_off[dir] = 0;
	c->msg[dir].body_closed = true;
	c->flags |= FLAG_TRUNCATED;
	cs->bodies_cut++;
}

/* Bodies of open calls are over their budget: the largest lose what is kept, until a quarter is free. */
static void bodies_cut(struct calls *cs)
{
	size_t least = 0;
	list_for_each (it, &cs->open) {
		struct call *c = list_entry(it, struct call, in_open);
		for (int d = 0; d < 2; d++)
			if (c->msg[d].charged > least)
				least = c->msg[d].charged;
	}
	for (; least; least /= 2)
		list_for_each (it, &cs->open) {
			struct call *c = list_entry(it, struct call, in_open);
			for (int d = 0; d < 2; d++) {
				if (cs->bodies <= cs->limits.open_bodies / 4 * 3)
					return;
				if (c->msg[d].charged >= least)
					body_cut(cs, c, d);
			}
		}
}

static void body_keep(struct calls *cs, struct call *c, enum dir dir, struct bytes keep)
{
	struct call_message *m = &c->msg[dir];
	while (keep.n) {
		size_t held = call_body_part_size(c);
		size_t room = held < CALL_PART_BODY_MAX ? CALL_PART_BODY_MAX - held : 0;
		size_t n = room < keep.n ? room : keep.n;
		if (buf_append(&m->body, bytes_head(keep, n)) < 0) {
			m->body_closed = true;
			c->flags |= FLAG_TRUNCATED;
			return;
		}
		m->body_kept += n;
		keep = bytes_of(keep.p + n, keep.n - n);
		if (n == room)
			call_body_part_send(cs, c, false);
	}
	call_charge(&cs->bodies, &m->charged, m->body.cap);
	if (cs->bodies > cs->limits.open_bodies)
		bodies_cut(cs);
}

void call_body_add(struct calls *cs, struct call *c, enum dir dir, const struct piece *p)
{
	struct call_message *m = &c->msg[dir];
	if (p->missing) {
		c->flags |= FLAG_GAP | FLAG_TRUNCATED;
		m->body_closed = true;
	}
	m->body_bytes += p->missing + p->body.n;
	if (p->body.p && p->body.n && !m->count_only && c->sampled)
		body_keep(
			cs, c, dir,
			bytes_head(p->body, call_message_room(c, dir, p->body.n, cs->limits.body)));
}
