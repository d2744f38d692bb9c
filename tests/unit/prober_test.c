/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/prober.h"
#include "rpc/protocols.h"
#include "tests/unit/drive.h"

#define NONE    ((struct bytes) {NULL, 0})
#define HELLO   "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static const struct framer_ops *ask(struct bytes q, struct bytes r, bool final)
{
	return prober_ask(q, r, final, false).ops;
}

static void request_alone(void **state)
{
	static const char *const yes[] = {
		"GET / HTTP/1.1\r\n",
		"POST /a?b HTTP/1.0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h",
		"GET http://h/ HTTP/1.1\r\n",
		"CONNECT h:1 HTTP/1.1\r\n",
		"M-SEARCH / HTTP/1.1\r\n",
		"VERSION-CONTROL / HTTP/1.1\r\n",
		"ABCDEFGHIJKLMNOPQR-_ / HTTP/1.1\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\n",
		"PROXY / HTTP/1.1\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		struct bytes b = bytes_str(yes[i]);
		size_t line = (size_t)(strstr(yes[i], "HTTP/1.") - yes[i]) + 10;
		assert_ptr_equal(ask(b, NONE, false), &framer_http1);
		for (size_t n = 0; n < line; n++) /* never early, and no other answer on the way */
			assert_null(ask(bytes_head(b, n), NONE, false));
	}
	assert_ptr_equal(ask(BYTES("GET / HTTP/1.1\r\n"), BYTES("HTTP/1.1 200 OK"), false),
			 &framer_http1);
	assert_ptr_equal(ask(BYTES("GET / HTTP/1.1\r\n"), BYTES("+OK\r\n"), false),
			 &framer_http1); /* whichever side was read first */
}

/* Not HTTP/1, however it begins */
static void h11_misdetection(void **state)
{
	static const struct bytes no[] = {
		BYTES(HELLO),
		BYTES("GET \x01\x02\x03\x04 HTTP/1.1\r\n"),
		BYTES("GET /\0 HTTP/1.1\r\n"),
		BYTES("GET / HTTP/1.1\n"),
		BYTES("GET / HTTP/1.12\r\n"),
		BYTES("get / HTTP/1.1\r\n"),
		BYTES("OPTIONS rtsp://h/ RTSP/1.0\r\n"),
		BYTES("INVITE sip:a@b SIP/2.0\r\n"),
		BYTES("GET key\r\n"),
		BYTES("GET / HTTP/1.1 \r\n"),
		BYTES("ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1\r\n"),
		BYTES("ABCDEFGHIJKLMNOPQRSTU"),
		BYTES("SSH-2.0-x\r\n"),
		BYTES("\0\0\0\x0cGET / HTTP/1.1\r\n"),
		BYTES("*1\r\n$4\r\nPING\r\n"),
		BYTES("G"
		      "\xff"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		assert_ptr_equal(ask(no[i], NONE, false), &framer_opaque);
		assert_int_equal(framer_http1.probe(no[i], NONE), PROBE_NO);
		for (size_t n = 1; n < no[i].n; n++)
			assert_ptr_not_equal(ask(bytes_head(no[i], n), NONE, false), &framer_http1);
	}
}

/* B18: prior knowledge, the preface split at each byte; what only begins like it is none */
static void b18_preface(void **state)
{
	const struct bytes preface = BYTES(PREFACE), settings = BYTES("\0\0\0\4\0\0\0\0\0");

	(void)state;
	for (size_t n = 0; n < preface.n; n++)
		assert_null(ask(bytes_head(preface, n), n % 2 ? settings : NONE, false));
	assert_ptr_equal(ask(preface, NONE, false), &framer_http2);
	assert_ptr_equal(ask(BYTES("PRI * HTTP/2.0\r\n\r\nSX"), NONE, false), &framer_opaque);
	assert_ptr_equal(ask(BYTES(HELLO), settings, false), &framer_opaque);
	assert_null(ask(settings, NONE, false));
	struct prober_verdict v = prober_ask(settings, preface, false, false);
	assert_ptr_equal(v.ops, &framer_http2);
	assert_true(v.reversed);
}

static void h11_random_binary(void **state)
{
	uint64_t seed = 11;
	uint8_t b[512] = "GET ";

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		for (size_t k = 4; k < 64; k++)
			b[k] = (uint8_t)drive_random(&seed);
		assert_ptr_not_equal(ask(bytes_of(b, 64), NONE, true), &framer_http1);
	}
}

static void tls_at_once(void **state)
{
	(void)state;
	assert_null(ask(BYTES("\x16"), NONE, false));
	assert_null(ask(BYTES("\x16\x03"), NONE, false));
	assert_ptr_equal(ask(BYTES("\x16\x03\x01"), NONE, false), &framer_opaque);
	assert_ptr_equal(ask(BYTES("\x17\x03\x03\x00"), NONE, false), &framer_opaque);
	assert_ptr_equal(ask(BYTES("\x16"), NONE, true), &framer_opaque);
}

static void server_first_waits(void **state)
{
	static uint8_t many[PROBER_HEAD_MAX];

	(void)state;
	assert_null(ask(NONE, BYTES("SSH-2.0-OpenSSH\r\n"), false));
	assert_null(ask(NONE, bytes_of(many, sizeof(many) - 1), false));
	assert_ptr_equal(ask(NONE, bytes_of(many, sizeof(many)), false), &framer_opaque);
	assert_ptr_equal(ask(NONE, BYTES("220 mail\r\n"), true), &framer_opaque);
}

static void long_target(void **state)
{
	char b[PROBER_HEAD_MAX + 1];

	(void)state;
	memset(b, 'a', sizeof(b));
	memcpy(b, "GET /", 5);
	assert_null(ask(bytes_of(b, PROBER_HEAD_MAX - 1), NONE, false));
	assert_ptr_equal(ask(bytes_of(b, PROBER_HEAD_MAX), NONE, false), &framer_http1);
	assert_ptr_equal(ask(bytes_of(b, PROBER_HEAD_MAX + 1), NONE, false), &framer_http1);
}

static void the_other_way_round(void **state)
{
	struct prober_verdict v =
		prober_ask(BYTES("HTTP/1.1 200 OK\r\n"), BYTES("GET / HTTP/1.1\r\n"), false, false);

	(void)state;
	assert_ptr_equal(v.ops, &framer_http1);
	assert_true(v.reversed);
	assert_null(ask(BYTES("HTTP/1.1 200 OK\r\n"), NONE, false));
	assert_ptr_equal(ask(BYTES("HTTP/1.1 200 OK\r\n"), BYTES("HTTP/1.1 200 OK\r\n"), false),
			 &framer_opaque);
	char *text = drive_text("> HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
				"< GET /r HTTP/1.1\\r\\n\\r\\n\n");
	assert_non_null(strstr(text, "> http1 method=GET path=/r"));
	assert_non_null(strstr(text, "< http1 status=200"));
	free(text);
}

/* Joined late, other protocols want more for ever: they must not hold up one that is sure. */
static void late_yes_waits_for_none(void **state)
{
	const struct bytes beat = BYTES("\xda\xbb\xe2\0\0\0\0\0\0\0\0\1\0\0\0\1N"),
			   answer = BYTES("\xda\xbb\x22\x14\0\0\0\0\0\0\0\1\0\0\0\1N");

	(void)state;
	assert_ptr_equal(prober_ask_late(beat, NONE).ops, &framer_dubbo2);
	assert_ptr_equal(prober_ask_late(NONE, answer).ops, &framer_dubbo2);
	assert_null(prober_ask_late(NONE, BYTES("\xda\xbb")).ops);
}

static void preamble_once(void **state)
{
	const struct bytes v1 = BYTES("PROXY UNKNOWN\r\n");

	(void)state;
	assert_ptr_equal(prober_ask(v1, NONE, false, false).ops, &framer_proxy);
	assert_ptr_equal(prober_ask(v1, NONE, false, true).ops, &framer_opaque);
	assert_null(prober_ask(BYTES("PROXY "), NONE, false, false).ops);
	assert_ptr_equal(prober_ask(BYTES("PROXY "), NONE, true, false).ops, &framer_opaque);
}

static void final_is_never_undecided(void **state)
{
	uint64_t seed = 3;
	uint8_t q[64], r[64];

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		for (size_t k = 0; k < sizeof(q); k++) {
			q[k] = "GETPROXY HT/1.\r\n\x16\x03"[drive_random(&seed) % 18];
			r[k] = "HTTP/1. 20\r\n"[drive_random(&seed) % 12];
		}
		assert_non_null(ask(bytes_of(q, drive_random(&seed) % 64),
				    bytes_of(r, drive_random(&seed) % 64), true));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_alone),
		cmocka_unit_test(h11_misdetection),
		cmocka_unit_test(b18_preface),
		cmocka_unit_test(h11_random_binary),
		cmocka_unit_test(tls_at_once),
		cmocka_unit_test(server_first_waits),
		cmocka_unit_test(long_target),
		cmocka_unit_test(the_other_way_round),
		cmocka_unit_test(late_yes_waits_for_none),
		cmocka_unit_test(preamble_once),
		cmocka_unit_test(final_is_never_undecided),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
