/* SPDX-License-Identifier: Apache-2.0 */
/* Fields move between two protobuf-c objects: strings by swapping, lists by appending their
 * pointers. */
#include "analyze/parts_join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "record.pb-c.h"

static void swap_text(char **to, char **from)
{
	if (!*from || !(*from)[0])
		return;
	char *t = *to;
	*to = *from;
	*from = t;
}

static int append_pointers(void **to, size_t *n_to, void **from, size_t *n_from)
{
	if (!*n_from)
		return 0;
	void **p = realloc(*to, (*n_to + *n_from) * sizeof(void *));
	if (!p)
		return -ENOMEM;
	memcpy(p + *n_to, *from, *n_from * sizeof(void *));
	*to = p;
	*n_to += *n_from;
	free(*from);
	*from = NULL;
	*n_from = 0;
	return 0;
}

#define APPEND(to, from, field)                                                                    \
	append_pointers((void **)&(to)->field, &(to)->n_##field, (void **)&(from)->field,          \
			&(from)->n_##field)

static int append_body(ProtobufCBinaryData *to, const ProtobufCBinaryData *from)
{
	if (!from->len)
		return 0;
	uint8_t *p = realloc(to->data, to->len + from->len);
	if (!p)
		return -ENOMEM;
	memcpy(p + to->len, from->data, from->len);
	to->data = p;
	to->len += from->len;
	return 0;
}

static int join_message(Sidetap__V1__Message **to, Sidetap__V1__Message **from)
{
	Sidetap__V1__Message *t = *to, *f = *from;
	if (!t || !f) {
		*to = t ? t : f;
		*from = NULL;
		return 0;
	}
	if (!t->start_unix_ns)
		t->start_unix_ns = f->start_unix_ns;
	if (f->end_unix_ns > t->end_unix_ns)
		t->end_unix_ns = f->end_unix_ns;
	if (f->body_bytes)
		t->body_bytes = f->body_bytes;
	if (f->wire_bytes)
		t->wire_bytes = f->wire_bytes;
	int e = append_body(&t->body, &f->body);
	e = e ?: APPEND(t, f, headers);
	return e ?: APPEND(t, f, trailers);
}

int parts_flag(Sidetap__V1__Call *call, const char *flag)
{
	for (size_t i = 0; i < call->n_flags; i++)
		if (strcmp(call->flags[i], flag) == 0)
			return 0;
	char **p = realloc(call->flags, (call->n_flags + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	call->flags = p;
	p[call->n_flags] = strdup(flag);
	if (!p[call->n_flags])
		return -ENOMEM;
	call->n_flags++;
	return 0;
}

static void join_end(Sidetap__V1__Call *to, Sidetap__V1__Call *from)
{
	to->status_code = from->status_code;
	to->outcome = from->outcome;
	to->last_part = 1;
	swap_text(&to->status_text, &from->status_text);
}

/* A message split over parts: all pieces but the last have bytes and no length (docs/record.md). */
static bool is_split(const Sidetap__V1__StreamMessage *m)
{
	return m->body.len && !m->body_bytes;
}

static Sidetap__V1__StreamMessage *newest(const Sidetap__V1__Call *c, int direction)
{
	for (size_t i = c->n_stream; i-- > 0;)
		if ((int)c->stream[i]->direction == direction)
			return c->stream[i];
	return NULL;
}

/* The rest of the newest message of its direction joins it: 1 when `m` did. */
static int join_split(Sidetap__V1__Call *to, const Sidetap__V1__StreamMessage *m)
{
	Sidetap__V1__StreamMessage *t = newest(to, m->direction);
	if (!t || !is_split(t))
		return 0;
	if (append_body(&t->body, &m->body) < 0)
		return -ENOMEM;
	t->body_bytes = m->body_bytes;
	t->compressed |= m->compressed;
	t->unix_ns = m->unix_ns;
	return 1;
}

static int join_stream(Sidetap__V1__Call *to, Sidetap__V1__Call *from)
{
	bool next = from->part == to->part + 1; /* else the end of a split message is missing */
	size_t kept = 0;
	if (!from->n_stream)
		return 0;
	int e = 0;
	for (size_t i = 0; i < from->n_stream; i++) {
		int joined = e || !next ? e : join_split(to, from->stream[i]);
		e = joined < 0 ? joined : e;
		if (joined == 1)
			sidetap__v1__stream_message__free_unpacked(from->stream[i], NULL);
		else
			from->stream[kept++] = from->stream[i];
	}
	from->n_stream = kept;
	return e ?: APPEND(to, from, stream);
}

/* A later part's value of an attribute replaces the earlier one's. */
static int join_attributes(Sidetap__V1__Call *to, Sidetap__V1__Call *from)
{
	size_t had = to->n_attributes, kept = 0;
	for (size_t i = 0; i < from->n_attributes; i++) {
		Sidetap__V1__Call__AttributesEntry *a = from->attributes[i];
		size_t k = 0;
		while (k < had && strcmp(to->attributes[k]->key, a->key) != 0)
			k++;
		if (k == had) {
			from->attributes[kept++] = a;
			continue;
		}
		swap_text(&to->attributes[k]->value, &a->value);
		protobuf_c_message_free_unpacked(&a->base, NULL);
	}
	from->n_attributes = kept;
	return APPEND(to, from, attributes);
}

int parts_join(Sidetap__V1__Call *to, Sidetap__V1__Call *from)
{
	if (from->last_part)
		join_end(to, from);
	int e = join_message(&to->request, &from->request);
	e = e ?: join_message(&to->response, &from->response);
	e = e ?: join_stream(to, from);
	e = e ?: join_attributes(to, from);
	for (size_t i = 0; i < from->n_flags && e == 0; i++)
		e = parts_flag(to, from->flags[i]);
	to->part = from->part;
	return e;
}
