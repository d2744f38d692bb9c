/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every attach offset, random losses, copies and reordering over the golden captures and generated ones: no wrong
 * field, no wrong pair (B8, B9, H12). SIDETAP_LONG=1: all offsets and many more seeds.
 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/sweep.h"
#include "tests/unit/sweep_gen.h"

enum { CAPTURES_MAX = 128, OFFSETS = 40, SEEDS = 8, LONG_SEEDS = 400 };

static struct capture {
	char name[64];
	struct gen g;
	uint16_t port; /* of the server */
	struct sweep_run truth;
} captures[CAPTURES_MAX];
static size_t n_captures;

static bool is_long(void)
{
	return getenv("SIDETAP_LONG") != NULL;
}

static void capture_ready(struct capture *c)
{
	for (size_t i = 0; i < c->g.n && !c->port; i++)
		if ((c->g.p[i].flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			c->port = c->g.p[i].dport;
	sweep_run(&c->truth, c->g.p, c->g.n, c->port ? &c->port : NULL);
	assert_true(c->truth.n > 0);
}

/* The token of a text that holds no other one; -1: none. */
static long token_in(struct bytes b, long found, const char *name)
{
	for (size_t i = 0; i + 7 <= b.n; i++) {
		char digits[7] = "";
		if (b.p[i] != 't' || strspn(memcpy(digits, b.p + i + 1, 6), "0123456789") != 6)
			continue;
		long token = atol(digits);
		if (found >= 0 && found != token)
			fail_msg("%s: a call with the tokens %ld and %ld", name, found, token);
		found = token;
	}
	return found;
}

static long token_of(const Sidetap__V1__Message *m, long found, const char *name)
{
	for (size_t i = 0; m && i < m->n_headers; i++)
		found = token_in(bytes_of(m->headers[i]->value.data, m->headers[i]->value.len),
				 found, name);
	for (size_t i = 0; m && i < m->n_trailers; i++)
		found = token_in(bytes_of(m->trailers[i]->value.data, m->trailers[i]->value.len),
				 found, name);
	return m ? token_in(bytes_of(m->body.data, m->body.len), found, name) : found;
}

/* The whole run is the truth only when it is: as many calls as were made, each with one token in all its fields. */
static void truth_is_made(const struct capture *c, size_t made)
{
	if (c->truth.n != made)
		fail_msg("%s: %zu calls, %zu were made", c->name, c->truth.n, made);
	for (size_t i = 0; i < c->truth.n; i++) {
		const Sidetap__V1__Call *r = c->truth.calls[i].first;
		long token = token_in(bytes_str(r->service), -1, c->name);
		token = token_in(bytes_str(r->method), token, c->name);
		token = token_in(bytes_str(r->path), token, c->name);
		token = token_in(bytes_str(r->status_text), token, c->name);
		long request = token_of(r->request, token, c->name);
		long response = token_of(r->response, token, c->name);
		if (request < 0 || request != response || r->n_flags)
			fail_msg("%s: call %zu %s %s: token %ld, of the reply %ld, flags %s",
				 c->name, i, r->method, r->path, request, response,
				 records_flags(r));
	}
}

/* Captures that were cut from others are no truth. */
static bool is_cut(const char *name)
{
	return strstr(name, "late_join") || strstr(name, "gap_in");
}

static int setup(void **state)
{
	const char *tests = getenv("SIDETAP_TESTS");
	char pattern[512];
	glob_t found;
	(void)state;
	snprintf(pattern, sizeof(pattern), "%s/golden/*.pcap", tests ? tests : "tests");
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *base = strrchr(found.gl_pathv[i], '/') + 1;
		if (is_cut(base))
			continue;
		assert_true(n_captures < CAPTURES_MAX);
		struct capture *c = &captures[n_captures++];
		snprintf(c->name, sizeof(c->name), "%.*s", (int)strcspn(base, "."), base);
		sweep_load(&c->g, found.gl_pathv[i]);
		capture_ready(c);
	}
	globfree(&found);
	for (size_t i = 0; sweep_gens[i].name; i++) {
		assert_true(n_captures < CAPTURES_MAX);
		struct capture *c = &captures[n_captures++];
		snprintf(c->name, sizeof(c->name), "%s", sweep_gens[i].name);
		gen_init(&c->g);
		size_t made = sweep_gen_make(&sweep_gens[i], &c->g, 0x5eed + i);
		capture_ready(c);
		truth_is_made(c, made);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_captures; i++) {
		sweep_run_fini(&captures[i].truth);
		gen_fini(&captures[i].g);
	}
	return 0;
}

static void hold(const struct capture *c, const struct packet *p, size_t n, uint64_t from_ns,
		 struct sweep_shares *shares, const char *how, uint64_t a, uint64_t b)
{
	struct sweep_run seen;
	sweep_run(&seen, p, n, c->port && b % 4 != 3 ? &c->port : NULL);
	char *wrong = sweep_compare(&c->truth, &seen, from_ns, shares);
	sweep_run_fini(&seen);
	if (wrong)
		fail_msg("%s, %s %llu %llu: %s", c->name, how, (unsigned long long)a,
			 (unsigned long long)b, wrong);
}

static struct packet *packets_copy(const struct capture *c)
{
	struct packet *p = malloc((c->g.n + 1) * sizeof(*p));
	assert_non_null(p);
	memcpy(p, c->g.p, c->g.n * sizeof(*p));
	return p;
}

/* The first `cut` bytes of it were before us. */
static void packet_cut(struct packet *p, uint32_t n)
{
	p->flags &= (uint8_t)~TCP_SYN;
	p->seq += n;
	p->len -= n;
	p->data = bytes_from(p->data, n);
}

static void attach_at(const struct capture *c, size_t k, uint32_t n, struct sweep_shares *shares)
{
	struct packet *p = packets_copy(c);
	if (n)
		packet_cut(&p[k], n);
	uint64_t from = p[k].ts_ns + (n > 0);
	hold(c, p + k, c->g.n - k, from, shares, "attached at packet and byte", k, n);
	free(p);
}

static void every_attach_offset(void **state)
{
	struct sweep_shares shares = {0};
	uint64_t random = 7;
	(void)state;
	for (size_t i = 0; i < n_captures; i++) {
		const struct capture *c = &captures[i];
		size_t step = is_long() ? 1 : 1 + c->g.n / OFFSETS;
		for (size_t k = 0; k < c->g.n; k += step) {
			attach_at(c, k, 0, &shares);
			uint32_t len = (uint32_t)c->g.p[k].data.n;
			for (int r = 0; len > 1 && r < (is_long() ? 40 : 2); r++)
				attach_at(c, k, 1 + (uint32_t)gen_below(&random, len - 1), &shares);
		}
	}
	sweep_shares_print(&shares, "attached late, of those that began after");
}

/* Packets drop out with this probability, `least` at least. */
static void lose(const struct capture *c, unsigned per_mille, uint64_t seed,
		 struct sweep_shares *shares)
{
	struct packet *p = packets_copy(c);
	uint64_t random = seed * 0x9e3779b97f4a7c15 | 1;
	size_t n = 0;
	for (size_t i = 0; i < c->g.n; i++)
		if (gen_below(&random, 1000) >= per_mille)
			p[n++] = p[i];
	if (n < c->g.n)
		hold(c, p, n, 0, shares, "losses per mille, seed", per_mille, seed);
	free(p);
}

static void random_losses(unsigned per_mille, const char *what)
{
	struct sweep_shares shares = {0};
	for (size_t i = 0; i < n_captures; i++)
		for (uint64_t seed = 1; seed <= (is_long() ? LONG_SEEDS : SEEDS); seed++)
			lose(&captures[i], per_mille, seed, &shares);
	sweep_shares_print(&shares, what);
}

static void losses_of_one_in_1000(void **state)
{
	(void)state;
	random_losses(1, "0.1 % of the packets lost");
}

static void losses_of_one_in_100(void **state)
{
	(void)state;
	random_losses(10, "1 % of the packets lost");
}

static void losses_of_one_in_20(void **state)
{
	(void)state;
	random_losses(50, "5 % of the packets lost");
}

/* Each packet on its own */
static void one_loss(void **state)
{
	struct sweep_shares shares = {0};
	(void)state;
	for (size_t i = 0; i < n_captures; i++) {
		const struct capture *c = &captures[i];
		size_t step = is_long() ? 1 : 1 + c->g.n / OFFSETS;
		for (size_t k = 0; k < c->g.n; k += step) {
			struct packet *p = packets_copy(c);
			memmove(p + k, p + k + 1, (c->g.n - k - 1) * sizeof(*p));
			hold(c, p, c->g.n - 1, 0, &shares, "without packet", k, 0);
			free(p);
		}
	}
	sweep_shares_print(&shares, "one packet lost");
}

/* Nothing is lost: nothing may be missing or uncertain either. */
static void copies_and_order(void **state)
{
	struct sweep_shares shares = {0};
	(void)state;
	for (size_t i = 0; i < n_captures; i++)
		for (uint64_t seed = 1; seed <= (is_long() ? 100 : 4); seed++) {
			const struct capture *c = &captures[i];
			struct packet *p = malloc(2 * c->g.n * sizeof(*p));
			uint64_t random = seed;
			size_t n = 0;
			for (size_t k = 0; k < c->g.n; k++) {
				p[n++] = c->g.p[k];
				if (gen_below(&random, 8) == 0)
					p[n++] = c->g.p[k];
			}
			for (size_t k = 0; k + 1 < n; k++) /* neighbours, but no end before data */
				if (p[k].len && p[k + 1].len &&
				    p[k + 1].ts_ns < p[k].ts_ns + 10000000 &&
				    gen_below(&random, 6) == 0) {
					struct packet t = p[k];
					p[k] = p[k + 1];
					p[k + 1] = t;
				}
			hold(c, p, n, 0, &shares, "copies and order", seed, 0);
			free(p);
		}
	sweep_shares_print(&shares, "packets twice and out of order");
	for (size_t i = 0; i < shares.n; i++)
		assert_int_equal(shares.list[i].complete, shares.list[i].calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_and_order),
		cmocka_unit_test(every_attach_offset),
		cmocka_unit_test(one_loss),
		cmocka_unit_test(losses_of_one_in_1000),
		cmocka_unit_test(losses_of_one_in_100),
		cmocka_unit_test(losses_of_one_in_20),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
