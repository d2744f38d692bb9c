/* SPDX-License-Identifier: Apache-2.0 */
/* Kitex Protobuf without a TTHeader: its messages, faults R1, R6, R7, losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "rpc/kitex_protobuf.h"
#include "tests/unit/conn_wire.h"
#include "tests/unit/ttheader_say.h"

static struct bytes message(unsigned type, uint32_t seq, struct bytes body)
{
	return framed(protobuf(type, "Echo", seq, body));
}

static void begin(void)
{
	say_begin(NULL, false);
}

static void calls(void **state)
{
	(void)state;
	begin();
	client(join(message(1, 1, BYTES("a")), message(1, 2, BYTES("b"))));
	client(join(message(4, 3, BYTES("c")), message(6, 4, BYTES(""))));
	client(message(2, 5, BYTES("the wrong way")));
	server(join(message(2, 2, BYTES("B")), message(3, 1, error_proto(-5, "no"))));
	server(message(1, 5, BYTES("the wrong way")));
	tells("> kitex_protobuf transport=framed corr=1 method=Echo\n"
	      "  body 17 \\x90\\x01\\x00\\x01\\x00\\x00\\x00\\x04Echo\\x00\\x00\\x00\\x01a\n  end\n"
	      "> kitex_protobuf transport=framed corr=2 method=Echo\n"
	      "  body 17 \\x90\\x01\\x00\\x01\\x00\\x00\\x00\\x04Echo\\x00\\x00\\x00\\x02b\n  end\n"
	      "> kitex_protobuf transport=framed corr=3 method=Echo oneway\n"
	      "  body 17 \\x90\\x01\\x00\\x04\\x00\\x00\\x00\\x04Echo\\x00\\x00\\x00\\x03c\n  end\n"
	      "< kitex_protobuf transport=framed corr=2 method=Echo ok\n"
	      "  body 17 \\x90\\x01\\x00\\x02\\x00\\x00\\x00\\x04Echo\\x00\\x00\\x00\\x02B\n  end\n"
	      "< kitex_protobuf transport=framed corr=1 method=Echo status=-5 text=no server_error\n"
	      "  body 31 \\x90\\x01\\x00\\x03\\x00\\x00\\x00\\x04Echo\\x00\\x00\\x00\\x01\\x08\\xfb\\xff\\xff"
	      "\\xff\\xff\\xff\\xff\\xff\\xff\\x01\\x12\\x02no\n  end\n");
}

static void error_protos(void **state)
{
	static const struct {
		struct bytes body;
		bool ok;
		int32_t type;
		const char *text;
	} cases[] = {
		{BYTES(""), true, 0, ""},
		{BYTES("\x08\x06\x12\x02no"), true, 6, "no"},
		{BYTES("\x12\x02no\x08\x06"), true, 6, "no"},
		{BYTES("\x18\x05\x21"
		       "12345678"
		       "\x2a\x03xyz\x35"
		       "1234\x12\x01t"),
		 true, 0, "t"}, /* fields of other numbers */
		{BYTES("\x12\x05no"), false, 0, ""},
		{BYTES("\x08"), false, 0, ""},
		{BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false, 0, ""},
		{BYTES("\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), false, 0, ""},
		{BYTES("\x0b"), false, 0, ""}, /* a group */
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		int32_t type;
		struct bytes text;
		assert_int_equal(kitex_protobuf_error(cases[i].body, &type, &text), cases[i].ok);
		if (!cases[i].ok)
			continue;
		assert_int_equal(type, cases[i].type);
		assert_true(bytes_eq(text, bytes_str(cases[i].text)));
	}
	static uint8_t many[400];
	int32_t type;
	struct bytes text;
	for (size_t i = 0; i < sizeof(many); i += 2)
		many[i] = 0x18;
	assert_false(kitex_protobuf_error(bytes_of(many, sizeof(many)), &type, &text));
}

static void wrong(struct bytes b)
{
	begin();
	client(message(1, 1, BYTES("a")));
	client(b);
	tells_part("> error protocol_error\n");
}

static void r1_lengths(void **state)
{
	struct make_out o = {0};
	struct bytes m = protobuf(1, "Echo", 2, BYTES(""));

	(void)state;
	wrong(join(BYTES("\xff\xff\xff\xff"), m));
	wrong(join(BYTES("\x80\0\0\0"), m));
	wrong(join(BYTES("\0\0\0\0"), m));
	wrong(join(BYTES("\0\0\0\x0f"), m)); /* one less than the envelope */
	wrong(join(BYTES("\x04\0\0\0"), m)); /* over the cap */
	wrong(framed(protobuf(7, "Echo", 2, BYTES(""))));
	wrong(framed(protobuf(0, "Echo", 2, BYTES(""))));
	wrong(framed(protobuf(1, "", 2, BYTES(""))));
	wrong(framed(protobuf(1, "a b", 2, BYTES(""))));
	out_number(&o, 4, 0x90010001);
	out_number(&o, 4, 0xfffffff0);
	out_number(&o, 8, 0);
	wrong(framed(made(&o)));
}

static void r7_long_name(void **state)
{
	static char name[300];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	begin();
	client(framed(protobuf(1, name, 1, BYTES("a"))));
	client(message(1, 2, BYTES("b")));
	char *text = told();
	has(text, "> kitex_protobuf transport=framed truncated\n  body 312");
	has(text, "corr=2 method=Echo\n");
	free(text);
}

static void probes(void **state)
{
	struct bytes q = message(1, 1, BYTES("a")), r = message(2, 1, BYTES("a")), none = {NULL, 0};

	(void)state;
	for (size_t n = 0; n < q.n - 1; n++)
		assert_int_equal(framer_kitex_protobuf.probe(bytes_head(q, n), none), PROBE_MORE);
	assert_int_equal(framer_kitex_protobuf.probe(q, none), PROBE_YES);
	assert_int_equal(framer_kitex_protobuf.probe(r, none), PROBE_REVERSED);
	assert_int_equal(framer_kitex_protobuf.probe(none, r), PROBE_YES);
	assert_int_equal(framer_kitex_protobuf.probe(BYTES("G"), none), PROBE_NO);
	assert_int_equal(framer_kitex_protobuf.probe(framed(binary(1, "E", 1, VOID_RESULT)), none),
			 PROBE_NO);
}

/* Joined at every offset of a conversation: each message is told whole and rightly, or not at all. */
static void joined_at_every_offset(void **state)
{
	enum { CALLS = 6 };
	struct bytes q = {NULL, 0};

	(void)state;
	for (uint32_t i = 0; i < CALLS; i++)
		q = join(q, message(1, i + 1, BYTES("\x90\x01\0\1 body")));
	for (size_t skip = 0; skip < q.n; skip++) {
		say_begin(&framer_kitex_protobuf, true);
		client(bytes_from(q, skip));
		char *text = told();
		size_t whole = CALLS - (skip + q.n / CALLS - 1) / (q.n / CALLS);
		assert_int_equal(count(text, "corr="), whole);
		assert_int_equal(count(text, "  body 25 "), whole);
		free(text);
	}
}

/* A constant id proves nothing: joined late, such pairs say so. */
static void constant_ids(void **state)
{
	(void)state;
	wire_open(false);
	wire_send_raw(DIR_RESPONSE, message(2, 0, BYTES("0")));
	for (int i = 0; i < 3; i++) {
		wire_send_raw(DIR_REQUEST, message(1, 0, BYTES("q")));
		wire_send_raw(DIR_RESPONSE, message(2, 0, BYTES("r")));
	}
	for (int i = 0; i < 3; i++)
		assert_string_equal(records_flags(wire_next()), "late_join");
	wire_expect_none();
	wire_close(FLOW_FIN);
	wire_open(true);
	wire_send_raw(DIR_REQUEST, message(1, 0, BYTES("q")));
	wire_send_raw(DIR_RESPONSE, message(2, 0, BYTES("r")));
	const Sidetap__V1__Call *c = wire_next();
	assert_string_equal(records_flags(c), "");
	assert_string_equal(c->protocol, "kitex_protobuf");
	assert_string_equal(c->transport, "framed");
	assert_string_equal(c->method, "Echo");
	wire_close(FLOW_FIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls),        cmocka_unit_test(error_protos),
		cmocka_unit_test(r1_lengths),   cmocka_unit_test(r7_long_name),
		cmocka_unit_test(probes),       cmocka_unit_test(joined_at_every_offset),
		cmocka_unit_test(constant_ids),
	};

	return cmocka_run_group_tests(tests, NULL, say_teardown);
}
