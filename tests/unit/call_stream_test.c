/* SPDX-License-Identifier: Apache-2.0 */
/* Long streams leave in parts (b17): by count, by bytes, by time; and what is no stream never does by time. */
#include "capture/call_state.h"
#include "tests/unit/call_world.h"

enum { CORR = 1 };

static void message(enum dir dir, struct bytes b, unsigned flags)
{
	piece(0, (struct piece) {.what = PIECE_BODY | PIECE_MESSAGE,
				 .dir = dir,
				 .corr = CORR,
				 .body = b,
				 .flags = flags});
}

static void ask(void)
{
	struct head h = head_request("/s/M");
	h.messages = true;
	piece(0, (struct piece) {.what = PIECE_HEAD, .dir = REQ, .corr = CORR, .head = h});
}

static void answer(void)
{
	piece(0,
	      (struct piece) {
		      .what = PIECE_HEAD, .dir = RESP, .corr = CORR, .head = {.messages = true}});
}

static void asked(void)
{
	piece(0, (struct piece) {.what = PIECE_END, .dir = REQ, .corr = CORR});
}

static void answered(int status)
{
	static const struct header t = {BYTES("grpc-status"), BYTES("0"), PROVENANCE_LITERAL};
	piece(0, (struct piece) {.what = PIECE_END,
				 .dir = RESP,
				 .corr = CORR,
				 .head = {.status = status,
					  .has_status = true,
					  .outcome = status ? OUTCOME_SERVER_ERROR : OUTCOME_OK,
					  .headers = &t,
					  .n_headers = 1}});
}

static void open_with(uint64_t body_limit, uint32_t part_messages, uint64_t part_ns)
{
	struct call_limits limits = default_limits();
	limits.body = body_limit;
	limits.part_messages = part_messages;
	limits.part_ns = part_ns;
	world_open(limits, PAIRING_ID, false);
}

static void expire_in(uint64_t ns)
{
	w.now += ns;
	calls_expire(w.calls, w.now);
}

/* The parts that left so far */
static size_t parts(void)
{
	return w.out.n;
}

static const Sidetap__V1__Call *part(size_t i)
{
	assert_true(i < w.out.n);
	return w.out.list[i];
}

/* Message k of a counted stream: its number as text */
static struct bytes numbered(size_t k)
{
	static char text[24];
	snprintf(text, sizeof(text), "message %zu", k);
	return bytes_str(text);
}

/* All stream messages of all parts are those, in order, whole; returns how many. */
static size_t all_numbered(void)
{
	size_t k = 0;
	for (size_t i = 0; i < w.out.n; i++)
		for (size_t m = 0; m < w.out.list[i]->n_stream; m++, k++) {
			const Sidetap__V1__StreamMessage *s = w.out.list[i]->stream[m];
			struct bytes want = numbered(k);
			assert_int_equal(s->body_bytes, want.n);
			assert_int_equal(s->body.len, want.n);
			assert_memory_equal(s->body.data, want.p, want.n);
		}
	return k;
}

static void by_count(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0); /* the default: 1,000 */
	ask();
	asked();
	answer();
	for (size_t k = 0; k < 2500; k++) {
		message(RESP, numbered(k), 0);
		assert_int_equal(parts(), (k + 1) / 1000);
	}
	answered(13);
	assert_int_equal(parts(), 3);
	assert_int_equal(all_numbered(), 2500);
	for (size_t i = 0; i < 3; i++) {
		const Sidetap__V1__Call *c = part(i);
		assert_string_equal(c->id, "i-1:1");
		assert_int_equal(c->part, i);
		assert_int_equal(c->last_part, i == 2);
		assert_int_equal(c->n_stream, i < 2 ? 1000 : 500);
		assert_int_equal(c->status_code, i < 2 ? 0 : 13);
		assert_int_equal(c->outcome, i < 2 ? OUTCOME_UNKNOWN : OUTCOME_SERVER_ERROR);
		assert_int_equal(c->n_flags, 0);
	}
	assert_string_equal(part(0)->path, "/s/M");
	/* the request was over, so what it is was known */
	assert_string_equal(part(0)->call_type, "server_stream");
	assert_string_equal(part(2)->response->trailers[0]->name, "grpc-status");
	assert_true(part(2)->response->end_unix_ns > 0 && part(0)->response->end_unix_ns == 0);
	assert_int_equal(part(2)->request->body_bytes, 0);
	world_close();
}

/* Which kind it is cannot be known while the side with few messages is open. */
static void kinds_of_early_parts(void **state)
{
	/* messages each way before the first part, is the request over then */
	static const struct {
		int n[2];
		bool over;
		const char *want;
	} kinds[] = {
		{{3, 0}, false, "stream"},      {{3, 0}, true, "stream"},
		{{0, 3}, false, "stream"},      {{0, 3}, true, "server_stream"},
		{{1, 2}, false, "stream"},      {{1, 2}, true, "server_stream"},
		{{2, 2}, false, "bidi_stream"}, {{2, 2}, true, "bidi_stream"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		open_with(1 << 20, 0, SECOND);
		ask();
		for (int k = 0; k < kinds[i].n[REQ]; k++)
			message(REQ, BYTES("q"), 0);
		if (kinds[i].over)
			asked();
		answer();
		for (int k = 0; k < kinds[i].n[RESP]; k++)
			message(RESP, BYTES("a"), 0);
		expire_in(SECOND);
		assert_int_equal(parts(), 1);
		assert_string_equal(part(0)->call_type, kinds[i].want);
		world_close();
	}
}

/* A message of less than a part is never split: the part before it ends early. */
static void by_bytes(void **state)
{
	enum { SIZE = 200 << 10, N = 20, RUN = 7000 };
	(void)state;
	open_with(1 << 20, 0, 0);
	uint8_t *p = filled(SIZE);
	ask();
	answer();
	for (int k = 0; k < N; k++) {
		p[0] = (uint8_t)k;
		for (size_t off = 0; off < SIZE; off += RUN) {
			bool last = off + RUN >= SIZE;
			body(RESP, CORR, bytes_of(p + off, last ? SIZE - off : RUN),
			     last ? PIECE_MESSAGE : 0);
		}
	}
	asked();
	answered(0);
	assert_true(parts() >= N * SIZE / CALL_PART_BODY_MAX);
	size_t k = 0;
	for (size_t i = 0; i < parts(); i++)
		for (size_t m = 0; m < part(i)->n_stream; m++, k++) {
			const Sidetap__V1__StreamMessage *s = part(i)->stream[m];
			assert_int_equal(s->body_bytes, SIZE);
			assert_int_equal(s->body.len, SIZE);
			p[0] = (uint8_t)k;
			assert_memory_equal(s->body.data, p, SIZE);
		}
	assert_int_equal(k, N);
	free(p);
	world_close();
}

/* One larger than a part leaves in pieces, and so does what waits behind it; joined it is all there. */
static void by_bytes_in_pieces(void **state)
{
	static const size_t sizes[] = {1 << 20, 3, 1500 << 10, 0, 700 << 10, 64};
	enum { N = sizeof(sizes) / sizeof(sizes[0]) };
	(void)state;
	open_with(UINT64_MAX, 0, 0);
	uint8_t *p = filled(2 << 20);
	ask();
	for (int k = 0; k < N; k++) {
		for (size_t off = 0; off < sizes[k]; off += 50000)
			body(REQ, CORR,
			     bytes_of(p + off, sizes[k] - off < 50000 ? sizes[k] - off : 50000), 0);
		message(REQ, BYTES(""), k == 2 ? FLAG_COMPRESSED : 0);
	}
	asked();
	answer();
	message(RESP, BYTES("done"), 0);
	answered(0);
	struct joined j = records_join(&w.out, "i-1:1");
	assert_true(j.n_parts > 4);
	assert_int_equal(j.req.n + j.resp.n, 0); /* no byte of it is told as a body */
	assert_int_equal(j.n_stream, N + 1);
	for (size_t k = 0; k < N; k++) {
		assert_int_equal(j.stream[k].body.n, sizes[k]);
		assert_int_equal(j.stream[k].body_bytes, sizes[k]);
		assert_int_equal(j.stream[k].compressed, k == 2);
		if (sizes[k])
			assert_memory_equal(j.stream[k].body.p, p, sizes[k]);
	}
	assert_int_equal(j.last->n_flags, 0);
	records_unjoin(&j);
	free(p);
	world_close();
}

static void by_time(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0); /* the default: 10 s */
	ask();
	answer();
	message(RESP, numbered(0), 0);
	message(RESP, numbered(1), 0);
	body(RESP, CORR, bytes_head(numbered(2), 4), 0);
	expire_in(9 * SECOND);
	assert_int_equal(parts(), 0);
	expire_in(SECOND);
	assert_int_equal(parts(), 1);
	assert_int_equal(part(0)->n_stream, 2); /* not the half of the third */
	assert_string_equal(part(0)->call_type, "stream");
	/* nothing to tell: nothing leaves */
	expire_in(100 * SECOND);
	assert_int_equal(parts(), 1);
	message(RESP, bytes_from(numbered(2), 4), 0);
	expire_in(9 * SECOND);
	assert_int_equal(parts(), 1);
	expire_in(SECOND);
	assert_int_equal(parts(), 2);
	message(RESP, numbered(3), 0);
	asked();
	answered(0);
	assert_int_equal(parts(), 3);
	assert_int_equal(all_numbered(), 4);
	assert_true(part(2)->last_part);
	assert_int_equal(part(2)->outcome, OUTCOME_OK);
	world_close();
}

/* Two streams: each by its own clock, also when the older one has told all it had. */
static void by_time_each(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0);
	for (uint64_t i = 1; i <= 3; i++) {
		struct head h = head_request("/s/M");
		piece(0, (struct piece) {.what = PIECE_HEAD, .corr = i, .head = h});
		for (int k = 0; k < 2; k++)
			piece(0, (struct piece) {.what = PIECE_BODY | PIECE_MESSAGE,
						 .corr = i,
						 .body = BYTES("m")});
		w.now += 3 * SECOND;
	}
	for (size_t i = 1; i <= 3; i++) {
		calls_expire(w.calls, 100 * SECOND + 10 * SECOND + (i - 1) * 3 * SECOND - 1);
		assert_int_equal(parts(), i - 1);
		calls_expire(w.calls, 101 * SECOND + 10 * SECOND + (i - 1) * 3 * SECOND);
		assert_int_equal(parts(), i);
	}
	world_close();
}

/* The reply comes an hour after the question: one record, a body each way. */
static void a_slow_unary_call_is_whole(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.timeout_ns = UINT64_MAX;
	world_open(limits, PAIRING_ID, false);
	ask();
	message(REQ, BYTES("question"), 0);
	asked();
	for (int i = 0; i < 60; i++)
		expire_in(60 * SECOND);
	answer();
	body(RESP, CORR, BYTES("ans"), 0);
	for (int i = 0; i < 60; i++)
		expire_in(60 * SECOND);
	message(RESP, BYTES("wer"), 0);
	answered(0);
	assert_int_equal(parts(), 1);
	const Sidetap__V1__Call *c = expect("/s/M", OUTCOME_OK, "");
	assert_string_equal(c->call_type, "unary");
	assert_int_equal(c->n_stream, 0);
	body_is(c->request, "question");
	body_is(c->response, "answer");
	world_close();
}

/* One message, and the direction stays open: it is told as the stream that it is (a watch, a subscription). */
static void one_message_and_open_for_long(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0);
	ask();
	message(REQ, BYTES("watch"), 0);
	asked();
	answer();
	message(RESP, BYTES("first"), 0);
	expire_in(9 * SECOND);
	assert_int_equal(parts(), 0);
	expire_in(2 * SECOND);
	assert_int_equal(parts(), 1);
	assert_string_equal(part(0)->call_type, "stream");
	assert_int_equal(part(0)->n_stream, 2);
	assert_memory_equal(part(0)->stream[1]->body.data, "first", 5);
	answered(0);
	assert_int_equal(parts(), 2);
	assert_int_equal(part(1)->n_stream, 0);
	world_close();
}

/* Large, but one message each way: in parts for its size, and still a unary call in every word. */
static void a_large_unary_call(void **state)
{
	(void)state;
	for (size_t n = 600 << 10; n <= 1000 << 10; n += 200 << 10) {
		open_with(1 << 20, 0, 0);
		uint8_t *p = filled(n);
		ask();
		message(REQ, bytes_of(p, n), FLAG_COMPRESSED);
		asked();
		answer();
		body(RESP, CORR, bytes_of(p, n - 5), 0);
		expire_in(20 * SECOND);
		message(RESP, bytes_of(p + n - 5, 5), 0);
		answered(0);
		struct joined j = records_join(&w.out, "i-1:1");
		assert_true(j.n_parts > 1);
		assert_string_equal(j.first->call_type, "unary");
		assert_int_equal(j.n_stream, 0);
		assert_int_equal(j.req.n, n);
		assert_int_equal(j.resp.n, n);
		assert_memory_equal(j.req.p, p, n);
		assert_memory_equal(j.resp.p, p, n);
		assert_int_equal(j.last->request->body_bytes, n);
		assert_true(records_flag(j.last, "compressed"));
		assert_int_equal(j.last->n_flags, 1);
		records_unjoin(&j);
		free(p);
		world_close();
	}
}

/* A large first message, and then it turns out to be a stream: no byte of it stands in a body. */
static void a_stream_whose_first_message_is_large(void **state)
{
	(void)state;
	open_with(UINT64_MAX, 0, 0);
	const size_t n = 3 << 20;
	uint8_t *p = filled(n);
	ask();
	body(REQ, CORR, bytes_of(p, n), 0);
	assert_int_equal(parts(), 0);
	message(REQ, BYTES(""), 0);
	assert_int_equal(parts(), 0);
	message(REQ, BYTES(""), 0); /* an empty one counts */
	assert_true(parts() > 2);
	asked();
	answer();
	message(RESP, BYTES("ok"), 0);
	answered(0);
	struct joined j = records_join(&w.out, "i-1:1");
	assert_int_equal(j.n_stream, 3);
	assert_int_equal(j.req.n, 0);
	assert_int_equal(j.stream[0].body.n, n);
	assert_memory_equal(j.stream[0].body.p, p, n);
	assert_string_equal(j.first->call_type, "stream");
	records_unjoin(&j);
	free(p);
	world_close();
}

/* Cut behind the first message and inside the second: two messages, of which one is not whole. */
static void cut_inside_the_second_message(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0);
	ask();
	message(REQ, BYTES("q"), 0);
	asked();
	answer();
	message(RESP, BYTES("one"), 0);
	body(RESP, CORR, BYTES("tw"), 0);
	piece(0, (struct piece) {.what = PIECE_ABORT | PIECE_BOTH, .dir = RESP, .corr = CORR});
	const Sidetap__V1__Call *c = expect("/s/M", OUTCOME_ABORTED, "");
	assert_string_equal(c->call_type, "server_stream");
	assert_int_equal(c->n_stream, 3);
	assert_int_equal(c->stream[2]->body.len, 2);
	assert_int_equal(c->stream[2]->body_bytes, 2);
	assert_int_equal(c->response->body.len, 0);
	world_close();
}

/* The end of a message never comes, and all of its kept bytes are in a part already: its length is told. */
static void cut_behind_a_part(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0);
	uint8_t *p = filled(CALL_PART_BODY_MAX);
	ask();
	answer();
	message(RESP, BYTES("one"), 0);
	message(RESP, BYTES("two"), 0);
	expire_in(10 * SECOND);
	body(RESP, CORR, bytes_of(p, CALL_PART_BODY_MAX), 0);
	assert_int_equal(parts(), 2);
	piece(0, (struct piece) {.what = PIECE_ABORT | PIECE_BOTH, .dir = RESP, .corr = CORR});
	struct joined j = records_join(&w.out, "i-1:1");
	assert_int_equal(j.n_stream, 3);
	assert_int_equal(j.stream[2].body.n, CALL_PART_BODY_MAX);
	assert_int_equal(j.stream[2].body_bytes, CALL_PART_BODY_MAX);
	records_unjoin(&j);
	free(p);
	world_close();
}

/* Reset before any reply: what it was is known when it ends, in its first part too. */
static void a_large_request_is_cut(void **state)
{
	(void)state;
	open_with(1 << 20, 0, 0);
	uint8_t *p = filled(1 << 20);
	ask();
	body(REQ, CORR, bytes_of(p, 1 << 20), 0);
	piece(0, (struct piece) {.what = PIECE_ABORT | PIECE_BOTH, .dir = REQ, .corr = CORR});
	assert_int_equal(parts(), 2);
	assert_string_equal(part(0)->call_type, "unary");
	assert_int_equal(part(1)->outcome, OUTCOME_ABORTED);
	assert_int_equal(part(1)->n_stream, 0);
	free(p);
	world_close();
}

static void expect_attribute(const Sidetap__V1__Call *c, const char *name, const char *want)
{
	const char *v = records_attribute(c, name);
	assert_string_equal(v ? v : "(none)", want);
}

/* Attributes that came between two parts are in the last one; a list that grew is told again, whole. */
static void attributes_over_parts(void **state)
{
	static const struct attribute asked_for = {"unknown", BYTES("path")};
	static const struct attribute of_reply[] = {{"unknown", BYTES("status_code")},
						    {"x-reply", BYTES("1")}};
	(void)state;
	open_with(1 << 20, 2, 0);
	struct head h = head_request("/s/M");
	h.attributes = &asked_for;
	h.n_attributes = 1;
	piece(0, (struct piece) {.what = PIECE_HEAD, .corr = CORR, .head = h});
	message(REQ, BYTES("1"), 0);
	message(REQ, BYTES("2"), 0); /* part 0 */
	piece(0, (struct piece) {.what = PIECE_HEAD,
				 .dir = RESP,
				 .corr = CORR,
				 .head = {.attributes = of_reply, .n_attributes = 2}});
	message(REQ, BYTES("3"), 0);
	message(REQ, BYTES("4"), 0); /* part 1 */
	asked();
	answered(0);
	assert_int_equal(parts(), 3);
	expect_attribute(part(0), "unknown", "path");
	expect_attribute(part(1), "unknown", "(none)");
	expect_attribute(part(2), "unknown", "path,status_code");
	expect_attribute(part(2), "x-reply", "1");
	world_close();
	/* in one part: once */
	open_with(1 << 20, 0, 0);
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END, .corr = CORR, .head = h});
	piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END,
				 .dir = RESP,
				 .corr = CORR,
				 .head = {.attributes = of_reply, .n_attributes = 2}});
	expect_attribute(part(0), "unknown", "path,status_code");
	assert_int_equal(part(0)->n_attributes, 3);
	world_close();
}

/* What is held stays below the part and its budget, whatever comes; nothing of memory is charged that is not. */
static void memory_is_bounded(void **state)
{
	(void)state;
	struct call_limits limits = default_limits();
	limits.body = UINT64_MAX;
	world_open(limits, PAIRING_ID, false);
	enum { STREAMS = 100, N = 40 };
	uint8_t *p = filled(100 << 10);
	for (uint64_t i = 1; i <= STREAMS; i++)
		piece(0,
		      (struct piece) {.what = PIECE_HEAD, .corr = i, .head = head_request("/s/M")});
	for (int k = 0; k < N; k++)
		for (uint64_t i = 1; i <= STREAMS; i++) {
			if (k % 8 ==
			    7) /* the other streams are quiet meanwhile: their memory goes */
				calls_expire(w.calls, w.now += 11 * SECOND);
			piece(0, (struct piece) {.what = PIECE_BODY | PIECE_MESSAGE,
						 .corr = i,
						 .body = bytes_of(p, 100 << 10)});
			assert_true(w.calls->bodies <= limits.open_bodies);
		}
	calls_expire(w.calls, w.now += 11 * SECOND);
	assert_true(w.calls->bodies <= STREAMS * 33 << 10);
	/* all of it left: nothing more is cut, although buffers were large */
	uint64_t cut = calls_bodies_cut(w.calls);
	for (uint64_t i = 1; i <= STREAMS; i++)
		piece(0, (struct piece) {.what = PIECE_BODY | PIECE_MESSAGE,
					 .corr = i,
					 .body = bytes_of(p, 100 << 10)});
	assert_int_equal(calls_bodies_cut(w.calls), cut);
	free(p);
	world_close();
}

/* Many large unary calls at once: they give out parts rather than lose what is kept. */
static void over_budget_large_ones_leave_in_parts(void **state)
{
	(void)state;
	enum { CALLS = 24 };
	const size_t n = 1 << 20;
	open_with(1 << 20, 0, 0);
	uint8_t *p = filled(n);
	for (uint64_t i = 1; i <= CALLS; i++) {
		struct head h = head_request("/s/M");
		h.messages = true;
		piece(0,
		      (struct piece) {.what = PIECE_HEAD | PIECE_BODY | PIECE_MESSAGE | PIECE_END,
				      .corr = i,
				      .head = h,
				      .body = bytes_of(p, n)});
	}
	assert_true(parts() > 0);
	assert_int_equal(calls_bodies_cut(w.calls), 0);
	size_t got = 0;
	for (uint64_t i = 1; i <= CALLS; i++)
		piece(0, (struct piece) {.what = PIECE_HEAD | PIECE_END,
					 .dir = RESP,
					 .corr = i,
					 .head = head_response(0)});
	for (size_t i = 0; i < parts(); i++)
		got += part(i)->request ? part(i)->request->body.len : 0;
	assert_int_equal(got, CALLS * n);
	free(p);
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_count),
		cmocka_unit_test(kinds_of_early_parts),
		cmocka_unit_test(by_bytes),
		cmocka_unit_test(by_bytes_in_pieces),
		cmocka_unit_test(by_time),
		cmocka_unit_test(by_time_each),
		cmocka_unit_test(a_slow_unary_call_is_whole),
		cmocka_unit_test(one_message_and_open_for_long),
		cmocka_unit_test(a_large_unary_call),
		cmocka_unit_test(a_stream_whose_first_message_is_large),
		cmocka_unit_test(cut_inside_the_second_message),
		cmocka_unit_test(cut_behind_a_part),
		cmocka_unit_test(a_large_request_is_cut),
		cmocka_unit_test(attributes_over_parts),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(over_budget_large_ones_leave_in_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
