/* SPDX-License-Identifier: Apache-2.0 */
/* TTHeader: what a header and a payload say, and faults R6 to R10. Streams: ttheader_stream_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/ttheader_say.h"

static void begin(void)
{
	say_begin(&framer_ttheader, false);
}

/* A request and a reply in each form of the payload */
static void payload_forms(void **state)
{
	static const struct {
		const char *transport, *protocol;
		bool framed, compact, protobuf;
	} forms[] = {
		{"unframed+binary", "ttheader", false, false, false},
		{"framed+binary", "ttheader", true, false, false},
		{"unframed+compact", "ttheader", false, true, false},
		{"framed+compact", "ttheader", true, true, false},
		{"framed", "kitex_protobuf", true, false, true},
	};

	(void)state;
	for (size_t i = 0; i < N(forms); i++) {
		struct bytes (*make)(unsigned, const char *, uint32_t, struct bytes) =
			forms[i].protobuf  ? protobuf
			: forms[i].compact ? compact
					   : binary;
		struct bytes q = make(1, "Echo", 7, BYTES("args"));
		struct bytes r = make(2, "Echo", 7,
				      forms[i].protobuf  ? BYTES("\012\001x")
				      : forms[i].compact ? BYTES("\x08\0\1x\0")
							 : string_field(0, "x"));
		char want[600];
		begin();
		client(FRAME(.seq = 7, .payload = forms[i].framed ? framed(q) : q));
		server(FRAME(.seq = 7, .payload = forms[i].framed ? framed(r) : r));
		snprintf(want, sizeof(want), "> %s transport=%s corr=7 method=Echo\n  body %zu ",
			 forms[i].protocol, forms[i].transport, q.n);
		tells_part(want);
		snprintf(want, sizeof(want),
			 "\n  end\n< %s transport=%s corr=7 method=Echo ok\n  body %zu ",
			 forms[i].protocol, forms[i].transport, r.n);
		tells_part(want);
	}
}

/* A length inside that does not agree is none: the payload is what it is. */
static void wrong_length_inside(void **state)
{
	struct bytes m = binary(1, "E", 1, VOID_RESULT);

	(void)state;
	begin();
	client(FRAME(.seq = 1, .payload = join(framed(m), BYTES("x"))));
	client(FRAME(.seq = 2, .payload = framed(bytes_head(m, 3))));
	client(FRAME(.seq = 3, .payload = bytes_head(m, 9)));
	tells("> ttheader corr=1\n  body 19 \\x00\\x00\\x00\\x0e\\x80\\x01\\x00\\x01\\x00\\x00\\x00\\x01E"
	      "\\x00\\x00\\x00\\x01\\x00x\n  end\n"
	      "> ttheader corr=2\n  body 7 \\x00\\x00\\x00\\x03\\x80\\x01\\x00\n  end\n"
	      "> ttheader corr=3\n  body 9 \\x80\\x01\\x00\\x01\\x00\\x00\\x00\\x01E\n  end\n");
}

/* The body begins at the version word, whatever lies before it. */
static void body_is_the_message(void **state)
{
	struct bytes q = compact(1, "M", 1, BYTES("\x18\x01x\0"));

	(void)state;
	begin();
	client(FRAME(.seq = 1, .payload = framed(q)));
	client(FRAME(.seq = 2, .payload = q));
	tells("> ttheader transport=framed+compact corr=1 method=M\n"
	      "  body 9 \\x82!\\x01\\x01M\\x18\\x01x\\x00\n  end\n"
	      "> ttheader transport=unframed+compact corr=2 method=M\n"
	      "  body 9 \\x82!\\x01\\x01M\\x18\\x01x\\x00\n  end\n");
}

static void keys_have_names(void **state)
{
	static const char *const names[] = {"mesh_version",
					    "transport_type",
					    "log_id",
					    "from_service",
					    "from_cluster",
					    "from_idc",
					    "to_service",
					    "to_cluster",
					    "to_idc",
					    "to_method",
					    "env",
					    "dest_address",
					    "rpc_timeout_ms",
					    "read_timeout_ms",
					    "ring_hash_key",
					    "ddp_tag",
					    "with_mesh_header",
					    "connect_timeout_ms",
					    "span_context",
					    "short_connection",
					    "from_method",
					    "stress_tag",
					    "msg_type",
					    "http_content_type",
					    "raw_ring_hash_key",
					    "lb_type",
					    "cluster_shard_id"};
	struct make m = {.seq = 1, .payload = binary(1, "E", 1, VOID_RESULT)};
	static char values[N(names)][8];

	(void)state;
	for (unsigned i = 0; i < N(names); i++) {
		snprintf(values[i], sizeof(values[i]), "v%u", i);
		m.ints[i] = (struct make_int) {(uint16_t)i, values[i]};
	}
	begin();
	client(frame(&m));
	server(frame(&(struct make) {.seq = 1,
				     .ints = {{2, "log"}, {22, "2"}},
				     .payload = binary(2, "E", 1, VOID_RESULT)}));
	char *text = told();
	has(text, "> ttheader transport=unframed+binary corr=1 method=v9 service=v6\n");
	for (unsigned i = 0; i < N(names); i++) {
		char line[64];
		snprintf(line, sizeof(line), "\n  a %s=v%u\n", names[i], i);
		has(text, line);
	}
	has(text, "method=E ok\n  a reply_log_id=log\n  body");
	has_not(text, "reply_msg_type");
	free(text);
}

static void keys_without_names(void **state)
{
	struct make m = {.seq = 1,
			 .ints = {{28, "a"}, {65535, "b"}, {30, ""}},
			 .payload = binary(1, "E", 1, VOID_RESULT)};

	(void)state;
	begin();
	client(frame(&m));
	tells_part("\n  a int_keys=28=a,65535=b,30=\n");
}

/* "isn" goes before ToService, the key before the name of the envelope; names that are none are not shown. */
static void service_and_method(void **state)
{
	struct bytes q = binary(1, "Thrift:inner", 1, VOID_RESULT);

	(void)state;
	begin();
	client(FRAME(.seq = 1, .strings = {{"isn", "Idl"}}, .ints = {{6, "To"}, {9, "M"}},
		     .payload = q));
	client(FRAME(.seq = 2, .ints = {{6, "To"}}, .payload = q));
	client(FRAME(.seq = 3, .payload = q));
	client(FRAME(.seq = 4, .ints = {{6, "a\nb"}, {9, "\x01"}}, .payload = q));
	client(FRAME(.seq = 5, .strings = {{"isn", ""}}, .ints = {{6, "To"}, {9, "M"}}));
	char *text = told();
	has(text, "corr=1 method=M service=Idl\n");
	has(text, "corr=2 method=inner service=To\n");
	has(text, "corr=3 method=inner service=Thrift\n");
	has(text, "corr=4 method=inner service=Thrift\n");
	has(text, "corr=5 method=M service=To\n");
	free(text);
}

static void r10_headers_in_order_and_token(void **state)
{
	(void)state;
	begin();
	client(FRAME(.seq = 1, .strings = {{"b", "2"}, {"isn", "S"}, {"a", ""}}, .token = "secret",
		     .payload = binary(1, "E", 1, VOID_RESULT)));
	tells_part("service=S\n  h b: 2\n  h isn: S\n  h a: \n  h gdpr-token: secret\n  body");
}

/* ---- outcomes ---- */

static void outcome(struct bytes payload, const struct make_string *strings,
		    const struct make_int *ints, const char *want)
{
	struct make m = {.seq = 9, .payload = payload};

	for (unsigned i = 0; strings && strings[i].name; i++)
		m.strings[i] = strings[i];
	for (unsigned i = 0; ints && ints[i].value; i++)
		m.ints[i] = ints[i];
	begin();
	client(FRAME(.seq = 9, .payload = binary(1, "E", 9, VOID_RESULT)));
	server(frame(&m));
	char *text = told();
	char *reply = strstr(text, "\n< ");
	assert_non_null(reply);
	if (strncmp(reply + 3, want, strlen(want)) != 0)
		fail_msg("no \"%s\" in %s", want, reply);
	free(text);
}

static void outcomes(void **state)
{
	const struct make_string *biz =
		STRINGS({"biz-message", "no money"}, {"biz-status", "-404"});
	const struct make_string *zero = STRINGS({"biz-status", "0"});
	const struct make_int is_exception[] = {{22, "3"}, {0, NULL}};
	const struct make_int is_reply[] = {{22, "2"}, {0, NULL}};

	(void)state;
	outcome(binary(2, "E", 9, VOID_RESULT), NULL, NULL,
		"ttheader transport=unframed+binary corr=9 method=E ok\n");
	outcome(binary(2, "E", 9, string_field(0, "x")), zero, NULL,
		"ttheader transport=unframed+binary corr=9 method=E ok\n");
	outcome(binary(2, "E", 9, struct_field(1)), NULL, NULL,
		"ttheader transport=unframed+binary corr=9 method=E declared\n");
	outcome(binary(2, "E", 9, VOID_RESULT), biz, NULL,
		"ttheader transport=unframed+binary corr=9 method=E status=-404 text=no money declared\n");
	outcome(framed(protobuf(2, "E", 9, BYTES(""))), biz, NULL,
		"kitex_protobuf transport=framed corr=9 method=E status=-404 text=no money declared\n");
	for (int first = 0; first < 2; first++)
		outcome(binary(3, "E", 9, exception("unknown", 20, first)), NULL, is_exception,
			"ttheader transport=unframed+binary corr=9 method=E status=20 text=unknown "
			"server_error\n");
	outcome(compact(3, "E", 9, BYTES("\x18\x02no\x15\x0c\0")), NULL, NULL,
		"ttheader transport=unframed+compact corr=9 method=E status=6 text=no server_error\n");
	outcome(framed(protobuf(3, "E", 9, error_proto(6, "biz error"))), NULL, NULL,
		"kitex_protobuf transport=framed corr=9 method=E status=6 text=biz error "
		"server_error\n");
	outcome(binary(3, "E", 9, exception("x", 6, true)), biz, is_exception,
		"ttheader transport=unframed+binary corr=9 method=E status=6 text=x server_error\n");
	outcome(BYTES("unreadable"), NULL, is_exception, "ttheader corr=9 server_error\n");
	outcome(BYTES("unreadable"), NULL, is_reply, "ttheader corr=9\n");
	outcome(BYTES("unreadable"), biz, is_reply,
		"ttheader corr=9 status=-404 text=no money declared\n");
}

/* The type behind a long message is waited for; behind more than 64 KiB it stays unknown, the outcome does not. */
static void long_exception(void **state)
{
	static char text[70001];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	begin();
	client(FRAME(.seq = 9, .payload = binary(1, "E", 9, VOID_RESULT)));
	server(FRAME(.seq = 9, .payload = binary(3, "E", 9, exception(text, 6, false))));
	tells_part("method=E text=xxx");
	text[20000] = 0;
	begin();
	client(FRAME(.seq = 9, .payload = binary(1, "E", 9, VOID_RESULT)));
	server(FRAME(.seq = 9, .payload = binary(3, "E", 9, exception(text, 6, false))));
	tells_part("method=E status=6 text=xxx");
	tells_part("xxx server_error\n");
}

/* Likewise an ErrorProto that is not waited for */
static void long_error_proto(void **state)
{
	static char text[70001];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	begin();
	client(FRAME(.seq = 9, .payload = framed(protobuf(1, "E", 9, BYTES("")))));
	server(FRAME(.seq = 9, .payload = framed(protobuf(3, "E", 9, error_proto(6, text)))));
	tells_part("< kitex_protobuf transport=framed corr=9 method=E server_error\n  body 70019 ");
}

static void oneway(void **state)
{
	(void)state;
	begin();
	client(FRAME(.seq = 1, .payload = binary(4, "E", 1, VOID_RESULT)));
	client(FRAME(.seq = 2, .ints = {{22, "4"}}, .payload = binary(1, "E", 2, VOID_RESULT)));
	client(FRAME(.seq = 3, .payload = framed(protobuf(4, "E", 3, BYTES("")))));
	client(FRAME(.seq = 4, .payload = binary(1, "E", 4, VOID_RESULT)));
	char *text = told();
	has(text, "corr=1 method=E oneway\n");
	has(text, "corr=2 method=E oneway\n");
	has(text, "corr=3 method=E oneway\n");
	has(text, "corr=4 method=E\n");
	free(text);
}

static void transformed_payload(void **state)
{
	(void)state;
	begin();
	client(FRAME(.seq = 1, .transform = 1, .ints = {{9, "M"}, {22, "1"}},
		     .payload = BYTES("\x80\x01\0\1 not thrift")));
	tells("> ttheader corr=1 method=M compressed\n  a to_method=M\n  a msg_type=1\n"
	      "  body 15 \\x80\\x01\\x00\\x01 not thrift\n  end\n");
}

/* ---- mux and control ---- */

static void mux_out_of_order(void **state)
{
	(void)state;
	begin();
	client(join(FRAME(.flags = 1, .seq = 1, .payload = binary(1, "A", 1, VOID_RESULT)),
		    FRAME(.flags = 1, .seq = 2, .payload = binary(1, "B", 2, VOID_RESULT))));
	server(join(FRAME(.seq = 2, .payload = binary(2, "B", 2, VOID_RESULT)),
		    FRAME(.seq = 1, .payload = binary(2, "A", 1, VOID_RESULT))));
	server(FRAME(.seq = 0, .strings = {{"crrst", "1"}},
		     .payload = binary(2, "none", 0, VOID_RESULT)));
	client(FRAME(.seq = 3, .payload = binary(1, "C", 3, VOID_RESULT))); /* without the flag */
	server(FRAME(.seq = 3, .payload = binary(2, "C", 3, VOID_RESULT)));
	char *text = told();
	has(text, "> ttheader transport=unframed+mux+binary corr=1 method=A\n");
	has(text, "> ttheader transport=unframed+mux+binary corr=2 method=B\n");
	has(text, "< ttheader transport=unframed+mux+binary corr=2 method=B ok\n");
	has(text, "< ttheader transport=unframed+mux+binary corr=1 method=A ok\n");
	has(text, "> ttheader transport=unframed+mux+binary corr=3 method=C\n");
	has(text, "corr=3 method=C ok\n  a crrst=1\n");
	assert_int_equal(count(text, "\n< "), 3);
	free(text);
}

/* A client that knows no other id than 0: its replies are no control frames, also with crrst. */
static void always_zero(void **state)
{
	(void)state;
	begin();
	client(FRAME(.seq = 0, .payload = binary(1, "A", 0, VOID_RESULT)));
	server(FRAME(.seq = 0, .strings = {{"crrst", "1"}},
		     .payload = binary(3, "A", 0, exception("no", 1, false))));
	server(FRAME(.seq = 0, .strings = {{"crrst", "1"}},
		     .payload = binary(2, "x", 0, VOID_RESULT)));
	char *text = told();
	has(text, "> ttheader transport=unframed+binary method=A\n");
	has(text, "< ttheader transport=unframed+binary method=A status=1 text=no server_error\n");
	assert_int_equal(count(text, "\n< "), 1);
	free(text);
}

static void no_calls(void **state)
{
	(void)state;
	begin();
	client(FRAME(.seq = 1, .ints = {{22, "6"}}, .payload = BYTES("beat")));
	client(FRAME(.seq = 1, .payload = framed(protobuf(6, "E", 1, BYTES("")))));
	client(FRAME(.seq = 1));
	client(FRAME(.seq = 2, .payload = binary(2, "E", 2, VOID_RESULT))); /* a reply */
	server(FRAME(.seq = 1));
	server(FRAME(.seq = 2, .payload = binary(1, "E", 2, VOID_RESULT))); /* a request */
	client(FRAME(.seq = 3, .payload = binary(1, "E", 3, VOID_RESULT)));
	tells("> ttheader transport=unframed+binary corr=3 method=E\n"
	      "  body 14 \\x80\\x01\\x00\\x01\\x00\\x00\\x00\\x01E\\x00\\x00\\x00\\x03\\x00\n  end\n");
}

/* ---- faults ---- */

static void r7_names(void **state)
{
	static char name[300];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	begin();
	client(FRAME(.seq = 1, .payload = framed(binary(1, name, 1, VOID_RESULT))));
	client(FRAME(.seq = 2, .payload = binary(1, "a b", 2, VOID_RESULT)));
	client(FRAME(.seq = 3, .payload = binary(1, "ok", 3, VOID_RESULT)));
	char *text = told();
	has(text, "> ttheader transport=framed+binary corr=1 truncated\n  body 312");
	has(text, "> ttheader corr=2\n  body 16 ");
	has(text, "corr=3 method=ok\n");
	free(text);
}

static void wrong(struct bytes b, const char *want)
{
	begin();
	client(FRAME(.seq = 1, .payload = binary(1, "E", 1, VOID_RESULT)));
	client(b);
	char *text = told();
	if (want)
		has(text, want);
	has(text, "> error protocol_error\n");
	assert_int_equal(count(text, "> ttheader"), 1 + (want != NULL));
	free(text);
}

static struct bytes patched(struct bytes b, size_t at, unsigned width, uint64_t v)
{
	struct make_out o = {0}, number = {0};

	out_bytes(&o, b);
	out_number(&number, width, v);
	memcpy(o.p + at, number.p, width);
	return made(&o);
}

static void r8_length_checked_first(void **state)
{
	struct bytes b = FRAME(.seq = 2, .ints = {{9, "M"}}, .payload = VOID_RESULT);

	(void)state;
	wrong(patched(b, 0, 4, 0), NULL);
	wrong(patched(b, 0, 4, 13), NULL);
	wrong(patched(b, 0, 4, b.n - 4 - 2), NULL); /* one byte less than the header */
	wrong(patched(b, 0, 4, 0xffffffff), NULL); /* + 4 is 3 in 32 bits */
	wrong(patched(b, 0, 4, (64u << 20) - 3), NULL);
	wrong(patched(b, 12, 2, 0xffff), NULL);
	wrong(patched(join(b, b), 12, 2, 0x4003), NULL); /* times 4 is 12 in 16 bits */
	wrong(patched(b, 12, 2, 0), NULL);
	wrong(patched(b, 4, 2, 0x1001), NULL);
	begin();
	client(patched(b, 0, 4, b.n - 4 - 1)); /* no payload at all is right */
	tells_part("> ttheader corr=2 method=M\n  a to_method=M\n  end\n");
}

static struct bytes blocks(struct bytes b)
{
	struct make m = {.seq = 2, .payload = VOID_RESULT};

	return frame_of(&m, b);
}

static void r9_blocks(void **state)
{
	struct bytes method = BYTES("\x10\0\1\0\x09\0\1M");

	(void)state;
	wrong(blocks(BYTES("\x02")), NULL); /* unknown id */
	wrong(blocks(BYTES("\x01\0\2\0\1a\0\1b")), NULL); /* one pair less than it says */
	wrong(blocks(BYTES("\x01\xff\xff")), NULL);
	wrong(blocks(BYTES("\x10\0\1\0\x09\xff\xffM")), NULL);
	wrong(blocks(BYTES("\x11\0\x20token")), NULL);
	wrong(blocks(BYTES("\x10\0")), NULL);
	wrong(blocks(join(method, BYTES("\x7f"))), "> ttheader corr=2 method=M protocol_error\n");
	wrong(patched(blocks(BYTES("\0\0")), 15, 1, 3), NULL); /* transforms beyond the header */
	wrong(patched(blocks(BYTES("\0\0")), 14, 1, 1), NULL); /* unknown protocol */
	begin();
	client(blocks(BYTES("\0\0\0\0\0\0\0\0\0\0"))); /* padding only, and a method */
	client(FRAME(.seq = 3, .payload = binary(1, "E", 3, VOID_RESULT)));
	tells_part("corr=3 method=E\n");
}

/* A header over the limit is cut, the frame is not: what follows is still in step. */
static void header_limit(void **state)
{
	struct make m = {.seq = 5,
			 .ints = {{9, "M"}},
			 .payload = framed(binary(1, "E", 5, string_field(1, "x")))};
	static char big[3000];

	(void)state;
	memset(big, 'b', sizeof(big) - 1);
	begin();
	say_script.limits.header_bytes = 1024;
	client(frame_of(&m,
			join(BYTES("\x10\0\1\0\x09\0\1M"),
			     make_blocks(&(struct make) {.strings = {{"a", "1"}, {"big", big}}}))));
	client(FRAME(.seq = 6, .payload = binary(1, "E", 6, VOID_RESULT)));
	m = (struct make) {.seq = 5,
			   .payload = framed(binary(3, "E", 5, exception("x", 6, false)))};
	server(frame_of(&m, make_blocks(&(struct make) {.strings = {{"a", "1"}, {"big", big}}})));
	server(FRAME(.seq = 6, .payload = binary(2, "E", 6, VOID_RESULT)));
	char *text = told();
	has(text, "> ttheader corr=5 method=M truncated\n  a to_method=M\n  h a: 1\n"
		  "  body 22 \\x80\\x01");
	has(text, "corr=6 method=E\n");
	has(text,
	    "< ttheader corr=5 truncated\n  h a: 1\n  says status=6 server_error\n  body 29 ");
	has(text, "corr=6 method=E ok\n");
	free(text);
}

static void header_count(void **state)
{
	struct make m = {.seq = 5, .payload = binary(1, "E", 5, VOID_RESULT)};

	(void)state;
	for (unsigned i = 0; i < 12; i++)
		m.strings[i] = (struct make_string) {i == 11 ? "isn" : "k", "v"};
	begin();
	say_script.limits.header_count = 8;
	client(frame(&m));
	char *text = told();
	has(text, "method=E service=v truncated\n");
	assert_int_equal(count(text, "  h k: v\n"), 8);
	free(text);
}

/* ---- losses inside a payload ---- */

static void gap_in_step(void **state)
{
	struct bytes q =
		FRAME(.seq = 1, .payload = binary(1, "E", 1, string_field(1, "0123456789")));

	(void)state;
	for (size_t lost = 1; lost <= 8; lost += 7) {
		size_t at = q.n - 8;
		begin();
		client(bytes_head(q, at));
		drive_add_gap(&say_script, DIR_REQUEST, lost);
		client(bytes_from(q, at + lost));
		client(FRAME(.seq = 2, .payload = binary(1, "E", 2, VOID_RESULT)));
		char *text = told(), want[64];
		snprintf(want, sizeof(want), "  body %zu missing %zu", 31 - lost, lost);
		has(text, want);
		has(text, "corr=2 method=E\n");
		has_not(text, "lost");
		free(text);
	}
	begin();
	client(bytes_head(q, q.n - 8));
	drive_add_gap(&say_script, DIR_REQUEST, 9); /* into the next header */
	client(bytes_from(FRAME(.seq = 2, .payload = binary(1, "E", 2, VOID_RESULT)), 1));
	client(FRAME(.seq = 3, .payload = binary(1, "E", 3, VOID_RESULT)));
	char *text = told();
	has(text, "  lost\n> lost to a gap\n");
	has_not(text, "corr=2");
	has(text, "corr=3 method=E\n");
	free(text);
}

static void cut_by_close(void **state)
{
	struct bytes q =
		FRAME(.seq = 1, .payload = binary(1, "E", 1, string_field(1, "0123456789")));

	(void)state;
	begin();
	client(bytes_head(q, q.n - 3));
	drive_add_end(&say_script, DIR_REQUEST, END_FIN);
	tells_part("method=E\n  body 28 ");
	tells_part("  abort\n");
}

/* ---- probing ---- */

static void probes(void **state)
{
	struct bytes q = FRAME(.seq = 1, .ints = {{9, "M"}, {22, "1"}},
			       .payload = binary(1, "M", 1, VOID_RESULT));
	struct bytes r =
		FRAME(.seq = 1, .ints = {{22, "2"}}, .payload = binary(2, "M", 1, VOID_RESULT));
	struct bytes none = {NULL, 0};

	(void)state;
	for (size_t n = 0; n < q.n; n++)
		assert_int_not_equal(framer_ttheader.probe(bytes_head(q, n), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(q, none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe(q, r), PROBE_YES);
	assert_int_equal(framer_ttheader.probe(r, q), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe(r, none), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe(patched(q, 0, 4, 20), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("GET / HTTP/1.1\r\n"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("G"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe(BYTES("\0\0\0\x20\x0f\xff\0\0"), none), PROBE_NO);
	assert_int_equal(framer_ttheader.probe_late(q, none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(none, r), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(none, q), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe_late(r, none), PROBE_REVERSED);
	assert_int_equal(framer_ttheader.probe_late(join(BYTES("rest"), q), none), PROBE_YES);
	assert_int_equal(framer_ttheader.probe_late(bytes_from(q, 1), none), PROBE_MORE);
	say_begin(NULL, false);
	client(r);
	server(q);
	tells_part("reversed\n> ttheader ");
}

/* Joined late: a payload that nobody can read proves nothing, a second frame behind it does. */
static void late_unreadable(void **state)
{
	struct bytes f =
		FRAME(.seq = 1, .transform = 1, .ints = {{9, "M"}}, .payload = BYTES("zzz"));

	(void)state;
	say_begin(&framer_ttheader, true);
	client(join(BYTES("rest"), f));
	tells("");
	client(join(f, f));
	char *text = told();
	assert_int_equal(count(text, "corr=1 method=M compressed\n"), 3);
	free(text);
}

/* Random bytes behind a right magic are not taken for a frame. */
static void probe_random(void **state)
{
	uint64_t seed = 0x7777;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint8_t b[64];
		for (size_t k = 0; k < sizeof(b); k++)
			b[k] = (uint8_t)drive_random(&seed);
		b[0] = b[1] = b[2] = 0;
		b[4] = 0x10;
		b[5] = 0;
		assert_int_not_equal(
			framer_ttheader.probe_late(bytes_of(b, sizeof(b)), bytes_of(NULL, 0)),
			PROBE_YES);
	}
}

/* Bytes changed at random: whatever is said does not depend on the cuts, and the driver's contract holds. */
static void mutated(void **state)
{
	const char *const talk = "Talk";
	struct bytes all[2] = {{NULL, 0}, {NULL, 0}};
	uint64_t seed = 0xabcdef;

	(void)state;
	for (int d = 0; d < 2; d++)
		for (uint32_t i = 0; i < 4; i++) {
			struct bytes m = (i % 2 ? protobuf : binary)(1 + (unsigned)d, "E", i,
								     string_field(0, "x"));
			all[d] = join(all[d], FRAME(.flags = !d, .seq = i, .strings = {{"k", "v"}},
						    .ints = {{9, "E"}}, .token = "t",
						    .payload = i % 2 ? framed(m) : m));
			all[d] = join(all[d], stream_frame(i < 3 ? 2 + i : 5, 1, talk, BYTES(""),
							   STRINGS({"isn", "S"}, {"ttscp", "a"})));
		}
	for (int run = 0; run < 4000; run++) {
		begin();
		for (int d = 0; d < 2; d++) {
			struct make_out o = {0};
			out_bytes(&o, all[d]);
			for (unsigned k = drive_random(&seed) % 4; k; k--)
				o.p[drive_random(&seed) % o.n] =
					(uint8_t)drive_random(&seed) >> drive_random(&seed) % 8;
			drive_add(&say_script, d, made(&o));
		}
		say_script.late = run % 2;
		struct drive_result whole = drive_run(&say_script, NULL, 0);
		struct drive_result cut = drive_run_bytes(&say_script);
		assert_string_equal((char *)cut.text.p, (char *)whole.text.p);
		drive_result_fini(&cut);
		drive_result_fini(&whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_forms),
		cmocka_unit_test(wrong_length_inside),
		cmocka_unit_test(body_is_the_message),
		cmocka_unit_test(keys_have_names),
		cmocka_unit_test(keys_without_names),
		cmocka_unit_test(service_and_method),
		cmocka_unit_test(r10_headers_in_order_and_token),
		cmocka_unit_test(outcomes),
		cmocka_unit_test(long_exception),
		cmocka_unit_test(long_error_proto),
		cmocka_unit_test(oneway),
		cmocka_unit_test(transformed_payload),
		cmocka_unit_test(mux_out_of_order),
		cmocka_unit_test(always_zero),
		cmocka_unit_test(no_calls),
		cmocka_unit_test(r7_names),
		cmocka_unit_test(r8_length_checked_first),
		cmocka_unit_test(r9_blocks),
		cmocka_unit_test(header_limit),
		cmocka_unit_test(header_count),
		cmocka_unit_test(gap_in_step),
		cmocka_unit_test(cut_by_close),
		cmocka_unit_test(probes),
		cmocka_unit_test(late_unreadable),
		cmocka_unit_test(probe_random),
		cmocka_unit_test(mutated),
	};

	return cmocka_run_group_tests(tests, NULL, say_teardown);
}
