/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole connections of Thrift, joined at a random segment, with segments lost at random: no wrong field and no wrong
 * pairing, whatever is left of them; the share of calls that came through whole is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"
#include "tests/unit/thrift_write.h"

enum { CALLS = 40, CONNECTIONS = 60, SEGMENTS_MAX = 2048, OPEN_MAX = 3, TEXT_MAX = 400 };

enum kind { KIND_OK, KIND_VOID, KIND_DECLARED, KIND_ERROR, KIND_ONEWAY, KINDS };

struct truth {
	enum kind kind;
	char method[24];
	struct buf message[2]; /* without the frame's length */
};

struct segment {
	enum dir dir;
	struct buf bytes;
};

struct plan {
	enum thrift_form form;
	bool framed, zero_ids, pipelined;
};

static struct truth truth[CALLS];
static struct segment segments[SEGMENTS_MAX];
static size_t n_segments;
static uint64_t seed;

static unsigned pick(unsigned n)
{
	return drive_random(&seed) % n;
}

static void token_text(char *out, size_t size, char side, int call)
{
	int n = snprintf(out, size, "%c%04d", side, call);
	unsigned pad = pick(4) ? pick(30) : pick(TEXT_MAX);

	while (pad-- && (size_t)n + 1 < size)
		out[n++] = (char)('a' + pick(26));
	out[n] = 0;
}

static void call_make(const struct plan *p, int i)
{
	struct truth *t = &truth[i];
	char text[TEXT_MAX + 16];
	int32_t seqid = p->zero_ids ? 0 : 1000 + i;

	t->kind = (enum kind)pick(KINDS);
	snprintf(t->method, sizeof(t->method), "%s%u", t->kind == KIND_ONEWAY ? "tell" : "ask",
		 pick(4));
	token_text(text, sizeof(text), 'q', i);
	tw_message(&t->message[0], p->form, t->kind == KIND_ONEWAY ? 4 : 1, t->method, seqid);
	tw_struct(&t->message[0], p->form, 1, bytes_str(text));
	token_text(text, sizeof(text), 'r', i);
	tw_message(&t->message[1], p->form, t->kind == KIND_ERROR ? 3 : 2, t->method, seqid);
	if (t->kind == KIND_ERROR)
		tw_exception(&t->message[1], p->form, bytes_str(text), 6, pick(2));
	else if (t->kind == KIND_VOID)
		tw_stop(&t->message[1]);
	else
		tw_struct(&t->message[1], p->form, t->kind == KIND_DECLARED ? 1 : 0,
			  bytes_str(text));
}

/* The message in one to three segments; sometimes behind the one before it in one. */
static void message_send(const struct plan *p, enum dir dir, int call)
{
	struct buf b = {0};
	size_t from = 0;

	tw_bytes(&b, buf_bytes(&truth[call].message[dir]));
	if (p->framed)
		tw_frame(&b, 0);
	for (unsigned parts = 1 + (pick(3) ? 0 : pick(3)); parts; parts--) {
		size_t n = parts == 1 ? b.n - from : pick((unsigned)(b.n - from) + 1);
		bool joined = p->pipelined && from == 0 && n_segments && pick(3) == 0 &&
			      segments[n_segments - 1].dir == dir;
		if (n == 0)
			continue;
		assert_true(n_segments < SEGMENTS_MAX);
		struct segment *s = joined ? &segments[n_segments - 1] : &segments[n_segments++];
		s->dir = dir;
		tw_bytes(&s->bytes, bytes_from(bytes_head(buf_bytes(&b), from + n), from));
		from += n;
	}
	buf_fini(&b);
}

static void conversation_free(void)
{
	for (int i = 0; i < CALLS; i++) {
		buf_fini(&truth[i].message[0]);
		buf_fini(&truth[i].message[1]);
	}
	while (n_segments)
		buf_fini(&segments[--n_segments].bytes);
}

static void conversation_make(const struct plan *p)
{
	int open[OPEN_MAX], n_open = 0;

	conversation_free(); /* of a test that failed */
	for (int i = 0; i < CALLS; i++)
		call_make(p, i);
	for (int i = 0; i < CALLS || n_open;) {
		bool ask = i < CALLS &&
			   (n_open == 0 || (p->pipelined && n_open < OPEN_MAX && pick(2)));
		if (ask) {
			message_send(p, DIR_REQUEST, i);
			if (truth[i].kind != KIND_ONEWAY)
				open[n_open++] = i;
			i++;
			continue;
		}
		int k = p->zero_ids ? 0 : (int)pick((unsigned)n_open);
		message_send(p, DIR_RESPONSE, open[k]);
		memmove(open + k, open + k + 1, (size_t)(--n_open - k) * sizeof(open[0]));
	}
}

static bool is_of(int call, const Sidetap__V1__Message *m, enum dir dir)
{
	return bytes_eq(buf_bytes(&truth[call].message[dir]), bytes_of(m->body.data, m->body.len));
}

/* Which call is this the message of? `first` when it may be (void replies without ids are all the same). -1: it cannot
 * be told from what is left. */
static int call_of(const Sidetap__V1__Message *m, enum dir dir, int first)
{
	if (first >= 0 && is_of(first, m, dir))
		return first;
	for (int i = 0; i < CALLS; i++)
		if (is_of(i, m, dir))
			return i;
	return -1;
}

struct tally {
	unsigned calls, whole, marked;
};

static Sidetap__V1__Call__Outcome outcome_of(enum kind k)
{
	static const Sidetap__V1__Call__Outcome outcomes[KINDS] = {
		SIDETAP__V1__CALL__OUTCOME__OK, SIDETAP__V1__CALL__OUTCOME__OK,
		SIDETAP__V1__CALL__OUTCOME__DECLARED_EXCEPTION,
		SIDETAP__V1__CALL__OUTCOME__SERVER_ERROR, SIDETAP__V1__CALL__OUTCOME__OK};

	return outcomes[k];
}

static bool marked(const Sidetap__V1__Call *c)
{
	return records_flag(c, "gap") || records_flag(c, "late_join");
}

/* A body of a record is that of a call of this name, or the record says that some is missing. */
static int message_judge(const Sidetap__V1__Call *c, const Sidetap__V1__Message *m, enum dir dir,
			 int first)
{
	int i = m ? call_of(m, dir, first) : -1;

	if (m && i < 0 && !records_flag(c, "gap") && !records_flag(c, "truncated") &&
	    c->outcome != SIDETAP__V1__CALL__OUTCOME__ABORTED)
		fail_msg("%s: a body that nobody sent (%s)", c->id, records_flags(c));
	if (i >= 0 && strcmp(c->method, truth[i].method) != 0 && !marked(c))
		fail_msg("%s: method %s, sent %s", c->id, c->method, truth[i].method);
	return i;
}

static void record_judge(const struct plan *p, const Sidetap__V1__Call *c, struct tally *t)
{
	int q = message_judge(c, c->request, DIR_REQUEST, -1);
	int r = message_judge(c, c->response, DIR_RESPONSE, q);

	assert_string_equal(c->protocol, "thrift");
	assert_false(records_flag(c, "protocol_error"));
	if (q >= 0 && r >= 0 && q != r && (!p->zero_ids || !records_flag(c, "late_join")))
		fail_msg("%s: call %d has the answer of %d (%s)", c->id, q, r, records_flags(c));
	if (r >= 0 && c->outcome != outcome_of(truth[r].kind))
		fail_msg("%s: outcome %d", c->id, (int)c->outcome);
	if (r >= 0)
		assert_int_equal(c->status_code, truth[r].kind == KIND_ERROR ? 6 : 0);
	if (c->outcome == SIDETAP__V1__CALL__OUTCOME__NO_RESPONSE) /* every one was answered */
		fail_msg("%s: %s not answered (%s)", c->id, c->method, records_flags(c));
	t->marked += marked(c);
	if (q >= 0 && truth[q].kind == KIND_ONEWAY)
		assert_string_equal(c->call_type, "oneway");
	t->whole += q >= 0 && (truth[q].kind == KIND_ONEWAY || r == q);
}

static void connection(const struct plan *p, unsigned lost_of_1000, bool late, struct tally *t)
{
	conversation_make(p);
	size_t from = late ? pick((unsigned)n_segments) : 0;
	wire_open(!late);
	for (size_t i = from; i < n_segments; i++)
		if (pick(1000) < lost_of_1000)
			wire_lose(segments[i].dir, segments[i].bytes.n);
		else
			wire_send_raw(segments[i].dir, buf_bytes(&segments[i].bytes));
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c;
	for (size_t i = 0; (c = records_last(&wire.out, i)); i++)
		if (strcmp(c->protocol, "opaque") != 0)
			record_judge(p, c, t);
	t->calls += (unsigned)(CALLS * (n_segments - from) / n_segments);
	conversation_free();
}

static const struct plan plans[] = {
	{THRIFT_BINARY, true, false, false},    {THRIFT_BINARY, true, false, true},
	{THRIFT_BINARY, true, true, false},     {THRIFT_BINARY, true, true, true},
	{THRIFT_BINARY, false, false, true},    {THRIFT_BINARY, false, true, true},
	{THRIFT_COMPACT, true, false, true},    {THRIFT_COMPACT, false, false, true},
	{THRIFT_OLD_BINARY, true, false, true}, {THRIFT_OLD_BINARY, false, true, false},
};

static const char *const form_names[] = {"binary", "old_binary", "compact"};

static void all_plans(unsigned lost_of_1000, bool late, unsigned least_percent)
{
	for (size_t k = 0; k < sizeof(plans) / sizeof(plans[0]); k++) {
		const struct plan *p = &plans[k];
		struct tally t = {0};
		seed = 0x10557 + k + lost_of_1000;
		for (int i = 0; i < CONNECTIONS; i++)
			connection(p, lost_of_1000, late, &t);
		printf("%sframed %s%s%s, %s%u.%u %% lost: %u of %u calls whole, %u records marked\n",
		       p->framed ? "" : "un", form_names[p->form], p->zero_ids ? " no ids" : "",
		       p->pipelined ? " pipelined" : "", late ? "joined late, " : "",
		       lost_of_1000 / 10, lost_of_1000 % 10, t.whole, t.calls, t.marked);
		if (!late && !lost_of_1000)
			assert_int_equal(t.whole, t.calls);
		if (t.whole * 100 < t.calls * least_percent)
			fail_msg("less than %u %%", least_percent);
	}
}

static void nothing_lost(void **state)
{
	(void)state;
	all_plans(0, false, 100);
}

static void joined_late(void **state)
{
	(void)state;
	all_plans(0, true, 50);
}

static void segments_lost(void **state)
{
	(void)state;
	all_plans(1, false, 80);
	all_plans(10, false, 50);
	all_plans(50, false, 10);
}

static void both(void **state)
{
	(void)state;
	all_plans(10, true, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_lost),
		cmocka_unit_test(joined_late),
		cmocka_unit_test(segments_lost),
		cmocka_unit_test(both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
