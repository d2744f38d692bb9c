/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/lossy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"
#include "tests/unit/drive.h"

enum { CALLS_MAX = 512, SEGMENTS_MAX = 8192, SEGMENT = 1448 };

struct segment {
	enum dir dir;
	unsigned call;
	struct bytes data;
	size_t at; /* bytes of both directions before it */
};

static struct {
	struct lossy_call calls[CALLS_MAX];
	unsigned n_calls;
	struct segment segments[SEGMENTS_MAX];
	size_t n_segments, bytes;
	size_t start[CALLS_MAX]; /* where the call's first byte lies */
	bool seen[CALLS_MAX];
} talk;

const char *lossy_token(unsigned i)
{
	static char text[16];

	snprintf(text, sizeof(text), "<%06u>", i);
	return text;
}

static void segments_add(unsigned call, enum dir dir)
{
	struct bytes b = buf_bytes(&talk.calls[call].wire[dir]);

	if (dir == DIR_REQUEST)
		talk.start[call] = talk.bytes;
	for (size_t off = 0; off < b.n; off += SEGMENT) {
		assert_true(talk.n_segments < SEGMENTS_MAX);
		struct bytes part = bytes_head(bytes_from(b, off), SEGMENT);
		talk.segments[talk.n_segments++] = (struct segment) {dir, call, part, talk.bytes};
		talk.bytes += part.n;
	}
}

static void talk_clear(void)
{
	for (unsigned i = 0; i < talk.n_calls; i++)
		for (int d = 0; d < 2; d++)
			buf_fini(&talk.calls[i].wire[d]);
	memset(&talk, 0, sizeof(talk));
}

static size_t size_of(uint64_t *seed)
{
	uint32_t r = drive_random(seed) % 100;

	if (r < 75)
		return 8 + drive_random(seed) % 300;
	return r < 95 ? 1000 + drive_random(seed) % 4000 : 20000;
}

static void talk_make(const struct lossy_protocol *p, unsigned calls, uint64_t seed)
{
	unsigned open[CALLS_MAX], n_open = 0;

	assert_true(calls <= CALLS_MAX);
	talk_clear();
	while (talk.n_calls < calls || n_open) {
		bool ask = talk.n_calls < calls &&
			   (n_open == 0 || (n_open < p->in_flight && drive_random(&seed) % 2));
		if (ask) {
			unsigned i = talk.n_calls++;
			p->make(i, size_of(&seed), &talk.calls[i]);
			segments_add(i, DIR_REQUEST);
			if (!talk.calls[i].oneway)
				open[n_open++] = i;
		} else {
			unsigned k = drive_random(&seed) % n_open;
			segments_add(open[k], DIR_RESPONSE);
			open[k] = open[--n_open];
		}
	}
}

static int token_of(const Sidetap__V1__Message *m)
{
	const uint8_t *at = m && m->body.len ? memmem(m->body.data, m->body.len, "<0", 2) : NULL;

	return at && m->body.data + m->body.len - at >= 8 ? atoi((const char *)at + 1) : -1;
}

static bool body_is(const Sidetap__V1__Message *m, const struct lossy_call *c, enum dir dir)
{
	struct bytes want = bytes_from(buf_bytes(&c->wire[dir]), c->body_off[dir]);

	return m && m->body_bytes == want.n &&
	       bytes_eq(bytes_of(m->body.data, m->body.len), want) &&
	       m->wire_bytes == c->wire[dir].n;
}

static bool is_exact(const Sidetap__V1__Call *r, const struct lossy_call *c)
{
	return strcmp(r->service, c->service) == 0 && strcmp(r->method, c->method) == 0 &&
	       r->status_code == c->status && (enum outcome)r->outcome == c->outcome &&
	       body_is(r->request, c, DIR_REQUEST) &&
	       (c->oneway ? !r->response : body_is(r->response, c, DIR_RESPONSE));
}

static bool says_loss(const Sidetap__V1__Call *r)
{
	return records_flag(r, "gap") || records_flag(r, "truncated") ||
	       records_flag(r, "orphan_response") || records_flag(r, "capture_ended");
}

/* Field by field: right, or not there. True: exact. */
static bool judge(const struct lossy_protocol *p, const Sidetap__V1__Call *r)
{
	int q = token_of(r->request), a = token_of(r->response), i = q >= 0 ? q : a;

	if (strcmp(r->protocol, p->name) != 0)
		fail_msg("protocol %s", r->protocol);
	if (records_flag(r, "no_response")) /* each was answered */
		fail_msg("%d without a response: %s %s", i, r->method, records_flags(r));
	if (q >= 0 && a >= 0 && q != a) {
		if (p->order_only && records_flag(r, "late_join"))
			return false;
		fail_msg("request %d with the reply %d", q, a);
	}
	if (i < 0) {
		if (!says_loss(r))
			fail_msg("no token, no flag: %s %s", r->method, records_flags(r));
		return false;
	}
	assert_true((unsigned)i < talk.n_calls);
	const struct lossy_call *c = &talk.calls[i];
	bool exact = is_exact(r, c);
	if ((r->method[0] && strcmp(r->method, c->method) != 0) ||
	    (r->service[0] && strcmp(r->service, c->service) != 0))
		fail_msg("%d: %s.%s, not %s.%s", i, r->service, r->method, c->service, c->method);
	if (a >= 0 && (r->status_code != c->status ||
		       (r->outcome && !says_loss(r) && (enum outcome)r->outcome != c->outcome)))
		fail_msg("%d: status %d outcome %d", i, r->status_code, r->outcome);
	if (!exact && !says_loss(r))
		fail_msg("%d: not exact, and only %s says so", i, records_flags(r));
	if (exact && talk.seen[i])
		fail_msg("%d twice", i);
	talk.seen[i] |= exact;
	return exact;
}

static void judge_all(const struct lossy_protocol *p, size_t from, struct lossy_share *share)
{
	const Sidetap__V1__Call *r;

	memset(talk.seen, 0, sizeof(talk.seen));
	for (size_t i = 0; (r = records_last(&wire.out, i)); i++) {
		share->records++;
		if (strcmp(r->protocol, "opaque") != 0)
			judge(p, r);
	}
	for (unsigned i = 0; i < talk.n_calls; i++)
		if (talk.start[i] >= from) {
			share->sent++;
			share->exact += talk.seen[i];
		}
}

struct lossy_share lossy_late(const struct lossy_protocol *p, unsigned calls, size_t step)
{
	struct lossy_share share = {0};

	talk_make(p, calls, 0x5eed);
	for (size_t from = 0; from < talk.bytes; from += step) {
		wire_open(false);
		for (size_t i = 0; i < talk.n_segments; i++) {
			const struct segment *s = &talk.segments[i];
			if (s->at + s->data.n <= from)
				continue;
			size_t cut = from > s->at ? from - s->at : 0;
			wire_run(s->dir, bytes_from(s->data, cut), cut > 0);
		}
		wire_close(FLOW_FIN);
		judge_all(p, from, &share);
	}
	talk_clear();
	return share;
}

struct lossy_share lossy_drops(const struct lossy_protocol *p, unsigned calls, unsigned runs,
			       unsigned per_million)
{
	struct lossy_share share = {0};
	uint64_t seed = 0xd309 + per_million;

	for (unsigned run = 0; run < runs; run++) {
		talk_make(p, calls, 0xc0de + run);
		wire_open(true);
		for (size_t i = 0; i < talk.n_segments; i++) {
			const struct segment *s = &talk.segments[i];
			if (drive_random(&seed) % 1000000 < per_million)
				wire_lose(s->dir, s->data.n);
			else
				wire_run(s->dir, s->data, false);
		}
		wire_close(FLOW_FIN);
		judge_all(p, 0, &share);
	}
	talk_clear();
	return share;
}

void lossy_print(const char *what, const struct lossy_protocol *p, struct lossy_share s,
		 double least)
{
	double share = s.sent ? 100.0 * (double)s.exact / (double)s.sent : 0;

	printf("%s %s: %lu of %lu calls exact (%.2f %%), %lu records\n", p->name, what, s.exact,
	       s.sent, share, s.records);
	assert_true(share >= least);
}

void lossy_hold_late(const struct lossy_protocol *several, const struct lossy_protocol *serial)
{
	lossy_print("late join", several, lossy_late(several, 10, 1), 90);
	lossy_print("late join, one at a time", serial, lossy_late(serial, 10, 3), 90);
}

void lossy_hold_drops(const struct lossy_protocol *several)
{
	lossy_print("0 % lost", several, lossy_drops(several, 200, 2, 0), 100);
	lossy_print("0.1 % lost", several, lossy_drops(several, 200, 20, 1000), 98);
	lossy_print("1 % lost", several, lossy_drops(several, 200, 20, 10000), 85);
	lossy_print("5 % lost", several, lossy_drops(several, 200, 20, 50000), 50);
}
