/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction of whole calls: parts, streams, a change of rules while calls are open. */
#include "tests/unit/call_world.h"

#include "tests/unit/encode.h"
#include "tests/unit/redact_rig.h"
#include "tests/unit/thrift_write.h"

#define SECRET "S3cr3tCanary"
#define R      "[redacted]"

static void rules(const char *text)
{
	struct redactor *r = text ? rig_redactor(text) : NULL;
	calls_set_redactor(w.calls, r);
	redactor_unref(r);
}

static void ask(const char *path, const char *content_type, struct bytes body_)
{
	struct header h[] = {{BYTES("content-type"), bytes_str(content_type), PROVENANCE_LITERAL}};
	struct head head = head_request(path);
	head.headers = h;
	head.n_headers = 1;
	piece(0, (struct piece) {
			 .what = PIECE_HEAD | PIECE_BODY | PIECE_END, .head = head, .body = body_});
}

static bool holds(const ProtobufCBinaryData *b, const char *text)
{
	return b->len && memmem(b->data, b->len, text, strlen(text));
}

static void nobody_tells(const char *secret)
{
	for (size_t i = 0; i < w.out.n; i++) {
		const Sidetap__V1__Call *c = w.out.list[i];
		assert_false(c->request && holds(&c->request->body, secret));
		assert_false(c->response && holds(&c->response->body, secret));
		for (size_t k = 0; k < c->n_stream; k++)
			assert_false(holds(&c->stream[k]->body, secret));
		assert_null(strstr(c->status_text, secret));
	}
}

/* A body of two parts: the first is redacted, the rest is not told. */
static void a_body_in_parts(void **state)
{
	(void)state;
	enum { PAD = 900 * 1024 };
	struct buf b = {0};
	world_fifo();
	rules("  json: ['$.k', '$.z']");
	put_text(&b, "{\"k\":\"" SECRET "\",\"pad\":\"");
	put_fill(&b, 'x', PAD);
	put_text(&b, "\",\"z\":\"" SECRET "\"}");
	ask("/", "application/json", buf_bytes(&b));
	response(0, 200, NULL, PIECE_END);
	const Sidetap__V1__Call *last = expect("", OUTCOME_OK, "truncated,redacted");
	assert_int_equal(w.out.n, 2);
	const Sidetap__V1__Message *first = w.out.list[0]->request;
	assert_memory_equal(first->body.data, "{\"k\":\"" R "\",\"pad\":\"xxx", 24);
	assert_true(first->body.len > 600 * 1024);
	assert_int_equal(last->request->body.len, 0);
	assert_int_equal(last->request->body_bytes, b.n);
	nobody_tells(SECRET);
	assert_int_equal(calls_redact_counts(w.calls)->dropped[REDACT_LATER_PART], 1);
	buf_fini(&b);
	world_close();
}

static void put_message(struct buf *b, const char *text, size_t pad)
{
	b->n = 0;
	put_be(b, 0x0a, 1);
	put_varint(b, strlen(text));
	put_text(b, text);
	put_be(b, 0x12, 1);
	put_varint(b, pad);
	put_fill(b, 'x', pad);
}

static void stream_piece(enum dir dir, struct bytes b, unsigned what, unsigned flags)
{
	piece(0, (struct piece) {.what = PIECE_BODY | what, .flags = flags, .dir = dir, .body = b});
}

static void ask_stream(void)
{
	struct head head = {.protocol = "grpc",
			    .method = BYTES("Get"),
			    .path = BYTES("/s/Get"),
			    .service = BYTES("s"),
			    .messages = true};
	piece(0, (struct piece) {.what = PIECE_HEAD, .head = head});
	head = head_response(200);
	head.messages = true;
	piece(0, (struct piece) {.what = PIECE_HEAD, .dir = RESP, .head = head});
}

/* Message by message: lengths change, a compressed one and the rest of a long one go. */
static void streams(void **state)
{
	(void)state;
	struct buf b = {0};
	world_fifo();
	rules("  protobuf: ['1']");
	ask_stream();
	put_message(&b, SECRET, 3);
	stream_piece(REQ, buf_bytes(&b), PIECE_MESSAGE, 0);
	stream_piece(RESP, buf_bytes(&b), PIECE_MESSAGE, 0);
	stream_piece(RESP, BYTES("gzip of " SECRET), PIECE_MESSAGE, FLAG_COMPRESSED);
	put_message(&b, SECRET, 900 * 1024);
	stream_piece(RESP, buf_bytes(&b), PIECE_MESSAGE, 0);
	put_message(&b, SECRET, 4);
	stream_piece(RESP, buf_bytes(&b), PIECE_MESSAGE, 0);
	stream_piece(REQ, bytes_of(NULL, 0), PIECE_END, 0);
	stream_piece(RESP, bytes_of(NULL, 0), PIECE_END, 0);
	const Sidetap__V1__Call *c = next_call();
	assert_string_equal(records_flags(c), "truncated,redacted");
	nobody_tells(SECRET);
	struct joined j = records_join(&w.out, c->id);
	assert_int_equal(j.n_stream, 5);
	static const char small[] = "\x0a\x0a" R "\x12\x03xxx",
			  again[] = "\x0a\x0a" R "\x12\x04xxxx";
	assert_int_equal(j.stream[0].body.n, sizeof(small) - 1);
	assert_memory_equal(j.stream[0].body.p, small, sizeof(small) - 1);
	assert_int_equal(j.stream[1].body.n, sizeof(small) - 1);
	assert_int_equal(j.stream[2].body.n, 0);
	assert_int_equal(j.stream[2].body_bytes, 8 + strlen(SECRET));
	assert_true(j.stream[3].body.n > 600 * 1024 && j.stream[3].body.n < 700 * 1024);
	assert_int_equal(j.stream[4].body.n, sizeof(again) - 1);
	assert_memory_equal(j.stream[4].body.p, again, sizeof(again) - 1);
	const struct redact_counts *n = calls_redact_counts(w.calls);
	assert_int_equal(n->dropped[REDACT_ENCODING], 1);
	assert_int_equal(n->dropped[REDACT_LATER_PART], 1);
	records_unjoin(&j);
	buf_fini(&b);
	world_close();
}

/* The same as one message each way, whose mark comes with its end */
static void a_compressed_unary_call(void **state)
{
	(void)state;
	struct buf b = {0};
	world_fifo();
	rules("  protobuf: ['1']");
	ask_stream();
	put_message(&b, SECRET, 3);
	stream_piece(REQ, buf_bytes(&b), PIECE_MESSAGE | PIECE_END, 0);
	stream_piece(RESP, BYTES(SECRET), PIECE_MESSAGE | PIECE_END, FLAG_COMPRESSED);
	const Sidetap__V1__Call *c = next_call();
	body_is(c->request, "\x0a\x0a" R "\x12\x03xxx");
	assert_int_equal(c->response->body.len, 0);
	assert_true(records_flag(c, "redacted"));
	nobody_tells(SECRET);
	buf_fini(&b);
	world_close();
}

/* C2: a call keeps what it opened with. */
static void a_change_while_calls_are_open(void **state)
{
	(void)state;
	world_id();
	rules("  headers: [x-one]");
	struct header h[] = {{BYTES("x-one"), BYTES("1"), PROVENANCE_LITERAL},
			     {BYTES("x-two"), BYTES("2"), PROVENANCE_LITERAL},
			     {BYTES("authorization"), BYTES("3"), PROVENANCE_LITERAL}};
	static const char *const want[][3] = {{R, "2", R}, {"1", R, R}, {"1", "2", "3"}};
	static const char *const next[] = {"  headers: [x-two]", NULL, NULL};
	for (uint64_t i = 0; i < 3; i++) {
		struct head head = head_request("/");
		piece(0,
		      (struct piece) {.what = PIECE_HEAD | PIECE_END, .corr = i + 1, .head = head});
		rules(next[i]);
	}
	for (uint64_t i = 0; i < 3; i++) {
		struct head head = head_response(200);
		head.headers = h;
		head.n_headers = 3;
		piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END,
					 .dir = RESP,
					 .corr = i + 1,
					 .head = head});
		const Sidetap__V1__Call *c = next_call();
		for (size_t k = 0; k < 3; k++) {
			assert_int_equal(c->response->headers[k]->value.len, strlen(want[i][k]));
			assert_memory_equal(c->response->headers[k]->value.data, want[i][k],
					    strlen(want[i][k]));
		}
	}
	world_close();
}

/* Headers go, and so do cookies of their own. */
static void headers_drop(void **state)
{
	(void)state;
	world_fifo();
	rules("  headers: [{name: x-gone, action: drop}]\n"
	      "  cookies: [sid, {name: tmp, action: drop}]\n  allow: [x-api-key]");
	struct header h[] = {
		{BYTES("X-Gone"), BYTES("1"), PROVENANCE_LITERAL},
		{BYTES("Cookie"), BYTES("a=1; sid=2; tmp=3; b=\"x;y\""), PROVENANCE_LITERAL},
		{BYTES("cookie"), BYTES("tmp=1"), PROVENANCE_LITERAL},
		{BYTES("cookie"), BYTES("tmp=1;  c=2"), PROVENANCE_LITERAL},
		{BYTES("x-api-key"), BYTES("shown"), PROVENANCE_LITERAL},
		{BYTES("set-cookie"), BYTES("SID=a b; Path=/; sid=1"), PROVENANCE_LITERAL},
		{BYTES("cookie"), BYTES("nameless"), PROVENANCE_LITERAL}};
	static const char *const want[] = {"a=1; sid=" R "; b=\"x;y\"", "c=2", "shown",
					   "SID=" R "; Path=/; sid=1", R};
	struct head head = head_request("/");
	head.headers = h;
	head.n_headers = 7;
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END, .head = head});
	response(0, 200, NULL, PIECE_END);
	const Sidetap__V1__Call *c = next_call();
	assert_int_equal(c->request->n_headers, 5);
	for (size_t i = 0; i < 5; i++) {
		char text[100];
		snprintf(text, sizeof(text), "%.*s", (int)c->request->headers[i]->value.len,
			 (const char *)c->request->headers[i]->value.data);
		assert_string_equal(text, want[i]);
	}
	world_close();
}

/* What an exception says lies in the body, and is told as status_text too. */
static void an_exception(void **state)
{
	(void)state;
	struct buf b = {0};
	world_fifo();
	rules("  thrift: ['1']");
	for (int round = 0; round < 2; round++) {
		struct head head = {.protocol = "thrift", .transport = "framed+binary"};
		b.n = 0;
		tw_message(&b, THRIFT_BINARY, 3, "Get", 1);
		tw_exception(&b, THRIFT_BINARY, BYTES(SECRET), 6, false);
		piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END, .head = head});
		head.status_text = BYTES(SECRET);
		piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY | PIECE_END,
					 .dir = RESP,
					 .head = head,
					 .body = buf_bytes(&b)});
		const Sidetap__V1__Call *c = next_call();
		assert_string_equal(c->status_text, round ? SECRET : R);
		if (!round)
			nobody_tells(SECRET);
		rules("  thrift: ['9']");
	}
	buf_fini(&b);
	world_close();
}

/* In every field that is text from the wire */
static void a_pattern_everywhere(void **state)
{
	(void)state;
	world_fifo();
	rules("  regex: ['S3cr3t[A-Za-z]+']");
	struct header h[] = {{BYTES("x-any"), BYTES("a " SECRET), PROVENANCE_LITERAL}};
	struct attribute a[] = {{"log_id", BYTES(SECRET)}};
	struct head head = {.service = BYTES("u:p@svc." SECRET),
			    .method = BYTES("get" SECRET),
			    .path = BYTES("/users/" SECRET "/x"),
			    .headers = h,
			    .n_headers = 1,
			    .attributes = a,
			    .n_attributes = 1};
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY | PIECE_END,
				 .head = head,
				 .body = BYTES("text " SECRET)});
	head = head_response(500);
	head.status_text = BYTES("no " SECRET);
	piece(0, (struct piece) {.what = PIECE_HEAD, .dir = RESP, .head = head});
	piece(0,
	      (struct piece) {
		      .what = PIECE_END,
		      .dir = RESP,
		      .head = {.headers = h, .n_headers = 1, .status_text = BYTES("of " SECRET)}});
	const Sidetap__V1__Call *c = next_call();
	assert_string_equal(c->service, R "@svc." R);
	assert_string_equal(c->method, "get" R);
	assert_string_equal(c->path, "/users/" R "/x");
	assert_string_equal(c->status_text, "of " R);
	assert_string_equal(records_attribute(c, "log_id"), R);
	body_is(c->request, "text " R);
	assert_memory_equal(c->request->headers[0]->value.data, "a " R, 12);
	assert_memory_equal(c->response->trailers[0]->value.data, "a " R, 12);
	nobody_tells(SECRET);
	world_close();
}

/* Attachments of Dubbo2 are headers, and stand in the body too: by default. */
static void dubbo_attachments(void **state)
{
	(void)state;
	static const struct {
		const char *in, *want; /* want NULL: dropped */
	} rows[] = {
		{"H\x04path\x01x\x0d"
		 "authorization\x0c" SECRET "Z",
		 "H\x04path\x01x\x0d"
		 "authorization\x0c[redacted]**Z"},
		{"\x0d"
		 "Authorization\x30\x0c" SECRET "Z",
		 "\x0d"
		 "Authorization\x30\x0c[redacted]**Z"},
		{"\x09x-api-keyS\x01\x02" SECRET, "\x09x-api-keyS\x01\x02[redacted]**"},
		{"\x09x-api-key\x03\xc3\xa9\xc3\xa9"
		 "aZ",
		 "\x09x-api-key\x03***Z"},
		{"\x15rpc_transit_x-api-key\x0c" SECRET "Z",
		 "\x15rpc_transit_x-api-key\x0c[redacted]**Z"},
		{"\x52x-api-key\x55" SECRET "\x4aZ", "\x52x-api-key\x55[redacted]**\x4aZ"},
		{"{\"x-api-key\": \"" SECRET "\"}", "{\"x-api-key\": \"[redacted]**\"}"},
		{"\x09x-api-keyI123", NULL},
		{"\x09x-api-keyN", "\x09x-api-keyN"},
		{"\x08x-api-key" SECRET, "\x08x-api-key" SECRET}, /* another name */
	};
	world_fifo();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char body_[200] = "\x05";
		strcat(body_, "2.0.2");
		strcat(body_, rows[i].in);
		struct head head = {.protocol = "dubbo2"};
		piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_BODY | PIECE_END,
					 .head = head,
					 .body = bytes_str(body_)});
		response(0, 20, NULL, PIECE_END);
		const Sidetap__V1__Call *c = next_call();
		strcpy(body_ + 6, rows[i].want ? rows[i].want : "");
		if (rows[i].want)
			body_is(c->request, body_);
		else
			assert_int_equal(c->request->body.len, 0);
	}
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_body_in_parts),
		cmocka_unit_test(streams),
		cmocka_unit_test(a_compressed_unary_call),
		cmocka_unit_test(a_change_while_calls_are_open),
		cmocka_unit_test(headers_drop),
		cmocka_unit_test(an_exception),
		cmocka_unit_test(a_pattern_everywhere),
		cmocka_unit_test(dubbo_attachments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
