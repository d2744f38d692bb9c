/* SPDX-License-Identifier: Apache-2.0 */
#include "sink/print_line.h"

#include <time.h>

#include "record.pb-c.h"

static void put_escaped(struct text *out, const char *s)
{
	text_escape(out, bytes_str(s));
}

static uint64_t start_ns(const Sidetap__V1__Call *c)
{
	if (c->request && c->request->start_unix_ns)
		return c->request->start_unix_ns;
	return c->response ? c->response->start_unix_ns : 0;
}

static uint64_t end_ns(const Sidetap__V1__Call *c)
{
	uint64_t q = c->request ? c->request->end_unix_ns : 0,
		 a = c->response ? c->response->end_unix_ns : 0;
	return a > q ? a : q;
}

static void put_time(struct text *out, uint64_t ns)
{
	time_t s = (time_t)(ns / 1000000000);
	struct tm tm;
	if (ns == 0 || !localtime_r(&s, &tm))
		text_put_str(out, "--:--:--.---");
	else
		text_printf(out, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec,
			    (unsigned)(ns / 1000000 % 1000));
}

static void put_duration(struct text *out, uint64_t from, uint64_t to)
{
	double ns = (double)(to - from);
	if (from == 0 || to < from)
		text_put_str(out, "-");
	else if (ns < 1e6)
		text_printf(out, "%.0fus", ns / 1e3);
	else if (ns < 1e9)
		text_printf(out, "%.1fms", ns / 1e6);
	else
		text_printf(out, "%.2fs", ns / 1e9);
}

/* HTTP: "METHOD service path"; RPC: "service method" */
static void put_what(struct text *out, const Sidetap__V1__Call *c)
{
	bool http = c->path[0] && strcmp(c->protocol, "grpc") != 0;
	const char *words[3] = {http ? c->method : c->service, http ? c->service : c->method,
				http ? c->path : ""};
	for (int i = 0; i < 3; i++) {
		if (!words[i][0])
			continue;
		text_put(out, " ", 1);
		put_escaped(out, words[i]);
	}
}

/* What a ClientHello said in the clear: "tls example.com h2" */
static void put_tls(struct text *out, const Sidetap__V1__Call *c)
{
	for (size_t i = 0; i < c->n_attributes; i++) {
		const char *name = c->attributes[i]->key;
		if (strncmp(name, "tls", 3) != 0)
			continue;
		text_put(out, " ", 1);
		put_escaped(out, strcmp(name, "tls") == 0 ? name : c->attributes[i]->value);
	}
}

static void put_status(struct text *out, const Sidetap__V1__Call *c, bool has_status, bool colour)
{
	bool ok = c->outcome == SIDETAP__V1__CALL__OUTCOME__OK;
	bool client = c->outcome == SIDETAP__V1__CALL__OUTCOME__CLIENT_ERROR;
	if (colour)
		text_put_str(out, ok ? "\033[32m" : client ? "\033[33m" : "\033[31m");
	if (c->status_code == 0 &&
	    (!has_status || c->outcome == SIDETAP__V1__CALL__OUTCOME__UNKNOWN ||
	     c->outcome >= SIDETAP__V1__CALL__OUTCOME__NO_RESPONSE))
		text_put_str(out, "-");
	else
		text_printf(out, "%d", c->status_code);
	if (!ok)
		text_printf(out, " %s", record_outcome_name((enum outcome)c->outcome));
	if (colour)
		text_put_str(out, "\033[0m");
}

static uint64_t body_bytes(const Sidetap__V1__Call *first, const Sidetap__V1__Call *last,
			   bool response)
{
	const Sidetap__V1__Message *a = response ? first->response : first->request;
	const Sidetap__V1__Message *b = response ? last->response : last->request;
	return b && b->body_bytes ? b->body_bytes : a ? a->body_bytes : 0;
}

static void put_headers(struct text *out, const Sidetap__V1__Message *m, const char *mark)
{
	static const char *const provenance[] = {"", "  (observed)", "  (unknown)"};
	for (size_t i = 0; i < m->n_headers + m->n_trailers; i++) {
		const Sidetap__V1__Header *h =
			i < m->n_headers ? m->headers[i] : m->trailers[i - m->n_headers];
		text_printf(out, "    %s ", mark);
		put_escaped(out, h->name);
		text_put_str(out, ": ");
		text_escape(out, bytes_of(h->value.data, h->value.len));
		text_put_str(out, (unsigned)h->provenance < 3 ? provenance[h->provenance] : "");
		text_put(out, "\n", 1);
	}
}

static void put_body(struct text *out, struct bytes body, const char *mark)
{
	if (!body.n)
		return;
	text_printf(out, "    %s| ", mark);
	text_escape(out, body);
	text_put(out, "\n", 1);
}

static void put_message(struct text *out, const Sidetap__V1__Message *m, const char *mark,
			const struct print_style *style)
{
	if (!m)
		return;
	if (style->headers)
		put_headers(out, m, mark);
	if (style->bodies)
		put_body(out, bytes_of(m->body.data, m->body.len), mark);
}

static void put_details(struct text *out, const Sidetap__V1__Call *c,
			const struct print_style *style)
{
	put_message(out, c->request, ">", style);
	for (size_t i = 0; style->bodies && i < c->n_stream; i++) {
		const Sidetap__V1__StreamMessage *m = c->stream[i];
		put_body(out, bytes_of(m->body.data, m->body.len),
			 m->direction == SIDETAP__V1__STREAM_MESSAGE__DIRECTION__REQUEST ? ">"
											 : "<");
	}
	put_message(out, c->response, "<", style);
}

void print_line(struct text *out, const Sidetap__V1__Call *first, const Sidetap__V1__Call *last,
		const struct print_style *style)
{
	put_time(out, start_ns(first));
	text_put(out, " ", 1);
	put_escaped(out, first->client[0] ? first->client : "?");
	text_put_str(out, " -> ");
	put_escaped(out, first->server[0] ? first->server : "?");
	text_put(out, " ", 1);
	put_escaped(out, first->protocol);
	put_tls(out, first);
	put_what(out, first);
	text_put(out, " ", 1);
	put_status(out, last, strcmp(first->protocol, "opaque") != 0, style->colour);
	text_put(out, " ", 1);
	put_duration(out, start_ns(first), end_ns(last));
	text_printf(out, " %lluB/%lluB", (unsigned long long)body_bytes(first, last, false),
		    (unsigned long long)body_bytes(first, last, true));
	for (size_t i = 0; i < last->n_flags; i++) {
		text_put_str(out, i ? "," : " [");
		put_escaped(out, last->flags[i]);
	}
	text_put_str(out, last->n_flags ? "]\n" : "\n");
	if (style->headers || style->bodies)
		put_details(out, first, style);
	if (first != last && (style->headers || style->bodies))
		put_details(out, last, style);
}
