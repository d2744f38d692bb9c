/* SPDX-License-Identifier: Apache-2.0 */
#include "analyze/jsonl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "record.pb-c.h"
#include "sink/utf8.h"

enum { ATTRIBUTES_UNIQUE_MAX = 1024 };

/* Length of s up to what must be escaped */
static size_t plain_run(struct bytes s)
{
	size_t n = 0, len;
	uint32_t c;
	while (n < s.n) {
		uint8_t b = s.p[n];
		if (b < 0x80) {
			if (b < 0x20 || b == '"' || b == '\\' || b == 0x7f)
				return n;
			n++;
			continue;
		}
		len = utf8_next(bytes_from(s, n), &c);
		if (len == 0 || utf8_is_control(c) || c == 0x2028 || c == 0x2029)
			return n;
		n += len;
	}
	return n;
}

static void put_escape(struct text *out, uint32_t c)
{
	static const char shorts[] = "\b"
				     "b"
				     "\t"
				     "t"
				     "\n"
				     "n"
				     "\f"
				     "f"
				     "\r"
				     "r"
				     "\"\""
				     "\\\\";
	for (size_t i = 0; c && i + 1 < sizeof(shorts); i += 2) {
		if ((uint32_t)shorts[i] != c)
			continue;
		char two[2] = {'\\', shorts[i + 1]};
		text_put(out, two, 2);
		return;
	}
	text_printf(out, "\\u%04x", (unsigned)c);
}

void jsonl_string(struct text *out, struct bytes s)
{
	text_put(out, "\"", 1);
	while (s.n) {
		size_t n = plain_run(s);
		uint32_t c;
		text_put(out, s.p, n);
		s = bytes_from(s, n);
		if (!s.n)
			break;
		n = utf8_next(s, &c);
		put_escape(out, n ? c : 0xfffd);
		s = bytes_from(s, n ? n : 1);
	}
	text_put(out, "\"", 1);
}

bool jsonl_is_text(struct bytes s)
{
	while (s.n) {
		uint32_t c;
		size_t n = utf8_next(s, &c);
		if (n == 0 || (utf8_is_control(c) && c != '\t' && c != '\n' && c != '\r'))
			return false;
		s = bytes_from(s, n);
	}
	return true;
}

static void put_base64(struct text *out, struct bytes b)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	text_put(out, "\"", 1);
	for (; b.n; b = bytes_from(b, 3)) {
		uint32_t v = (uint32_t)b.p[0] << 16 | (b.n > 1 ? (uint32_t)b.p[1] << 8 : 0) |
			     (b.n > 2 ? b.p[2] : 0);
		char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
				b.n > 1 ? alphabet[v >> 6 & 63] : '=',
				b.n > 2 ? alphabet[v & 63] : '='};
		text_put(out, four, 4);
	}
	text_put(out, "\"", 1);
}

/* The comma where one is due: not after an opening bracket. */
static void put_name(struct text *out, const char *name)
{
	char last = out->n ? out->p[out->n - 1] : '{';
	if (last != '{' && last != '[')
		text_put(out, ",", 1);
	text_put(out, "\"", 1);
	text_put_str(out, name);
	text_put(out, "\":", 2);
}

static void put_comma(struct text *out, size_t i)
{
	if (i)
		text_put(out, ",", 1);
}

static void put_text(struct text *out, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	put_name(out, name);
	jsonl_string(out, bytes_str(value));
}

static void put_always(struct text *out, const char *name, uint64_t v)
{
	char digits[20], *d = digits + sizeof(digits);
	do
		*--d = (char)('0' + v % 10);
	while (v /= 10);
	put_name(out, name);
	text_put(out, d, (size_t)(digits + sizeof(digits) - d));
}

static void put_number(struct text *out, const char *name, uint64_t v)
{
	if (v)
		put_always(out, name, v);
}

static void put_bool(struct text *out, const char *name, bool v)
{
	put_name(out, name);
	text_put_str(out, v ? "true" : "false");
}

/* The shortest form that reads back as the same number */
static void put_double(struct text *out, const char *name, double v)
{
	char s[40];
	if (v == 0 || !isfinite(v))
		return;
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(s, sizeof(s), "%.*g", digits, v);
		if (strtod(s, NULL) == v)
			break;
	}
	put_name(out, name);
	text_put_str(out, s);
}

static void put_body(struct text *out, ProtobufCBinaryData body, enum jsonl_bodies how)
{
	struct bytes b = bytes_of(body.data, body.len);
	if (how == JSONL_BODIES_NONE || !b.n)
		return;
	bool text = how == JSONL_BODIES_AUTO && jsonl_is_text(b);
	put_name(out, text ? "body" : "body_base64");
	if (text)
		jsonl_string(out, b);
	else
		put_base64(out, b);
}

static void put_headers(struct text *out, const char *name, Sidetap__V1__Header *const *h, size_t n)
{
	static const char *const provenance[] = {"LITERAL", "OBSERVED", "UNKNOWN"};
	if (!n)
		return;
	put_name(out, name);
	text_put(out, "[", 1);
	for (size_t i = 0; i < n; i++) {
		struct bytes value = bytes_of(h[i]->value.data, h[i]->value.len);
		bool text = jsonl_is_text(value);
		put_comma(out, i);
		text_put(out, "{", 1);
		put_name(out, "name");
		jsonl_string(out, bytes_str(h[i]->name));
		put_name(out, text ? "value" : "value_base64");
		if (text)
			jsonl_string(out, value);
		else
			put_base64(out, value);
		put_text(out, "provenance",
			 provenance[(unsigned)h[i]->provenance < 3 ? h[i]->provenance : 2]);
		text_put(out, "}", 1);
	}
	text_put(out, "]", 1);
}

static void put_message(struct text *out, const char *name, const Sidetap__V1__Message *m,
			enum jsonl_bodies how)
{
	if (!m)
		return;
	put_name(out, name);
	text_put(out, "{", 1);
	put_number(out, "start_unix_ns", m->start_unix_ns);
	put_number(out, "end_unix_ns", m->end_unix_ns);
	put_headers(out, "headers", m->headers, m->n_headers);
	put_headers(out, "trailers", m->trailers, m->n_trailers);
	put_body(out, m->body, how);
	put_number(out, "body_bytes", m->body_bytes);
	put_number(out, "wire_bytes", m->wire_bytes);
	text_put(out, "}", 1);
}

static void put_stream(struct text *out, const Sidetap__V1__Call *c, enum jsonl_bodies how)
{
	if (!c->n_stream)
		return;
	put_name(out, "stream");
	text_put(out, "[", 1);
	for (size_t i = 0; i < c->n_stream; i++) {
		const Sidetap__V1__StreamMessage *m = c->stream[i];
		put_comma(out, i);
		text_put(out, "{", 1);
		put_text(out, "direction",
			 m->direction == SIDETAP__V1__STREAM_MESSAGE__DIRECTION__REQUEST
				 ? "REQUEST"
				 : "RESPONSE");
		put_number(out, "unix_ns", m->unix_ns);
		put_body(out, m->body, how);
		put_number(out, "body_bytes", m->body_bytes);
		if (m->compressed)
			put_bool(out, "compressed", true);
		text_put(out, "}", 1);
	}
	text_put(out, "]", 1);
}

static void put_flags(struct text *out, const Sidetap__V1__Call *c)
{
	if (!c->n_flags)
		return;
	put_name(out, "flags");
	text_put(out, "[", 1);
	for (size_t i = 0; i < c->n_flags; i++) {
		put_comma(out, i);
		jsonl_string(out, bytes_str(c->flags[i]));
	}
	text_put(out, "]", 1);
}

static void put_capture(struct text *out, const Sidetap__V1__Capture *c)
{
	if (!c)
		return;
	put_name(out, "capture");
	text_put(out, "{", 1);
	put_text(out, "instance", c->instance);
	put_text(out, "version", c->version);
	put_text(out, "attach", c->attach);
	put_text(out, "host", c->host);
	put_text(out, "pod", c->pod);
	put_text(out, "namespace", c->namespace_);
	put_text(out, "container", c->container);
	put_text(out, "service_name", c->service_name);
	put_text(out, "config_hash", c->config_hash);
	put_number(out, "config_version", c->config_version);
	put_number(out, "config_unix_ns", c->config_unix_ns);
	text_put(out, "}", 1);
}

/* The last of equal keys counts, as in protobuf's maps. */
static bool comes_again(const Sidetap__V1__Call *c, size_t i)
{
	if (c->n_attributes > ATTRIBUTES_UNIQUE_MAX)
		return false;
	for (size_t k = i + 1; k < c->n_attributes; k++)
		if (strcmp(c->attributes[i]->key, c->attributes[k]->key) == 0)
			return true;
	return false;
}

static void put_attributes(struct text *out, const Sidetap__V1__Call *c)
{
	if (!c->n_attributes)
		return;
	put_name(out, "attributes");
	text_put(out, "{", 1);
	bool first = true;
	for (size_t i = 0; i < c->n_attributes; i++) {
		if (comes_again(c, i))
			continue;
		put_comma(out, !first);
		first = false;
		jsonl_string(out, bytes_str(c->attributes[i]->key));
		text_put(out, ":", 1);
		jsonl_string(out, bytes_str(c->attributes[i]->value));
	}
	text_put(out, "}", 1);
}

void jsonl_call(struct text *out, const Sidetap__V1__Call *c, enum jsonl_bodies bodies)
{
	text_put(out, "{", 1);
	put_text(out, "id", c->id);
	put_text(out, "connection_id", c->connection_id);
	put_number(out, "sequence", c->sequence);
	put_number(out, "record_number", c->record_number);
	put_always(out, "part", c->part);
	put_bool(out, "last_part", c->last_part);
	put_text(out, "protocol", c->protocol);
	put_text(out, "transport", c->transport);
	put_text(out, "service", c->service);
	put_text(out, "method", c->method);
	put_text(out, "path", c->path);
	put_text(out, "call_type", c->call_type);
	put_name(out, "status_code");
	text_printf(out, "%d", c->status_code);
	put_text(out, "outcome", record_outcome_name((enum outcome)c->outcome));
	put_text(out, "status_text", c->status_text);
	put_message(out, "request", c->request, bodies);
	put_message(out, "response", c->response, bodies);
	put_stream(out, c, bodies);
	put_text(out, "client", c->client);
	put_text(out, "server", c->server);
	put_text(out, "original_destination", c->original_destination);
	put_text(out, "client_process", c->client_process);
	put_text(out, "server_process", c->server_process);
	put_text(out, "trace_id", c->trace_id);
	put_text(out, "span_id", c->span_id);
	put_double(out, "weight", c->weight);
	put_text(out, "rule", c->rule);
	put_flags(out, c);
	put_capture(out, c->capture);
	put_attributes(out, c);
	text_put(out, "}\n", 2);
}
