/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/recorder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/recorder_state.h"
#include "capture/remains.h"

enum { ATTRIBUTES_MAX = CALL_ATTRIBUTES_MAX + 16 };

/* Until others are set: none but the fallback. */
static int rules_begin(struct recorder *r)
{
	struct sample_rule rest;
	sample_rule_rest(&rest, r->cfg.sample);
	struct sampler *s = sampler_new(NULL, 0, &rest, r->cfg.seed);
	int err = s ? recorder_set_rules(r, &s) : -ENOMEM;
	sampler_free(s);
	return err;
}

struct recorder *recorder_new(const struct recorder_cfg *cfg)
{
	struct recorder *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->cfg = *cfg;
	snprintf(r->prefix, sizeof(r->prefix), "%s-", cfg->capture.instance);
	recorder_set_live(r, &(struct recorder_live) {cfg->limit_calls, cfg->limit_bytes, 1,
						      cfg->capture.config_unix_ns,
						      cfg->capture.config_hash, cfg->proxy_ports,
						      cfg->n_proxy_ports});
	if (rules_begin(r) == 0)
		return r;
	recorder_free(r);
	return NULL;
}

void recorder_set_live(struct recorder *r, const struct recorder_live *live)
{
	struct recorder_version *v = &r->versions[live->config_version % VERSIONS];
	*v = (struct recorder_version) {live->config_version, live->config_unix_ns, ""};
	snprintf(v->hash, sizeof(v->hash), "%s", live->config_hash ? live->config_hash : "");
	r->version = live->config_version;
	r->cfg.limit_calls = live->limit_calls;
	r->cfg.limit_bytes = live->limit_bytes;
	r->cfg.proxy_ports = live->proxy_ports;
	r->cfg.n_proxy_ports = live->n_proxy_ports;
}

void recorder_free(struct recorder *r)
{
	if (!r)
		return;
	recorder_rules_fini(r);
	free(r->stream);
	free(r);
}

void recorder_set_clock(struct recorder *r, int64_t clock_offset_ns)
{
	r->cfg.clock_offset_ns = clock_offset_ns;
}

void recorder_set_sink(struct recorder *r, const struct sink_ops *ops, struct sink *sink)
{
	r->cfg.ops = ops;
	r->cfg.sink = sink;
}

void recorder_set_attach(struct recorder *r, const char *name)
{
	r->cfg.capture.attach = name;
}

static void count_protocol(struct recorder *r, const char *name)
{
	for (int i = 0; i < PROTOCOLS_MAX; i++) {
		if (!r->protocols[i].name)
			r->protocols[i].name = name;
		if (r->protocols[i].name == name || strcmp(r->protocols[i].name, name) == 0) {
			r->protocols[i].n++;
			return;
		}
	}
}

void recorder_set_remains(struct recorder *r, struct remains *m)
{
	r->cfg.remains = m;
}

void recorder_report(void *ctx, enum record_kind kind, uint64_t number, bool last_part,
		     const char *exit)
{
	struct recorder *r = ctx;
	if (kind == RECORD_LEDGER)
		return;
	r->in_sink--;
	remains_settled(r->cfg.remains, number, exit);
	if (exit) {
		recorder_lost(r, number, exit);
	} else {
		r->delivered++;
		r->calls_delivered += last_part;
	}
}

/* A part after the first names only its connection. */
static void names_fill(struct record_call *out, const struct conn *c, bool first)
{
	out->connection_id = c->names->id;
	if (!first)
		return;
	out->client = c->names->client;
	out->server = c->names->server;
	out->original_destination = c->names->original_destination;
	if (c->processes) {
		out->client_process = bytes_str(c->processes);
		out->server_process = bytes_str(c->processes + out->client_process.n + 1);
	}
}

static uint64_t unix_ns(const struct recorder *r, uint64_t ns)
{
	return ns + (uint64_t)r->cfg.clock_offset_ns;
}

static struct record_message message_of(const struct recorder *r, const struct call *c,
					enum dir dir, bool last)
{
	const struct call_message *m = &c->msg[dir];
	struct record_message out = {0};
	out.present = m->started && (last || !m->head_sent || (m->body.n && !c->streamed));
	if (!out.present)
		return out;
	if (!m->head_sent) {
		out.headers = m->headers;
		out.n_headers = m->n_headers;
		out.start_unix_ns = unix_ns(r, m->start_ns);
	}
	if (!c->streamed)
		out.body = buf_bytes(&m->body);
	if (last) {
		out.end_unix_ns = unix_ns(r, m->end_ns);
		out.trailers = m->trailers;
		out.n_trailers = m->n_trailers;
		out.body_bytes = m->body_bytes;
		out.wire_bytes = m->wire_bytes;
	}
	return out;
}

/* What came of a message that is not complete; its length is told with its last piece only, which may be empty. */
static bool stream_rest(const struct recorder *r, const struct call *c, enum dir dir, bool last,
			struct record_stream_message *out)
{
	const struct call_message *m = &c->msg[dir];
	size_t off = c->message_off[dir];
	if (m->body.n == off && !(last && m->body_bytes > c->message_start[dir]))
		return false;
	*out = (struct record_stream_message) {
		dir, unix_ns(r, m->end_ns), bytes_from(buf_bytes(&m->body), off),
		last ? m->body_bytes - c->message_start[dir] : 0, false};
	return true;
}

static int stream_fill(struct recorder *r, const struct call *c, bool last, struct record_call *out)
{
	if (c->n_stream + 2 > r->cap_stream) {
		size_t cap = 2 * (c->n_stream + 2);
		void *p = realloc(r->stream, cap * sizeof(*r->stream));
		if (!p)
			return -ENOMEM;
		r->stream = p;
		r->cap_stream = cap;
	}
	size_t n = 0;
	for (; n < c->n_stream; n++) {
		const struct call_stream_message *m = &c->stream[n];
		struct bytes body = bytes_from(buf_bytes(&c->msg[m->dir].body), m->off);
		r->stream[n] = (struct record_stream_message) {m->dir, unix_ns(r, m->ns),
							       bytes_head(body, m->n),
							       m->body_bytes, m->compressed};
	}
	n += stream_rest(r, c, DIR_REQUEST, last, &r->stream[n]);
	n += stream_rest(r, c, DIR_RESPONSE, last, &r->stream[n]);
	out->stream = r->stream;
	out->n_stream = n;
	return 0;
}

enum { NUMBER_MAX = 20 };

static struct bytes number_text(char text[NUMBER_MAX], uint64_t v)
{
	size_t at = NUMBER_MAX;
	do
		text[--at] = (char)('0' + v % 10);
	while (v /= 10);
	return bytes_of(text + at, NUMBER_MAX - at);
}

/* In part 0: seen_index, the call's own, what a PROXY preamble said. In the last: interim, and what is new. */
static size_t attributes_fill(const struct call *c, bool last, struct attribute *out,
			      char number[NUMBER_MAX])
{
	bool first = c->part == 0;
	size_t n = 0;
	if (first)
		out[n++] = (struct attribute) {"seen_index", number_text(number, c->seen_index)};
	for (size_t i = first ? 0 : c->n_attributes_sent; i < c->n_attributes; i++)
		out[n++] = c->attributes[i];
	if (last && c->interim[0])
		out[n++] = (struct attribute) {"interim", bytes_str(c->interim)};
	for (size_t i = 0; first && i < c->conn->n_attributes && n < ATTRIBUTES_MAX; i++)
		out[n++] = c->conn->attributes[i];
	return n;
}

/* May there be, or have been, more messages of this direction than were seen? */
static bool more_messages(const struct call *c, enum dir dir, bool last)
{
	const struct call_message *m = &c->msg[dir];
	if (!m->done && !last && !c->ending)
		return true;
	/* of one that ended: its holes may have held some when it has none; behind one, what they held is counted */
	return c->flags & (FLAG_GAP | FLAG_EVICTED | FLAG_CAPTURE_ENDED) &&
	       (!m->done || !c->n_messages[dir]);
}

/* The kind of a call, or CALL_STREAM where messages that were not seen decide it */
static enum call_type type_of(const struct call *c, bool last)
{
	if (c->type != CALL_UNARY || !c->messages)
		return c->type;
	bool many[2];
	for (int d = 0; d < 2; d++) {
		many[d] = call_messages(c, d) > 1;
		if (!many[d] && more_messages(c, d, last))
			return CALL_STREAM;
	}
	if (many[0])
		return many[1] ? CALL_BIDI_STREAM : CALL_CLIENT_STREAM;
	return many[1] ? CALL_SERVER_STREAM : CALL_UNARY;
}

/* Hands it over; a full sink gets one turn of its own first. */
static void submit(struct recorder *r, struct record *rec)
{
	const char *exit = "queue_full";
	uint64_t number = rec->number;
	r->in_sink++;
	int err = r->cfg.ops->submit(r->cfg.sink, &rec, &exit);
	for (unsigned attempt = 0;
	     err == -EAGAIN && r->cfg.full && r->cfg.full(r->cfg.ctx, attempt); attempt++)
		err = r->cfg.ops->submit(r->cfg.sink, &rec, &exit);
	if (err == 0)
		return;
	record_free(rec);
	r->in_sink--;
	exit = exit ? exit : "queue_full";
	remains_settled(r->cfg.remains, number, exit);
	recorder_lost(r, number, exit);
}

static bool limit_reached(const struct recorder *r)
{
	return (r->cfg.limit_calls && r->calls_recorded >= r->cfg.limit_calls) ||
	       (r->cfg.limit_bytes && r->bytes >= r->cfg.limit_bytes);
}

/* No further call may begin. */
static bool limit_closed(const struct recorder *r)
{
	return limit_reached(r) || (r->cfg.limit_calls && r->calls_begun >= r->cfg.limit_calls);
}

/* Is there a record to make of this part? Otherwise the call is counted where it went. */
static bool part_wanted(struct recorder *r, struct call *c, bool last)
{
	r->calls_in += last;
	recorder_decide(c);
	if (c->sampled && c->part == 0 && limit_closed(r)) {
		c->sampled = false;
		c->over_limit = true;
	}
	if (!c->sampled)
		*recorder_rule_exit(r, c) += last;
	return c->sampled;
}

/* Under which configuration the call opened; of one that is forgotten only the number. */
static void capture_fill(const struct recorder *r, const struct call *c, struct record_capture *out)
{
	const struct recorder_version *v = &r->versions[c->config_version % VERSIONS];
	*out = r->cfg.capture;
	out->config_version = c->config_version;
	out->config_unix_ns = v->number == c->config_version ? v->unix_ns : 0;
	out->config_hash = v->number == c->config_version ? v->hash : "";
}

/* What only the first part tells */
static void first_fill(const struct call *c, bool last, struct record_call *out)
{
	out->protocol = c->protocol;
	out->transport = c->transport;
	out->service = c->service;
	out->method = c->method;
	out->path = c->path;
	out->type = type_of(c, last);
	out->trace_id = c->trace_id;
	out->span_id = c->span_id;
	out->weight = c->weight;
	out->rule = bytes_str(c->rule);
}

/* Encodes the part. Numbers are used up only when it was made. */
static struct record *part_encode(struct recorder *r, struct call *c, bool last)
{
	struct conn *conn = c->conn;
	struct attribute attributes[ATTRIBUTES_MAX];
	char number[NUMBER_MAX];
	struct record_capture capture;
	struct record_call out = {.part = c->part, .last_part = last, .flags = c->flags};
	if ((!conn->names && !recorder_names(r, conn)) ||
	    (c->streamed && stream_fill(r, c, last, &out) < 0))
		return NULL;
	names_fill(&out, conn, c->part == 0);
	out.sequence = c->sequence ? c->sequence : conn->sequence + 1;
	out.record_number = r->made + 1;
	out.request = message_of(r, c, DIR_REQUEST, last);
	out.response = message_of(r, c, DIR_RESPONSE, last);
	if (c->part == 0) {
		first_fill(c, last, &out);
		capture_fill(r, c, &capture);
		out.capture = &capture;
	}
	if (last || c->part == 0) {
		out.status = c->status;
		out.outcome = last ? c->outcome : OUTCOME_UNKNOWN;
		out.status_text = c->status_text;
		out.attributes = attributes;
		out.n_attributes = attributes_fill(c, last, attributes, number);
	}
	struct record *rec = NULL;
	if (record_encode(&out, &rec) < 0)
		return NULL;
	conn->sequence = out.sequence > conn->sequence ? out.sequence : conn->sequence;
	c->sequence = out.sequence;
	if (last || c->part == 0)
		c->n_attributes_sent = c->n_attributes;
	r->made++;
	remains_made(r->cfg.remains, r->made);
	r->bytes += rec->n;
	uint64_t start = c->msg[0].started ? c->msg[0].start_ns : c->msg[1].start_ns;
	rec->unix_ns = unix_ns(r, start);
	return rec;
}

/* True: a record was made. */
static bool part_make(struct recorder *r, struct call *c, bool last)
{
	if (!part_wanted(r, c, last))
		return false;
	struct record *rec = part_encode(r, c, last);
	if (!rec) {
		r->encode_failed += last;
		return false;
	}
	r->calls_begun += c->part == 0;
	c->part++;
	recorder_rule_made(c, rec->n, last);
	if (last) {
		r->calls_recorded++;
		count_protocol(r, c->protocol);
	}
	submit(r, rec);
	return true;
}

static bool on_part(void *ctx, struct call *c, bool last)
{
	bool made = part_make(ctx, c, last);
	if (last)
		recorder_rule_done(ctx, c, made);
	return made;
}

struct call_sink recorder_calls(struct recorder *r)
{
	return (struct call_sink) {on_part, recorder_sample, r};
}

static const char *const out_names[SAMPLE_OUTS] = {"sampled_out", "rule_dropped", "rate_limited"};

size_t recorder_ledger(const struct recorder *r, struct ledger_stage *out, size_t max)
{
	if (max < 2)
		return 0;
	out[0] = (struct ledger_stage) {
		.name = "sample", .unit = "calls", .in = r->calls_in, .made = r->made};
	ledger_exit_add(&out[0], "recorded", r->calls_recorded, false);
	for (int i = 0; i < SAMPLE_OUTS; i++)
		ledger_exit_add(&out[0], out_names[i], r->sampled_out[i], false);
	ledger_exit_add(&out[0], "undone", r->undone, false);
	ledger_exit_add(&out[0], "over_limit", r->over_limit, false);
	ledger_exit_add(&out[0], "encode_failed", r->encode_failed, true);
	out[1] = (struct ledger_stage) {
		.name = "records", .unit = "records", .in = r->made, .held = r->in_sink};
	ledger_exit_add(&out[1], "delivered", r->delivered, false);
	for (int i = 0; i < EXITS_MAX && r->exits[i].name; i++)
		ledger_exit_add(&out[1], r->exits[i].name, r->exits[i].n,
				strcmp(r->exits[i].name, "spooled") != 0);
	return 2;
}

struct recorder_totals recorder_totals(const struct recorder *r)
{
	return (struct recorder_totals) {.calls = r->calls_recorded,
					 .bytes = r->bytes,
					 .records = r->made,
					 .delivered = r->delivered,
					 .calls_delivered = r->calls_delivered,
					 .lost = r->lost,
					 .n_lost = r->n_lost,
					 .limit_reached = limit_reached(r),
					 .rules = r->rule,
					 .n_rules = r->n_rules};
}

bool recorder_protocol(const struct recorder *r, size_t i, const char **name, uint64_t *calls)
{
	if (i >= PROTOCOLS_MAX || !r->protocols[i].name)
		return false;
	*name = r->protocols[i].name;
	*calls = r->protocols[i].n;
	return true;
}
