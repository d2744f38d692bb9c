/* SPDX-License-Identifier: Apache-2.0 */
/* Names of opaque connections: only what both directions surely are, and then at any cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/opaque_name.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"

#define N(a)        (sizeof(a) / sizeof((a)[0]))
#define B(lit)      BYTES(lit)
#define ZEROES_19   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZEROES_23   ZEROES_19 "\0\0\0\0"
#define SALT        "\x4a\x11\x02\x33\x44\x55\x66\x77"
#define MYSQL_CAPS  "\xff\xff\xff\x02\0\xff\xdf\x15"
#define BOLT_CLASS  "com.alipay.sofa.rpc.core.request.SofaRequest"
#define BOLT_ANSWER "com.alipay.sofa.rpc.core.response.SofaResponse"

/* A real first exchange each; the server's greeting comes before the request for mysql. */
static const struct sample {
	const char *name;
	struct bytes request, response;
} samples[] = {
	{"redis", B("*1\r\n$4\r\nPING\r\n"), B("+PONG\r\n")},
	{"redis", B("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n"), B("+OK\r\n")},
	{"redis", B("*2\r\n$3\r\nget\r\n$1\r\nk\r\n"), B("$-1\r\n")},
	{"redis", B("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
	 B("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")},
	{"redis", B("*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"),
	 B("-WRONGPASS invalid username-password pair or user is disabled.\r\n")},
	{"redis", B("*2\r\n$8\r\nJSON.GET\r\n$1\r\nd\r\n"),
	 B("-ERR unknown command 'JSON.GET', with args beginning with: 'd' and much more text than "
	   "the head of a direction holds, so that its line has no end here\r\n")},
	{"redis", B("*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"), B(":-7\r\n")},
	{"redis", B("*3\r\n$9\r\nSISMEMBER\r\n$1\r\ns\r\n$1\r\nm\r\n"), B("#t\r\n")},
	{"redis", B("*3\r\n$6\r\nZSCORE\r\n$1\r\nz\r\n$1\r\nm\r\n"), B(",-1.5e3\r\n")},
	{"redis", B("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), B("_\r\n")},
	{"redis", B("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"), B(">3\r\n$9\r\nsubscribe\r\n")},
	{"mysql", B("\xb6\0\0\x01\x8d\xa6\xff\x19\0\0\0\x01\xff" ZEROES_23 "app\0\x14"),
	 B("\x4a\0\0\0\x0a"
	   "8.0.36\0\x08\0\0\0" SALT "\0" MYSQL_CAPS "\0\0\0\0\0\0\0\0\0\0"
	   "saltsaltsalt\0caching_sha2_password\0")},
	/* MariaDB: capabilities in the last four reserved bytes; SSLRequest */
	{"mysql", B("\x20\0\0\x01\x8d\xae\x8b\x20\0\0\0\x40\x2d" ZEROES_19 "\x1d\0\0\0"),
	 B("\x6c\0\0\0\x0a"
	   "5.5.5-10.11.6-MariaDB-0+deb12u1\0\x1f\0\0\0" SALT "\0\xfe\xf7\x2d\x02\0\xff\x81\x15"
	   "\0\0\0\0\0\0\x1d\0\0\0saltsaltsalt\0mysql_native_password\0")},
	{"kafka",
	 B("\0\0\0\x2a\0\x12\0\x03\0\0\0\0\0\x0a"
	   "producer-1\0\x12"
	   "apache-kafka-java\x06"
	   "3.7.0\0"),
	 B("\0\0\x01\xca\0\0\0\0\0\0\x3e\0\0\0\0\0\x0a\0")},
	{"kafka", B("\0\0\0\x10\0\x03\0\x01\0\0\0\x05\xff\xff\0\0\0\0\0\0"),
	 B("\0\0\0\x20\0\0\0\x05\0\0\0\x01\0\0\0\x01")},
	{"kafka",
	 B("\0\0\0\x8a\0\x11\0\x01\0\0\0\x07\0\x07"
	   "rdkafka\0\x05"
	   "PLAIN"),
	 B("\0\0\0\x11\0\0\0\x07\0\0\0\0\0\x01\0\x05"
	   "PLAIN")},
	{"tars",
	 B("\0\0\0\x40\x10\x01\x2c\x3c\x40\x07\x56\x16"
	   "TestApp.HelloServer.Ob\x66\x04"
	   "test"),
	 B("\0\0\0\x20\x10\x01\x2c\x30\x07\x4c\x5c\x6d\0\0\x04")},
	{"tars",
	 B("\0\0\0\x50\x10\x03\x20\0\x3c\x42\x01\x02\x03\x04\x56\x0e"
	   "App.Server.Obj\x66\x09"
	   "tars_ping"),
	 B("\0\0\0\x20\x10\x03\x2c\x32\x01\x02\x03\x04\x4c\x50\xff\x6d\0\0\x04")},
	{"bolt",
	 B("\x01\x01\0\x01\x01\0\0\0\x2b\x01\0\0\x0b\xb8\0\x2c\0\x20\0\0\x01\x10" BOLT_CLASS),
	 B("\x01\0\0\x02\x01\0\0\0\x2b\x01\0\0\0\x2e\0\0\0\0\0\x60" BOLT_ANSWER)},
	{"bolt",
	 B("\x02\x01\x01\0\x01\x01\0\0\0\x2b\x01\0\0\0\x0b\xb8\0\x2c\0\x20\0\0\x01\x10" BOLT_CLASS),
	 B("\x02\x01\0\0\x02\x01\0\0\0\x2b\x01\0\0\0\0\x2e\0\0\0\0\0\x60" BOLT_ANSWER)},
	{"mongodb",
	 B("\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0"
	   "admin.$cmd\0"),
	 B("\x9c\0\0\0\x11\0\0\0\x01\0\0\0\x01\0\0\0\x08\0\0\0")},
	{"mongodb", B("\x3a\0\0\0\x07\x01\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x2a\0\0\0"),
	 B("\x9c\0\0\0\x11\0\0\0\x07\x01\0\0\xdd\x07\0\0\0\0\0\0")},
	{"postgresql",
	 B("\0\0\0\x27\0\x03\0\0user\0app\0"
	   "database\0orders\0\0"),
	 B("R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0")},
	{"postgresql", B("\0\0\0\x10\0\x03\0\0user\0ap\0\0"), B("E\0\0\0\x56SFATAL\0VFATAL\0")},
	{"postgresql", B("\0\0\0\x08\x04\xd2\x16\x2f"), B("S")},
	{"postgresql", B("\0\0\0\x08\x04\xd2\x16\x30"), B("N")},
};

static const char *name_of(struct bytes q, struct bytes r)
{
	bool more;
	const char *name = opaque_name(q, r, DIR_REQUEST, true, &more);

	assert_false(more);
	return name;
}

static void samples_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(samples); i++) {
		const struct sample *s = &samples[i];
		bool more;
		const char *name = name_of(s->request, s->response);
		if (!name || strcmp(name, s->name) != 0)
			fail_msg("sample %zu of %s: %s", i, s->name, name ? name : "none");
		name = opaque_name(s->request, s->response, DIR_REQUEST, false, &more);
		assert_non_null(name); /* and without waiting for more */
	}
}

/* Nobody's prefix is another's name, and a name that may come is waited for. */
static void every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(samples); i++) {
		const struct sample *s = &samples[i];
		for (size_t q = 0; q <= s->request.n; q++)
			for (size_t r = 0; r <= s->response.n; r++) {
				bool more;
				const char *name = opaque_name(bytes_head(s->request, q),
							       bytes_head(s->response, r),
							       DIR_REQUEST, false, &more);
				bool whole = q == s->request.n || !strcmp(s->name, "mysql");
				if (name ? strcmp(name, s->name) != 0 || more : !more && whole)
					fail_msg("sample %zu of %s at %zu, %zu: %s, more %d", i,
						 s->name, q, r, name ? name : "none", more);
			}
	}
}

static void one_direction_names_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(samples); i++) {
		assert_null(name_of(samples[i].request, bytes_of(NULL, 0)));
		assert_null(name_of(bytes_of(NULL, 0), samples[i].response));
		assert_null(name_of(samples[i].response, samples[i].request));
	}
}

/* One's request and another's reply; a protocol's own may fit each other, if its ids do. */
static void directions_must_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(samples); i++)
		for (size_t k = 0; k < N(samples); k++) {
			const char *name = name_of(samples[i].request, samples[k].response);
			if (name && strcmp(samples[i].name, samples[k].name) != 0)
				fail_msg("%zu of %s with %zu of %s: %s", i, samples[i].name, k,
					 samples[k].name, name);
		}
}

/* The bits that hold a pair together: another value there, and it is no pair. */
static void ids_must_agree(void **state)
{
	static const struct {
		const char *name;
		size_t in_reply;
	} ids[] = {{"kafka", 7}, {"kafka", 4}, {"bolt", 8}, {"mongodb", 8}, {"mongodb", 9}};
	size_t tried = 0;

	(void)state;
	for (size_t i = 0; i < N(samples); i++)
		for (size_t k = 0; k < N(ids); k++) {
			const struct sample *s = &samples[i];
			uint8_t reply[256];
			if (strcmp(s->name, ids[k].name) != 0)
				continue;
			memcpy(reply, s->response.p, s->response.n);
			reply[ids[k].in_reply] ^= 1;
			assert_null(name_of(s->request, bytes_of(reply, s->response.n)));
			tried++;
		}
	assert_int_equal(tried, 12);
	assert_null(name_of(samples[16].request, samples[17].response)); /* tars: version and id */
}

static void wrong_ones(void **state)
{
	static const struct sample wrong[] = {
		{"redis", B("*0\r\n$4\r\nPING\r\n"), B("+PONG\r\n")},
		{"redis", B("*1\r\n$5\r\nPING\r\n"), B("+PONG\r\n")},
		{"redis", B("*1\r\n$4\r\nP\0NG\r\n"), B("+PONG\r\n")},
		{"redis", B("*1\n$4\nPING\n"), B("+PONG\r\n")},
		{"redis", B("*1\r\n$4\r\nPING\r\n"), B("VALUE k 0 1\r\n")},
		{"redis", B("*1\r\n$4\r\nPING\r\n"), B("+P\x01NG\r\n")},
		{"redis", B("*1\r\n$4\r\nPING\r\n"), B(":x\r\n")},
		{"redis", B("*1\r\n$4\r\nPING\r\n"), B("$\r\n")},
		{"redis", B("PING\r\n"), B("+PONG\r\n")},
		{"smtp", B("EHLO a\r\n"), B("220 mail\r\n")},
		{"kafka", B("\0\0\0\x02\0\x12\0\x03\0\0\0\1\0\x01z"), B("\0\0\0\x10\0\0\0\1\0\0")},
		{"kafka", B("\0\0\0\x20\0\x12\0\x03\0\0\0\1\0\0zz"), B("\0\0\0\x10\0\0\0\1\0\0")},
		{"kafka", B("\0\0\0\x20\0\x70\0\x03\0\0\0\1\0\1z"), B("\0\0\0\x10\0\0\0\1\0\0")},
		{"zeroes", B("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		 B("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
		{"mysql", B("\xb6\0\0\0\x8d\xa6\xff\x19\0\0\0\x01\xff" ZEROES_23 "app\0\x14"),
		 B("\x4a\0\0\0\x0a"
		   "8.0.36\0\x08\0\0\0" SALT "\0" MYSQL_CAPS "\0\0\0\0\0\0\0\0\0\0")},
		{"mysql", B("\xb6\0\0\x01\x8d\xa6\xff\x19\0\0\0\x01\xff" ZEROES_23 "app\0\x14"),
		 B("\x10\0\0\0\xff\x69\x04Host is blocked")},
		{"postgresql", B("\0\0\0\x08\x04\xd2\x16\x2f"), B("\x15")},
		{"old thrift, framed",
		 B("\0\0\0\x25\0\0\0\x05"
		   "count\x01\0\0\0\0\x0b\0\x01\0\0\0\x01z\0"),
		 B("\0\0\0\x0f\0\0\0\x05"
		   "count\x02\0\0\0\0\0")},
	};

	(void)state;
	for (size_t i = 0; i < N(wrong); i++) {
		const char *name = name_of(wrong[i].request, wrong[i].response);
		if (name)
			fail_msg("%zu, %s: %s", i, wrong[i].name, name);
	}
}

static size_t random_bytes(uint64_t *seed, uint8_t *to, size_t max)
{
	size_t n = drive_random(seed) % (max + 1);

	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)drive_random(seed);
	return n;
}

static void random_names_nothing(void **state)
{
	uint64_t seed = 0x0b501e7e;
	uint8_t q[64], r[64];

	(void)state;
	for (unsigned i = 0; i < 1000000; i++) {
		struct bytes request = bytes_of(q, random_bytes(&seed, q, sizeof(q)));
		struct bytes response = bytes_of(r, random_bytes(&seed, r, sizeof(r)));
		assert_null(name_of(request, response));
	}
	/* half real: a sample's one side, the other random behind its first byte */
	for (unsigned i = 0; i < 1000000; i++) {
		const struct sample *s = &samples[drive_random(&seed) % N(samples)];
		size_t n = random_bytes(&seed, r, sizeof(r));
		if (drive_random(&seed) & 1)
			assert_null(name_of(bytes_of(r, n), s->response));
		else if (s->response.n > 6 && n > 6 && strcmp(s->name, "redis") != 0 &&
			 s->request.n != 8) {
			r[0] = s->response.p[0];
			assert_null(name_of(s->request, bytes_of(r, n)));
		}
	}
}

static void add(struct drive_script *s, enum dir dir, struct bytes b)
{
	drive_add(s, dir, b);
}

/* Through the framer: named at any cut, whoever speaks first; the prober finds nothing else in it. */
static void framer_names_at_any_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(samples); i++) {
		struct drive_script s;
		char want[64];
		drive_script_init(&s);
		s.first = &framer_opaque;
		bool greeting = !strcmp(samples[i].name, "mysql");
		add(&s, greeting, greeting ? samples[i].response : samples[i].request);
		add(&s, !greeting, greeting ? samples[i].request : samples[i].response);
		add(&s, DIR_REQUEST, B("more"));
		add(&s, DIR_RESPONSE, B("and more"));
		struct drive_result whole = drive_run(&s, NULL, 0);
		snprintf(want, sizeof(want), "  a app_protocol=%s\n", samples[i].name);
		const char *at = strstr((char *)whole.text.p, want);
		if (!at)
			fail_msg("%s: %s", want, (char *)whole.text.p);
		if (strstr(strchr(at, '='), "app_protocol"))
			fail_msg("%s", (char *)whole.text.p);
		for (size_t cut = 1; cut < s.bytes.n; cut++) {
			struct drive_result r = drive_run(&s, &cut, 1);
			assert_string_equal((char *)r.text.p, (char *)whole.text.p);
			drive_result_fini(&r);
		}
		struct drive_result bytes = drive_run_bytes(&s);
		assert_string_equal((char *)bytes.text.p, (char *)whole.text.p);
		drive_result_fini(&bytes);
		drive_result_fini(&whole);
		drive_script_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_are_named),
		cmocka_unit_test(every_prefix),
		cmocka_unit_test(one_direction_names_nothing),
		cmocka_unit_test(directions_must_agree),
		cmocka_unit_test(ids_must_agree),
		cmocka_unit_test(wrong_ones),
		cmocka_unit_test(random_names_nothing),
		cmocka_unit_test(framer_names_at_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
