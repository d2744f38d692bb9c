/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by synthetic pieces: bodies, parts, streams. */
#include "tests/unit/call_world.h"

/* ---- bodies and parts ---- */

static void body_limit(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = 1000;
	world_open(limits, PAIRING_FIFO, false);
	uint8_t *p = filled(4096);
	request(0, "/a", 0);
	body(REQ, 0, bytes_of(p, 1000), PIECE_END); /* exactly the limit */
	response(0, 200, NULL, 0);
	for (int i = 0; i < 4; i++)
		body(RESP, 0, bytes_of(p + 300 * i, 300), i == 3 ? PIECE_END : 0);
	const Sidetap__V1__Call *c = expect("/a", OUTCOME_OK, "truncated");
	assert_int_equal(c->request->body.len, 1000);
	assert_int_equal(c->response->body.len, 1000);
	assert_memory_equal(c->response->body.data, p, 1000);
	assert_int_equal(c->response->body_bytes, 1200);
	request(0, "/b", 0);
	body(REQ, 0, bytes_of(p, 1000), PIECE_END);
	response(0, 200, NULL, PIECE_END);
	expect("/b", OUTCOME_OK, "");
	free(p);
	world_close();
}

static void no_limit_in_parts(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = UINT64_MAX;
	world_open(limits, PAIRING_FIFO, false);
	const size_t n = 5 << 20;
	uint8_t *p = filled(n);
	request(0, "/big", 0);
	body(REQ, 0, bytes_of(p, 100), PIECE_END);
	const struct header h = {BYTES("x-a"), BYTES("b"), PROVENANCE_LITERAL};
	struct head head = head_response(200);
	head.headers = &h;
	head.n_headers = 1;
	piece(0, (struct piece) {.what = PIECE_HEAD, .dir = RESP, .head = head});
	for (size_t off = 0; off < n; off += 1 << 16)
		body(RESP, 0, bytes_of(p + off, 1 << 16), off + (1 << 16) == n ? PIECE_END : 0);
	struct joined j = records_join(&w.out, "i-1:1");
	assert_true(j.n_parts >= 6);
	assert_true(j.last->last_part);
	assert_int_equal(j.req.n, 100);
	assert_int_equal(j.resp.n, n);
	assert_memory_equal(j.resp.p, p, n);
	assert_int_equal(j.last->response->body_bytes, n);
	assert_int_equal(j.last->outcome, OUTCOME_OK);
	assert_int_equal(j.first->outcome, OUTCOME_UNKNOWN);
	assert_ptr_equal(j.resp_head, j.first->response);
	assert_int_equal(j.last->n_flags, 0);
	assert_string_equal(j.first->call_type, "unary");
	records_unjoin(&j);
	free(p);
	world_close();
}

/* A request that leaves in parts before its reply's head is known. */
static void response_head_in_a_later_part(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = UINT64_MAX;
	world_open(limits, PAIRING_FIFO, false);
	const size_t n = 700 << 10;
	uint8_t *p = filled(n);
	request(0, "/up", 0);
	body(REQ, 0, bytes_of(p, n), PIECE_END);
	const struct header h = {BYTES("x-a"), BYTES("b"), PROVENANCE_LITERAL};
	const struct header t = {BYTES("x-t"), BYTES("c"), PROVENANCE_LITERAL};
	struct head head = head_response(201);
	head.headers = &h;
	head.n_headers = 1;
	piece(0, (struct piece) {.what = PIECE_HEAD, .dir = RESP, .head = head});
	piece(0, (struct piece) {
			 .what = PIECE_END, .dir = RESP, .head = {.headers = &t, .n_headers = 1}});
	struct joined j = records_join(&w.out, "i-1:1");
	assert_int_equal(j.n_parts, 2);
	assert_null(j.first->response);
	assert_ptr_equal(j.resp_head, j.last->response);
	assert_string_equal(j.last->response->headers[0]->name, "x-a");
	assert_string_equal(j.last->response->trailers[0]->name, "x-t");
	assert_int_equal(j.last->request->n_headers, 0);
	assert_int_equal(j.last->status_code, 201);
	assert_int_equal(j.req.n, n);
	assert_memory_equal(j.req.p, p, n);
	records_unjoin(&j);
	free(p);
	world_close();
}

static void sequence_by_completion(void **state)
{
	(void)state;
	world_id();
	request(1, "/1", PIECE_END);
	request(2, "/2", PIECE_END);
	request(3, "/3", PIECE_END);
	response(3, 200, NULL, PIECE_END);
	response(1, 200, NULL, PIECE_END);
	piece(1, (struct piece) {.what = PIECE_HEAD | PIECE_END,
				 .corr = 1,
				 .head = head_request("/other")});
	piece(1, (struct piece) {.what = PIECE_HEAD | PIECE_END,
				 .dir = RESP,
				 .corr = 1,
				 .head = head_response(200)});
	response(2, 200, NULL, PIECE_END);
	const char *const ids[] = {"i-1:1", "i-1:2", "i-2:1", "i-1:3"};
	const char *const paths[] = {"/3", "/1", "/other", "/2"};
	for (uint64_t i = 0; i < 4; i++) {
		const Sidetap__V1__Call *c = expect(paths[i], OUTCOME_OK, "");
		assert_string_equal(c->id, ids[i]);
		assert_int_equal(c->record_number, i + 1);
	}
	world_close();
}

static void over_budget_bodies(void **state)
{
	(void)state;
	world_id();
	uint8_t *p = filled(600 << 10);
	enum { CALLS = 64 };
	for (uint64_t i = 0; i < CALLS; i++) { /* 37 MiB of bodies, and small ones between */
		request(2 * i, "/big", 0);
		body(REQ, 2 * i, bytes_of(p, 600 << 10), PIECE_END);
		request(2 * i + 1, "/small", 0);
		body(REQ, 2 * i + 1, bytes_of(p, 100), PIECE_END);
	}
	assert_true(calls_bodies_cut(w.calls) > 20 && calls_bodies_cut(w.calls) < CALLS);
	uint64_t cut = 0;
	for (uint64_t i = 0; i < 2 * CALLS; i++) {
		response(i, 200, NULL, PIECE_END);
		const Sidetap__V1__Call *c = next_call();
		bool flagged = records_flag(c, "truncated");
		if (i % 2) {
			assert_false(flagged);
			assert_int_equal(c->request->body.len, 100);
		} else {
			assert_int_equal(c->request->body.len, flagged ? 0 : 600 << 10);
			assert_int_equal(c->request->body_bytes, 600 << 10);
			cut += flagged;
		}
	}
	assert_int_equal(cut, calls_bodies_cut(w.calls));
	free(p);
	world_close();
}

/* ---- streams ---- */

static void message(enum dir dir, uint64_t corr, struct bytes b, unsigned flags)
{
	piece(0, (struct piece) {.what = PIECE_BODY | PIECE_MESSAGE,
				 .dir = dir,
				 .corr = corr,
				 .body = b,
				 .flags = flags});
}

static void stream_of_one_each(void **state)
{
	(void)state;
	world_id();
	request(1, "/unary", 0);
	message(REQ, 1, BYTES("ask"), FLAG_COMPRESSED);
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	response(1, 200, NULL, 0);
	message(RESP, 1, BYTES("answer"), 0);
	piece(0,
	      (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1, .head = head_response(0)});
	const Sidetap__V1__Call *c = expect("/unary", OUTCOME_OK, "compressed");
	assert_int_equal(c->n_stream, 0);
	assert_string_equal(c->call_type, "unary");
	body_is(c->request, "ask");
	body_is(c->response, "answer");
	world_close();
}

static void stream_of_more(void **state)
{
	(void)state;
	world_id();
	request(1, "/stream", 0);
	message(REQ, 1, BYTES("ask"), 0);
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	response(1, 200, NULL, 0);
	message(RESP, 1, BYTES("one"), FLAG_COMPRESSED);
	body(RESP, 1, BYTES("t"), 0);
	message(RESP, 1, BYTES("wo"), 0);
	message(RESP, 1, BYTES(""), 0);
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	const Sidetap__V1__Call *c = expect("/stream", OUTCOME_OK, "");
	assert_string_equal(c->call_type, "server_stream");
	const char *const texts[] = {"ask", "one", "two", ""};
	assert_int_equal(c->n_stream, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(c->stream[i]->direction, i > 0);
		assert_int_equal(c->stream[i]->body.len, strlen(texts[i]));
		assert_memory_equal(c->stream[i]->body.data, texts[i], strlen(texts[i]));
		assert_int_equal(c->stream[i]->body_bytes, strlen(texts[i]));
		assert_int_equal(c->stream[i]->compressed, i == 1);
	}
	assert_int_equal(c->request->body.len + c->response->body.len, 0);
	world_close();
}

/* The limit is each message's, not the stream's. */
static void stream_limit(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = 1000;
	world_open(limits, PAIRING_ID, false);
	uint8_t *p = filled(1200);
	request(1, "/s", 0);
	response(1, 200, NULL, 0);
	message(RESP, 1, bytes_of(p, 800), 0);
	message(RESP, 1, bytes_of(p, 1200), 0);
	message(RESP, 1, bytes_of(p, 900), 0);
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	const Sidetap__V1__Call *c = expect("/s", OUTCOME_OK, "truncated");
	assert_int_equal(c->stream[0]->body.len, 800);
	assert_int_equal(c->stream[1]->body.len, 1000);
	assert_int_equal(c->stream[1]->body_bytes, 1200);
	assert_int_equal(c->stream[2]->body.len, 900);
	free(p);
	world_close();
}

/* Large messages leave in parts: nothing of them is lost, and each keeps its length. */
static void stream_in_parts(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = UINT64_MAX;
	world_open(limits, PAIRING_ID, false);
	const size_t sizes[] = {10, 300 << 10, 900 << 10, 5, 2 << 20};
	uint8_t *p = filled(2 << 20);
	request(1, "/s", 0);
	message(REQ, 1, BYTES("q"), 0);
	response(1, 200, NULL, 0);
	for (int i = 0; i < 5; i++) {
		for (size_t off = 0; off < sizes[i]; off += 1 << 16) {
			size_t n = sizes[i] - off < 1 << 16 ? sizes[i] - off : 1 << 16;
			piece(0, (struct piece) {.what = PIECE_BODY |
							 (off + n == sizes[i] ? PIECE_MESSAGE : 0),
						 .dir = RESP,
						 .corr = 1,
						 .body = bytes_of(p + off, n)});
		}
		if (i == 2)
			message(REQ, 1, BYTES("more"), 0);
	}
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	struct joined j = records_join(&w.out, "i-1:1");
	assert_true(j.n_parts > 3);
	assert_string_equal(j.first->call_type, "stream");
	size_t seen[2] = {0, 0};
	for (size_t i = 0; i < j.n_stream; i++) {
		size_t k = seen[j.stream[i].dir]++;
		size_t want = j.stream[i].dir ? sizes[k] : k ? 4 : 1;
		assert_int_equal(j.stream[i].body_bytes, want);
		assert_int_equal(j.stream[i].body.n, want);
		if (j.stream[i].dir)
			assert_memory_equal(j.stream[i].body.p, p, want);
	}
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 5);
	assert_int_equal(j.last->response->body_bytes,
			 10 + (300 << 10) + (900 << 10) + 5 + (2 << 20));
	records_unjoin(&j);
	free(p);
	world_close();
}

/* One large message each way is one body, whatever the number of parts. */
static void unary_in_parts(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = UINT64_MAX;
	world_open(limits, PAIRING_ID, false);
	uint8_t *p = filled(1 << 20);
	request(1, "/u", 0);
	message(REQ, 1, bytes_of(p, 400 << 10), 0);
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	response(1, 200, NULL, 0);
	message(RESP, 1, bytes_of(p, 1 << 20), 0);
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	struct joined j = records_join(&w.out, "i-1:1");
	assert_true(j.n_parts > 1);
	assert_int_equal(j.n_stream, 0);
	assert_int_equal(j.req.n, 400 << 10);
	assert_int_equal(j.resp.n, 1 << 20);
	assert_memory_equal(j.resp.p, p, 1 << 20);
	records_unjoin(&j);
	free(p);
	world_close();
}

/* Messages without bytes cost memory too: they leave in parts. */
static void stream_of_empty_messages(void **state)
{
	(void)state;
	world_id();
	request(1, "/s", 0);
	response(1, 200, NULL, 0);
	for (int i = 0; i < 100000; i++)
		message(RESP, 1, BYTES(""), 0);
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	size_t n = 0;
	for (size_t i = 0; i < w.out.n; i++)
		n += w.out.list[i]->n_stream;
	assert_int_equal(n, 100000);
	assert_true(w.out.n >= 4);
	world_close();
}

/* A stream whose kept bytes are cut for memory still tells its messages. */
static void stream_over_budget(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.open_bodies = 256 << 10;
	world_open(limits, PAIRING_ID, false);
	uint8_t *p = filled(100 << 10);
	request(1, "/s", 0);
	response(1, 200, NULL, 0);
	for (int i = 0; i < 5; i++) {
		memset(p, 'a' + i, 100 << 10);
		message(RESP, 1, bytes_of(p, 100 << 10), 0);
	}
	piece(0, (struct piece) {.what = PIECE_END, .corr = 1});
	piece(0, (struct piece) {.what = PIECE_END, .dir = RESP, .corr = 1});
	const Sidetap__V1__Call *c = expect("/s", OUTCOME_OK, "truncated");
	assert_int_equal(c->n_stream, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(c->stream[i]->body_bytes, 100 << 10);
		for (size_t k = 0; k < c->stream[i]->body.len; k++) /* its own bytes or none */
			assert_int_equal(c->stream[i]->body.data[k], 'a' + i);
	}
	assert_true(calls_bodies_cut(w.calls) > 0);
	free(p);
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(body_limit),
		cmocka_unit_test(no_limit_in_parts),
		cmocka_unit_test(response_head_in_a_later_part),
		cmocka_unit_test(sequence_by_completion),
		cmocka_unit_test(over_budget_bodies),
		cmocka_unit_test(stream_of_one_each),
		cmocka_unit_test(stream_of_more),
		cmocka_unit_test(stream_limit),
		cmocka_unit_test(stream_in_parts),
		cmocka_unit_test(unary_in_parts),
		cmocka_unit_test(stream_of_empty_messages),
		cmocka_unit_test(stream_over_budget),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
