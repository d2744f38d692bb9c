/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines: golden text, validity of any bytes (jansson reads them back), joining of parts,
 * filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "analyze/filter.h"
#include "analyze/jsonl.h"
#include "analyze/parts.h"
#include "record.pb-c.h"
#include "sink/record.h"

static struct record_call sample(void)
{
	static struct header headers[2] = {{BYTES(":path"), BYTES("/x"), PROVENANCE_OBSERVED},
					   {BYTES("x-bin"), BYTES("\x00\xff"), PROVENANCE_LITERAL}};
	static struct record_stream_message stream = {DIR_RESPONSE, 5, BYTES("\x01\x02\x03\x04"), 4,
						      true};
	static struct attribute attributes[2] = {{"request_id", BYTES("7")},
						 {"k\"", BYTES("a\nb")}};
	static struct record_capture capture = {.instance = "abc",
						.version = "0.1",
						.attach = "cgroup",
						.namespace_ = "ns",
						.config_version = 3,
						.config_unix_ns = 5};
	return (struct record_call) {.connection_id = BYTES("abc-1"),
				     .sequence = 2,
				     .record_number = 3,
				     .last_part = true,
				     .protocol = "http2",
				     .service = BYTES("s:80"),
				     .method = BYTES("POST"),
				     .path = BYTES("/x\"\\"),
				     .type = CALL_SERVER_STREAM,
				     .status = -7,
				     .outcome = OUTCOME_SERVER_ERROR,
				     .status_text = BYTES("no"),
				     .request = {true, UINT64_C(1790000000000000001), 9, headers, 2,
						 NULL, 0, BYTES("caf\xc3\xa9\t\n"), 7, 20},
				     .response = {.present = true,
						  .body = BYTES("\x1b"
								"a"),
						  .body_bytes = 2},
				     .stream = &stream,
				     .n_stream = 1,
				     .client = BYTES("127.0.0.1:1"),
				     .weight = 0.1,
				     .rule = BYTES("all"),
				     .flags = FLAG_COMPRESSED | FLAG_GAP,
				     .attributes = attributes,
				     .n_attributes = 2,
				     .capture = &capture};
}

static Sidetap__V1__Call *make(const struct record_call *c)
{
	struct record *r = NULL;
	assert_int_equal(record_encode(c, &r), 0);
	Sidetap__V1__Call *got = record_decode(bytes_of(r->data, r->n));
	assert_non_null(got);
	record_free(r);
	return got;
}

static void golden(const struct record_call *in, enum jsonl_bodies bodies, const char *want)
{
	struct text out = {0};
	Sidetap__V1__Call *c = make(in);
	jsonl_call(&out, c, bodies);
	text_put(&out, "", 1);
	assert_string_equal(out.p, want);
	text_fini(&out);
	sidetap__v1__call__free_unpacked(c, NULL);
}

static void golden_lines(void **state)
{
	(void)state;
	struct record_call c = sample(), least = {.connection_id = BYTES("a")};
	golden(&c, JSONL_BODIES_AUTO,
	       "{\"id\":\"abc-1:2\",\"connection_id\":\"abc-1\",\"sequence\":2,\"record_number\":3,\"part\":0,"
	       "\"last_part\":true,\"protocol\":\"http2\",\"service\":\"s:80\",\"method\":\"POST\","
	       "\"path\":\"/x\\\"\\\\\",\"call_type\":\"server_stream\",\"status_code\":-7,"
	       "\"outcome\":\"SERVER_ERROR\",\"status_text\":\"no\",\"request\":{"
	       "\"start_unix_ns\":1790000000000000001,\"end_unix_ns\":9,\"headers\":[{\"name\":\":path\","
	       "\"value\":\"/x\",\"provenance\":\"OBSERVED\"},{\"name\":\"x-bin\",\"value_base64\":\"AP8=\","
	       "\"provenance\":\"LITERAL\"}],\"body\":\"caf\xc3\xa9\\t\\n\",\"body_bytes\":7,\"wire_bytes\":20},"
	       "\"response\":{\"body_base64\":\"G2E=\",\"body_bytes\":2},\"stream\":[{\"direction\":\"RESPONSE\","
	       "\"unix_ns\":5,\"body_base64\":\"AQIDBA==\",\"body_bytes\":4,\"compressed\":true}],"
	       "\"client\":\"127.0.0.1:1\",\"weight\":0.1,\"rule\":\"all\",\"flags\":[\"gap\",\"compressed\"],"
	       "\"capture\":{\"instance\":\"abc\",\"version\":\"0.1\",\"attach\":\"cgroup\",\"namespace\":\"ns\",\"config_version\":3,\"config_unix_ns\":5},"
	       "\"attributes\":{\"request_id\":\"7\",\"k\\\"\":\"a\\nb\"}}\n");
	golden(&least, JSONL_BODIES_AUTO,
	       "{\"id\":\"a:0\",\"connection_id\":\"a\",\"part\":0,\"last_part\":false,\"call_type\":\"unary\","
	       "\"status_code\":0,\"outcome\":\"UNKNOWN\"}\n");
}

static void bodies_as_asked(void **state)
{
	(void)state;
	struct record_call c = {
		.connection_id = BYTES("a"),
		.last_part = true,
		.response = {.present = true, .body = BYTES("abc"), .body_bytes = 3}};
	golden(&c, JSONL_BODIES_BASE64,
	       "{\"id\":\"a:0\",\"connection_id\":\"a\",\"part\":0,\"last_part\":true,\"call_type\":\"unary\","
	       "\"status_code\":0,\"outcome\":\"UNKNOWN\",\"response\":{\"body_base64\":\"YWJj\",\"body_bytes\":3}}\n");
	golden(&c, JSONL_BODIES_NONE,
	       "{\"id\":\"a:0\",\"connection_id\":\"a\",\"part\":0,\"last_part\":true,\"call_type\":\"unary\","
	       "\"status_code\":0,\"outcome\":\"UNKNOWN\",\"response\":{\"body_bytes\":3}}\n");
}

static void text_is_what_the_contract_says(void **state)
{
	(void)state;
	assert_true(jsonl_is_text(BYTES("")));
	assert_true(jsonl_is_text(BYTES("a\t\r\n\xe2\x82\xac\xf0\x9f\x98\x80")));
	assert_false(jsonl_is_text(BYTES("\0")));
	assert_false(jsonl_is_text(BYTES("\x0b")));
	assert_false(jsonl_is_text(BYTES("\x7f")));
	assert_false(jsonl_is_text(BYTES("\xc2\x85")));
	assert_false(jsonl_is_text(BYTES("\xc3")));
	assert_false(jsonl_is_text(BYTES("\xed\xa0\x80")));
	assert_false(jsonl_is_text(BYTES("\xc0\xaf")));
}

/* Whatever bytes stand in a record: valid JSON, and what was text reads back the same. */
static void any_bytes_are_valid_json(void **state)
{
	(void)state;
	srand(5);
	for (int i = 0; i < 3000; i++) {
		uint8_t junk[60];
		size_t n = (size_t)rand() % sizeof(junk);
		for (size_t k = 0; k < n; k++)
			junk[k] = (uint8_t)(rand() % 3 ? rand() % 0x80 : rand());
		struct bytes b = bytes_of(junk, n);
		struct header h = {b, b, (enum provenance)(i % 3)};
		struct attribute a[2] = {{"same", b}, {"same", BYTES("last")}};
		struct record_call in = {
			.connection_id = b,
			.service = b,
			.path = b,
			.status_text = b,
			.request = {.present = true, .headers = &h, .n_headers = 1, .body = b},
			.attributes = a,
			.n_attributes = 2,
			.weight = (double)i / 3};
		struct text out = {0};
		Sidetap__V1__Call *c = make(&in);
		jsonl_call(&out, c, JSONL_BODIES_AUTO);
		assert_int_equal(memchr(out.p, '\n', out.n) == out.p + out.n - 1, 1);
		json_error_t err;
		json_t *j = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
		if (!j)
			fail_msg("%s: %.*s", err.text, (int)out.n, out.p);
		json_t *body = json_object_get(json_object_get(j, "request"), "body");
		assert_int_equal(body != NULL, n > 0 && jsonl_is_text(b));
		if (body) {
			assert_int_equal(json_string_length(body), n);
			assert_memory_equal(json_string_value(body), junk, n);
		}
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(j, "attributes"), "same")),
				    "last");
		assert_true(json_number_value(json_object_get(j, "weight")) == in.weight);
		json_decref(j);
		text_fini(&out);
		sidetap__v1__call__free_unpacked(c, NULL);
	}
}

/* A record of another writer: bytes that no string may hold */
static void bad_utf8_of_others_is_replaced(void **state)
{
	(void)state;
	struct text out = {0};
	jsonl_string(&out, BYTES("a\xff\xe2\x82z\x7f\xe2\x80\xa8"));
	text_put(&out, "", 1);
	assert_string_equal(out.p, "\"a\\ufffd\\ufffd\\ufffdz\\u007f\\u2028\"");
	text_fini(&out);
}

struct emitted {
	unsigned n, missing;
	char body[64];
	char last_id[32];
	int32_t status;
	unsigned stream, headers;
	uint64_t end;
};

static void on_emit(void *ctx, const Sidetap__V1__Call *c)
{
	struct emitted *e = ctx;
	e->n++;
	for (size_t i = 0; i < c->n_flags; i++)
		e->missing += strcmp(c->flags[i], "part_missing") == 0;
	assert_int_equal(c->part, 0);
	snprintf(e->last_id, sizeof(e->last_id), "%s", c->id);
	e->status = c->status_code;
	e->stream = (unsigned)c->n_stream;
	if (!c->response)
		return;
	snprintf(e->body, sizeof(e->body), "%.*s", (int)c->response->body.len,
		 (char *)c->response->body.data);
	e->headers = (unsigned)(c->response->n_headers + c->response->n_trailers);
	e->end = c->response->end_unix_ns;
}

static void push(struct parts *p, uint64_t sequence, uint32_t part, bool last, const char *body)
{
	static struct header h = {BYTES("h"), BYTES("v"), PROVENANCE_LITERAL};
	static struct record_stream_message m = {DIR_REQUEST, 1, BYTES("m"), 1, false};
	struct record_call in = {
		.connection_id = BYTES("c"),
		.sequence = sequence,
		.part = part,
		.last_part = last,
		.status = last ? 200 : 0,
		.stream = &m,
		.n_stream = 1,
		.response = {.present = true, .body = bytes_str(body), .end_unix_ns = part + 10}};
	in.response.headers = &h;
	in.response.n_headers = part == 0;
	in.response.trailers = &h;
	in.response.n_trailers = last;
	Sidetap__V1__Call *c = make(&in);
	assert_int_equal(parts_push(p, &c), 0);
	assert_null(c);
}

static struct parts *new_parts(struct emitted *e, size_t max_bytes)
{
	struct parts_cfg cfg = {max_bytes, 1000, 100, on_emit, e};
	*e = (struct emitted) {.n = 0};
	return parts_new(&cfg);
}

static void parts_are_joined(void **state)
{
	(void)state;
	struct emitted e;
	static const uint32_t orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}};
	for (int k = 0; k < 4; k++) {
		struct parts *p = new_parts(&e, 1 << 20);
		push(p, 9, 0, true, "whole");
		assert_int_equal(e.n, 1);
		for (int i = 0; i < 3; i++) {
			static const char *const bodies[] = {"ab", "cd", "ef"};
			push(p, 5, orders[k][i], orders[k][i] == 2, bodies[orders[k][i]]);
			push(p, 5, orders[k][i], orders[k][i] == 2, "retry");
		}
		assert_int_equal(e.n, 2);
		assert_string_equal(e.last_id, "c:5");
		assert_string_equal(e.body, "abcdef");
		assert_int_equal(e.status, 200);
		assert_int_equal(e.stream, 3);
		assert_int_equal(e.headers, 2);
		assert_int_equal(e.end, 12);
		assert_int_equal(e.missing, 0);
		assert_int_equal(parts_duplicates(p), 3);
		parts_flush(p);
		assert_int_equal(e.n, 2);
		parts_free(p);
	}
}

static void missing_parts_are_flagged(void **state)
{
	(void)state;
	struct emitted e;
	struct parts *p = new_parts(&e, 1 << 20);
	push(p, 1, 0, false, "ab");
	push(p, 1, 2, true, "ef");
	assert_int_equal(e.n, 0);
	parts_flush(p);
	assert_int_equal(e.n, 1);
	assert_int_equal(e.missing, 1);
	assert_string_equal(e.body, "abef");
	push(p, 2, 1, true, "later"); /* the first part never comes */
	parts_flush(p);
	assert_int_equal(e.missing, 2);
	parts_free(p);
}

static void push_split(struct parts *p, uint32_t part, const char *rest, uint64_t rest_bytes,
		       const char *start)
{
	struct record_stream_message m[3] = {
		{DIR_RESPONSE, part + 1, bytes_str(rest), rest_bytes, rest_bytes > 0},
		{DIR_REQUEST, part + 1, BYTES("q"), 1, false},
		{DIR_RESPONSE, part + 1, bytes_str(start), 0, false}};
	struct attribute a[2] = {{"unknown", part ? BYTES("a,b") : BYTES("a")},
				 {part ? "late" : "early", BYTES("1")}};
	struct record_call in = {.connection_id = BYTES("c"),
				 .sequence = 7,
				 .part = part,
				 .last_part = part == 2,
				 .attributes = a,
				 .n_attributes = part == 1 ? 0 : 2,
				 .stream = m,
				 .n_stream = part == 2 ? 1 : 3};
	Sidetap__V1__Call *c = make(&in);
	assert_int_equal(parts_push(p, &c), 0);
}

struct split_seen {
	char text[128];
};

static void on_split(void *ctx, const Sidetap__V1__Call *c)
{
	struct split_seen *s = ctx;
	size_t n = 0;
	for (size_t i = 0; i < c->n_stream; i++)
		n += (size_t)snprintf(s->text + n, sizeof(s->text) - n, "%s%.*s:%d%s,",
				      c->stream[i]->direction ? "<" : ">",
				      (int)c->stream[i]->body.len, (char *)c->stream[i]->body.data,
				      (int)c->stream[i]->body_bytes,
				      c->stream[i]->compressed ? "c" : "");
	assert_int_equal(c->n_attributes, 3);
	assert_string_equal(c->attributes[0]->value, "a,b");
	assert_string_equal(c->attributes[1]->key, "early");
	assert_string_equal(c->attributes[2]->key, "late");
}

/* An attribute told again stands once. A stream message that left in pieces is one again; without the part that ends it, nothing else joins it. */
static void split_messages_are_joined(void **state)
{
	(void)state;
	struct split_seen s;
	struct parts_cfg cfg = {1 << 20, 1000, 100, on_split, &s};
	for (int missing = 0; missing < 2; missing++) {
		struct parts *p = parts_new(&cfg);
		push_split(p, 0, "one", 3, "tw");
		if (!missing)
			push_split(p, 1, "o", 3, "thr");
		push_split(p, 2, "ee", 5, "");
		parts_flush(p);
		parts_free(p);
		assert_string_equal(s.text, missing ? "<one:3c,>q:1,<tw:0,<ee:5c,"
						    : "<one:3c,>q:1,<two:3c,>q:1,<three:5c,");
	}
}

static void open_calls_are_bounded(void **state)
{
	(void)state;
	struct emitted e;
	struct parts *p = new_parts(&e, 20000);
	for (uint64_t i = 1; i <= 500; i++)
		push(p, i, 0, false, "x");
	assert_true(e.n > 400);
	assert_int_equal(e.missing, e.n);
	parts_free(p); /* what is open is freed */
}

static void filters(void **state)
{
	(void)state;
	struct record_call in = sample();
	struct filter f;
	Sidetap__V1__Call *c = make(&in);
	static const struct {
		const char *status;
		bool match;
	} statuses[] = {{"-7", true},   {"200", false},         {"-10--1", true},
			{"5xx", false}, {"server_error", true}, {"OK", false}};
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
		filter_init(&f);
		assert_int_equal(filter_status(&f, statuses[i].status), 0);
		assert_int_equal(filter_match(&f, c), statuses[i].match);
	}
	filter_init(&f);
	assert_int_equal(filter_status(&f, "5xx"), 0);
	assert_true(f.status_from == 500 && f.status_to == 599);
	assert_true(filter_status(&f, "5xxx") < 0 && filter_status(&f, "sometimes") < 0 &&
		    filter_status(&f, "") < 0);
	filter_init(&f);
	f.protocol = "http1";
	assert_false(filter_match(&f, c));
	f.protocol = "http2";
	f.service = "s:80";
	f.method = "POST";
	assert_true(filter_match(&f, c));
	f.since_ns = UINT64_C(1790000000000000001);
	assert_true(filter_match(&f, c));
	f.until_ns = UINT64_C(1790000000000000001);
	assert_false(filter_match(&f, c));
	sidetap__v1__call__free_unpacked(c, NULL);
}

static void times_are_parsed(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{"2026-03-01T12:00:00Z", UINT64_C(1772366400000000000)},
		{"2026-03-01T14:00:00.25+02:00", UINT64_C(1772366400250000000)},
		{"2026-03-01 11:30:00-00:30", UINT64_C(1772366400000000000)},
		{"@1.5", 1500000000},
		{"90s", UINT64_C(910000000000)},
		{"1m", UINT64_C(940000000000)},
	};
	static const char *const bad[] = {"",
					  "x",
					  "10",
					  "10y",
					  "-5s",
					  "2026-13-01",
					  "2026-03-01T",
					  "@",
					  "@x",
					  "2026-03-01T12:00:00+2",
					  "2026-03-01T12:00:00Zz",
					  "nans"};
	uint64_t ns;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(filter_time(good[i].text, UINT64_C(1000000000000), &ns), 0);
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(filter_time(bad[i], UINT64_C(1000000000000), &ns) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_lines),
		cmocka_unit_test(bodies_as_asked),
		cmocka_unit_test(text_is_what_the_contract_says),
		cmocka_unit_test(any_bytes_are_valid_json),
		cmocka_unit_test(bad_utf8_of_others_is_replaced),
		cmocka_unit_test(parts_are_joined),
		cmocka_unit_test(missing_parts_are_flagged),
		cmocka_unit_test(split_messages_are_joined),
		cmocka_unit_test(open_calls_are_bounded),
		cmocka_unit_test(filters),
		cmocka_unit_test(times_are_parsed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
