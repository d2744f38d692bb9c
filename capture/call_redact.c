/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of a part are redacted when it leaves: all that is kept of them up to there is at hand. What follows a beginning
 * that left already is not: it goes.
 */
#include <stdlib.h>
#include <string.h>

#include "capture/call_state.h"

/* What redaction may add to a part: a record stays below 900 KiB with its headers. */
enum { GROWTH_MAX = 64 << 10, OUT_KEPT = 64 << 10 };

static struct redact_body body_of(const struct call *c, enum dir dir)
{
	const struct call_message *m = &c->msg[dir];
	return (struct redact_body) {.protocol = c->protocol,
				     .transport = c->transport,
				     .dir = dir,
				     .service = c->service,
				     .method = c->method,
				     .headers = m->headers,
				     .n_headers = m->n_headers,
				     .blind = m->blind,
				     .compressed = m->compressed,
				     .attachment = m->attachment};
}

struct redacting {
	struct calls *cs;
	struct call *c;
	struct redaction by;
	size_t room;
};

/* Appends to `out` what of `in` may leave. Its answer is redact_body's. */
static int append(struct redacting *r, const struct redact_body *b, struct bytes in,
		  struct buf *out)
{
	size_t before = out->n;
	int rc = in.n ? redact_body(&r->by, b, in, r->room, out) : 0;
	if (rc == 0 && buf_append(out, in) < 0) {
		rc = -1;
		r->c->flags |= FLAG_TRUNCATED;
	}
	if (rc)
		r->c->flags |= FLAG_REDACTED | (rc < 0 ? (unsigned)FLAG_TRUNCATED : 0);
	size_t more = out->n - before;
	r->room -= more < r->room ? more : r->room;
	return rc;
}

static void body_redact(struct redacting *r, enum dir dir, struct call_unredacted *was)
{
	struct call *c = r->c;
	struct call_message *m = &c->msg[dir];
	struct redact_body b = body_of(c, dir);
	struct buf *out = &r->cs->redact_out[dir];
	b.later = m->told;
	b.cut = !m->done || m->body.n < m->body_bytes;
	for (size_t i = 0; i < c->n_stream; i++)
		b.compressed |= c->stream[i].dir == dir && c->stream[i].compressed;
	out->n = 0;
	int rc = redact_body(&r->by, &b, buf_bytes(&m->body), r->room, out);
	if (rc == 0)
		return;
	c->flags |= FLAG_REDACTED | (rc < 0 ? (unsigned)FLAG_TRUNCATED : 0);
	was->swapped[dir] = true;
	was->body[dir] = m->body;
	m->body = *out;
	if (rc < 0)
		m->body.n = 0;
}

/* The direction's messages, one by one, and what there is of one that is not complete. */
static void stream_redact(struct redacting *r, enum dir dir, struct call_stream_message *stream,
			  struct call_unredacted *was)
{
	struct call *c = r->c;
	struct call_message *m = &c->msg[dir];
	struct redact_body b = body_of(c, dir);
	struct buf *out = &r->cs->redact_out[dir];
	struct bytes in = buf_bytes(&m->body);
	bool later = m->told;
	out->n = 0;
	for (size_t i = 0; i < c->n_stream; i++) {
		struct call_stream_message *s = &stream[i];
		if (s->dir != dir)
			continue;
		size_t off = out->n;
		b.compressed = s->compressed || m->compressed;
		b.later = later;
		b.cut = s->n < s->body_bytes;
		append(r, &b, bytes_head(bytes_from(in, s->off), s->n), out);
		s->off = off;
		s->n = out->n - off;
		later = false;
	}
	b.compressed = m->compressed;
	b.later = later;
	b.cut = true;
	size_t off = out->n;
	append(r, &b, bytes_from(in, c->message_off[dir]), out);
	was->swapped[dir] = true;
	was->body[dir] = m->body;
	was->message_off[dir] = c->message_off[dir];
	m->body = *out;
	c->message_off[dir] = off;
}

/* Protocols whose exceptions' text lies in the body */
static bool status_in_body(const struct call *c)
{
	static const char *const list[] = {"thrift", "ttheader", "theader", "kitex_protobuf",
					   "dubbo2"};
	for (size_t i = 0; c->protocol && i < sizeof(list) / sizeof(*list); i++)
		if (strcmp(c->protocol, list[i]) == 0)
			return true;
	return false;
}

/* It may repeat what was redacted there, or what was not looked at because it was not kept. */
static void status_redact(struct redacting *r, const struct call_unredacted *was)
{
	struct call *c = r->c;
	const struct call_message *m = &c->msg[DIR_RESPONSE];
	bool whole = m->done && m->body.n == m->body_bytes && !m->told;
	if (!c->status_text.n || !redactor_has_body_rules(c->redactor) || !status_in_body(c) ||
	    (whole && !was->swapped[DIR_RESPONSE]))
		return;
	c->status_text = BYTES("[redacted]");
	c->flags |= FLAG_REDACTED;
	redact_count(r->by.counts, REDACT_STATUS_TEXT);
}

/* A copy of the messages' places, to change; NULL without memory. */
static struct call_stream_message *places_copy(const struct call *c)
{
	struct call_stream_message *p = calloc(c->n_stream + 1, sizeof(*p));
	if (p && c->n_stream)
		memcpy(p, c->stream, c->n_stream * sizeof(*p));
	return p;
}

/* Without memory nothing of the part's bodies leaves. */
static void drop_all(struct redacting *r, struct call_unredacted *was)
{
	struct call *c = r->c;
	for (size_t i = 0; i < c->n_stream; i++)
		c->stream[i].off = c->stream[i].n = 0;
	for (int d = 0; d < 2; d++) {
		was->swapped[d] = true;
		was->body[d] = c->msg[d].body;
		was->message_off[d] = c->message_off[d];
		c->msg[d].body.n = c->message_off[d] = 0;
	}
	c->flags |= FLAG_REDACTED | FLAG_TRUNCATED;
	r->by.counts->bodies++;
	r->by.counts->dropped[REDACT_NO_MEMORY]++;
}

void call_redact_begin(struct calls *cs, struct call *c, struct call_unredacted *was)
{
	struct redacting r = {.cs = cs,
			      .c = c,
			      .by = {c->redactor, &cs->redacted, &c->arena},
			      .room = CALL_PART_BODY_MAX + GROWTH_MAX};
	struct call_stream_message *stream = NULL;
	*was = (struct call_unredacted) {0};
	if (!c->redactor || !c->sampled)
		return;
	struct redact_body response = body_of(c, DIR_RESPONSE);
	if (!redact_body_wanted(c->redactor, &response))
		return;
	if (c->streamed && !(stream = places_copy(c))) {
		drop_all(&r, was);
		return;
	}
	for (int d = 0; d < 2; d++) {
		if (!c->msg[d].body.n)
			continue;
		if (c->streamed)
			stream_redact(&r, (enum dir)d, stream, was);
		else
			body_redact(&r, (enum dir)d, was);
	}
	if (stream) {
		was->stream = c->stream;
		c->stream = stream;
	}
	status_redact(&r, was);
}

void call_redact_end(struct calls *cs, struct call *c, struct call_unredacted *was)
{
	if (was->stream) {
		free(c->stream);
		c->stream = was->stream;
	}
	for (int d = 0; d < 2; d++) {
		struct call_message *m = &c->msg[d];
		if (was->swapped[d]) {
			m->body = was->body[d];
			if (c->streamed)
				c->message_off[d] = was->message_off[d];
			buf_reset(&cs->redact_out[d], OUT_KEPT);
		}
		bool complete = false;
		for (size_t i = 0; c->streamed && i < c->n_stream; i++)
			complete |= c->stream[i].dir == (enum dir)d;
		size_t rest = m->body.n - (c->streamed ? c->message_off[d] : 0);
		m->told = rest > 0 || (m->told && !complete);
	}
}

void calls_set_redactor(struct calls *cs, struct redactor *r)
{
	redactor_ref(r);
	redactor_unref(cs->redactor);
	cs->redactor = r;
}

struct redactor *calls_redactor(const struct calls *cs)
{
	return cs->redactor;
}

const struct redact_counts *calls_redact_counts(const struct calls *cs)
{
	return &cs->redacted;
}

size_t calls_redact_ledger(const struct calls *cs, struct ledger_stage *out, size_t max)
{
	if (max < REDACT_STAGES)
		return 0;
	redact_ledger(&cs->redacted, out);
	return REDACT_STAGES;
}
