/* SPDX-License-Identifier: Apache-2.0 */
/*
 * T8: a gap at every offset, of many lengths, of a conversation of three calls on one connection. Calls that it
 * does not touch are exact; nothing is paired wrongly; what differs from the truth says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

enum { CALLS = 3, LENGTHS_ALL = 24, LENGTHS_STEP = 13 };

struct truth {
	const char *segments[2]; /* request, response */
	const char *body[2];
	size_t at[2]; /* offset in its direction */
};

static struct truth truth[CALLS] = {
	{{"GET /1 HTTP/1.1\r\nHost: a\r\nX-N: 1\r\n\r\n",
	  "HTTP/1.1 201 One\r\nContent-Length: 11\r\n\r\nfirst-reply"},
	 {"", "first-reply"},
	 {0}},
	{{"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nrequest-two!",
	  "HTTP/1.1 202 Two\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nsecond-\r\n5\r\nreply\r\n0\r\n\r\n"},
	 {"request-two!", "second-reply"},
	 {0}},
	{{"PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthird\r\n0\r\n\r\n",
	  "HTTP/1.1 203 Three\r\nContent-Length: 11\r\n\r\nthird-reply"},
	 {"third", "third-reply"},
	 {0}},
};
static size_t total[2];

static void measure(void)
{
	total[0] = total[1] = 0;
	for (int i = 0; i < CALLS; i++)
		for (int d = 0; d < 2; d++) {
			truth[i].at[d] = total[d];
			total[d] += strlen(truth[i].segments[d]);
		}
}

struct hole {
	enum dir dir;
	size_t from, to;
	bool at_once; /* told as one, though segments of the other side lay within */
	bool told;
};

/* One segment, without what the hole took of it. */
static void send(enum dir dir, size_t at, struct bytes b, struct hole *h)
{
	size_t end = at + b.n;
	if (dir != h->dir || h->to <= at || h->from >= end) {
		wire_send_raw(dir, b);
		return;
	}
	size_t head = h->from > at ? h->from - at : 0, tail = h->to < end ? end - h->to : 0;
	wire_send_raw(dir, bytes_head(b, head));
	if (h->at_once && !h->told)
		wire_lose(dir, h->to - h->from);
	else if (!h->at_once)
		wire_lose(dir, b.n - head - tail);
	h->told = true;
	wire_run(dir, bytes_from(b, b.n - tail), true);
}

static bool is_touched(int call, const struct hole *h)
{
	size_t at = truth[call].at[h->dir], n = strlen(truth[call].segments[h->dir]);
	return h->from < at + n && h->to > at;
}

static bool data_is(const Sidetap__V1__Message *m, const char *text)
{
	return m && m->body.len == strlen(text) && m->body_bytes == m->body.len &&
	       (m->body.len == 0 || memcmp(m->body.data, text, m->body.len) == 0);
}

static bool is_prefix(const Sidetap__V1__Message *m, const char *text)
{
	return !m || m->body.len == 0 ||
	       (m->body.len <= strlen(text) && memcmp(m->body.data, text, m->body.len) == 0);
}

static bool is_exact(const Sidetap__V1__Call *c, int i)
{
	return (int)c->outcome == OUTCOME_OK && c->status_code == 201 + i &&
	       data_is(c->request, truth[i].body[0]) && data_is(c->response, truth[i].body[1]);
}

static unsigned n_exact, n_flagged;

static void judge(const struct hole *h)
{
	int seen[CALLS] = {0};
	for (const Sidetap__V1__Call *c; (c = records_last(&wire.out, wire.seen++));) {
		if (!c->request) {
			assert_true(records_flag(c, "orphan_response"));
			assert_true(is_touched(c->status_code - 201, h));
			continue;
		}
		int i = c->path[1] - '1';
		assert_in_range(i, 0, CALLS - 1);
		seen[i]++;
		if (!is_touched(i, h)) {
			assert_true(is_exact(c, i));
			n_exact++;
			continue;
		}
		if (!is_exact(c, i))
			assert_true(c->n_flags > 0);
		if (c->response)
			assert_int_equal(c->status_code, 201 + i);
		assert_true(is_prefix(c->request, truth[i].body[0]));
		assert_true(is_prefix(c->response, truth[i].body[1]));
		n_flagged++;
	}
	for (int i = 0; i < CALLS; i++)
		assert_true(is_touched(i, h) ? seen[i] <= 1 : seen[i] == 1);
}

static void converse(struct hole h)
{
	wire_open(true);
	for (int i = 0; i < CALLS; i++)
		for (int d = 0; d < 2; d++) {
			/* also where a hole is told before its time */
			wire.own_ack = true;
			wire.ack = truth[i].at[!d] + (d ? strlen(truth[i].segments[0]) : 0);
			send((enum dir)d, truth[i].at[d], bytes_str(truth[i].segments[d]), &h);
		}
	wire_half_close(DIR_REQUEST);
	wire_half_close(DIR_RESPONSE);
	wire_close(FLOW_FIN);
	judge(&h);
}

static void gaps_of(enum dir dir)
{
	measure();
	n_exact = n_flagged = 0;
	for (int at_once = 0; at_once < 2; at_once++)
		for (size_t from = 0; from < total[dir]; from++)
			for (size_t n = 1; from + n <= total[dir];
			     n += n < LENGTHS_ALL ? 1 : LENGTHS_STEP)
				converse((struct hole) {dir, from, from + n, at_once, false});
	print_message("%u untouched calls exact, %u touched ones told\n", n_exact, n_flagged);
	assert_true(n_exact > 1000 && n_flagged > 200);
}

static void t8_gap_in_requests(void **state)
{
	(void)state;
	gaps_of(DIR_REQUEST);
}

static void t8_gap_in_replies(void **state)
{
	(void)state;
	gaps_of(DIR_RESPONSE);
}

/* What looks like a message in the middle of a lost one is none. */
static void t8_message_in_a_body(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, truth[0].segments[0]);
	wire_lose(DIR_RESPONSE, 60);
	wire_send(DIR_RESPONSE, "HTTP/1.1 299 Fake\r\nContent-Length: 0\r\n\r\n");
	for (int i = 1; i < CALLS; i++) {
		wire_send(DIR_REQUEST, truth[i].segments[0]);
		wire_send(DIR_RESPONSE, truth[i].segments[1]);
	}
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->path, "/1");
	assert_string_equal(records_flags(c), "gap");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	assert_true(is_exact(wire_next(), 1));
	assert_true(is_exact(wire_next(), 2));
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* The framer itself finds out that it is out of step: the message is given up, the next call is right. */
static void t7_out_of_step(void **state)
{
	(void)state;
	wire_open(false);
	wire_send(DIR_RESPONSE, "old");
	wire_send(DIR_REQUEST, truth[0].segments[0]);
	wire_send(DIR_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\nHTTP/1.1 200 OK\r\n");
	for (int i = 1; i < CALLS; i++) {
		wire_send(DIR_REQUEST, truth[i].segments[0]);
		wire_send(DIR_RESPONSE, truth[i].segments[1]);
	}
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->path, "/1");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	assert_true(records_flag(c, "gap"));
	assert_true(is_exact(wire_next(), 1));
	assert_true(is_exact(wire_next(), 2));
	wire_expect_none();
	wire_close(FLOW_FIN);
}

/* The heads of all replies are lost, and what is left of them never comes into step: no call was unanswered. */
static void t8_no_reply_comes_into_step(void **state)
{
	(void)state;
	wire_open(true);
	for (int i = 0; i < CALLS; i++) {
		wire_send(DIR_REQUEST, truth[i].segments[0]);
		wire_lose(DIR_RESPONSE, 30);
		wire_run(DIR_RESPONSE, bytes_str("first-reply"), true);
	}
	wire_close(FLOW_FIN);
	size_t n = 0;
	for (; n < wire.out.n; n++) {
		assert_int_equal(wire.out.list[n]->outcome, OUTCOME_UNKNOWN);
		assert_true(records_flag(wire.out.list[n], "gap"));
	}
	assert_true(n > 0);
}

#define WIRE(dir, literal) wire_send_raw(dir, bytes_of(literal, sizeof(literal) - 1))

/* A second loss before the replies are in step again: the reset of a call whose reply it may have held aborts nothing. */
static void t8_reset_behind_a_second_gap(void **state)
{
	(void)state;
	wire_open(true);
	WIRE(DIR_REQUEST, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0");
	WIRE(DIR_RESPONSE, "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0");
	WIRE(DIR_REQUEST, "\0\0\11\1\5\0\0\0\1\x82\x86\4\2/a\1\1h");
	wire_lose(DIR_RESPONSE, 30);
	WIRE(DIR_REQUEST, "\0\0\11\1\5\0\0\0\3\x82\x86\4\2/b\1\1h");
	wire_lose(DIR_RESPONSE, 30);
	WIRE(DIR_REQUEST, "\0\0\4\3\0\0\0\0\3\0\0\0\0");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->path, "/b");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	assert_true(records_flag(c, "gap"));
	wire_close(FLOW_FIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t8_message_in_a_body),
		cmocka_unit_test(t8_no_reply_comes_into_step),
		cmocka_unit_test(t8_reset_behind_a_second_gap),
		cmocka_unit_test(t7_out_of_step),
		cmocka_unit_test(t8_gap_in_requests),
		cmocka_unit_test(t8_gap_in_replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
