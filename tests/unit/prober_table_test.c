/* SPDX-License-Identifier: Apache-2.0 */
/* Each protocol of the table against each other's samples, TLS and noise: the right one or none (H11, B18). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"
#include "tests/unit/sweep_gen.h"

enum { SAMPLES_MAX = 64, NOISE = 1000000, HALF_NOISE = 200000, VARIETIES = 100 };

static struct sample {
	const char *name; /* of the framer; "opaque": nobody's */
	struct buf side[2]; /* the first request, its reply */
	bool greets; /* the server speaks first */
} samples[SAMPLES_MAX];
static size_t n_samples;

#define NONE bytes_of(NULL, 0)

static void sample_add(const char *name, struct bytes request, struct bytes response, bool greets)
{
	assert_true(n_samples < SAMPLES_MAX);
	struct sample *s = &samples[n_samples++];
	s->name = name;
	s->greets = greets;
	sweep_bytes(&s->side[0], request);
	sweep_bytes(&s->side[1], response);
}

static void samples_make(const char *name, const struct sweep_maker *m)
{
	for (unsigned form = 0; form < m->forms; form++) {
		struct buf q = {0}, r = {0};
		m->request(&q, form, 7, 42, 24);
		m->response(&r, form, 7, 42, 24);
		sample_add(name, buf_bytes(&q), buf_bytes(&r), false);
		buf_fini(&q);
		buf_fini(&r);
	}
}

#define SETTINGS "\0\0\0\x04\0\0\0\0\0"

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; sweep_gens[i].name; i++)
		if (sweep_gens[i].maker)
			samples_make(sweep_gens[i].name + strlen("made_"), sweep_gens[i].maker);
	sample_add("http2", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" SETTINGS),
		   BYTES(SETTINGS "\0\0\0\x04\x01\0\0\0\0"), true);
	sample_add("opaque", BYTES("*1\r\n$4\r\nPING\r\n"), BYTES("+PONG\r\n"), false);
	sample_add("opaque", BYTES("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
		   BYTES("\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03"), false);
	sample_add("opaque", BYTES("\x25\0\0\x01\x8d\xa6\xff\x19\0\0\0\x01\xff\0\0\0\0\0\0\0\0\0"),
		   BYTES("\x4a\0\0\0\x0a"
			 "8.0.36\0\x08\0\0\0saltsalt\0\xff\xff\xff\x02\0"),
		   true);
	sample_add("opaque",
		   BYTES("\0\0\0\x2a\0\x12\0\x03\0\0\0\0\0\x0a"
			 "producer-1\0\x12"
			 "apache-kafka-java\x06"
			 "3.7.0\0"),
		   BYTES("\0\0\x01\xca\0\0\0\0\0\0\x3e\0\0\0\0\0\x0a\0"), false);
	sample_add("opaque",
		   BYTES("\0\0\0\x40\x10\x01\x2c\x3c\x40\x07\x56\x16"
			 "TestApp.HelloServer.Ob\x66\x04"
			 "test"),
		   BYTES("\0\0\0\x20\x10\x01\x2c\x30\x07\x4c\x5c\x6d\0\0\x04"), false);
	sample_add("opaque",
		   BYTES("\x01\x01\0\x01\x01\0\0\0\x2b\x01\0\0\x0b\xb8\0\x2c\0\x20\0\0\x01\x10"
			 "com.alipay.sofa.rpc"),
		   BYTES("\x01\0\0\x02\x01\0\0\0\x2b\x01\0\0\0\x2e\0\0\0\0\0\x60"
			 "com.alipay.sofa.rpc"),
		   false);
	sample_add("opaque", BYTES("\0\0\0\x27\0\x03\0\0user\0app\0database\0orders\0\0"),
		   BYTES("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"), false);
	sample_add("opaque", BYTES("SSH-2.0-x\r\n"), BYTES("SSH-2.0-OpenSSH_9.2\r\n"), true);
	sample_add("opaque", BYTES("EHLO a\r\n"), BYTES("220 mail ESMTP\r\n"), true);
	sample_add("opaque", BYTES("get key\r\n"), BYTES("VALUE key 0 1\r\n1\r\nEND\r\n"), false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_samples; i++)
		for (int d = 0; d < 2; d++)
			buf_fini(&samples[i].side[d]);
	return 0;
}

static struct bytes side(size_t i, int dir)
{
	return buf_bytes(&samples[i].side[dir]);
}

/* NULL and opaque are no answer that could be wrong. */
static const char *named(struct prober_verdict v)
{
	return v.ops && v.ops != &framer_opaque ? v.ops->name : NULL;
}

/* Each is found with both its sides, and by nobody else at any two prefixes of them. */
static void each_is_itself(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_samples; i++) {
		struct bytes q = side(i, 0), r = side(i, 1);
		struct prober_verdict v = prober_ask(q, r, true, false);
		assert_non_null(v.ops);
		if (strcmp(v.ops->name, samples[i].name) != 0 || v.reversed)
			fail_msg("sample %zu of %s: %s", i, samples[i].name, v.ops->name);
		for (size_t a = 0; a <= q.n; a++)
			for (size_t b = 0; b <= r.n; b += 1 + r.n / 40) {
				v = prober_ask(bytes_head(q, a), bytes_head(r, b), false, false);
				const char *name = named(v);
				if (name && strcmp(name, samples[i].name) != 0)
					fail_msg("sample %zu of %s at %zu, %zu: %s", i,
						 samples[i].name, a, b, name);
			}
	}
}

/* Every protocol of the table that has messages of its own has a sample. */
static void none_is_left_out(void **state)
{
	(void)state;
	for (size_t k = 0; prober_table[k]; k++) {
		bool found = prober_table[k] == &framer_proxy;
		for (size_t i = 0; i < n_samples; i++)
			found |= !strcmp(samples[i].name, prober_table[k]->name);
		if (!found)
			fail_msg("no sample of %s", prober_table[k]->name);
	}
}

/* One's request with another's reply is one of the two, or nobody. */
static void one_against_the_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_samples; i++)
		for (size_t k = 0; k < n_samples; k++)
			for (int final = 0; final < 2; final++) {
				struct prober_verdict v =
					prober_ask(side(i, 0), side(k, 1), final, false);
				const char *name = named(v);
				if (name && (strcmp(name, samples[i].name) != 0 || v.reversed))
					fail_msg("%s with a reply of %s: %s", samples[i].name,
						 samples[k].name, name);
			}
}

/* Client and server taken for each other: the same protocol turned round, or not known. */
static void the_other_way_round(void **state)
{
	size_t turned = 0;
	(void)state;
	for (size_t i = 0; i < n_samples; i++)
		for (int final = 0; final < 2; final++) {
			struct prober_verdict v = prober_ask(side(i, 1), side(i, 0), final, false);
			const char *name = named(v);
			if (name && (strcmp(name, samples[i].name) != 0 || !v.reversed))
				fail_msg("%s: %s, reversed %d", samples[i].name, name, v.reversed);
			turned += name != NULL;
		}
	assert_true(turned > 10);
}

/* What the server says alone decides nothing, whatever it is. */
static void servers_may_speak_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_samples; i++)
		for (size_t n = 0; n <= side(i, 1).n; n++)
			assert_null(prober_ask(NONE, bytes_head(side(i, 1), n), false, false).ops);
}

/* A message that is whole behind the header of the one that carries it */
static bool is_carried(const char *inner, const char *outer)
{
	return (!strcmp(outer, "ttheader") || !strcmp(outer, "theader")) &&
	       (!strcmp(inner, "thrift") || !strcmp(inner, "kitex_protobuf"));
}

/* Joined at any byte of one side, all of the other there or nothing */
static void joined_at_each_byte(const char *name, struct bytes request, struct bytes response)
{
	for (int how = 0; how < 4; how++)
		for (size_t at = 0; at < (how & 1 ? response : request).n; at++) {
			struct bytes heads[2] = {request, response};
			heads[how & 1] = bytes_from(heads[how & 1], at);
			if (how & 2)
				heads[!(how & 1)] = NONE;
			const char *found = named(prober_ask_late(heads[0], heads[1]));
			/* where the inner message begins is no turn */
			if (found && strcmp(found, name) != 0 && !is_carried(found, name))
				fail_msg("%s joined late at byte %zu of side %d, %zu bytes on the "
					 "other: %s",
					 name, at, how & 1, heads[!(how & 1)].n, found);
		}
}

/* Its own protocol, or none yet; messages with small ids and any, long and short */
static void b18_joined_in_a_message(void **state)
{
	uint64_t seed = 0x1a7e;
	(void)state;
	for (size_t i = 0; i < n_samples; i++)
		joined_at_each_byte(samples[i].name, side(i, 0), side(i, 1));
	for (unsigned n = 0; n < VARIETIES; n++)
		for (size_t i = 0; sweep_gens[i].name; i++) {
			const struct sweep_maker *m = sweep_gens[i].maker;
			struct buf q = {0}, r = {0};
			uint32_t id = drive_random(&seed) >> drive_random(&seed) % 32;
			unsigned token = drive_random(&seed) % 1000000, kind = drive_random(&seed);
			if (!m)
				continue;
			m->request(&q, n % m->forms, id, token, kind % 1000);
			m->response(&r, n % m->forms, id, token, kind % 1000);
			joined_at_each_byte(sweep_gens[i].name + strlen("made_"), buf_bytes(&q),
					    buf_bytes(&r));
			buf_fini(&q);
			buf_fini(&r);
		}
}

static size_t noise(uint64_t *seed, uint8_t *to, size_t max)
{
	size_t n = drive_random(seed) % (max + 1);
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)drive_random(seed);
	return n;
}

/* Bytes at random, half of them behind a length that fits them: 0 names. */
static void h11_noise(void **state)
{
	uint64_t seed = 0xb0153;
	uint8_t b[2][64];
	(void)state;
	for (unsigned i = 0; i < NOISE; i++) {
		size_t n[2];
		for (int d = 0; d < 2; d++) {
			n[d] = noise(&seed, b[d], sizeof(b[d]));
			if (n[d] > 4 && i & 1) {
				b[d][0] = b[d][1] = b[d][2] = 0;
				b[d][3] = (uint8_t)(n[d] - 4);
			}
		}
		struct bytes q = bytes_of(b[0], n[0]), r = bytes_of(b[1], n[1]);
		const char *name = named(prober_ask(q, r, true, false));
		if (!name)
			name = named(prober_ask_late(q, r));
		if (name)
			fail_msg("noise %u: %s", i, name);
	}
}

/* A sample whose reply is noise behind its first bytes, or the other way: nobody else's. */
static void h11_half_noise(void **state)
{
	uint64_t seed = 0x4a1f;
	uint8_t b[512];
	(void)state;
	for (unsigned n = 0; n < HALF_NOISE; n++) {
		size_t i = drive_random(&seed) % n_samples;
		int dir = drive_random(&seed) & 1;
		struct bytes heads[2] = {side(i, 0), side(i, 1)};
		size_t keep = drive_random(&seed) % 12,
		       all = heads[dir].n < 512 ? heads[dir].n : 512;
		memcpy(b, heads[dir].p, all);
		for (size_t k = keep; k < all; k++)
			b[k] = (uint8_t)drive_random(&seed);
		heads[dir] = bytes_of(b, all);
		const char *name = named(prober_ask(heads[0], heads[1], false, false));
		if (name && strcmp(name, samples[i].name) != 0)
			fail_msg("%s with noise behind %zu bytes of side %d: %s", samples[i].name,
				 keep, dir, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_itself),
		cmocka_unit_test(none_is_left_out),
		cmocka_unit_test(one_against_the_other),
		cmocka_unit_test(the_other_way_round),
		cmocka_unit_test(servers_may_speak_first),
		cmocka_unit_test(b18_joined_in_a_message),
		cmocka_unit_test(h11_noise),
		cmocka_unit_test(h11_half_noise),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
