/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TTHeader joined late at every offset, and with segments lost at random: no field is wrong, nothing is paired
 * wrongly, no call is told twice; the share of calls that come out whole is printed. Every message carries its
 * call's number in its header, its body and its log id.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/ttheader_make.h"

enum { CALLS = 60, STREAM_EVERY = 5, SENDS_MAX = 2000, MESSAGES = 3, LONG = 2000 };

struct sent {
	int k; /* call */
	enum dir dir;
	struct bytes b;
};

static struct {
	const char *number;
	struct bytes body[2], message[2]; /* by enum dir */
} truth[CALLS];
static struct sent sent[SENDS_MAX];
static size_t n_sent;
static bool mux;
static uint64_t seed;
static uint8_t arena[64 << 10];

static void send(int k, enum dir dir, struct bytes b)
{
	assert_true(n_sent < SENDS_MAX);
	sent[n_sent++] = (struct sent) {k, dir, b};
}

static bool is_stream(int k)
{
	return k % STREAM_EVERY == 4;
}

/* Bytes behind the number, so that frames have many sizes, some of them with the magic inside */
static struct bytes body_of(int k, char side)
{
	struct make_out o = {0};
	char text[64];

	snprintf(text, sizeof(text), "%c%d:", side, k);
	out_bytes(&o, bytes_str(text));
	for (int i = 0; i < k * 37 % LONG; i++)
		out_number(&o, 1,
			   i % 7 == 0   ? 0x10
			   : i % 5 == 0 ? 0
					: 'a' + (unsigned)(k + i) % 26);
	struct make_out f = {0};
	out_number(&f, 1, 11);
	out_number(&f, 2, side == 'q');
	out_number(&f, 4, o.n);
	out_bytes(&f, made(&o));
	out_number(&f, 1, 0);
	return made(&f);
}

static const char *number_text(int k)
{
	char *p = arena_alloc(&make_arena, 16);

	snprintf(p, 16, "%d", k);
	return p;
}

static const char *method_of(int k)
{
	static const char *const methods[] = {"Echo", "Touch", "Count", "Put", "Talk"};

	return methods[k % 5];
}

static struct bytes message_of(int k, enum dir dir)
{
	unsigned type = dir == DIR_REQUEST ? 1 : k % 7 == 3 ? 3 : 2;
	struct bytes body = type == 3 ? exception(number_text(k), k, true)
				      : body_of(k, dir == DIR_REQUEST ? 'q' : 'r');

	return binary(type, method_of(k), (uint32_t)k + 1, body);
}

static struct bytes unary_frame(int k, enum dir dir)
{
	struct bytes m = message_of(k, dir);
	struct make f = {.flags = mux && dir == DIR_REQUEST,
			 .seq = (uint32_t)k + 1,
			 .strings = {{"n", number_text(k)}},
			 .ints = {{22, dir == DIR_REQUEST ? "1" : "2"}},
			 .payload = k % 2 ? framed(m) : m};

	if (dir == DIR_REQUEST) {
		f.strings[1] = (struct make_string) {"isn", "Svc"};
		f.ints[1] = (struct make_int) {2, number_text(k)};
		f.ints[2] = (struct make_int) {9, method_of(k)};
	}
	return frame(&f);
}

static void make_stream(int k)
{
	const struct make_string *request = STRINGS({"n", number_text(k)}, {"isn", "Svc"});
	const struct make_string *reply = STRINGS({"n", number_text(k)});
	uint32_t id = (uint32_t)k + 1;

	send(k, DIR_REQUEST, stream_frame(TTHEADER_HEADER, id, method_of(k), BYTES(""), request));
	send(k, DIR_RESPONSE, stream_frame(TTHEADER_HEADER, id, method_of(k), BYTES(""), reply));
	for (int i = 0; i < MESSAGES; i++) {
		send(k, DIR_REQUEST,
		     stream_frame(TTHEADER_DATA, id, method_of(k), body_of(k, 'q'), NULL));
		send(k, DIR_RESPONSE,
		     stream_frame(TTHEADER_DATA, id, method_of(k), body_of(k, 'r'), NULL));
	}
	send(k, DIR_REQUEST, stream_frame(TTHEADER_TRAILER, id, method_of(k), BYTES(""), NULL));
	send(k, DIR_RESPONSE, stream_frame(TTHEADER_TRAILER, id, method_of(k), BYTES(""), reply));
}

/* Mux: three requests, then their replies backwards. */
static void conversation(bool with_mux)
{
	make_reset();
	n_sent = 0;
	mux = with_mux;
	for (int k = 0; k < CALLS; k++) {
		truth[k].number = number_text(k);
		for (int d = 0; d < 2; d++) {
			truth[k].body[d] = body_of(k, d == DIR_REQUEST ? 'q' : 'r');
			truth[k].message[d] = message_of(k, d);
		}
		if (is_stream(k)) {
			make_stream(k);
			continue;
		}
		send(k, DIR_REQUEST, unary_frame(k, DIR_REQUEST));
		if (!mux) {
			send(k, DIR_RESPONSE, unary_frame(k, DIR_RESPONSE));
		} else if (k % STREAM_EVERY == 3) {
			for (int i = k; i > k - 4; i--)
				send(i, DIR_RESPONSE, unary_frame(i, DIR_RESPONSE));
		}
	}
}

/* ---- the truth ---- */

static int number_of(const Sidetap__V1__Message *m)
{
	for (size_t i = 0; m && i < m->n_headers; i++) {
		char text[16] = "";
		if (strcmp(m->headers[i]->name, "n") == 0 &&
		    m->headers[i]->value.len < sizeof(text)) {
			memcpy(text, m->headers[i]->value.data, m->headers[i]->value.len);
			return atoi(text);
		}
	}
	return -1;
}

static void body_begins(ProtobufCBinaryData is, struct bytes want, bool whole)
{
	assert_true(is.len <= want.n);
	assert_true(!whole || is.len == want.n);
	if (is.len)
		assert_memory_equal(is.data, want.p, is.len);
}

static void check_stream(const Sidetap__V1__Call *c, int k, bool clean)
{
	if (c->n_stream == 0) {
		if (c->request)
			body_begins(c->request->body, truth[k].body[0], false);
		if (c->response)
			body_begins(c->response->body, truth[k].body[1], false);
	}
	for (size_t i = 0; i < c->n_stream; i++)
		body_begins(c->stream[i]->body, truth[k].body[(int)c->stream[i]->direction], clean);
	if (clean)
		assert_int_equal(c->n_stream, c->request ? 2 * MESSAGES : MESSAGES);
}

static void check_unary(const Sidetap__V1__Call *c, int k, bool clean)
{
	if (c->request)
		body_begins(c->request->body, truth[k].message[0], clean);
	if (!c->response)
		return;
	body_begins(c->response->body, truth[k].message[1], clean);
	if (!records_flag(c, "gap") || (int)c->outcome != OUTCOME_UNKNOWN) {
		assert_int_equal(c->outcome, k % 7 == 3 ? OUTCOME_SERVER_ERROR : OUTCOME_OK);
		assert_int_equal(c->status_code, k % 7 == 3 ? k : 0);
	}
}

/* True: it came out whole. */
static bool check(const Sidetap__V1__Call *c, bool *told)
{
	int q = number_of(c->request), r = number_of(c->response), k = q >= 0 ? q : r;
	bool clean = !records_flag(c, "gap") && !records_flag(c, "truncated");

	assert_string_equal(c->protocol, "ttheader");
	assert_in_range(k, 0, CALLS - 1);
	assert_false(told[k]);
	told[k] = true;
	assert_string_equal(c->method, method_of(k));
	if (q >= 0) {
		assert_string_equal(c->service, "Svc");
		if (!is_stream(k))
			assert_string_equal(records_attribute(c, "log_id"), truth[k].number);
	} else {
		assert_null(c->request);
		assert_string_equal(c->service, "");
		assert_true(records_flag(c, "orphan_response"));
	}
	if (c->response)
		assert_int_equal(r, k);
	clean = clean && c->response && (c->request || !is_stream(k));
	if (is_stream(k))
		check_stream(c, k, clean);
	else
		check_unary(c, k, clean);
	return clean && c->request;
}

static size_t check_all(void)
{
	bool told[CALLS] = {false};
	const Sidetap__V1__Call *c;
	size_t whole = 0;

	for (size_t i = 0; (c = records_last(&wire.out, i)); i++)
		whole += check(c, told);
	return whole;
}

/* ---- what is done to it ---- */

/* The first `skip` bytes of the conversation came before us. */
static size_t joined_at(size_t skip)
{
	wire_open(false);
	for (size_t i = 0; i < n_sent; i++) {
		size_t n = sent[i].b.n < skip ? sent[i].b.n : skip;
		skip -= n;
		wire_run(sent[i].dir, bytes_from(sent[i].b, n), false);
	}
	wire_close(FLOW_FIN);
	return check_all();
}

/* Marks the calls with a frame in [from, to) of the run that begins with sent[i]. */
static void touch(size_t i, size_t from, size_t to, bool *touched)
{
	for (size_t at = 0; at < to; at += sent[i++].b.n)
		if (at + sent[i].b.n > from)
			touched[sent[i].k] = true;
}

/* Frames cut into segments, and several of them in one, each of which is lost with a chance of lost/1000. */
static size_t with_losses(unsigned lost, size_t *untouched)
{
	bool touched[CALLS] = {false};

	wire_open(true);
	for (size_t i = 0, next; i < n_sent; i = next) {
		struct make_out run = {.p = arena, .cap = sizeof(arena)};
		for (next = i; next < n_sent && sent[next].dir == sent[i].dir; next++)
			out_bytes(&run, sent[next].b);
		for (size_t at = 0, n; at < run.n; at += n) {
			struct bytes b = bytes_head(bytes_from(made(&run), at),
						    1 + drive_random(&seed) % 700);
			n = b.n;
			if (drive_random(&seed) % 1000 >= lost) {
				wire_run(sent[i].dir, b, at > 0);
				continue;
			}
			wire_lose(sent[i].dir, n);
			touch(i, at, at + n, touched);
		}
	}
	wire_close(FLOW_FIN);
	for (int k = 0; k < CALLS; k++)
		*untouched += !touched[k];
	return check_all();
}

static void joined_at_every_offset(void **state)
{
	(void)state;
	for (int m = 0; m < 2; m++) {
		size_t total = 0, whole = 0, runs = 0;
		conversation(m);
		for (size_t i = 0; i < n_sent; i++)
			total += sent[i].b.n;
		size_t dense = total / 4, step = 1;
		for (size_t skip = 0; skip < total; skip += step, runs++) {
			step = skip < dense / 8 ? 1 : 61;
			whole += joined_at(skip);
		}
		assert_true(joined_at(0) >=
			    CALLS - (m ? 4 : 1)); /* no turn came before the first */
		print_message("%s, joined at %zu offsets: %.1f %% of all calls whole\n",
			      m ? "mux" : "one at a time", runs,
			      100.0 * (double)whole / (double)(runs * CALLS));
		assert_true(whole * 100 >
			    runs * CALLS * 45); /* half of them come before the join */
	}
}

static void random_losses(void **state)
{
	static const unsigned rates[] = {1, 10, 50};
	enum { RUNS = 60 };

	(void)state;
	seed = 0x1234567;
	for (int m = 0; m < 2; m++) {
		conversation(m);
		for (size_t i = 0; i < 3; i++) {
			size_t whole = 0, untouched = 0;
			for (int run = 0; run < RUNS; run++)
				whole += with_losses(rates[i], &untouched);
			double share = 100.0 * (double)whole / (double)untouched;
			print_message(
				"%s, %.1f %% of segments lost: of calls that lost nothing themselves "
				"(%.1f %%), %.1f %% are whole\n",
				m ? "mux" : "one at a time", rates[i] / 10.0,
				100.0 * (double)untouched / (RUNS * CALLS), share);
			assert_true(share > 90);
		}
	}
}

/* Client and server are told apart by what they say when the connection was joined the wrong way round. */
static void joined_reversed(void **state)
{
	(void)state;
	conversation(false);
	wire_open(false);
	for (size_t i = 2; i < n_sent; i++)
		wire_run(wire.reversed ? sent[i].dir : !sent[i].dir, sent[i].b, false);
	wire_close(FLOW_FIN);
	assert_true(check_all() >= CALLS - 2);
}

static int teardown(void **state)
{
	(void)state;
	make_reset();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(joined_at_every_offset),
		cmocka_unit_test(random_losses),
		cmocka_unit_test(joined_reversed),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
