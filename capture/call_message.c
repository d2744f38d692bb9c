/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/call_message.h"

#include <errno.h>

#include "capture/redact.h"
#include "capture/trace.h"

/*
 * Copies the one run of wire bytes that all spans lie in, when they do: far cheaper than one by one. They do when
 * they rise with gaps too small for anything but separators between them.
 */
enum { BLOCK_GAP_MAX = 7 };

struct block {
	const uint8_t *from, *to;
	uint8_t *copy;
};

static bool block_cover(struct block *b, struct bytes s)
{
	if (!s.n)
		return true;
	if (!b->from)
		b->from = b->to = s.p;
	uintptr_t p = (uintptr_t)s.p, to = (uintptr_t)b->to;
	if (p < to || p - to > BLOCK_GAP_MAX)
		return false;
	b->to = s.p + s.n;
	return true;
}

static struct bytes block_move(const struct block *b, struct arena *a, struct bytes s)
{
	if (b->copy && s.n && (uintptr_t)s.p >= (uintptr_t)b->from &&
	    (uintptr_t)(s.p + s.n) <= (uintptr_t)b->to)
		return bytes_of(b->copy + (s.p - b->from), s.n);
	return arena_copy(a, s);
}

/* Headers into the arena. NULL and 0 without memory. */
static struct header *headers_copy(struct call *c, const struct block *b, const struct header *in,
				   size_t n)
{
	struct header *out = n ? arena_alloc(&c->arena, n * sizeof(*out)) : NULL;
	for (size_t i = 0; out && i < n; i++)
		out[i] = (struct header) {block_move(b, &c->arena, in[i].name),
					  block_move(b, &c->arena, in[i].value), in[i].provenance};
	return out;
}

static struct block block_of(struct call *c, const struct header *h, size_t n)
{
	struct block b = {0};
	for (size_t i = 0; i < n; i++)
		if (!block_cover(&b, h[i].name) || !block_cover(&b, h[i].value))
			return (struct block) {0};
	if (b.from)
		b.copy = arena_alloc(&c->arena, (size_t)(b.to - b.from));
	if (b.copy)
		memcpy(b.copy, b.from, (size_t)(b.to - b.from));
	return b;
}

static void set(struct bytes *to, const struct block *b, struct arena *a, struct bytes s)
{
	if (s.n)
		*to = block_move(b, a, s);
}

/* What the request said stands. */
static void set_once(struct bytes *to, const struct block *b, struct arena *a, struct bytes s)
{
	if (!to->n)
		set(to, b, a, s);
}

/* The protocol's own stands; else what the headers say. */
static void trace_set(struct call *c, const struct header *h, size_t n)
{
	if (c->trace_id.n)
		return;
	struct trace t = trace_of(h, n);
	if (t.trace_id.n) {
		c->trace_id = t.trace_id;
		c->span_id = t.span_id;
	}
}

/* By what the call opened with; by == NULL: not at all. */
static struct redaction redaction_of(struct call *c, struct redact_counts *counts)
{
	return (struct redaction) {c->redactor, counts, &c->arena};
}

static void redacted(struct call *c, bool any)
{
	if (any)
		c->flags |= FLAG_REDACTED;
}

static void status_set(struct call *c, const struct head *h, const struct block *b,
		       const struct redaction *r)
{
	if (h->has_status)
		c->status = h->status;
	if (h->outcome != OUTCOME_UNKNOWN)
		c->outcome = h->outcome;
	set(&c->status_text, b, &c->arena, bytes_head(h->status_text, CALL_STATUS_TEXT_MAX));
	if (r->by && h->status_text.n)
		redacted(c, redact_text(r, REDACT_ON_HEADER, &c->status_text));
}

static bool attributes_grow(struct call *c)
{
	uint16_t cap = c->cap_attributes ? CALL_ATTRIBUTES_MAX : 4;
	struct attribute *a = arena_alloc(&c->arena, cap * sizeof(*a));
	if (!a)
		return false;
	if (c->n_attributes)
		memcpy(a, c->attributes, c->n_attributes * sizeof(*a));
	c->attributes = a;
	c->cap_attributes = cap;
	return true;
}

static struct attribute *attribute_new(struct call *c, const char *name)
{
	if (c->n_attributes == CALL_ATTRIBUTES_MAX ||
	    (c->n_attributes == c->cap_attributes && !attributes_grow(c)))
		return NULL;
	struct attribute *a = &c->attributes[c->n_attributes++];
	*a = (struct attribute) {.name = name};
	return a;
}

/* "a,b"; empty without memory. */
static struct bytes list_join(struct arena *arena, struct bytes a, struct bytes b)
{
	uint8_t *p = arena_alloc(arena, a.n + 1 + b.n);
	if (!p)
		return (struct bytes) {NULL, 0};
	memcpy(p, a.p, a.n);
	p[a.n] = ',';
	memcpy(p + a.n + 1, b.p, b.n);
	return bytes_of(p, a.n + 1 + b.n);
}

/*
 * What the request could not know and what the reply could not are one list. When a part told it already, the whole
 * list is told again.
 */
static bool unknown_join(struct call *c, const struct attribute *a)
{
	uint16_t i = c->n_attributes;
	if (strcmp(a->name, "unknown") != 0)
		return false;
	while (i > 0 && strcmp(c->attributes[i - 1].name, "unknown") != 0)
		i--;
	if (i == 0)
		return false;
	struct bytes both = list_join(&c->arena, c->attributes[i - 1].value, a->value);
	struct attribute *to =
		i - 1 < c->n_attributes_sent ? attribute_new(c, "unknown") : &c->attributes[i - 1];
	if (to && both.n)
		to->value = both;
	return true;
}

static void attributes_add(struct call *c, const struct head *h, const struct redaction *r)
{
	for (size_t i = 0; i < h->n_attributes; i++) {
		if (unknown_join(c, &h->attributes[i]))
			continue;
		struct attribute *a = attribute_new(c, h->attributes[i].name);
		if (!a)
			return;
		a->value = arena_copy(&c->arena, h->attributes[i].value);
		if (r->by)
			redacted(c, redact_attributes(r, a, 1));
	}
}

/* What is needed of a call that nobody wants a record of */
static void head_brief(struct call *c, enum dir dir, const struct head *h)
{
	if (dir == DIR_REQUEST || h->type == CALL_STREAM) /* a tunnel's server may speak alone */
		c->type = h->type;
}

static uint64_t attachment_of(const struct head *h)
{
	uint64_t n = 0;
	for (size_t i = 0; i < h->n_attributes; i++) {
		const struct attribute *a = &h->attributes[i];
		if (strcmp(a->name, "attachment_bytes") != 0 &&
		    strcmp(a->name, "response_attachment_bytes") != 0)
			continue;
		for (size_t k = 0; k < a->value.n; k++)
			n = n * 10 + (uint64_t)(a->value.p[k] - '0');
	}
	return n;
}

/* What of the routing fields is not from an earlier head */
struct routing {
	bool service, method, path;
};

static void routing_redact(struct call *c, const struct routing *had, const struct redaction *r)
{
	if (!had->service)
		redacted(c, redact_path(r, &c->service));
	if (!had->method)
		redacted(c, redact_text(r, REDACT_ON_PATH, &c->method));
	if (!had->path)
		redacted(c, redact_path(r, &c->path));
}

void call_message_head(struct call *c, enum dir dir, const struct piece *p,
		       struct redact_counts *counts)
{
	const struct head *h = &p->head;
	struct call_message *m = &c->msg[dir];
	head_brief(c, dir, h);
	if (!c->sampled)
		return;
	struct block b = block_of(c, h->headers, h->n_headers);
	struct redaction r = redaction_of(c, counts);
	struct routing had = {c->service.n > 0, c->method.n > 0, c->path.n > 0};
	m->headers = headers_copy(c, &b, h->headers, h->n_headers);
	m->n_headers = m->headers ? h->n_headers : 0;
	m->count_only = h->count_only;
	m->attachment = attachment_of(h);
	m->compressed = p->flags & FLAG_COMPRESSED && !(p->what & PIECE_MESSAGE);
	c->messages |= h->messages;
	m->blind = m->n_headers < h->n_headers || p->flags & FLAG_TRUNCATED;
	if (m->n_headers < h->n_headers)
		c->flags |= FLAG_TRUNCATED;
	if (h->protocol)
		c->protocol = h->protocol;
	if (h->transport)
		c->transport = h->transport;
	set_once(&c->service, &b, &c->arena, h->service);
	set_once(&c->method, &b, &c->arena, h->method);
	set_once(&c->path, &b, &c->arena, h->path);
	set_once(&c->trace_id, &b, &c->arena, h->trace_id);
	set_once(&c->span_id, &b, &c->arena, h->span_id);
	status_set(c, h, &b, &r);
	attributes_add(c, h, &r);
	if (dir == DIR_REQUEST)
		trace_set(c, m->headers, m->n_headers);
	if (!r.by)
		return;
	redacted(c, redact_headers(&r, m->headers, &m->n_headers));
	routing_redact(c, &had, &r);
}

void call_message_end(struct call *c, enum dir dir, const struct piece *p,
		      struct redact_counts *counts)
{
	const struct head *h = &p->head;
	struct call_message *m = &c->msg[dir];
	struct redaction r = redaction_of(c, counts);
	if (p->what & PIECE_HEAD || !c->sampled)
		return;
	if (h->n_headers) {
		struct block b = block_of(c, h->headers, h->n_headers);
		m->trailers = headers_copy(c, &b, h->headers, h->n_headers);
		m->n_trailers = m->trailers ? h->n_headers : 0;
		if (r.by)
			redacted(c, redact_headers(&r, m->trailers, &m->n_trailers));
	}
	status_set(c, h, &(struct block) {0}, &r);
	attributes_add(c, h, &r);
}

size_t call_message_room(struct call *c, enum dir dir, size_t n, uint64_t limit)
{
	struct call_message *m = &c->msg[dir];
	if (m->body_closed)
		return 0;
	uint64_t left = limit > m->body_kept ? limit - m->body_kept : 0; /* it may have been more */
	if (n > left) {
		n = (size_t)left;
		m->body_closed = true;
		c->flags |= FLAG_TRUNCATED;
	}
	return n;
}

int call_message_boundary(struct call *c, enum dir dir, uint64_t ts_ns, bool compressed)
{
	struct call_message *m = &c->msg[dir];
	if (c->n_stream == c->cap_stream) {
		size_t cap = c->cap_stream ? 2 * c->cap_stream : 8;
		void *p = realloc(c->stream, cap * sizeof(*c->stream));
		if (!p)
			return -ENOMEM;
		c->stream = p;
		c->cap_stream = cap;
	}
	size_t off = c->message_off[dir];
	c->messages = true;
	c->stream[c->n_stream++] = (struct call_stream_message) {
		dir,       ts_ns, off, m->body.n - off, m->body_bytes - c->message_start[dir],
		compressed};
	c->n_messages[dir]++;
	m->body_kept = 0; /* the limit is one message's */
	m->body_closed = false;
	c->message_off[dir] = m->body.n;
	c->message_start[dir] = m->body_bytes;
	return 0;
}
