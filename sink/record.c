/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of sidetap.v1.Call (field numbers: sink/record.proto), and the names in it. */
#include "sink/record.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sink/record_block.h"
#include "sink/record_wire.h"

static const char *const flag_names[FLAG_N] = {
	"truncated",       "late_join",        "gap",        "no_response",
	"orphan_response", "redacted",         "compressed", "smuggling_suspect",
	"protocol_error",  "overlap_conflict", "evicted",    "timeout",
	"capture_ended",   "part_missing",
};

static const char *const outcome_names[] = {
	"UNKNOWN",     "OK",      "CLIENT_ERROR", "SERVER_ERROR", "DECLARED_EXCEPTION",
	"NO_RESPONSE", "ABORTED",
};

static const char *const call_type_names[] = {
	"unary", "oneway", "client_stream", "server_stream", "bidi_stream", "stream",
};

const char *record_flag_name(unsigned bit)
{
	return bit < FLAG_N ? flag_names[bit] : "";
}

const char *record_outcome_name(enum outcome o)
{
	return (unsigned)o <= OUTCOME_ABORTED ? outcome_names[o] : outcome_names[OUTCOME_UNKNOWN];
}

const char *record_call_type_name(enum call_type t)
{
	return (unsigned)t <= CALL_STREAM ? call_type_names[t] : "";
}

size_t wire_clean(struct bytes s, uint8_t *to)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	while (s.n) {
		uint32_t code;
		size_t len = utf8_next(s, &code);
		if (len == 0 || code == 0) {
			if (to) {
				const uint8_t text[4] = {'\\', 'x', hex[s.p[0] >> 4],
							 hex[s.p[0] & 15]};
				memcpy(to + n, text, 4);
			}
			n += 4;
			len = 1;
		} else {
			if (to)
				memcpy(to + n, s.p, len);
			n += len;
		}
		s = bytes_from(s, len);
	}
	return n;
}

/* What the first pass learns for the second: sizes of the nested messages; strings with their
 * lengths */
struct sizes {
	size_t request, response, capture;
	struct bytes protocol, transport, capture_text[9];
	uint64_t config_version, config_unix_ns;
};

static void measure(struct sizes *s, const struct record_call *c)
{
	const struct record_capture none = {.instance = NULL}, *k = c->capture ? c->capture : &none;
	const char *const text[] = {k->instance,  k->version,      k->attach,
				    k->host,      k->pod,          k->namespace_,
				    k->container, k->service_name, k->config_hash};
	for (unsigned i = 0; i < sizeof(text) / sizeof(*text); i++)
		s->capture_text[i] = bytes_str(text[i]);
	s->config_version = k->config_version;
	s->config_unix_ns = k->config_unix_ns;
	s->protocol = bytes_str(c->protocol);
	s->transport = bytes_str(c->transport);
}

/* Bytes of a text field with a one-byte tag */
WIRE_INLINE size_t text_size(const struct wire *w, struct bytes s)
{
	size_t n = w->careful ? wire_clean(s, NULL) : s.n;
	return n ? 1 + wire_varint_size(n) + n : 0;
}

WIRE_INLINE size_t bytes_size(struct bytes b)
{
	return b.n ? 1 + wire_varint_size(b.n) + b.n : 0;
}

WIRE_INLINE size_t uint_size(uint64_t v)
{
	return v ? 1 + wire_varint_size(v) : 0;
}

WIRE_INLINE void headers_emit(struct wire *w, unsigned field, const struct header *h, size_t n)
{
	for (; n; n--, h++) {
		size_t size =
			text_size(w, h->name) + bytes_size(h->value) + uint_size(h->provenance);
		wire_head(w, field, size);
		if (w->sizing) {
			w->suspicion |= utf8_suspicion(h->name);
			w->n += size;
			continue;
		}
		wire_string(w, 1, h->name);
		wire_bytes(w, 2, h->value);
		wire_uint(w, 3, h->provenance);
	}
}

WIRE_INLINE void message_emit(struct wire *w, const struct record_message *m)
{
	wire_fixed64(w, 1, m->start_unix_ns);
	wire_fixed64(w, 2, m->end_unix_ns);
	headers_emit(w, 3, m->headers, m->n_headers);
	headers_emit(w, 4, m->trailers, m->n_trailers);
	wire_bytes(w, 5, m->body);
	wire_uint(w, 6, m->body_bytes);
	wire_uint(w, 7, m->wire_bytes);
}

WIRE_INLINE void nested_message(struct wire *w, unsigned field, const struct record_message *m,
				size_t *size)
{
	if (!m->present)
		return;
	if (w->sizing) {
		struct wire sub = {.sizing = true, .careful = w->careful};
		message_emit(&sub, m);
		*size = sub.n;
		w->suspicion |= sub.suspicion;
		wire_head(w, field, sub.n);
		w->n += sub.n;
		return;
	}
	wire_head(w, field, *size);
	message_emit(w, m);
}

WIRE_INLINE void capture_emit(struct wire *w, const struct sizes *s)
{
	for (unsigned i = 0; i < sizeof(s->capture_text) / sizeof(*s->capture_text); i++)
		wire_string(w, i + 1, s->capture_text[i]);
	wire_uint(w, 10, s->config_version);
	wire_fixed64(w, 11, s->config_unix_ns);
}

WIRE_INLINE void nested_capture(struct wire *w, unsigned field, struct sizes *s)
{
	if (w->sizing) {
		struct wire sub = {.sizing = true, .careful = w->careful};
		capture_emit(&sub, s);
		s->capture = sub.n;
		w->suspicion |= sub.suspicion;
		wire_head(w, field, sub.n);
		w->n += sub.n;
		return;
	}
	wire_head(w, field, s->capture);
	capture_emit(w, s);
}

WIRE_INLINE void stream_emit(struct wire *w, const struct record_stream_message *m, size_t n)
{
	for (; n; n--, m++) {
		size_t size = uint_size(m->dir) + (m->unix_ns ? 9 : 0) + bytes_size(m->body) +
			      uint_size(m->body_bytes) + uint_size(m->compressed);
		wire_head(w, 18, size);
		if (w->sizing) {
			w->n += size;
			continue;
		}
		wire_uint(w, 1, m->dir);
		wire_fixed64(w, 2, m->unix_ns);
		wire_bytes(w, 3, m->body);
		wire_uint(w, 4, m->body_bytes);
		wire_uint(w, 5, m->compressed);
	}
}

WIRE_INLINE void flags_emit(struct wire *w, unsigned flags)
{
	for (unsigned bit = 0; bit < FLAG_N; bit++)
		if (flags & 1u << bit)
			wire_string(w, 28, bytes_str(flag_names[bit]));
}

WIRE_INLINE void attributes_emit(struct wire *w, const struct attribute *a, size_t n)
{
	for (; n; n--, a++) {
		struct bytes name = bytes_str(a->name);
		size_t size = text_size(w, name) + text_size(w, a->value);
		wire_head(w, 30, size);
		if (w->sizing) {
			w->suspicion |= utf8_suspicion(name) | utf8_suspicion(a->value);
			w->n += size;
			continue;
		}
		wire_string(w, 1, name);
		wire_string(w, 2, a->value);
	}
}

/* id = connection_id ":" sequence */
WIRE_INLINE void id_emit(struct wire *w, const struct record_call *c)
{
	uint8_t digits[20], *d = digits + sizeof(digits);
	uint64_t v = c->sequence;
	do
		*--d = (uint8_t)('0' + v % 10);
	while (v /= 10);
	size_t n_digits = (size_t)(digits + sizeof(digits) - d);
	size_t n = w->careful ? wire_clean(c->connection_id, NULL) : c->connection_id.n;

	wire_head(w, 1, n + 1 + n_digits);
	if (w->careful && !w->sizing)
		w->p += wire_clean(c->connection_id, w->p);
	else if (w->careful)
		w->n += n;
	else
		wire_raw(w, c->connection_id.p, n);
	wire_raw(w, ":", 1);
	wire_raw(w, d, n_digits);
}

/* A text field that the Kafka sink wants to point at */
WIRE_INLINE struct record_span span_emit(struct wire *w, unsigned field, struct bytes s,
					 const struct record *r)
{
	size_t n = wire_string(w, field, s);
	if (!r)
		return (struct record_span) {0, 0};
	return (struct record_span) {(uint32_t)(w->p - n - r->data), (uint32_t)n};
}

/* r: NULL in the sizing pass */
WIRE_INLINE void call_emit(struct wire *w, const struct record_call *c, struct sizes *sizes,
			   struct record *r)
{
	struct record_span key, protocol, service, method;

	id_emit(w, c);
	key = span_emit(w, 2, c->connection_id, r);
	wire_uint(w, 3, c->sequence);
	wire_uint(w, 4, c->record_number);
	wire_uint(w, 5, c->part);
	wire_uint(w, 6, c->last_part);
	protocol = span_emit(w, 7, sizes->protocol, r);
	wire_string(w, 8, sizes->transport);
	service = span_emit(w, 9, c->service, r);
	method = span_emit(w, 10, c->method, r);
	wire_string(w, 11, c->path);
	if (c->part == 0)
		wire_string(w, 12, bytes_str(record_call_type_name(c->type)));
	wire_sint32(w, 13, c->status);
	wire_uint(w, 14, c->outcome);
	wire_string(w, 15, c->status_text);
	nested_message(w, 16, &c->request, &sizes->request);
	nested_message(w, 17, &c->response, &sizes->response);
	stream_emit(w, c->stream, c->n_stream);
	wire_string(w, 19, c->client);
	wire_string(w, 20, c->server);
	wire_string(w, 21, c->original_destination);
	wire_string(w, 22, c->client_process);
	wire_string(w, 23, c->server_process);
	wire_string(w, 24, c->trace_id);
	wire_string(w, 25, c->span_id);
	wire_double(w, 26, c->weight);
	wire_string(w, 27, c->rule);
	flags_emit(w, c->flags);
	if (c->capture)
		nested_capture(w, 29, sizes);
	attributes_emit(w, c->attributes, c->n_attributes);
	if (r) {
		r->key = key;
		r->protocol = protocol;
		r->service = service;
		r->method = method;
	}
}

static size_t call_size(const struct record_call *c, struct sizes *sizes, uint64_t *suspicion)
{
	struct wire w = {.sizing = true};
	call_emit(&w, c, sizes, NULL);
	*suspicion = w.suspicion;
	return w.n;
}

static void call_write(const struct record_call *c, struct sizes *sizes, struct record *r)
{
	struct wire w = {.p = r->data};
	call_emit(&w, c, sizes, r);
}

/* The same for calls with text that must be escaped */
static __attribute__((cold)) size_t call_size_careful(const struct record_call *c,
						      struct sizes *sizes)
{
	struct wire w = {.sizing = true, .careful = true};
	call_emit(&w, c, sizes, NULL);
	return w.n;
}

static __attribute__((cold)) void call_write_careful(const struct record_call *c,
						     struct sizes *sizes, struct record *r)
{
	struct wire w = {.p = r->data, .careful = true};
	call_emit(&w, c, sizes, r);
}

static uint64_t call_time(const struct record_call *c)
{
	if (c->request.start_unix_ns)
		return c->request.start_unix_ns;
	if (c->response.start_unix_ns)
		return c->response.start_unix_ns;
	return c->n_stream ? c->stream[0].unix_ns : 0;
}

struct record *record_block_new(enum record_kind kind, size_t n)
{
	const size_t align = _Alignof(struct record);
	size_t off = (n + align - 1) / align * align;
	uint8_t *block = malloc(off + sizeof(struct record));
	if (!block)
		return NULL;
	struct record *r = (struct record *)(block + off);
	*r = (struct record) {.kind = kind, .data = block, .n = n};
	return r;
}

int record_encode(const struct record_call *call, struct record **out)
{
	struct sizes sizes;
	uint64_t suspicion;
	measure(&sizes, call);
	size_t n = call_size(call, &sizes, &suspicion);
	if (suspicion)
		n = call_size_careful(call, &sizes);
	if (n > RECORD_MAX_BYTES)
		return -E2BIG;
	struct record *r = record_block_new(RECORD_CALL, n);
	if (!r)
		return -ENOMEM;
	if (suspicion)
		call_write_careful(call, &sizes, r);
	else
		call_write(call, &sizes, r);
	r->number = call->record_number;
	r->last_part = call->last_part;
	r->unix_ns = call_time(call);
	*out = r;
	return 0;
}

void record_free(struct record *r)
{
	if (r)
		free(r->data);
}
