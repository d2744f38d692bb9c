/* SPDX-License-Identifier: Apache-2.0 */
/* Dubbo2 by fault, group R. Good exchanges with their text: tests/corpus/dubbo2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/hessian.h"
#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"
#include "tests/unit/drive_check.h"
#include "tests/unit/dubbo2_write.h"
#include "tests/unit/first_piece.h"

static void send(enum dir dir, struct buf *b)
{
	wire_send_raw(dir, buf_bytes(b));
	buf_fini(b);
}

static void send_request(unsigned flags, uint64_t id, const char *method)
{
	struct buf b = {0};

	put_request(&b, flags, id, method, BYTES("question"));
	send(DIR_REQUEST, &b);
}

static void send_reply(uint64_t id, unsigned status, struct bytes body)
{
	struct buf b = {0};

	put_frame(&b, REPLY, status, id, body);
	send(DIR_RESPONSE, &b);
}

/* ---- records, to the letter ---- */

static const char *header_of(const Sidetap__V1__Message *m, const char *name)
{
	static char value[64];

	for (size_t i = 0; i < m->n_headers; i++)
		if (strcmp((char *)m->headers[i]->name, name) == 0) {
			snprintf(value, sizeof(value), "%.*s", (int)m->headers[i]->value.len,
				 (char *)m->headers[i]->value.data);
			return value;
		}
	return NULL;
}

static void one_call(void **state)
{
	struct buf b = {0};

	(void)state;
	put_request(&b, REQUEST, 77, "find", BYTES("a"));
	size_t n = b.n;
	wire_open(true);
	send(DIR_REQUEST, &b);
	send_reply(77, 20,
		   BYTES("\x94\x05"
			 "reply"
			 "H\x01k\x01vZ"));
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "dubbo2");
	assert_string_equal(c->transport, "");
	assert_string_equal(c->service, "demo.Shop");
	assert_string_equal(c->method, "find");
	assert_string_equal(c->path, "");
	assert_string_equal(c->call_type, "unary");
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_int_equal(c->status_code, 20);
	assert_int_equal(c->n_flags, 0);
	assert_string_equal(records_attribute(c, "request_id"), "77");
	assert_string_equal(records_attribute(c, "serialization"), "hessian2");
	assert_string_equal(records_attribute(c, "service_version"), "1.2.3");
	assert_null(records_attribute(c, "unknown"));
	assert_string_equal(header_of(c->request, "path"), "demo.Shop");
	assert_string_equal(header_of(c->request, "timeout"), "3000");
	assert_string_equal(header_of(c->response, "k"), "v");
	assert_int_equal(c->request->body_bytes, n - 16);
	assert_int_equal(c->request->wire_bytes, n);
	assert_int_equal(c->response->body.len, 13);
	wire_close(FLOW_FIN);
}

static void exception_in_the_body(void **state)
{
	(void)state;
	wire_open(true);
	send_request(REQUEST, 1, "find");
	send_reply(1, 20,
		   BYTES("\x90"
			 "C\x01t\x91\x0d"
			 "detailMessage\x60\x04"
			 "lost"));
	const Sidetap__V1__Call *c = wire_next();
	assert_int_equal(c->outcome, OUTCOME_DECLARED_EXCEPTION);
	assert_int_equal(c->status_code, 20);
	assert_string_equal(c->status_text, "lost");
	wire_close(FLOW_FIN);
}

static void statuses(void **state)
{
	static const struct {
		unsigned status;
		enum outcome outcome;
	} cases[] = {{30, OUTCOME_SERVER_ERROR}, {31, OUTCOME_SERVER_ERROR},
		     {40, OUTCOME_CLIENT_ERROR}, {50, OUTCOME_SERVER_ERROR},
		     {60, OUTCOME_SERVER_ERROR}, {70, OUTCOME_SERVER_ERROR},
		     {90, OUTCOME_SERVER_ERROR}, {100, OUTCOME_SERVER_ERROR}};

	(void)state;
	wire_open(true);
	for (size_t i = 0; i < N(cases); i++) {
		send_request(REQUEST, i, "find");
		send_reply(i, cases[i].status, BYTES("\x03why"));
		const Sidetap__V1__Call *c = wire_next();
		assert_int_equal(c->status_code, cases[i].status);
		assert_int_equal(c->outcome, cases[i].outcome);
		assert_string_equal(c->status_text, "why");
	}
	/* a long text, in chunks: its first chunk, capped */
	struct buf text = {0};
	put(&text, BYTES("R\x20\x00"));
	put_fill(&text, 't', 0x2000);
	put(&text, BYTES("\x01u"));
	send_request(REQUEST, 99, "find");
	send_reply(99, 70, buf_bytes(&text));
	buf_fini(&text);
	assert_int_equal(strlen(wire_next()->status_text), CALL_STATUS_TEXT_MAX);
	wire_close(FLOW_FIN);
}

/* r6: out of order, one-way, one id twice, a reply that nobody asked for */
static void r6_ids(void **state)
{
	(void)state;
	wire_open(true);
	send_request(REQUEST, 1, "a");
	send_request(REQUEST, 2, "b");
	send_request(ONE_WAY, 3, "note");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "note");
	assert_string_equal(c->call_type, "oneway");
	assert_int_equal(c->outcome, OUTCOME_OK);
	assert_null(c->response);
	send_request(REQUEST, 2, "c");
	send_reply(2, 20, BYTES("\x92"));
	assert_string_equal(wire_next()->method, "b");
	send_reply(4, 20, BYTES("\x92"));
	assert_true(records_flag(wire_next(), "orphan_response"));
	send_reply(1, 20, BYTES("\x92"));
	assert_string_equal(wire_next()->method, "a");
	send_reply(2, 20, BYTES("\x92"));
	assert_string_equal(wire_next()->method, "c");
	send_request(REQUEST, 5, "alone");
	wire_close(FLOW_FIN);
	assert_int_equal(wire_next()->outcome, OUTCOME_NO_RESPONSE);
	wire_expect_none();
}

/* r11: heartbeats and other events, from both sides, are no calls */
static void r11_events(void **state)
{
	(void)state;
	wire_open(true);
	for (int d = 0; d < 2; d++) {
		struct buf b = {0};
		put_frame(&b, EVENT, 0, 9, BYTES("N"));
		put_frame(&b, 0xf7, 0, 10, BYTES("\0\0\0\1\xaf"));
		send(d, &b);
		put_frame(&b, EVENT_REPLY, 20, 9, BYTES("N"));
		put_frame(&b, EVENT, 0, 11, BYTES("\x01R"));
		wire_send_raw(!d, bytes_head(buf_bytes(&b), 20)); /* cut */
		wire_send_raw(!d, bytes_from(buf_bytes(&b), 20));
		buf_fini(&b);
	}
	send_request(REQUEST, 1, "find");
	send_reply(1, 20, BYTES("\x92"));
	assert_string_equal(wire_next()->method, "find");
	wire_expect_none();
	assert_int_equal(wire_exit("control"), 2 * (17 + 21 + 17 + 18));
	wire_close(FLOW_FIN);
}

static void callback(void **state)
{
	struct buf b = {0};

	(void)state;
	wire_open(true);
	send_request(REQUEST, 1, "listen");
	put_request(&b, REQUEST, 1, "changed", BYTES("news")); /* the server's own ids */
	send(DIR_RESPONSE, &b);
	put_frame(&b, REPLY, 20, 1, BYTES("\x92"));
	send(DIR_REQUEST, &b);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "changed");
	assert_string_equal(records_attribute(c, "reverse"), "1");
	assert_int_equal(c->outcome, OUTCOME_OK);
	send_reply(1, 20, BYTES("\x92"));
	c = wire_next();
	assert_string_equal(c->method, "listen");
	assert_null(records_attribute(c, "reverse"));
	wire_close(FLOW_FIN);
}

static void cut_by_close(void **state)
{
	struct buf b = {0}, body = {0};

	(void)state;
	put_start(&body, "demo.Shop", "put", "Ljava/lang/String;");
	put_string(&body, BYTES("x"));
	put_fill(&body, 'x', 20000);
	put_frame(&b, REQUEST, 0, 1, buf_bytes(&body));
	wire_open(true);
	wire_send_raw(DIR_REQUEST, bytes_head(buf_bytes(&b), b.n - 1));
	wire_close(FLOW_RST);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->method, "put");
	assert_int_equal(c->outcome, OUTCOME_ABORTED);
	assert_int_equal(c->request->body_bytes, body.n - 1);
	buf_fini(&b);
	buf_fini(&body);
}

/* ---- the framer ---- */

/* r11: nothing is asked for, or skipped, by a length that lies */
static void r11_lengths(void **state)
{
	static const uint32_t lengths[] = {0xffffffff, 0x80000000, 0x7fffffff, (64 << 20) + 1};
	struct buf b = {0};

	(void)state;
	put_request(&b, REQUEST, 1, "find", BYTES("x"));
	for (size_t i = 0; i < N(lengths); i++) {
		put_at(&b, 12, lengths[i], 4);
		struct first_piece s = first_piece(&framer_dubbo2, DIR_REQUEST, buf_bytes(&b));
		assert_true(s.r < 0);
		assert_int_equal(s.p.flags, 0);
		assert_string_equal(s.p.cap, "dubbo2_frame");
	}
	put_at(&b, 12, 64 << 20, 4);
	struct first_piece s = first_piece(&framer_dubbo2, DIR_REQUEST, buf_bytes(&b));
	assert_int_equal(s.r, 0);
	assert_int_equal(s.need, 16 + 4096); /* of a long body only the beginning */
	buf_fini(&b);
}

/* r11: bytes between frames are passed over, and counted so */
static void r11_resync(void **state)
{
	struct buf b = {0};

	(void)state;
	wire_open(true);
	send_request(REQUEST, 1, "one");
	send_reply(1, 20, BYTES("\x92"));
	put_text(&b, "status -l\r\n\xda\xbb");
	size_t noise = b.n;
	put_request(&b, REQUEST, 2, "two", BYTES("x"));
	put_request(&b, REQUEST, 3, "three", BYTES("x"));
	send(DIR_REQUEST, &b);
	send_reply(3, 20, BYTES("\x92"));
	send_reply(2, 20, BYTES("\x92"));
	assert_string_equal(wire_next()->method, "one");
	assert_string_equal(wire_next()->method, "three");
	assert_string_equal(wire_next()->method, "two");
	assert_int_equal(wire_exit("skipped_gap"), noise);
	wire_close(FLOW_FIN);
}

static void long_bodies(void **state)
{
	struct buf b = {0}, body = {0};

	(void)state;
	/* as long as is waited for: with attachments */
	put_start(&body, "demo.Shop", "put", "Ljava/lang/String;");
	size_t room = 16384 - body.n - 3 - 30;
	struct buf argument = {0};
	put_fill(&argument, 'x', room);
	put_string(&body, buf_bytes(&argument));
	put_attachments(&body, "demo.Shop");
	put_frame(&b, REQUEST, 0, 1, buf_bytes(&body));
	assert_int_equal(b.n, 16 + 16384);
	assert_int_equal(
		first_piece(&framer_dubbo2, DIR_REQUEST, bytes_head(buf_bytes(&b), b.n - 1)).need,
		b.n);
	struct first_piece s = first_piece(&framer_dubbo2, DIR_REQUEST, buf_bytes(&b));
	assert_int_equal(s.p.head.n_headers, 2);
	assert_null(s.p.cap);
	/* one byte more: without */
	put_text(&body, "N");
	b.n = 0;
	put_frame(&b, REQUEST, 0, 1, buf_bytes(&body));
	s = first_piece(&framer_dubbo2, DIR_REQUEST, bytes_head(buf_bytes(&b), 16 + 4096));
	assert_int_equal(s.r, 16 + 4096);
	assert_true(bytes_eq(s.p.head.method, BYTES("put")));
	assert_int_equal(s.p.head.n_headers, 0);
	assert_string_equal(s.p.cap, "dubbo2_attachments");
	buf_fini(&argument);
	buf_fini(&body);
	buf_fini(&b);
}

static struct first_piece request_of(const char *types, struct bytes rest, struct buf *b)
{
	struct buf body = {0};

	b->n = 0;
	put_start(&body, "demo.Shop", "put", types);
	put(&body, rest);
	put_frame(b, REQUEST, 0, 1, buf_bytes(&body));
	buf_fini(&body);
	return first_piece(&framer_dubbo2, DIR_REQUEST, buf_bytes(b));
}

/* r12: arguments that cannot be passed cost the attachments, nothing else */
static void r12_arguments(void **state)
{
	static const struct {
		const char *types;
		struct bytes rest;
		size_t n_headers;
	} cases[] = {
		{"", BYTES("H\x01k\x01vZ"), 1},
		{"I", BYTES("\x90H\x01k\x01vZ"), 1},
		{"[[ILa/b;J", BYTES("NNLabcdefghH\x01k\x01vZ"), 1},
		{"I", BYTES("H\x01k\x01vZ"), 0}, /* the map is the argument */
		{"", BYTES("H\x01k\x01vZN"), 0}, /* bytes behind it */
		{"", BYTES("H\x01k\x01v"), 0},
		{"", BYTES("H\x90\x01vZ"), 0}, /* a key that is no string */
		{"", BYTES("H\x03k v\x01vZ"), 0}, /* no name of a header */
		{"V", BYTES("H\x01k\x01vZ"), 0}, /* no types */
		{"La/b", BYTES("H\x01k\x01vZ"), 0},
		{"[", BYTES("H\x01k\x01vZ"), 0},
		{"I", BYTES("VI\x7f\xff\xff\xffH\x01k\x01vZ"), 0},
		{"I", BYTES("Q\x90H\x01k\x01vZ"), 1},
	};
	struct buf b = {0}, deep = {0};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct first_piece s = request_of(cases[i].types, cases[i].rest, &b);
		assert_int_equal(s.r, b.n);
		assert_true(bytes_eq(s.p.head.method, BYTES("put")));
		if (s.p.head.n_headers != cases[i].n_headers)
			fail_msg("case %zu: %zu headers", i, s.p.head.n_headers);
	}
	put_fill(&deep, 'W', 10000);
	struct first_piece s = request_of("I", buf_bytes(&deep), &b);
	assert_int_equal(s.p.head.n_headers, 0);
	assert_string_equal(s.p.cap, "hessian");
	buf_fini(&deep);
	buf_fini(&b);
}

static void header_count(void **state)
{
	struct buf b = {0}, rest = {0};

	(void)state;
	put_text(&rest, "H");
	for (int i = 0; i < 9; i++)
		put(&rest, BYTES("\x01k\x01v"));
	put_text(&rest, "Z");
	struct framer_limits limits = {65536, 8, 1024, 64 << 20};
	request_of("", buf_bytes(&rest), &b);
	struct first_piece s =
		first_piece_limited(&framer_dubbo2, DIR_REQUEST, buf_bytes(&b), limits);
	assert_int_equal(s.p.head.n_headers, 8);
	assert_string_equal(s.p.cap, "dubbo2_attachments");
	buf_fini(&rest);
	buf_fini(&b);
}

/* r7: what is no name is no field, and is named as unknown */
static void r7_names(void **state)
{
	static const char *const bad[] = {"a b", "a\x01", "caf\xc3\xa9", ""};
	struct buf b = {0};
	char name[300] = {0};

	(void)state;
	memset(name, 'n', 257);
	for (size_t i = 0; i <= N(bad); i++) {
		struct buf body = {0};
		b.n = 0;
		put_start(&body, "demo.Shop", i < N(bad) ? bad[i] : name, "");
		put_frame(&b, REQUEST, 0, 1, buf_bytes(&body));
		struct first_piece s = first_piece(&framer_dubbo2, DIR_REQUEST, buf_bytes(&b));
		assert_int_equal(s.p.head.method.n, 0);
		assert_true(bytes_eq(s.p.head.service, BYTES("demo.Shop")));
		const struct attribute *last = &s.p.head.attributes[s.p.head.n_attributes - 1];
		assert_string_equal(last->name, "unknown");
		assert_true(bytes_eq(last->value, BYTES("method")));
		if (i != 3)
			assert_string_equal(s.p.cap, "dubbo2_name");
		buf_fini(&body);
	}
	buf_fini(&b);
}

static void probes(void **state)
{
	struct buf q = {0}, r = {0}, e = {0}, w = {0};
	struct bytes none = {0};

	(void)state;
	put_request(&q, REQUEST, 1, "find", BYTES("x"));
	put_frame(&r, REPLY, 20, 1, BYTES("\x91\x01x"));
	put_frame(&e, EVENT, 0, 1, BYTES("N"));
	struct bytes request = buf_bytes(&q), reply = buf_bytes(&r), event = buf_bytes(&e);
	for (size_t n = 0; n <= q.n; n++)
		assert_int_equal(framer_dubbo2.probe(bytes_head(request, n), none),
				 n < 16 + 24 ? PROBE_MORE : PROBE_YES);
	assert_int_equal(framer_dubbo2.probe(event, none), PROBE_YES);
	assert_int_equal(framer_dubbo2.probe(reply, none), PROBE_MORE);
	assert_int_equal(framer_dubbo2.probe(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_dubbo2.probe(reply, reply), PROBE_NO);
	assert_int_equal(framer_dubbo2.probe(reply, BYTES("HTTP")), PROBE_NO);
	assert_int_equal(framer_dubbo2.probe(BYTES("\xda\xba"), none), PROBE_NO);
	static const struct {
		size_t at;
		uint8_t v;
	} wrong[] = {{2, 0xc0}, {3, 1}, {12, 0xff}, {12, 1}, {16, 0x20}, {17, 'x'}};
	for (size_t i = 0; i < N(wrong); i++) {
		w.n = 0;
		put(&w, request);
		w.p[wrong[i].at] = wrong[i].v;
		if (framer_dubbo2.probe(buf_bytes(&w), none) != PROBE_NO)
			fail_msg("wrong %zu", i);
	}
	assert_int_equal(framer_dubbo2.probe_late(request, none), PROBE_YES);
	assert_int_equal(framer_dubbo2.probe_late(none, reply), PROBE_YES);
	assert_int_equal(framer_dubbo2.probe_late(reply, none), PROBE_MORE);
	assert_int_equal(framer_dubbo2.probe_late(reply, request), PROBE_REVERSED);
	assert_int_equal(framer_dubbo2.probe_late(bytes_from(request, 1), none), PROBE_NO);
	assert_ptr_equal(prober_ask(request, none, false, false).ops, &framer_dubbo2);
	buf_fini(&q);
	buf_fini(&r);
	buf_fini(&e);
	buf_fini(&w);
}

/* A head whose body says otherwise is no start, wherever it lies. */
static void resync_is_verified(void **state)
{
	struct buf b = {0};

	(void)state;
	for (unsigned variant = 0; variant < 3; variant++) {
		b.n = 0;
		put_text(&b, "tail of a body ");
		if (variant == 0) /* right in itself, with another magic behind it */
			put_request(&b, REQUEST, 1, "fake", BYTES("x"));
		else /* the body does not begin as one */
			put_frame(&b, variant == 1 ? REQUEST : REPLY, variant == 1 ? 0 : 20, 1,
				  BYTES("no body at all, but long enough"));
		put_text(&b, "more of it ");
		size_t at = b.n;
		put_request(&b, REQUEST, 2, "two", BYTES("x"));
		put_request(&b, REQUEST, 3, "three", BYTES("x"));
		void *c = calloc(1, framer_dubbo2.state_size);
		struct framer_limits limits = {65536, 256, 1024, 64 << 20};
		size_t skip = 0;
		framer_dubbo2.init(c, &limits, true);
		assert_int_equal(framer_dubbo2.resync(c, DIR_REQUEST, buf_bytes(&b), 0, &skip), 1);
		assert_int_equal(skip, at);
		framer_dubbo2.fini(c);
		free(c);
	}
	buf_fini(&b);
}

/* Any change of any byte: the driver holds the framer to its contract, sanitizers to its bytes. */
static void mutated(void **state)
{
	uint64_t seed = 0xdabb;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct drive_script s;
		struct buf b[2] = {{0}, {0}};
		drive_script_init(&s);
		s.first = &framer_dubbo2;
		s.late = i % 3 == 0;
		for (uint64_t id = 0; id < 3; id++) {
			put_request(&b[0], REQUEST, id, "find", BYTES("argument"));
			put_frame(&b[1], REPLY, id == 2 ? 70 : 20, id,
				  id == 2 ? BYTES("\x03why") : BYTES("\x94\x01xH\x01k\x01vZ"));
		}
		for (unsigned k = 0; k < 1 + drive_random(&seed) % 6; k++) {
			struct buf *m = &b[drive_random(&seed) % 2];
			m->p[drive_random(&seed) % m->n] = (uint8_t)drive_random(&seed);
		}
		drive_add(&s, DIR_REQUEST, buf_bytes(&b[0]));
		drive_add(&s, DIR_RESPONSE, buf_bytes(&b[1]));
		drive_add_end(&s, DIR_REQUEST, END_FIN);
		drive_add_end(&s, DIR_RESPONSE, END_FIN);
		struct drive_result r = drive_run_bytes(&s);
		drive_result_fini(&r);
		drive_script_fini(&s);
		buf_fini(&b[0]);
		buf_fini(&b[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call),           cmocka_unit_test(exception_in_the_body),
		cmocka_unit_test(statuses),           cmocka_unit_test(r6_ids),
		cmocka_unit_test(r11_events),         cmocka_unit_test(callback),
		cmocka_unit_test(cut_by_close),       cmocka_unit_test(r11_lengths),
		cmocka_unit_test(r11_resync),         cmocka_unit_test(long_bodies),
		cmocka_unit_test(r12_arguments),      cmocka_unit_test(header_count),
		cmocka_unit_test(r7_names),           cmocka_unit_test(probes),
		cmocka_unit_test(resync_is_verified), cmocka_unit_test(mutated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
