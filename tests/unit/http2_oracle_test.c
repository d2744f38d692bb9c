/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 against nghttp2's sessions: everything that they decode, and nothing else. Then the same connections joined
 * late at every frame and at random bytes, and with losses: nothing told may differ from the full decode.
 * SIDETAP_LONG=1: 100,000 streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/drive.h"
#include "tests/unit/http2_traffic.h"

enum { STREAMS = 40 };

static unsigned connections(unsigned few, unsigned many)
{
	return getenv("SIDETAP_LONG") ? many : few;
}

/* ---- the record's fields, as the full decode has them ---- */

static struct bytes field(const struct h2_block *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (bytes_eq(b->f[i].name, bytes_str(name)))
			return b->f[i].value;
	return bytes_of(NULL, 0);
}

struct want {
	const char *protocol;
	struct bytes service, method, path;
	int32_t status;
	bool has_status;
	enum outcome outcome;
};

static enum outcome outcome_grpc(int32_t s)
{
	return s == 0                                     ? OUTCOME_OK
	       : s == 2 || s == 4 || (s >= 12 && s <= 15) ? OUTCOME_SERVER_ERROR
							  : OUTCOME_CLIENT_ERROR;
}

static struct want want_of(const struct h2_call *c)
{
	const struct h2_block *q = &c->msg[0].head, *r = &c->msg[1].head;
	struct want w = {"http2", field(q, ":authority"), field(q, ":method"), field(q, ":path"), 0,
			 false,   OUTCOME_UNKNOWN};
	bool grpc = bytes_eq(field(q, "content-type"), BYTES("application/grpc"));

	if (grpc) {
		const uint8_t *slash = memrchr(w.path.p, '/', w.path.n);
		w.protocol = "grpc";
		w.service = bytes_of(w.path.p + 1, (size_t)(slash - w.path.p) - 1);
		w.method = bytes_from(w.path, (size_t)(slash - w.path.p) + 1);
	}
	struct bytes status =
		field(grpc ? &c->msg[1].trailers : r, grpc ? "grpc-status" : ":status");
	if (grpc && !status.n)
		status = field(r, "grpc-status");
	if (!r->seen || (grpc && !c->msg[1].ended) || !status.n)
		return w;
	w.has_status = true;
	for (size_t i = 0; i < status.n; i++)
		w.status = w.status * 10 + (status.p[i] - '0');
	w.outcome = grpc             ? outcome_grpc(w.status)
		    : w.status < 400 ? OUTCOME_OK
		    : w.status < 500 ? OUTCOME_CLIENT_ERROR
				     : OUTCOME_SERVER_ERROR;
	return w;
}

static void same_bytes(const char *what, uint32_t id, struct bytes got, struct bytes want)
{
	if (!bytes_eq(got, want))
		fail_msg("stream %u: %s is \"%.*s\", not \"%.*s\"", id, what, (int)got.n,
			 (const char *)got.p, (int)want.n, (const char *)want.p);
}

/* ---- from the start ---- */

static void same_block(const char *what, uint32_t id, const struct h2_block *got,
		       const struct h2_block *want)
{
	if (got->n != want->n)
		fail_msg("stream %u: %s has %zu fields, not %zu", id, what, got->n, want->n);
	for (size_t i = 0; i < got->n; i++) {
		same_bytes("name", id, got->f[i].name, want->f[i].name);
		same_bytes("value", id, got->f[i].value, want->f[i].value);
		assert_int_not_equal(got->f[i].provenance, PROVENANCE_UNKNOWN);
	}
}

static void same_call(const struct h2_call *got, const struct h2_call *want)
{
	struct want w = want_of(want);

	for (int d = 0; d < 2; d++) {
		const struct h2_message *g = &got->msg[d], *m = &want->msg[d];
		same_block("head", want->id, &g->head, &m->head);
		same_block("trailers", want->id, &g->trailers, &m->trailers);
		if (g->ended != m->ended || g->bytes != m->bytes || g->hash != m->hash ||
		    g->messages != m->messages || g->missing)
			fail_msg("stream %u: message %d: ended %d %d, bytes %zu %zu", want->id, d,
				 g->ended, m->ended, (size_t)g->bytes, (size_t)m->bytes);
	}
	assert_int_equal(got->interims, want->interims);
	assert_int_equal(got->reset, want->reset);
	assert_int_equal(got->rst_code, want->rst_code);
	assert_int_equal(got->flags & ~(unsigned)FLAG_COMPRESSED, 0);
	same_bytes("service", want->id, got->service, w.service);
	same_bytes("method", want->id, got->method, w.method);
	same_bytes("path", want->id, got->path, w.path);
	assert_string_equal(got->protocol ? got->protocol : "http2", w.protocol);
	assert_int_equal(got->unknown.n, 0);
	assert_int_equal(got->has_status, w.has_status);
	assert_int_equal(got->status, w.status);
	if (w.has_status)
		assert_int_equal(got->outcome, w.outcome);
}

/* Cut at random: the segments of the sessions are joined and split. */
static void feed_all(struct h2_reader *r, const struct h2_traffic *t, uint64_t *seed)
{
	for (size_t i = 0; i < t->n; i++) {
		struct bytes b = bytes_of(t->bytes.p + t->segments[i].off, t->segments[i].n);
		bool starts = true;
		while (b.n) {
			size_t n =
				seed && drive_random(seed) % 2 ? 1 + drive_random(seed) % b.n : b.n;
			h2_reader_feed(r, t->segments[i].dir, bytes_head(b, n), starts);
			b = bytes_from(b, n);
			starts = false;
		}
	}
}

static void equals_a_full_decode(void **state)
{
	unsigned n = connections(50, 2500);
	size_t streams = 0, resets = 0, pushes = 0, interims = 0, trailers = 0, fields = 0;
	uint64_t bytes = 0, seed = 42;

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		struct h2_traffic t;
		struct h2_reader r;
		size_t seen = 0, cut = 0;
		h2_traffic_make(&t, STREAMS, i + 1);
		h2_reader_open(&r, false);
		feed_all(&r, &t, &seed);
		assert_false(r.dead[0] || r.dead[1] || r.lost[0] || r.lost[1]);
		for (size_t k = 0; k < t.truth.n; k++) {
			const struct h2_call *w = &t.truth.list[k];
			if (!w->msg[0].head.seen) /* reset before a byte of it was sent */
				continue;
			const struct h2_call *g = h2_calls_find(&r.got, w->id);
			assert_non_null(g);
			same_call(g, w);
			streams++;
			seen++;
			cut += w->reset;
			resets += w->reset;
			pushes += w->id % 2 == 0;
			interims += w->interims;
			trailers += w->msg[0].trailers.n > 0;
			fields += w->msg[0].head.n + w->msg[1].head.n;
		}
		assert_int_equal(r.got.n, seen);
		assert_true(r.caps <=
			    cut); /* frames that crossed a reset are ignored, and counted */
		bytes += t.bytes.n;
		h2_reader_close(&r);
		h2_traffic_fini(&t);
	}
	print_message("%zu streams equal, %zu reset, %zu pushed, %zu 1xx, %zu request trailers, "
		      "%zu fields, %.1f MB\n",
		      streams, resets, pushes, interims, trailers, fields, (double)bytes / 1e6);
	assert_true(streams >= (size_t)n * STREAMS && resets && pushes && interims && trailers);
}

/* ---- late, and with losses ---- */

struct tally {
	size_t joins, calls, whole, told, hidden, fields, fields_unknown, resyncs;
};

static bool named(const struct h2_call *c, const char *field_name)
{
	struct bytes v = c->unknown, name = bytes_str(field_name);

	while (v.n) {
		const uint8_t *comma = memchr(v.p, ',', v.n);
		size_t n = comma ? (size_t)(comma - v.p) : v.n;
		if (bytes_eq(bytes_head(v, n), name))
			return true;
		v = bytes_from(v, n + 1);
	}
	return false;
}

static void honest_block(struct tally *y, uint32_t id, const struct h2_block *got,
			 const struct h2_block *want)
{
	if (!got->n)
		return;
	if (got->n != want->n)
		fail_msg("stream %u: %zu fields, not %zu", id, got->n, want->n);
	for (size_t i = 0; i < got->n; i++) {
		const struct header *g = &got->f[i];
		y->fields++;
		if (g->provenance != PROVENANCE_UNKNOWN || g->name.n)
			same_bytes("name", id, g->name, want->f[i].name);
		if (g->provenance != PROVENANCE_UNKNOWN || g->value.n)
			same_bytes("value", id, g->value, want->f[i].value);
		y->fields_unknown += g->provenance == PROVENANCE_UNKNOWN;
	}
}

/* Told right; or empty, and then named. */
static void honest_text(struct tally *y, const struct h2_call *c, const char *what,
			struct bytes got, struct bytes want)
{
	if (got.n)
		same_bytes(what, c->id, got, want);
	else if (want.n && !named(c, what))
		fail_msg("stream %u: %s is empty and not named unknown", c->id, what);
	y->hidden += !got.n && want.n;
}

static void honest_message(const struct h2_call *got, const struct h2_call *want, int d)
{
	const struct h2_message *g = &got->msg[d], *w = &want->msg[d];
	bool same_kind =
		strcmp(got->protocol ? got->protocol : "http2", want_of(want).protocol) == 0;

	/* reset, and whether it was whole before is hidden: then the outcome is left open */
	if (g->ended && !w->ended && !named(got, "outcome"))
		fail_msg("stream %u: message %d is told complete", want->id, d);
	if (!g->head.seen || !g->ended || g->missing || got->flags & FLAG_GAP || !same_kind)
		return;
	if (g->bytes != w->bytes || g->hash != w->hash || g->messages != w->messages)
		fail_msg("stream %u %s %x: body %d: %zu bytes, not %zu", want->id, got->protocol,
			 got->flags, d, (size_t)g->bytes, (size_t)w->bytes);
}

static void honest_call(struct tally *y, const struct h2_call *got, const struct h2_call *want)
{
	struct want w = want_of(want);
	bool request = got->msg[0].head.seen, grpc = strcmp(w.protocol, "grpc") == 0;
	size_t hidden = y->hidden;

	for (int d = 0; d < 2; d++) {
		const struct h2_message *g = &got->msg[d], *m = &want->msg[d];
		bool rest = got->flags & FLAG_GAP; /* what came of a head is not all, or trailers */
		if (!rest)
			honest_block(y, want->id, &g->head, &m->head);
		else if (g->head.n != m->head.n)
			honest_block(y, want->id, &g->head, &m->trailers);
		honest_block(y, want->id, &g->trailers, &m->trailers);
		honest_message(got, want, d);
	}
	if (got->protocol && strcmp(got->protocol, w.protocol) != 0)
		fail_msg("stream %u: protocol %s", want->id, got->protocol);
	if (request) {
		honest_text(y, got, "service", got->service, w.service);
		honest_text(y, got, "method", got->method, w.method);
		honest_text(y, got, "path", got->path, w.path);
		if (grpc && !got->protocol && (got->method.n || got->service.n))
			fail_msg("stream %u: gRPC told as HTTP/2", want->id);
	} else if (got->service.n || got->method.n || got->path.n) {
		fail_msg("stream %u: an orphan with a request's fields", want->id);
	}
	if (got->has_status && (!w.has_status || got->status != w.status))
		fail_msg("stream %u: status %d, not %d", want->id, got->status, w.status);
	if (got->outcome && w.has_status && got->outcome != w.outcome &&
	    got->outcome != OUTCOME_NO_RESPONSE)
		fail_msg("stream %u: outcome %d, not %d", want->id, got->outcome, w.outcome);
	if (got->msg[1].ended && !got->has_status && w.has_status && !named(got, "status_code"))
		fail_msg("stream %u: no status, and not named unknown", want->id);
	if (got->flags & FLAG_PROTOCOL_ERROR)
		fail_msg("stream %u: a protocol error", want->id);
	if (request && got->msg[0].ended && got->msg[1].ended && want->msg[0].ended &&
	    want->msg[1].ended) {
		y->told++;
		y->whole += y->hidden == hidden && got->has_status;
	}
}

static void honest(struct tally *y, struct h2_reader *r, struct h2_traffic *t)
{
	assert_false(r->dead[0] || r->dead[1]);
	for (size_t k = 0; k < r->got.n; k++) {
		const struct h2_call *w = h2_calls_find(&t->truth, r->got.list[k].id);
		if (!w)
			fail_msg("a stream %u that never was", r->got.list[k].id);
		honest_call(y, &r->got.list[k], w);
	}
	y->joins++;
	y->resyncs += r->resyncs;
}

/* From the `from`-th segment on, `skip` bytes of which were missed. */
static void join(struct tally *y, struct h2_traffic *t, size_t from, size_t skip)
{
	struct h2_reader r;

	h2_reader_open(&r, true);
	for (size_t i = from; i < t->n; i++) {
		struct bytes b = bytes_of(t->bytes.p + t->segments[i].off, t->segments[i].n);
		size_t off = i == from ? skip : 0;
		h2_reader_feed(&r, t->segments[i].dir, bytes_from(b, off), off == 0);
	}
	for (size_t k = 0; k < t->truth.n; k++) { /* opened behind the join, and complete */
		const struct h2_call *c = &t->truth.list[k];
		y->calls += c->opened >= from + (skip > 0) && c->msg[0].ended && c->msg[1].ended;
	}
	honest(y, &r, t);
	h2_reader_close(&r);
}

static void tell(const char *what, const struct tally *y)
{
	print_message("%s: %zu joins, %zu resyncs; of %zu calls %.1f %% with request and response, "
		      "%.1f %% with every routing field; %zu fields, %.1f %% unknown, 0 wrong\n",
		      what, y->joins, y->resyncs, y->calls,
		      100.0 * (double)y->told / (double)y->calls,
		      100.0 * (double)y->whole / (double)y->calls, y->fields,
		      100.0 * (double)y->fields_unknown / (double)y->fields);
	assert_true(y->told * 10 > y->calls * 9 && y->whole * 10 > y->told && y->fields_unknown);
}

static void b8_joined_at_every_frame(void **state)
{
	struct tally y = {0};

	(void)state;
	for (unsigned i = 0; i < connections(4, 60); i++) {
		struct h2_traffic t;
		h2_traffic_make(&t, STREAMS, 1000 + i);
		for (size_t from = 0; from < t.n; from++)
			join(&y, &t, from, 0);
		h2_traffic_fini(&t);
	}
	tell("at every frame", &y);
}

static void b8_joined_at_random_bytes(void **state)
{
	struct tally y = {0};
	uint64_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < connections(4, 60); i++) {
		struct h2_traffic t;
		h2_traffic_make(&t, STREAMS, 2000 + i);
		for (unsigned k = 0; k < 300; k++) {
			size_t from = drive_random(&seed) % t.n;
			join(&y, &t, from, drive_random(&seed) % t.segments[from].n);
		}
		h2_traffic_fini(&t);
	}
	tell("at random bytes", &y);
}

/* Every k-th segment with a header block is lost, or random bytes are. */
static void lose(struct tally *y, struct h2_traffic *t, unsigned every, bool blocks, uint64_t *seed)
{
	struct h2_reader r;
	size_t n = 0;

	h2_reader_open(&r, false);
	for (size_t i = 0; i < t->n; i++) {
		struct bytes b = bytes_of(t->bytes.p + t->segments[i].off, t->segments[i].n);
		enum dir dir = t->segments[i].dir;
		bool block = b.n > 9 && (b.p[3] == 1 || b.p[3] == 5) && i > 4;
		bool hit = blocks ? block && ++n % every == 0 : drive_random(seed) % every == 0;
		if (!hit) {
			h2_reader_feed(&r, dir, b, true);
			continue;
		}
		size_t from = blocks ? 0 : drive_random(seed) % b.n;
		size_t gone = blocks ? b.n : 1 + drive_random(seed) % (b.n - from);
		if (from)
			h2_reader_feed(&r, dir, bytes_head(b, from), true);
		h2_reader_gap(&r, dir, gone);
		if (from + gone < b.n)
			h2_reader_feed(&r, dir, bytes_from(b, from + gone), false);
	}
	for (size_t k = 0; k < t->truth.n; k++)
		y->calls += t->truth.list[k].msg[0].ended && t->truth.list[k].msg[1].ended;
	honest(y, &r, t);
	h2_reader_close(&r);
}

static void b9_blocks_lost(void **state)
{
	static const unsigned rates[] = {3, 10, 30, 97};
	uint64_t seed = 9;

	(void)state;
	for (size_t k = 0; k < sizeof(rates) / sizeof(rates[0]); k++) {
		struct tally y = {0};
		char what[64];
		for (unsigned i = 0; i < connections(30, 300); i++) {
			struct h2_traffic t;
			h2_traffic_make(&t, 3 * STREAMS, 3000 + i);
			lose(&y, &t, rates[k], true, &seed);
			h2_traffic_fini(&t);
		}
		snprintf(what, sizeof(what), "every %u-th block lost", rates[k]);
		print_message("%s: %zu of %zu calls told, %zu with every field, 0 wrong\n", what,
			      y.told, y.calls, y.whole);
		assert_true(y.told && y.resyncs && y.fields_unknown);
	}
}

static void b9_bytes_lost(void **state)
{
	static const unsigned rates[] = {20, 100, 1000};
	uint64_t seed = 10;

	(void)state;
	for (size_t k = 0; k < sizeof(rates) / sizeof(rates[0]); k++) {
		struct tally y = {0};
		for (unsigned i = 0; i < connections(30, 300); i++) {
			struct h2_traffic t;
			h2_traffic_make(&t, 3 * STREAMS, 4000 + i);
			lose(&y, &t, rates[k], false, &seed);
			h2_traffic_fini(&t);
		}
		print_message(
			"%.1f %% of segments hit: %zu of %zu calls told, %zu with every field, "
			"0 wrong\n",
			100.0 / rates[k], y.told, y.calls, y.whole);
		assert_true(y.told * 5 > y.calls);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals_a_full_decode),
		cmocka_unit_test(b8_joined_at_every_frame),
		cmocka_unit_test(b8_joined_at_random_bytes),
		cmocka_unit_test(b9_blocks_lost),
		cmocka_unit_test(b9_bytes_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
