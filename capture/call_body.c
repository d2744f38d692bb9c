/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call_message.h"
#include "capture/call_state.h"
#include "capture/conn.h"

enum { PART_MEMORY_KEPT = 32768 }; /* of an empty body buffer between two parts */

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

/* What one part takes from the front of what is kept */
struct slice {
	size_t messages; /* complete ones */
	size_t n[2]; /* of each body */
	size_t off[2]; /* where a message begins in it that the part tells, but not its end */
};

static uint64_t least64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Whole messages in order, as many as fit; the first one's start when it alone does not. */
static size_t slice_messages(const struct call *c, struct slice *s)
{
	size_t room = CALL_PART_BODY_MAX;
	for (; s->messages < c->n_stream; s->messages++) {
		const struct call_stream_message *m = &c->stream[s->messages];
		if (m->n + CALL_STREAM_MESSAGE_COST > room)
			break;
		room -= m->n + CALL_STREAM_MESSAGE_COST;
		s->n[m->dir] = s->off[m->dir] = m->off + m->n;
	}
	if (s->messages == 0 && c->n_stream) {
		s->n[c->stream[0].dir] = least(c->stream[0].n, room);
		return 0;
	}
	return room;
}

/* As much as a part holds. What came of a message that is not complete waits for its rest, while there are others. */
static struct slice slice_next(const struct call *c)
{
	struct slice s = {0};
	size_t room = CALL_PART_BODY_MAX;
	if (c->streamed)
		room = slice_messages(c, &s);
	if (c->streamed && (s.messages || c->n_stream))
		return s;
	for (int d = 0; d < 2; d++) {
		size_t more = least(c->msg[d].body.n - s.n[d], room);
		s.n[d] += more;
		room -= more;
	}
	return s;
}

/* Memory follows what is kept between two parts. */
static void body_fit(struct buf *b)
{
	if (b->cap <= 2 * b->n + PART_MEMORY_KEPT)
		return;
	if (b->n == 0) {
		buf_fini(b);
		return;
	}
	uint8_t *p = realloc(b->p, b->n);
	if (p) {
		b->p = p;
		b->cap = b->n;
	}
}

/* The part told it: what stays moves to the front. */
static void slice_drop(struct calls *cs, struct call *c, const struct slice *s)
{
	for (int d = 0; d < 2; d++) {
		struct call_message *m = &c->msg[d];
		if (s->n[d] == 0)
			continue;
		buf_drop(&m->body, s->n[d]);
		body_fit(&m->body);
		call_charge(&cs->bodies, &m->charged, m->body.cap);
		c->message_off[d] -= least(c->message_off[d], s->n[d]);
	}
	c->n_stream -= s->messages;
	for (size_t i = 0; i < c->n_stream; i++) {
		struct call_stream_message *m = &c->stream[i];
		*m = c->stream[i + s->messages];
		size_t off = least(m->off, s->n[m->dir]);
		m->n -= least(m->n, s->n[m->dir] - off);
		m->off -= off;
	}
}

static void slice_send(struct calls *cs, struct call *c, const struct slice *s, bool last)
{
	size_t n_stream = c->n_stream, n[2], off[2];
	for (int d = 0; d < 2; d++) {
		n[d] = c->msg[d].body.n;
		off[d] = c->message_off[d];
		c->msg[d].body.n = s->n[d];
		c->message_off[d] = s->off[d];
	}
	for (size_t i = 0; !c->streamed && i < n_stream; i++)
		if (c->stream[i].compressed)
			c->flags |= FLAG_COMPRESSED;
	c->n_stream = s->messages;
	struct call_unredacted was;
	call_redact_begin(cs, c, &was);
	bool sent = cs->sink.part(cs->sink.ctx, c, last);
	call_redact_end(cs, c, &was);
	if (!sent && !last)
		c->flags |= FLAG_TRUNCATED;
	c->n_stream = n_stream;
	for (int d = 0; d < 2; d++) {
		c->msg[d].body.n = n[d];
		c->message_off[d] = off[d];
		c->msg[d].head_sent |= sent && c->msg[d].started;
	}
	slice_drop(cs, c, s);
	if (c->n_stream == 0 || !c->streamed)
		list_del(&c->in_parts);
}

static void part_send(struct calls *cs, struct call *c)
{
	struct slice s = slice_next(c);
	slice_send(cs, c, &s, false);
}

/* A second message began: from here on it is told as a stream. */
static void stream_begin(struct calls *cs, struct call *c)
{
	if (c->streamed ||
	    (call_messages(c, DIR_REQUEST) <= 1 && call_messages(c, DIR_RESPONSE) <= 1))
		return;
	c->streamed = true;
	while (call_body_part_size(c) > CALL_PART_BODY_MAX)
		part_send(cs, c);
}

void call_body_finish(struct calls *cs, struct call *c)
{
	struct slice all = {.messages = c->n_stream};
	stream_begin(cs, c);
	c->ending = true;
	while (call_body_part_size(c) > CALL_PART_BODY_MAX)
		part_send(cs, c);
	all.messages = c->n_stream;
	for (int d = 0; d < 2; d++) {
		all.n[d] = c->msg[d].body.n;
		all.off[d] = c->message_off[d];
	}
	slice_send(cs, c, &all, true);
	list_del(&c->in_parts);
}

void call_body_message(struct calls *cs, struct call *c, uint64_t ts_ns)
{
	stream_begin(cs, c);
	if (c->streamed && (call_body_part_size(c) >= CALL_PART_BODY_MAX ||
			    c->n_stream >= cs->limits.part_messages))
		part_send(cs, c);
	if (c->n_stream && list_empty(&c->in_parts)) {
		c->part_ns = ts_ns;
		list_add_tail(&cs->parts, &c->in_parts);
	}
}

/* Its only message is complete, and yet the direction goes on: more are to come. */
static bool stays_open(const struct call *c, enum dir dir)
{
	return c->n_messages[dir] && !c->msg[dir].done && !c->msg[dir].cut;
}

void call_body_expire(struct calls *cs, uint64_t now_ns)
{
	while (!list_empty(&cs->parts)) {
		struct call *c = list_entry(cs->parts.next, struct call, in_parts);
		if (now_ns < c->part_ns || now_ns - c->part_ns < cs->limits.part_ns)
			return;
		c->streamed |= stays_open(c, DIR_REQUEST) || stays_open(c, DIR_RESPONSE);
		while (c->streamed && c->n_stream)
			part_send(cs, c);
		/* slow, but of one message each way, as far as it is known: never cut by time */
		c->part_ns = now_ns;
		if (!list_empty(&c->in_parts))
			list_move_tail(&cs->parts, &c->in_parts);
	}
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

/*
 * Bodies of open calls are over their budget: what is held for a whole telling leaves in parts; when that is not
 * enough, the largest lose what is kept, until a quarter is free.
 */
static void bodies_cut(struct calls *cs)
{
	size_t size = 0;
	list_for_each (it, &cs->open) {
		struct call *c = list_entry(it, struct call, in_open);
		while (c->messages && call_body_part_size(c) > CALL_PART_BODY_MAX)
			part_send(cs, c);
	}
	if (cs->bodies <= cs->limits.open_bodies)
		return;
	list_for_each (it, &cs->open) {
		struct call *c = list_entry(it, struct call, in_open);
		for (int d = 0; d < 2; d++)
			if (c->msg[d].charged > size)
				size = c->msg[d].charged;
	}
	for (; size; size /= 2)
		list_for_each (it, &cs->open) {
			struct call *c = list_entry(it, struct call, in_open);
			for (int d = 0; d < 2; d++) {
				if (cs->bodies <= cs->limits.open_bodies / 4 * 3)
					return;
				if (c->msg[d].charged >= size)
					body_cut(cs, c, d);
			}
		}
}

static void body_keep(struct calls *cs, struct call *c, enum dir dir, struct bytes keep)
{
	struct call_message *m = &c->msg[dir];
	size_t max = c->messages && !c->streamed ? CALL_HOLD_MAX : CALL_PART_BODY_MAX;
	while (keep.n) {
		size_t held = call_body_part_size(c);
		size_t room = held < max ? max - held : 0;
		size_t n = least(room, keep.n);
		if (buf_append(&m->body, bytes_head(keep, n)) < 0) {
			m->body_closed = true;
			c->flags |= FLAG_TRUNCATED;
			return;
		}
		m->body_kept += n;
		keep = bytes_of(keep.p + n, keep.n - n);
		if (n == room)
			part_send(cs, c);
	}
	call_charge(&cs->bodies, &m->charged, m->body.cap);
	if (cs->bodies > cs->limits.open_bodies)
		bodies_cut(cs);
}

void calls_set_limits(struct calls *cs, const struct call_limits *limits)
{
	cs->limits.body = limits->body;
	cs->limits.opaque_head = limits->opaque_head;
	cs->limits.open_bodies = limits->open_bodies;
	cs->limits.timeout_ns = limits->timeout_ns;
	cs->limits.part_messages = limits->part_messages;
	cs->limits.part_ns = limits->part_ns;
}

/* Bytes that no framer read may hold what redaction would have found: the rest of a broken HTTP connection, or of one
 * that was joined late, is not shown. */
static uint64_t opaque_max(const struct calls *cs, const struct call *c)
{
	return c->conn->late || c->conn->queue.sticky_flags ? 0 : cs->limits.opaque_head;
}

/* The least of the configuration's when it opened, the budget's now, and its rule's. */
static uint64_t body_max(const struct calls *cs, const struct call *c, enum dir dir)
{
	uint64_t max = least64(c->body_limit, least64(cs->body_max, c->body_max));
	return c->msg[dir].count_only ? least64(max, opaque_max(cs, c)) : max;
}

void call_body_add(struct calls *cs, struct call *c, enum dir dir, const struct piece *p)
{
	struct call_message *m = &c->msg[dir];
	if (p->missing) {
		c->flags |= FLAG_GAP | FLAG_TRUNCATED;
		m->body_closed = true;
	}
	m->body_bytes += p->missing + p->body.n;
	uint64_t max = body_max(cs, c, dir);
	if (p->body.p && p->body.n && c->sampled && (max || !m->count_only))
		body_keep(cs, c, dir,
			  bytes_head(p->body, call_message_room(c, dir, p->body.n, max)));
	stream_begin(cs, c);
}
