/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that no framer reads, or not to their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/conn_wire.h"

static const char good_request[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
static const char good_response[] = "HTTP/1.1 201 One\r\nContent-Length: 11\r\n\r\nfirst-reply";

static bool data_is(ProtobufCBinaryData d, const char *text)
{
	return d.len == strlen(text) && (d.len == 0 || memcmp(d.data, text, d.len) == 0);
}

static void server_first(void **state)
{
	(void)state;
	for (int rst = 0; rst < 2; rst++) {
		wire_open(true);
		wire_send(DIR_RESPONSE, "220 ready\r\n");
		wire_expect_none();
		wire_send(DIR_REQUEST, "EHLO a\r\n");
		wire_send(DIR_RESPONSE, "250 a\r\n");
		wire_close(rst ? FLOW_RST : FLOW_FIN);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->protocol, "opaque");
		assert_int_equal(c->outcome, rst ? OUTCOME_ABORTED : OUTCOME_OK);
		assert_int_equal(c->request->body_bytes, 8);
		assert_int_equal(c->response->body_bytes, 18);
		wire_expect_none();
	}
}

static void only_the_server_speaks(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_RESPONSE, "220 go away\r\n");
	wire_half_close(DIR_RESPONSE);
	wire_half_close(DIR_REQUEST);
	wire_close(FLOW_FIN);
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->protocol, "opaque");
	assert_string_equal(c->call_type, "stream");
	assert_int_equal(c->response->body_bytes, 13);
	assert_null(c->request);
}

static void tls(void **state)
{
	(void)state;
	static const uint8_t hello[] = {0x16, 3, 1, 0, 42, 1, 0, 0, 38, 3, 3};
	uint8_t record[47] = {0};
	memcpy(record, hello, sizeof(hello));
	record[46] = 0;
	for (size_t cut = 0; cut < sizeof(record); cut++) {
		wire_open(true);
		wire_send_raw(DIR_REQUEST, bytes_of(record, cut));
		wire_send_raw(DIR_REQUEST, bytes_of(record + cut, sizeof(record) - cut));
		wire_send(DIR_RESPONSE, "\x16\x03\x03");
		wire_half_close(DIR_RESPONSE);
		wire_half_close(DIR_REQUEST);
		wire_close(FLOW_FIN);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->protocol, "opaque");
		assert_string_equal(records_attribute(c, "tls"), "1");
		assert_int_equal(c->request->body_bytes, sizeof(record));
		assert_int_equal(c->response->body_bytes, 3);
	}
}

/* Only when asked, and only where no framer could have found a secret. */
static void opaque_heads(void **state)
{
	static char junk[8192];
	(void)state;
	memset(junk, 0x80, sizeof(junk) - 1);
	for (int asked = 0; asked < 2; asked++) {
		wire.opaque_head = asked ? 8 : 0;
		wire_open(true);
		wire_send(DIR_REQUEST, "?? some words of nobody's protocol");
		wire_send(DIR_RESPONSE, "!! an");
		wire_send(DIR_RESPONSE, "swer");
		wire_close(FLOW_FIN);
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->protocol, "opaque");
		assert_true(data_is(c->request->body, asked ? "?? some " : ""));
		assert_true(data_is(c->response->body, asked ? "!! answe" : ""));
		assert_int_equal(c->request->body_bytes, 34);
		assert_int_equal(c->response->body_bytes, 9);
		assert_int_equal(records_flag(c, "truncated"), asked);

		wire_open(false);
		for (int i = 0; i < 100; i++) {
			wire_send(DIR_REQUEST, junk);
			wire_send(DIR_RESPONSE, junk);
		}
		wire_close(FLOW_FIN);
		c = wire_next();
		assert_true(data_is(c->request->body, "") && data_is(c->response->body, ""));

		wire_open(true);
		wire_send(DIR_REQUEST,
			  "GET / HTTP/1.1\r\nHost : a\r\nAuthorization: secret\r\n\r\n");
		wire_close(FLOW_FIN);
		do {
			c = wire_next();
			assert_true(!c->request || data_is(c->request->body, ""));
		} while (strcmp(c->protocol, "opaque") != 0);
		wire_expect_none();
	}
	wire.opaque_head = 0;
}

static void framing_error_then_opaque(void **state)
{
	(void)state;
	wire_open(true);
	wire_send(DIR_REQUEST, good_request);
	wire_send(DIR_RESPONSE, good_response);
	const char *bad = "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
			  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
	wire_send(DIR_REQUEST, bad);
	wire_send(DIR_RESPONSE, good_response);
	assert_string_equal(wire_next()->path, "/1");
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(c->path, "/bad");
	assert_string_equal(records_flags(c), "smuggling_suspect");
	assert_int_equal(c->outcome, OUTCOME_UNKNOWN);
	wire_expect_none();
	wire_close(FLOW_FIN);
	c = wire_next();
	assert_string_equal(c->protocol, "opaque");
	assert_true(c->n_flags > 0 && (int)c->outcome != OUTCOME_OK);
	assert_int_equal(c->request->body_bytes, strlen(bad));
	assert_int_equal(c->response->body_bytes, strlen(good_response));
}

/* What waits for the other side is bounded, for one connection and in all. */
static void gather_limit(void **state)
{
	(void)state;
	for (int all = 0; all < 2; all++) {
		wire.gather_max = all ? 1 << 20 : 4096;
		wire.gather_all = all ? 4096 : 1 << 20;
		wire_open(true);
		const char *upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
				      "Upgrade: x\r\n\r\n";
		wire_send(DIR_REQUEST, upgrade);
		for (int i = 0; i < 80; i++)
			wire_send(DIR_REQUEST, "0123456789012345678901234567890123456789"
					       "012345678901234567890123456789");
		const Sidetap__V1__Call *c = wire_next();
		assert_string_equal(c->path, "/ws");
		assert_string_equal(records_flags(c), "evicted");
		assert_int_equal(wire_exit("opaque"), 80 * 70);
		wire_close(FLOW_FIN);
		c = wire_next();
		assert_string_equal(c->protocol, "opaque");
		assert_int_equal(c->request->body_bytes, 80 * 70);
		wire.gather_max = wire.gather_all = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_first),
		cmocka_unit_test(only_the_server_speaks),
		cmocka_unit_test(tls),
		cmocka_unit_test(opaque_heads),
		cmocka_unit_test(framing_error_then_opaque),
		cmocka_unit_test(gather_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
