/* SPDX-License-Identifier: Apache-2.0 */
/* The record's writer against protobuf-c's reader and against protoc, for random calls and ledgers.
 * */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "record.pb-c.h"
#include "sink/record.h"
#include "sink/utf8.h"

enum { HEADERS = 6, STREAM = 4, TEXT = 40 };

struct random_call {
	struct record_call call;
	struct header headers[4][HEADERS];
	struct record_stream_message stream[STREAM];
	struct attribute attribute;
	struct record_capture capture;
	char pool[8192];
	size_t used;
};

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/* Text that needs no escaping, two thirds of the time not empty */
static struct bytes text(struct random_call *r)
{
	static const char *const odd[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\t",
					  "\x7f"};
	size_t n = draw(3) ? draw(TEXT) : 0, start = r->used;
	while (r->used - start < n) {
		if (draw(8) == 0) {
			const char *o = odd[draw(5)];
			memcpy(r->pool + r->used, o, strlen(o));
			r->used += strlen(o);
		} else {
			r->pool[r->used++] = (char)(' ' + draw(95));
		}
	}
	return bytes_of(r->pool + start, r->used - start);
}

static const char *text_z(struct random_call *r)
{
	struct bytes b = text(r);
	r->pool[r->used++] = 0;
	return (const char *)b.p;
}

static struct bytes raw(struct random_call *r)
{
	size_t n = draw(3) ? draw(TEXT) : 0, start = r->used;
	while (r->used - start < n)
		r->pool[r->used++] = (char)draw(256);
	return bytes_of(r->pool + start, n);
}

static uint64_t number(void)
{
	return draw(3) ? draw(UINT64_C(1) << draw(53)) : draw(2) ? UINT64_MAX : 0;
}

static void random_headers(struct random_call *r, struct header *h, size_t n)
{
	for (; n; n--, h++)
		*h = (struct header) {text(r), raw(r), (enum provenance)draw(3)};
}

static void random_message(struct random_call *r, struct record_message *m,
			   struct header (*h)[HEADERS])
{
	*m = (struct record_message) {.present = draw(4) != 0,
				      number(),
				      number(),
				      h[0],
				      draw(HEADERS),
				      h[1],
				      draw(HEADERS),
				      raw(r),
				      number(),
				      number()};
	random_headers(r, h[0], m->n_headers);
	random_headers(r, h[1], m->n_trailers);
}

static void random_call(struct random_call *r)
{
	struct record_call *c = &r->call;
	memset(r, 0, sizeof(*r));
	c->connection_id = text(r);
	c->sequence = number();
	c->record_number = number();
	c->part = draw(2) ? 0 : (uint32_t)draw(UINT32_MAX);
	c->last_part = draw(2);
	c->protocol = text_z(r);
	c->transport = text_z(r);
	c->service = text(r);
	c->method = text(r);
	c->path = text(r);
	c->type = (enum call_type)draw(CALL_STREAM + 1);
	c->status = draw(3) ? (int32_t)draw(UINT32_MAX) : 0;
	c->outcome = (enum outcome)draw(OUTCOME_ABORTED + 1);
	c->status_text = text(r);
	random_message(r, &c->request, &r->headers[0]);
	random_message(r, &c->response, &r->headers[2]);
	c->stream = r->stream;
	c->n_stream = draw(STREAM);
	for (size_t i = 0; i < c->n_stream; i++)
		r->stream[i] = (struct record_stream_message) {(enum dir)draw(2), number(), raw(r),
							       number(), draw(2)};
	c->client = text(r);
	c->server = text(r);
	c->original_destination = text(r);
	c->client_process = text(r);
	c->server_process = text(r);
	c->trace_id = text(r);
	c->span_id = text(r);
	c->weight = draw(2) ? (double)draw(1000000) / 7 : 0;
	c->rule = text(r);
	c->flags = (unsigned)draw(1 << FLAG_N);
	r->capture = (struct record_capture) {text_z(r), text_z(r), text_z(r), text_z(r),
					      text_z(r), text_z(r), text_z(r), text_z(r),
					      text_z(r), number(),  number()};
	c->capture = draw(2) ? &r->capture : NULL;
	/* protoc writes empty keys and values of a map, we leave them out: not the same bytes */
	r->attribute = (struct attribute) {"seen_index", BYTES("12")};
	c->attributes = &r->attribute;
	c->n_attributes = draw(2);
	assert_true(r->used < sizeof(r->pool));
}

static void same_text(const char *got, struct bytes want)
{
	assert_int_equal(strlen(got), want.n);
	assert_memory_equal(got, want.n ? want.p : (const uint8_t *)"", want.n);
}

static void same_z(const char *got, const char *want)
{
	assert_string_equal(got, want ? want : "");
}

static void same_raw(ProtobufCBinaryData got, struct bytes want)
{
	assert_int_equal(got.len, want.n);
	if (want.n)
		assert_memory_equal(got.data, want.p, want.n);
}

static void same_headers(Sidetap__V1__Header **got, size_t n_got, const struct header *want,
			 size_t n)
{
	assert_int_equal(n_got, n);
	for (size_t i = 0; i < n; i++) {
		same_text(got[i]->name, want[i].name);
		same_raw(got[i]->value, want[i].value);
		assert_int_equal(got[i]->provenance, want[i].provenance);
	}
}

static void same_message(const Sidetap__V1__Message *got, const struct record_message *want)
{
	assert_int_equal(got != NULL, want->present);
	if (!got)
		return;
	assert_true(got->start_unix_ns == want->start_unix_ns);
	assert_true(got->end_unix_ns == want->end_unix_ns);
	same_headers(got->headers, got->n_headers, want->headers, want->n_headers);
	same_headers(got->trailers, got->n_trailers, want->trailers, want->n_trailers);
	same_raw(got->body, want->body);
	assert_true(got->body_bytes == want->body_bytes);
	assert_true(got->wire_bytes == want->wire_bytes);
}

static void same_flags(const Sidetap__V1__Call *got, unsigned flags)
{
	size_t n = 0;
	for (unsigned bit = 0; bit < FLAG_N; bit++)
		if (flags & 1u << bit)
			assert_string_equal(got->flags[n++], record_flag_name(bit));
	assert_int_equal(got->n_flags, n);
}

static void same_stream(const Sidetap__V1__Call *got, const struct record_call *want)
{
	assert_int_equal(got->n_stream, want->n_stream);
	for (size_t i = 0; i < want->n_stream; i++) {
		const Sidetap__V1__StreamMessage *g = got->stream[i];
		const struct record_stream_message *w = &want->stream[i];
		assert_int_equal(g->direction, w->dir);
		assert_true(g->unix_ns == w->unix_ns && g->body_bytes == w->body_bytes);
		same_raw(g->body, w->body);
		assert_int_equal(g->compressed, w->compressed);
	}
}

static void same_rest(const Sidetap__V1__Call *got, const struct record_call *want)
{
	same_text(got->client, want->client);
	same_text(got->server, want->server);
	same_text(got->original_destination, want->original_destination);
	same_text(got->client_process, want->client_process);
	same_text(got->server_process, want->server_process);
	same_text(got->trace_id, want->trace_id);
	same_text(got->span_id, want->span_id);
	assert_true(memcmp(&got->weight, &want->weight, sizeof(double)) == 0);
	same_text(got->rule, want->rule);
	assert_int_equal(got->n_attributes, want->n_attributes);
	if (got->n_attributes) {
		assert_string_equal(got->attributes[0]->key, "seen_index");
		assert_string_equal(got->attributes[0]->value, "12");
	}
	assert_int_equal(got->capture != NULL, want->capture != NULL);
	if (!got->capture)
		return;
	same_z(got->capture->instance, want->capture->instance);
	same_z(got->capture->version, want->capture->version);
	same_z(got->capture->attach, want->capture->attach);
	same_z(got->capture->host, want->capture->host);
	same_z(got->capture->pod, want->capture->pod);
	same_z(got->capture->namespace_, want->capture->namespace_);
	same_z(got->capture->container, want->capture->container);
	same_z(got->capture->service_name, want->capture->service_name);
	same_z(got->capture->config_hash, want->capture->config_hash);
	assert_int_equal(got->capture->config_version, want->capture->config_version);
	assert_int_equal(got->capture->config_unix_ns, want->capture->config_unix_ns);
}

static void same_call(const Sidetap__V1__Call *got, const struct record_call *want)
{
	char sequence[32];
	same_text(got->connection_id, want->connection_id);
	snprintf(sequence, sizeof(sequence), ":%llu", (unsigned long long)want->sequence);
	assert_int_equal(strlen(got->id), want->connection_id.n + strlen(sequence));
	assert_memory_equal(got->id, got->connection_id, want->connection_id.n);
	assert_string_equal(got->id + want->connection_id.n, sequence);
	assert_true(got->sequence == want->sequence && got->record_number == want->record_number);
	assert_int_equal(got->part, want->part);
	assert_int_equal(got->last_part, want->last_part);
	same_z(got->protocol, want->protocol);
	same_z(got->transport, want->transport);
	same_text(got->service, want->service);
	same_text(got->method, want->method);
	same_text(got->path, want->path);
	same_z(got->call_type, want->part ? "" : record_call_type_name(want->type));
	assert_int_equal(got->status_code, want->status);
	assert_int_equal(got->outcome, want->outcome);
	same_text(got->status_text, want->status_text);
	same_message(got->request, &want->request);
	same_message(got->response, &want->response);
	same_stream(got, want);
	same_flags(got, want->flags);
	same_rest(got, want);
}

static void same_span(const struct record *r, struct record_span s, struct bytes want)
{
	assert_true(bytes_eq(record_bytes(r, s), want));
}

static void random_calls_read_back(void **state)
{
	(void)state;
	seed = 7;
	for (unsigned i = 0; i < 5000; i++) {
		struct random_call in;
		struct record *r = NULL;
		random_call(&in);
		assert_int_equal(record_encode(&in.call, &r), 0);
		Sidetap__V1__Call *got = record_decode(bytes_of(r->data, r->n));
		assert_non_null(got);
		same_call(got, &in.call);
		assert_int_equal(got->base.n_unknown_fields, 0);
		same_span(r, r->key, in.call.connection_id);
		same_span(r, r->protocol, bytes_str(in.call.protocol));
		same_span(r, r->service, in.call.service);
		same_span(r, r->method, in.call.method);
		assert_true(r->number == in.call.record_number &&
			    r->last_part == in.call.last_part);
		sidetap__v1__call__free_unpacked(got, NULL);
		record_free(r);
	}
}

/* Runs protoc over a file; the result replaces it. False: protoc failed. */
static bool protoc(const char *mode, const char *type, const char *in, const char *out)
{
	char cmd[512];
	snprintf(cmd, sizeof(cmd),
		 "protoc -Isink --%s=sidetap.v1.%s sink/record.proto <%s >%s 2>/dev/null", mode,
		 type, in, out);
	return system(cmd) == 0;
}

static void through_protoc(const struct record *r, const char *type)
{
	char bin[] = "/tmp/record_test_XXXXXX", txt[64], back[64];
	static uint8_t got[1 << 17];
	int fd = mkstemp(bin);
	assert_true(fd >= 0 && write(fd, r->data, r->n) == (ssize_t)r->n);
	close(fd);
	snprintf(txt, sizeof(txt), "%s.txt", bin);
	snprintf(back, sizeof(back), "%s.back", bin);
	assert_true(protoc("decode", type, bin, txt));
	assert_true(protoc("encode", type, txt, back));
	FILE *f = fopen(back, "r");
	assert_non_null(f);
	size_t n = fread(got, 1, sizeof(got), f);
	fclose(f);
	unlink(bin);
	unlink(txt);
	unlink(back);
	assert_int_equal(n, r->n);
	assert_memory_equal(got, r->data, n);
}

static void protoc_writes_the_same_bytes(void **state)
{
	(void)state;
	if (access("sink/record.proto", R_OK) != 0 ||
	    system("protoc --version >/dev/null 2>&1") != 0)
		skip();
	seed = 11;
	for (unsigned i = 0; i < 30; i++) {
		struct random_call in;
		struct record *r = NULL;
		random_call(&in);
		assert_int_equal(record_encode(&in.call, &r), 0);
		through_protoc(r, "Call");
		record_free(r);
	}
}

static void bad_text_is_escaped(void **state)
{
	(void)state;
	struct header h = {BYTES("x-\xff"), BYTES("\x00\xff"), PROVENANCE_LITERAL};
	struct attribute a = {"k", BYTES("\xc0\x80")};
	struct record_call c = {
		.connection_id = BYTES("c1"),
		.sequence = 3,
		.service = BYTES("a\0b"),
		.method = BYTES("caf\xc3\xa9\xe9"),
		.path = BYTES("/\xed\xa0\x80\xf4\x90\x80\x80/\xf0\x9f\x98"),
		.protocol = "http1",
		.attributes = &a,
		.n_attributes = 1,
		.request = {.present = true, .headers = &h, .n_headers = 1},
	};
	struct record *r = NULL;
	assert_int_equal(record_encode(&c, &r), 0);
	Sidetap__V1__Call *got = record_decode(bytes_of(r->data, r->n));
	assert_non_null(got);
	assert_string_equal(got->id, "c1:3");
	assert_string_equal(got->service, "a\\x00b");
	assert_string_equal(got->method, "caf\xc3\xa9\\xe9");
	assert_string_equal(got->path, "/\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80/\\xf0\\x9f\\x98");
	assert_string_equal(got->request->headers[0]->name, "x-\\xff");
	same_raw(got->request->headers[0]->value, h.value);
	assert_string_equal(got->attributes[0]->value, "\\xc0\\x80");
	same_span(r, r->service, BYTES("a\\x00b"));
	same_span(r, r->protocol, BYTES("http1"));
	sidetap__v1__call__free_unpacked(got, NULL);
	record_free(r);
}

/* The quick test must see one bad byte wherever it stands, and never a good one. */
static void suspicion_finds_every_position(void **state)
{
	(void)state;
	uint8_t s[40];
	for (size_t n = 0; n < sizeof(s); n++) {
		for (unsigned v = 1; v < 128; v++) {
			memset(s, (int)v, n);
			assert_true(utf8_suspicion(bytes_of(s, n)) == 0);
		}
		for (size_t i = 0; i < n; i++) {
			memset(s, 'a', n);
			s[i] = 0;
			assert_true(utf8_suspicion(bytes_of(s, n)) != 0);
			s[i] = 0x80;
			assert_true(utf8_suspicion(bytes_of(s, n)) != 0);
		}
	}
}

static struct record_ledger sample_ledger(struct ledger_stage *stage, struct record_range *lost,
					  struct record_rule *rule, struct bytes *gap)
{
	*stage = (struct ledger_stage) {
		.name = "pair", .unit = "calls", .in = 9, .held = 1, .made = 7};
	ledger_exit_add(stage, "paired", 5, false);
	ledger_exit_add(stage, "evicted", 3, true);
	*lost = (struct record_range) {4, 6, "queue_full"};
	*rule = (struct record_rule) {"default", 10, 5, 10.5};
	*gap = BYTES("i-7");
	return (struct record_ledger) {.instance = "0011223344556677",
				       .version = "0.1",
				       .attach = "cgroup",
				       .start_unix_ns = 5,
				       .end_unix_ns = 6,
				       .final = true,
				       .exact = true,
				       .stages = stage,
				       .n_stages = 1,
				       .last_record_number = 12,
				       .lost = lost,
				       .n_lost = 1,
				       .rules = rule,
				       .n_rules = 1,
				       .gap_connections = gap,
				       .n_gap_connections = 1,
				       .more_gap_connections = 2,
				       .unprovable = true};
}

static void ledger_reads_back(void **state)
{
	(void)state;
	struct ledger_stage stage;
	struct record_range lost;
	struct record_rule rule;
	struct bytes gap;
	struct record_ledger in = sample_ledger(&stage, &lost, &rule, &gap);
	struct record *r = NULL;
	assert_int_equal(record_encode_ledger(&in, &r), 0);
	assert_int_equal(r->kind, RECORD_LEDGER);
	same_span(r, r->key, BYTES("0011223344556677"));
	Sidetap__V1__Ledger *got = record_decode_ledger(bytes_of(r->data, r->n));
	assert_non_null(got);
	assert_string_equal(got->instance, in.instance);
	assert_true(got->final && got->exact && got->unprovable);
	assert_int_equal(got->n_stages, 1);
	assert_int_equal(got->stages[0]->in, 9);
	assert_int_equal(got->stages[0]->made, 7);
	assert_string_equal(got->stages[0]->exits[1]->name, "evicted");
	assert_int_equal(got->stages[0]->exits[1]->count, 3);
	assert_true(got->stages[0]->exits[1]->lost && !got->stages[0]->exits[0]->lost);
	assert_int_equal(got->lost[0]->last, 6);
	assert_string_equal(got->lost[0]->exit, "queue_full");
	assert_true(got->rules[0]->weight_sum > 10.4 && got->rules[0]->weight_sum < 10.6);
	assert_string_equal(got->gap_connections[0], "i-7");
	assert_int_equal(got->more_gap_connections, 2);
	sidetap__v1__ledger__free_unpacked(got, NULL);
	if (access("sink/record.proto", R_OK) == 0 &&
	    system("protoc --version >/dev/null 2>&1") == 0)
		through_protoc(r, "Ledger");
	record_free(r);
}

/* Every cut and every flipped bit: an answer, never a crash (the sanitizers watch). */
static void broken_records_are_refused_or_read(void **state)
{
	(void)state;
	struct random_call in;
	struct record *r = NULL;
	unsigned refused = 0;
	seed = 3;
	random_call(&in);
	assert_int_equal(record_encode(&in.call, &r), 0);
	for (size_t n = 0; n < r->n; n++) {
		Sidetap__V1__Call *c = record_decode(bytes_of(r->data, n));
		refused += c == NULL;
		if (c)
			sidetap__v1__call__free_unpacked(c, NULL);
	}
	assert_true(refused > 0);
	for (size_t bit = 0; bit < r->n * 8; bit++) {
		r->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		Sidetap__V1__Call *c = record_decode(bytes_of(r->data, r->n));
		if (c)
			sidetap__v1__call__free_unpacked(c, NULL);
		r->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	record_free(r);
}

/* S9: 2 bytes a header on the wire, 100 and more in memory */
static void s9_amplification_is_refused(void **state)
{
	(void)state;
	size_t headers = 6 << 20, n = 0;
	uint8_t *p = malloc(headers + 16);
	p[n++] = 0x82; /* field 16, request: 16 << 3 | 2 = 0x82 0x01 */
	p[n++] = 1;
	for (uint64_t v = headers; v; v >>= 7)
		p[n++] = (uint8_t)(v & 0x7f) | (v >= 0x80 ? 0x80 : 0);
	for (size_t i = 0; i < headers; i += 2) {
		p[n++] = 3 << 3 | 2;
		p[n++] = 0;
	}
	assert_null(record_decode(bytes_of(p, n)));
	free(p);
}

static void too_large_is_refused(void **state)
{
	(void)state;
	uint8_t *body = calloc(1, RECORD_MAX_BYTES);
	struct record *r = NULL;
	struct record_call c = {.request = {.present = true, .body = {body, RECORD_MAX_BYTES}}};
	assert_int_equal(record_encode(&c, &r), -7 /* E2BIG */);
	assert_null(r);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_read_back),
		cmocka_unit_test(protoc_writes_the_same_bytes),
		cmocka_unit_test(bad_text_is_escaped),
		cmocka_unit_test(suspicion_finds_every_position),
		cmocka_unit_test(ledger_reads_back),
		cmocka_unit_test(broken_records_are_refused_or_read),
		cmocka_unit_test(s9_amplification_is_refused),
		cmocka_unit_test(too_large_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
